//! Routers of the kernel's own NAT, built here with `ip` and `nft` alone, each classified and
//! compared, finding by finding, with what ordinary sockets find out about it.
//!
//! `TSO_PROBE_REPEAT=20` classifies each that often; one wrong finding in any of them is a failure.

#![allow(clippy::unwrap_used)]

mod network;
mod routers {
    pub mod cases;
    pub mod more;
}

fn main() {
    let tests = routers::cases::TESTS.iter().chain(routers::more::TESTS);
    let tests = tests.map(|(name, test)| ((*name).to_owned(), *test));
    network::run(tests.collect(), &["python3"]);
}

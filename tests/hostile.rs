//! What can go wrong, made to go wrong: on the reflector, on the way, on this host, by the user and
//! by whoever would abuse a reflector. Each ends in time, in a clear error or in a verdict that says
//! that it is partial; never in a wrong finding, and nothing is left behind.

#![allow(clippy::unwrap_used)]

mod network;
mod hostile {
    pub mod abuse;
    pub mod host;
    pub mod reflector;
    pub mod roles;
}

fn main() {
    // The test binary starts itself on other hosts of a network.
    if let Ok(role) = std::env::var(hostile::roles::ROLE) {
        return hostile::roles::play(&role);
    }
    let tests = [hostile::reflector::TESTS, hostile::host::TESTS, hostile::abuse::TESTS];
    let tests = tests.into_iter().flatten().map(|(name, test)| ((*name).to_owned(), *test));
    network::run(tests.collect(), &["setpriv"]);
}

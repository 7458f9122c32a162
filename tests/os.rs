//! The `os` module against the kernel of this machine.
//!
//! Every test works in network namespaces of its own and leaves nothing. One
//! that cannot run here says why and counts as ignored.

#![allow(clippy::unwrap_used)]

mod os {
    pub mod capture;
    pub mod child;
    pub mod guard;
    pub mod nat;
    pub mod net;
    pub mod sockets;
    pub mod support;
}

use libtest_mimic::{Arguments, Completion, Trial};
use os::support::{Case, Needs};

fn main() {
    // The test binary starts itself for what only another process can show.
    if let Ok(role) = std::env::var(os::child::ROLE) {
        return os::child::play(&role);
    }
    let cases = [os::net::CASES, os::guard::CASES, os::nat::CASES].into_iter().chain([
        os::capture::CASES,
        os::sockets::CASES,
        os::child::CASES,
    ]);
    let trials = cases.flatten().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(case: &'static Case) -> Trial {
    Trial::ignorable_test(case.name, || match missing(case.needs) {
        Some(why) => {
            eprintln!("SKIPPED: {}: {why}", case.name);
            Ok(Completion::ignored_with(why))
        }
        None => {
            (case.run)();
            Ok(Completion::Completed)
        }
    })
}

fn missing(needs: &[Needs]) -> Option<&'static str> {
    needs.iter().find_map(|need| need.missing())
}

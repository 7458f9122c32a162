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

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // They hardly compute: they wait for silence to last.
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let lacking = network::missing(&["python3"]);
    let routers = routers::cases::ROUTERS.iter().map(|router| {
        let name = format!("a_router_is_classified_as_sockets_find_it::{}", router.name);
        (name, Box::new(|| router.compare()) as Test)
    });
    let more = routers::more::TESTS.iter();
    let more = more.map(|(name, test)| ((*name).to_owned(), Box::new(test) as Test));
    let trials = routers.chain(more).map(|(name, test)| trial(name, test, lacking.clone()));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let left = network::left_behind();
    assert!(left.is_empty(), "left behind: {left:#?}");
    conclusion.exit();
}

type Test = Box<dyn FnOnce() + Send>;

fn trial(name: String, test: Test, lacking: Option<String>) -> Trial {
    Trial::ignorable_test(name.clone(), move || match lacking {
        Some(why) => {
            eprintln!("SKIPPED: {name}: {why}");
            Ok(Completion::ignored_with(why))
        }
        None => {
            test();
            Ok::<_, Failed>(Completion::Completed)
        }
    })
}

const AT_ONCE: usize = 8;

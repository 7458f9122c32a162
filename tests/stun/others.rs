//! Clients that are none of ours, against the STUN server of `serve`.

use std::process::Command;

use crate::network::{Network, PATIENCE, Running, Scratch, marked};
use crate::{MASQUERADE, OWN, RANDOM, answered, ask};

pub const TESTS: &[(&str, fn())] = &[
    ("libre_tells_a_masquerade_that_keeps_ports_by_our_server", || {
        expect_agreement(MASQUERADE, "Endpoint Independent", "endpoint-independent");
    }),
    ("libre_tells_a_masquerade_with_random_ports_by_our_server", || {
        expect_agreement(RANDOM, "Address and Port Dependent", "address-and-port-dependent");
    }),
];

/// Its mapping test over TCP and ours come to the same.
fn expect_agreement(rules: &str, theirs: &str, ours: &str) {
    let scratch = Scratch::new();
    let client = client(&scratch);
    let network = Network::new();
    network.rules("edge", rules);
    let _server = OWN(&network);
    let mut command = network.command("in", &client);
    command.args(["192.168.1.2", "203.0.113.10", "3478"]);
    let answer = Running::start(command).wait(PATIENCE);
    assert_eq!((answer.code, answer.stdout.trim_end()), (Some(0), theirs), "{answer:?}");
    let found = answered(&ask(&network, &["203.0.113.10"]));
    assert_eq!(found["mapping"]["value"], ours);
}

fn client(scratch: &Scratch) -> String {
    let (source, program) = (crate::script("mapping.c"), scratch.path("mapping"));
    let mut command = Command::new("gcc");
    command.args(["-Wall", "-isystem", "/usr/include/re", "-o", &program, &source, "-lre"]);
    let built = marked(command).output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "libre's development files are to be installed: {said}");
    program
}

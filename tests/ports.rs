//! The rules by which a real host and real NATs choose ports, told from what servers see of them.

#![allow(clippy::unwrap_used)]

mod network;

use std::process::Command;

use network::{Answer, PATIENCE, Running, Test, marked};
use serde_json::Value;

fn main() {
    let tests: Vec<Test> = TESTS.iter().map(|(name, test)| ((*name).to_owned(), *test)).collect();
    network::run(tests, &[]);
}

const TESTS: &[(&str, fn())] = &[
    ("linux_goes_on_by_even_steps_for_each_remote_and_its_nat_preserves", linux),
    ("a_nat_that_counts_is_told_with_its_step_and_the_next_port", counted),
    ("a_nat_that_draws_is_told_and_no_port_is_promised", drawn),
    ("on_virtual_time_it_is_the_same", simulated),
    ("without_a_server_it_says_so", nobody),
    ("odd_arguments_are_errors_with_hints", refused),
];

/// Linux since 5.12, `__inet_hash_connect`: even ports, 2 to 16 further.
fn linux() {
    let json = answered(&["--lab", "linux-kernel"]);
    assert_eq!(likeliest(&json, "nat"), "preservation", "{json:#}");
    let host = likeliest(&json, "host");
    assert!(host.starts_with("sequential") && host.ends_with("for each remote endpoint by itself"));
    assert_eq!(json["failed"], 0);
    // Six rounds at four endpoints of the server.
    assert_eq!(json["flows"].as_array().unwrap().len(), 24);
    assert!(json["next"]["chances"][2].as_f64().unwrap() > 0.5, "{json:#}");
}

/// The next port is not asked for: what is said of it must follow from those that were seen.
fn counted() {
    let json = answered(&["--lab", "sequential", "--rounds", "3"]);
    assert_eq!(likeliest(&json, "nat"), "sequential +2", "{json:#}");
    let seen = json["flows"].as_array().unwrap().iter();
    let seen = seen.map(|flow| flow["external"].as_str().unwrap().rsplit(':').next().unwrap());
    let last = seen.map(|port| port.parse::<u64>().unwrap()).max().unwrap();
    let next = &json["next"]["ports"][0];
    assert_eq!(next["port"], last + 2, "{json:#}");
    assert!(next["probability"].as_f64().unwrap() > 0.8, "{json:#}");
}

fn drawn() {
    let json = answered(&["--lab", "linux-random", "--rounds", "3"]);
    assert!(likeliest(&json, "nat").starts_with("random in "), "{json:#}");
    assert!(json["next"]["chances"][2].as_f64().unwrap() < 0.01, "{json:#}");
}

fn simulated() {
    let json = answered(&["--sim", "mapping=apdm,ports=sequential-4"]);
    assert_eq!(likeliest(&json, "nat"), "sequential -4", "{json:#}");
    assert_eq!(likeliest(&json, "host"), "sequential +1", "{json:#}");
}

fn nobody() {
    // Nothing listens on the port of discard.
    let answer = run(&["--stun", "127.0.0.1:9", "--rounds", "1"]);
    answer.expect_error("no server named our external endpoint");
}

fn refused() {
    for arguments in [&[][..], &["--lab", "nonsense"], &["--lab", "--rounds", "0"]] {
        let answer = run(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains("error:"), "{}", answer.stderr);
    }
}

fn likeliest(json: &Value, whose: &str) -> String {
    json[whose][0]["text"].as_str().unwrap_or_default().to_owned()
}

fn answered(arguments: &[&str]) -> Value {
    let answer = run(&[arguments, &["--json", "--seed", "7"]].concat());
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json = answer.json();
    let schema = include_str!("../docs/ports.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap();
    let broken: Vec<_> = schema.iter_errors(&json).map(|e| e.to_string()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    json
}

fn run(arguments: &[&str]) -> Answer {
    let mut command = marked(Command::new(env!("CARGO_BIN_EXE_tso-probe")));
    command.arg("ports").args(arguments);
    Running::start(command).wait(PATIENCE)
}

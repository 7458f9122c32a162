//! Command lines and configurations → requests.

use std::fs;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use super::args::CommandLine;
use super::*;
use crate::engine::Effort;
use crate::rendezvous::{CONTROL_PORT, PROBE_PORTS, STUN_PORTS};
use crate::time::Duration;

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    CommandLine::command().debug_assert();
}

#[test]
fn reflectors_come_from_the_command_line_first() {
    let surroundings = Surroundings { reflector: Some("env.example".to_owned()), ..nowhere() };
    let request = classify("--reflector a.example --reflector b.example:9", &surroundings);
    assert_eq!(
        reflectors(request),
        [("a.example".to_owned(), CONTROL_PORT), ("b.example".to_owned(), 9)]
    );
}

#[test]
fn then_from_the_named_configuration_then_the_environment_then_found_files() {
    let file = Scratch::new(
        "order",
        "reflector = [\"file.example:7\"]\nsecond_internal = \"192.0.2.7\"\n",
    );
    let named = format!("--config {}", file.0.display());
    let mut surroundings = Surroundings {
        reflector: Some("env.example:8".to_owned()),
        files: vec![PathBuf::from("/nowhere"), file.0.clone()],
    };
    assert_eq!(reflectors(classify(&named, &surroundings)), [("file.example".to_owned(), 7)]);
    assert_eq!(reflectors(classify("", &surroundings)), [("env.example".to_owned(), 8)]);
    surroundings.reflector = None;
    let found = classify("", &surroundings);
    let Source::Live { second_internal, .. } = &found.source else { panic!("{found:?}") };
    assert_eq!(second_internal.map(|address| address.to_string()).as_deref(), Some("192.0.2.7"));
    assert_eq!(reflectors(found), [("file.example".to_owned(), 7)]);
}

#[test]
fn with_none_at_all_the_request_says_so() {
    assert_eq!(reflectors(classify("", &nowhere())), []);
}

#[test]
fn a_key_that_is_unknown_is_named_with_its_line() {
    let file = Scratch::new("unknown", "# ours\nreflectors = [\"a.example\"]\n");
    let failure = fails(&format!("classify --config {}", file.0.display()));
    assert!(failure.error.contains("line 2: unknown field `reflectors`"), "{failure}");
    assert!(failure.hint.contains("two keys"), "{failure}");
}

#[test]
fn a_named_configuration_must_be_there() {
    let failure = fails("classify --config /nowhere/tso-probe.toml");
    assert!(failure.error.starts_with("cannot read the configuration /nowhere"), "{failure}");
}

#[test]
fn a_bad_host_in_the_environment_is_named() {
    let surroundings = Surroundings { reflector: Some("https://r".to_owned()), ..nowhere() };
    let line = CommandLine::try_parse_from(["tso-probe", "classify"]).expect("it is a command");
    let failure = Request::new(line, &surroundings).expect_err("it is no host");
    assert!(failure.error.contains("'https://r'"), "{failure}");
    assert!(failure.hint.contains("TSO_PROBE_REFLECTOR"), "{failure}");
}

#[test]
fn more_than_two_reflectors_are_too_many() {
    let failure = fails("classify --reflector a --reflector b --reflector c");
    assert_eq!(failure.error, "3 reflectors were given");
}

#[test]
fn a_bare_lab_is_the_nat_of_most_homes() {
    let modelled = Modelled { nat: "openwrt-kernel".to_owned(), delay: None };
    assert_eq!(classify("--lab", &nowhere()).source, Source::Lab(modelled));
}

#[test]
fn stun_servers_are_named_in_a_row() {
    let request = classify("--stun a.example b.example:9 --seed 7", &nowhere());
    let host = |name: &str, port| request::Host { name: name.to_owned(), port };
    let servers = vec![host("a.example", STUN_PORTS[0]), host("b.example", 9)];
    assert_eq!((request.source, request.seed), (Source::Stun(servers), Some(7)));
}

#[test]
fn a_simulation_takes_a_delay_and_a_seed() {
    let request =
        classify("--sim mapping=apdm,filtering=adf --delay 50ms --seed 7 --quick", &nowhere());
    let (nat, delay) = ("mapping=apdm,filtering=adf".to_owned(), Some(Duration::from_millis(50)));
    assert_eq!(request.source, Source::Sim(Modelled { nat, delay }));
    assert_eq!((request.seed, request.effort), (Some(7), Effort::Quick));
}

#[test]
fn what_contradicts_itself_is_a_usage_error() {
    for line in [
        "classify --lab --sim linux",
        "classify --reflector a --lab",
        "classify --quick --full",
        "classify --from f.pcapng --quick",
        "classify --stun a --reflector b",
        "classify --stun",
        "classify --stun a --quick",
        "classify --stun https://a",
        "classify --from f.pcapng --seed 1",
        "classify --from f.pcapng --delay 5ms",
        "classify --sim linux --second-internal 192.0.2.1",
        "classify --reflector https://r",
        "serve --probe-ports 1,1",
        "lab shell linux nc",
        "punch",
        "doctor --local-port 0",
        "doctor --towards https://r",
    ] {
        let error = CommandLine::try_parse_from(words(line)).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    assert_eq!(fails("classify --delay 5ms").hint, "add --lab or --sim NAT");
}

#[test]
fn a_reflector_to_be_has_three_ports_and_maybe_two_addresses() {
    let serve = |line: &str| match request(line) {
        Ok(Request::Serve(serve)) => serve,
        other => panic!("{other:?}"),
    };
    let plain = serve("serve");
    assert_eq!(
        (plain.listen, plain.control_port, plain.probe_ports),
        (None, CONTROL_PORT, PROBE_PORTS)
    );
    let full = serve("serve --listen 192.0.2.1:9 --alternate 192.0.2.2 --probe-ports 10,11");
    assert_eq!((full.control_port, full.probe_ports), (9, [10, 11]));
    for bad in [
        "serve --listen 192.0.2.1:9 --control-port 8",
        "serve --listen 192.0.2.1 --alternate 192.0.2.1",
        "serve --listen 192.0.2.1 --alternate 2001:db8::1",
        "serve --control-port 5383",
        "serve --control-port 0",
    ] {
        assert!(!fails(bad).hint.is_empty(), "{bad}");
    }
}

#[test]
fn a_shell_in_the_lab_takes_a_nat_and_a_program_with_its_own_options() {
    let shell = |line: &str| match request(line) {
        Ok(Request::LabShell(shell)) => shell,
        other => panic!("{other:?}"),
    };
    let bare = shell("lab shell");
    assert_eq!((bare.modelled.nat.as_str(), bare.command.len()), ("openwrt-kernel", 0));
    let full = shell("lab shell linux --delay 50ms --seed 7 -- nc --listen -p 80");
    assert_eq!((full.modelled.nat.as_str(), full.seed), ("linux", Some(7)));
    assert_eq!(full.modelled.delay, Some(Duration::from_millis(50)));
    assert_eq!(full.command, ["nc", "--listen", "-p", "80"]);
}

#[test]
fn the_schema_is_printed_whatever_else_is_said() {
    assert_eq!(request("classify --json-schema --sim linux"), Ok(Request::ClassifySchema));
}

#[test]
fn a_failure_has_two_lines() {
    assert_eq!(Failure::new("it broke", "mend it").to_string(), "error: it broke\nhint: mend it");
    assert_eq!(Failure::new("it broke", "").to_string(), "error: it broke");
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    std::iter::once("tso-probe").chain(line.split_whitespace())
}

fn request(line: &str) -> Result<Request, Failure> {
    let line = CommandLine::try_parse_from(words(line)).expect("it is a command");
    Request::new(line, &nowhere())
}

fn fails(line: &str) -> Failure {
    request(line).expect_err("it makes no sense")
}

fn classify(rest: &str, surroundings: &Surroundings) -> Classify {
    let line = format!("classify {rest}");
    let line = CommandLine::try_parse_from(words(&line)).expect("it is a command");
    match Request::new(line, surroundings) {
        Ok(Request::Classify(classify)) => classify,
        other => panic!("{other:?}"),
    }
}

fn reflectors(request: Classify) -> Vec<(String, u16)> {
    match request.source {
        Source::Live { reflectors, .. } => {
            reflectors.into_iter().map(|host| (host.name, host.port)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn nowhere() -> Surroundings {
    Surroundings::default()
}

/// A file that goes when the test does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tso-probe-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).expect("a temporary file can be written");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

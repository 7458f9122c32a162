//! The crossing window that two real kernels show is the one that the delays of their packets predict.

#![allow(clippy::unwrap_used)]

mod network;

use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use network::{Answer, PATIENCE, Running, marked};
use serde_json::Value;
use tso_probe::lab::{PairPlan, with_pair};
use tso_probe::os::netns::Namespace;
use tso_probe::os::privilege::is_root;
use tso_probe::sim::Weather;

fn main() {
    let trials = TESTS.iter().map(|(name, test)| Trial::test(*name, test));
    let trials = trials.map(|trial| trial.with_ignored_flag(!is_root())).collect();
    if !is_root() {
        eprintln!("SKIPPED: the lab needs root");
    }
    let mut arguments = Arguments::from_args();
    // Ends that spin until their moments need a CPU each.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

type Test = (&'static str, fn() -> Result<(), Failed>);

const TESTS: &[Test] = &[
    ("behind_silent_nats_the_window_is_as_predicted", || {
        let window = swept("linux", "linux")?;
        opened_beyond(&window, "half-crossed")
    }),
    ("behind_resetting_nats_the_window_is_as_predicted", || {
        let window = swept("openwrt", "openwrt-kernel")?;
        expect(trials(&window).all(|trial| trial["opening"] != "half-crossed"), &window)
    }),
    ("with_a_willing_peer_both_ends_measure_the_window", willing_peer),
    ("one_pair_more_or_a_delay_out_of_bounds_is_an_error_with_a_hint", refused),
];

/// Measures a window; it is as predicted.
fn swept(a: &str, b: &str) -> Result<Value, Failed> {
    let nats = [format!("A={a}"), format!("B={b}")];
    as_predicted(&run(&["--crossing-window", &nats[0], &nats[1], "--json"]))
}

/// The window of an answer.
fn as_predicted(answer: &Answer) -> Result<Value, Failed> {
    let (said, code) = (&answer.stderr, answer.code);
    let answer: Value =
        serde_json::from_str(&answer.stdout).map_err(|why| format!("{why}: {said}"))?;
    let schema = include_str!("../docs/timing.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema)?)?;
    schema.validate(&answer).map_err(|why| format!("{why}: {answer:#}"))?;
    let window = answer["windows"][0].clone();
    if code != Some(0) {
        return Err(format!("exit code {code:?}: {said}{window:#}").into());
    }
    expect(window["agree"] == true, &window)?;
    let crossed = trials(&window).filter(|trial| trial["opening"] == "crossed").count();
    // No skew and half the window each way cross, half as much again does not.
    expect(crossed >= 3 && trials(&window).count() >= crossed + 2, &window)?;
    Ok(window)
}

/// One end is behind a NAT that gives each local port another external one, which it asks a server for;
/// the other is in the open. Both tell the same.
fn willing_peer() -> Result<(), Failed> {
    let nat = "rfc5382,ports=random".parse().unwrap();
    let weather = Weather { delay: Duration::from_millis(10), ..Weather::default() };
    let plan = PairPlan { a: Some(nat), b: None, weather, seed: 5 };
    let answers = with_pair(&plan, |pair| {
        let [a, b] = &pair.ends;
        let (on, server) = (b.external.to_string(), pair.server.addresses[0].to_string());
        let mut serves = started(&pair.server.namespace, &["serve", "--listen", &server]);
        assert!(!serves.line().is_empty(), "it does not serve");
        let both = ["timing", "--crossing-window", "--json", "-v", "--local-port", "7000"];
        let start = |namespace, more: &[&str]| started(namespace, &[&both, more].concat());
        let mut follows = start(&b.namespace, &["--listen-control", &on]);
        let mut said = follows.progress();
        assert!(said.any(|line| line.contains("waiting for the peer")), "it does not listen");
        let decides = start(&a.namespace, &["--via", &on, "--stun", &server]);
        Ok([decides, follows].map(|end| end.wait(PATIENCE)))
    })?;
    let [decided, followed] = answers.map(|answer| as_predicted(&answer));
    let (decided, followed) = (decided?, followed?);
    let told = |window: &Value| (window["a"].clone(), window["b"].clone(), trials(window).count());
    if told(&decided) != told(&followed) {
        return Err(format!("{:?}, {:?}", told(&decided), told(&followed)).into());
    }
    Ok(())
}

fn started(namespace: &Namespace, arguments: &[&str]) -> Running {
    let mut command = marked(Command::new(env!("CARGO_BIN_EXE_tso-probe")));
    command.args(arguments);
    namespace.run(|| Running::start(command)).unwrap()
}

/// A SYN that comes too early is lost; the later one then meets a host that has sent its own.
fn opened_beyond(window: &Value, opening: &str) -> Result<(), Failed> {
    let mut beyond = trials(window).filter(|trial| trial["opening"] != "crossed");
    expect(beyond.all(|trial| trial["opening"] == opening), window)
}

fn refused() -> Result<(), Failed> {
    for arguments in [
        &["--crossing-window", "A=linux"][..],
        &["--crossing-window", "A=linux", "B=nonsense"],
        &["--crossing-window", "--delay", "5us"],
        &["--crossing-window", "--delay", "3s"],
        &["--crossing-window", "--via", "127.0.0.1"],
        &["--crossing-window", "--local-port", "7000"],
        &["--crossing-window", "--via", "127.0.0.1", "--local-port", "7000", "--delay", "1ms"],
        &["--crossing-window", "--via", "127.0.0.1:1", "--local-port", "7000"],
        &[],
    ] {
        let Answer { code, stdout, stderr, .. } = run(arguments);
        if code != Some(2) || !stdout.is_empty() || !stderr.contains("error:") {
            return Err(format!("{arguments:?}: {stderr}").into());
        }
    }
    Ok(())
}

fn trials(window: &Value) -> impl Iterator<Item = &Value> {
    window["trials"].as_array().into_iter().flatten()
}

fn expect(is_so: bool, window: &Value) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(format!("{window:#}").into()) }
}

fn run(arguments: &[&str]) -> Answer {
    let mut command = marked(Command::new(env!("CARGO_BIN_EXE_tso-probe")));
    command.arg("timing").args(arguments);
    Running::start(command).wait(PATIENCE)
}

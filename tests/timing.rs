//! The crossing window that two real kernels show is the one that the delays of their packets predict.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tso_probe::os::privilege::is_root;

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
    ("one_pair_more_or_a_delay_out_of_bounds_is_an_error_with_a_hint", refused),
];

/// Measures a window; it is as predicted.
fn swept(a: &str, b: &str) -> Result<Value, Failed> {
    let nats = [format!("A={a}"), format!("B={b}")];
    let output = run(&["--crossing-window", &nats[0], &nats[1], "--json"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|why| format!("{why}: {said}"))?;
    let schema = include_str!("../docs/timing.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema)?)?;
    schema.validate(&answer).map_err(|why| format!("{why}: {answer:#}"))?;
    let window = answer["windows"][0].clone();
    expect(output.status.code() == Some(0) && window["agree"] == true, &window)?;
    let crossed = trials(&window).filter(|trial| trial["opening"] == "crossed").count();
    // No skew and half the window each way cross, half as much again does not.
    expect(crossed >= 3 && trials(&window).count() >= crossed + 2, &window)?;
    Ok(window)
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
        &[],
    ] {
        let output = run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_fit = output.status.code() == Some(2) && output.stdout.is_empty();
        if !is_fit || !said.contains("error:") {
            return Err(format!("{arguments:?}: {said}").into());
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

fn run(arguments: &[&str]) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    Ok(command.arg("timing").args(arguments).output()?)
}

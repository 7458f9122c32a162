//! Two real stacks punch through two NATs: what was to be expected of them, what the kernel says and
//! what the packets say are one.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tso_probe::os::privilege::is_root;

fn main() {
    let pairs =
        NATS.iter().enumerate().flat_map(|(place, a)| NATS[place..].iter().map(move |b| [*a, *b]));
    let meetings = meetings();
    let crossings = pairs.flat_map(|ends| {
        meetings.iter().map(move |how| {
            let name = format!("{}_and_{}_cross {}", ends[0], ends[1], how.join(" "));
            let how = how.clone();
            Trial::test(name.trim(), move || crosses(ends, &how))
        })
    });
    let others = OTHERS.iter().map(|(name, test)| Trial::test(*name, test));
    let trials = crossings.chain(others).map(|trial| trial.with_ignored_flag(!is_root()));
    if !is_root() {
        eprintln!("SKIPPED: the lab needs root");
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(SIDE_BY_SIDE));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// How all pairs are to meet; with `TSO_PROBE_MEETINGS=all` over three delays and in three ways.
fn meetings() -> Vec<Vec<&'static str>> {
    if std::env::var("TSO_PROBE_MEETINGS").is_err() {
        return vec![vec!["--delay", DELAY]];
    }
    let delays = ["5ms", "20ms", DELAY].map(|delay| vec!["--delay", delay]);
    let ways = [vec![], vec!["--sync", "clock"], vec!["--sync", "rtt"]];
    delays.iter().flat_map(|delay| ways.iter().map(move |way| [&delay[..], way].concat())).collect()
}

/// NATs that give one endpoint one mapping, and let in whom it has written to.
const NATS: [&str; 6] = ["none", "openwrt", "openwrt-kernel", "linux-kernel", "rfc5382", "cgn"];

type Test = (&'static str, fn() -> Result<(), Failed>);

const OTHERS: &[Test] = &[
    ("ends_with_a_relay_cross_by_their_clocks", || synchronised("clock")),
    ("ends_with_a_relay_cross_by_half_a_round_trip", || synchronised("rtt")),
    ("two_public_hosts_too_far_apart_open_in_three_ways", three_ways),
    ("where_nats_reset_early_syns_a_later_attempt_crosses", later),
    ("a_nat_that_maps_each_peer_elsewhere_does_not_open", symmetric),
    ("the_picture_and_the_evidence_show_both_ends", shown),
    ("what_each_end_alone_would_say_fits_the_truth", alone),
    ("behind_one_nat_it_opens_if_that_hairpins", same_nat),
    ("within_a_carriers_nat_it_opens_if_that_hairpins", nested),
    ("every_placement_opens_as_is_expected_of_its_nats", || placements("linux", 6)),
    ("where_ports_are_random_no_two_nats_are_crossed", || {
        placements("mapping=apdm,filtering=apdf,ports=random", 2)
    }),
    ("a_nat_that_is_none_is_an_error_with_a_hint", misnamed),
];

/// A packet to one's own NAT has to be turned around there (RFC 5382 REQ-8).
fn same_nat() -> Result<(), Failed> {
    for (shared, opens) in [
        ("linux,hairpinning=external-source", true),
        ("linux,hairpinning=unsupported", false),
        // What comes is from another endpoint than was written to.
        ("full-cone,hairpinning=internal-source", false),
        ("linux-kernel", false),
    ] {
        behind(shared, ["none", "none"], opens)?;
    }
    Ok(())
}

fn nested() -> Result<(), Failed> {
    for (nats, shared, opens) in [
        (["linux", "openwrt"], "cgn,hairpinning=external-source", true),
        (["linux-kernel", "none"], "rfc5382", true),
        (["linux", "none"], "cgn,hairpinning=unsupported", false),
        (["double-nat", "openwrt-kernel"], "openwrt-kernel", false),
    ] {
        behind(shared, nats, opens)?;
    }
    Ok(())
}

/// So many of the placements open.
fn placements(nat: &str, opens: usize) -> Result<(), Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    let output = command.args(["lab", "placements", nat, "--trials", "2", "--json"]).output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let schema = include_str!("../docs/lab-placements.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema)?)?;
    schema.validate(&answer).map_err(|why| format!("{why}: {answer:#}"))?;
    let all = answer["placements"].as_array().ok_or("no placements")?;
    let opened = all.iter().filter(|placement| placement["opened"] == 2).count();
    let is_fit = output.status.code() == Some(0) && all.len() == 8 && opened == opens;
    if is_fit { Ok(()) } else { Err(format!("{opened} open: {answer:#}").into()) }
}

fn behind(shared: &str, [a, b]: [&str; 2], opens: bool) -> Result<(), Failed> {
    let (a, b) = (format!("A={a}"), format!("B={b}"));
    let output = run(&[&a, &b, "--behind", shared, "--delay", "5ms", "--timeout", "2s", "--json"])?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let is_open = output.status.code() == Some(0) && answer["outcome"] == "open";
    let is_shut = output.status.code() == Some(1) && answer["outcome"] != "open";
    let is_shut = is_shut && answer["diagnosis"]["cause"] == "same-nat";
    let as_expected = if opens { is_open } else { is_shut };
    if as_expected { Ok(()) } else { Err(format!("{a} {b} {shared}: {answer:#}").into()) }
}

fn run(arguments: &[&str]) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    Ok(command.args(["lab", "run"]).args(arguments).output()?)
}

fn json(code: i32, arguments: &[&str]) -> Result<Value, Failed> {
    let output = run(&[arguments, &["--json"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|why| format!("{why}: {said}"))?;
    let schema = include_str!("../docs/lab-run.schema.json");
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema)?)?;
    let broken: Vec<_> = schema.iter_errors(&answer).map(|e| e.to_string()).collect();
    expect(broken.is_empty(), &broken, &answer)?;
    expect(output.status.code() == Some(code), output.status, &answer)?;
    Ok(answer)
}

fn expect(holds: bool, what: impl std::fmt::Debug, answer: &Value) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what:?}\n{answer:#}").into()) }
}

/// Whether the departures that were measured must have crossed.
fn is_predicted(answer: &Value) -> bool {
    let number = |key: &str| answer[key].as_f64().unwrap_or(f64::NAN);
    number("skew_us").abs() < number("crossing_window_us")
}

fn crosses([a, b]: [&str; 2], how: &[&str]) -> Result<(), Failed> {
    let nats = [format!("A={a}"), format!("B={b}")];
    let answer = json(0, &[&[nats[0].as_str(), nats[1].as_str()], how].concat())?;
    expect((answer["opening"] == "crossed") == is_predicted(&answer), "as predicted", &answer)?;
    let witnesses = &answer["witnesses"];
    for witness in ["wire", "kernel"] {
        expect(witnesses[witness]["opening"] == answer["opening"], witness, &answer)?;
    }
    expect(witnesses["agree"] == true, "they agree", &answer)?;
    expect(answer["carries"] == true, "octets pass both ways", &answer)
}

fn synchronised(by: &str) -> Result<(), Failed> {
    let answer = json(0, &["A=openwrt", "B=linux-kernel", "--delay", DELAY, "--sync", by])?;
    expect((answer["opening"] == "crossed") == is_predicted(&answer), "as predicted", &answer)?;
    expect(answer["witnesses"]["agree"] == true, "they agree", &answer)?;
    // The relay is two links away from either end.
    expect(answer["clock_error_us"].as_f64() > Some(60_000.0), "the bound is honest", &answer)
}

fn three_ways() -> Result<(), Failed> {
    let answer = json(0, &["A=none", "B=none", "--delay", "20ms", "--skew", "150ms"])?;
    expect(answer["opening"] == "three-way", "three ways", &answer)?;
    expect(answer["ends"][1]["by"] == "accept", "b accepts", &answer)
}

fn later() -> Result<(), Failed> {
    let answer = json(0, &["A=openwrt", "B=openwrt", "--delay", "60ms", "--skew", "150ms"])?;
    let attempts = answer["attempts"].as_array().unwrap();
    let refused = attempts.iter().any(|attempt| attempt["missed"] == "refused");
    expect(refused && attempts.len() > 2, "an attempt was refused", &answer)?;
    expect(answer["witnesses"]["agree"] == true, "they agree", &answer)
}

fn symmetric() -> Result<(), Failed> {
    let arguments = ["A=linux", "B=linux-random", "--delay", "10ms", "--timeout", "2s"];
    let answer = json(1, &arguments)?;
    expect(answer["opening"] == "none", "none", &answer)?;
    let causes = ["nothing-arrived", "reset"];
    let cause = answer["diagnosis"]["cause"].as_str().unwrap_or_default();
    expect(causes.contains(&cause), cause, &answer)
}

fn shown() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (svg, evidence) = (file("ladder.svg"), file("evidence.pcapng"));
    json(0, &["A=openwrt", "B=none", "--delay", DELAY, "--svg", &svg, "--evidence", &evidence])?;
    let picture = std::fs::read_to_string(svg)?;
    for word in ["192.168.1.2:7001", "203.0.113.1:7002", "SYN-RECEIVED", "crossed"] {
        if !picture.contains(word) {
            return Err(format!("{word} is missing: {picture}").into());
        }
    }
    let read =
        tso_probe::capture::read(&std::fs::read(evidence)?).map_err(|why| why.to_string())?;
    let verdict = tso_probe::verdict::judge_punch(&read.run);
    if verdict.opening == tso_probe::tcp::Opening::Crossed {
        Ok(())
    } else {
        Err(format!("{verdict:?}").into())
    }
}

fn alone() -> Result<(), Failed> {
    let answer = json(0, &["A=none", "B=none", "--delay", "20ms", "--skew", "150ms"])?;
    let said = |end: usize| answer["ends"][end]["alone"]["opening"].clone();
    expect(said(0) == "three-way-or-half-crossed", said(0), &answer)?;
    expect(said(1) == "accepted", said(1), &answer)
}

fn misnamed() -> Result<(), Failed> {
    for (arguments, error) in [
        (["A=openwrt", "linux"], "'linux' does not say what B is behind"),
        (["A=openwrt", "B=lynux"], "lynux"),
    ] {
        let output = run(&arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(2) || !said.contains(error) || !said.contains("hint: ") {
            return Err(said.into());
        }
    }
    Ok(())
}

/// Long beside what a busy machine adds.
const DELAY: &str = "60ms";

/// Each waits far more than it computes, but two of each spin.
const SIDE_BY_SIDE: usize = 2;

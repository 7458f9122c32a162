//! `analyze` on captures of several points: real openings through a real NAT, seen by tcpdump at a, on both sides of
//! its NAT, and at b, whose clock is 12.345 s ahead; and evidence files of this program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::Command;

use serde_json::Value;

/// In the order in which packets from a pass them.
const POINTS: [&str; 4] = ["a", "inside", "outside", "b"];

const AHEAD_US: f64 = 12_345_000.0;

#[test]
fn every_opening_is_explained_as_expected_in_whatever_order_the_captures_are_named() {
    for (name, expected) in expectations() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let answer = json(&order.map(|place| capture(&name, POINTS[place])));
            let merged = opening_of_a(&answer, &order);
            for key in ["opening", "outcome"] {
                assert_eq!(merged[key], *expected[key].as_str().unwrap(), "{name} {order:?} {key}");
            }
            let found = &merged["diagnosis"][0];
            // Whose the connection is called depends on which capture is named first.
            let side = expected.get("side").and_then(toml::Value::as_str);
            let side = side.map(|side| called(&merged, &order, side));
            assert_eq!(found["side"].as_str(), side, "{name} {order:?}: {found:#}");
            for key in ["cause", "confidence"] {
                let expected = expected.get(key).and_then(toml::Value::as_str);
                assert_eq!(found[key].as_str(), expected, "{name} {order:?} {key}");
            }
            assert_eq!(between(found, &merged, &order), told(&expected), "{name} {order:?}");
        }
    }
}

#[test]
fn by_both_ends_alone_it_is_the_same_cause_or_less_is_said() {
    for (name, expected) in expectations() {
        let order = [0, 3];
        let answer = json(&[capture(&name, "a"), capture(&name, "b")]);
        let merged = opening_of_a(&answer, &order);
        let cause = expected.get("cause_by_ends").or(expected.get("cause"));
        let cause = cause.and_then(toml::Value::as_str);
        let found = merged["diagnosis"][0]["cause"].as_str();
        assert!(found == cause || found == Some("unknown"), "{name}: {found:?}, not {cause:?}");
        if let Some(between) = merged["diagnosis"][0]["between"].as_array() {
            assert_eq!(between, &[1, 2], "{name}");
        }
    }
}

#[test]
fn the_true_distance_of_the_clocks_lies_within_the_error_that_is_told() {
    let mut told = 0;
    for (name, _) in expectations() {
        let answer = json(&POINTS.map(|point| capture(&name, point)));
        for merged in answer["merged"].as_array().unwrap() {
            let first = merged["points"][0]["capture"].as_u64().unwrap();
            for point in merged["points"].as_array().unwrap().iter().skip(1) {
                let Some(ahead) = point["clock"]["ahead_us"].as_f64() else { continue };
                let own = |capture: u64| if capture == 4 { AHEAD_US } else { 0.0 };
                let truth = own(point["capture"].as_u64().unwrap()) - own(first);
                let error = point["clock"]["error_us"].as_f64().unwrap();
                // Captures have microseconds, and each end of a difference is cut down to one.
                assert!(
                    (ahead - truth).abs() <= error + 2.0,
                    "{name}: {ahead} ± {error}, not {truth}"
                );
                told += 1;
            }
        }
    }
    assert!(told > 10, "of {told} clocks alone was anything told");
}

#[test]
fn answers_keep_to_the_schema() {
    let schema: Value =
        serde_json::from_slice(&tool(&["--json-schema".to_owned()]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, _) in expectations() {
        let answer = json(&POINTS.map(|point| capture(&name, point)));
        let errors: Vec<_> =
            validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn the_text_fits_a_terminal_and_follows_each_packet() {
    let text = tool(&POINTS.map(|point| capture("middlebox-reset", point))).stdout;
    let text = String::from_utf8(text).unwrap();
    let prose = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(prose.contains("made between point 3 and point 4"), "{text}");
    assert!(prose.contains("source 192.168.1.2:6000 became"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_page_shows_all_points_without_script_or_network() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let files = POINTS.map(|point| capture("filtered", point));
    let all = [&files[..], &["--html".to_owned(), page.to_str().unwrap().to_owned()]].concat();
    tool(&all);
    let page = fs::read_to_string(page).unwrap();
    let foreign = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!foreign.contains("http") && !foreign.contains("<script"), "{foreign}");
    assert!(page.contains("syn-lost at a") && page.contains("point 4") && page.contains("✕"));
}

#[test]
fn of_evidence_files_the_live_verdict_is_told() {
    let mut told = 0;
    for entry in fs::read_dir("captures").unwrap().chain(fs::read_dir("captures/punches").unwrap())
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "pcapng") {
            continue;
        }
        let live = fs::read_to_string(path.with_extension("json")).unwrap();
        let live: Value = serde_json::from_str(&live).unwrap();
        let answer = json(&[path.to_str().unwrap().to_owned()]);
        let again = &answer["verdicts"][0]["verdict"];
        // Whether the connection carried anything only the run itself knew.
        let own = ["schema", "carries", "earlier", "greeting"];
        let compared =
            live.as_object().unwrap().iter().filter(|(key, _)| !own.contains(&key.as_str()));
        for (key, value) in compared {
            assert_eq!(again[key], *value, "{}: {key}", path.display());
        }
        told += 1;
    }
    assert!(told > 15, "{told} evidence files are few");
}

#[test]
fn what_two_ends_of_a_punch_saw_is_opened_as_its_verdict_says() {
    for name in ["crossed", "three-way", "half-crossed"] {
        let answer = json(&[format!("captures/punches/{name}.pcapng")]);
        let (merged, verdict) = (&answer["merged"][0], &answer["verdicts"][0]["verdict"]);
        for key in ["opening", "outcome"] {
            assert_eq!(merged[key], verdict[key], "{name}: {key}");
        }
    }
}

/// The connection that a began, which is the one that a's own capture has.
fn opening_of_a(answer: &Value, order: &[usize]) -> Value {
    let capture = order.iter().position(|place| *place == 0).unwrap() + 1;
    let all = answer["merged"].as_array().unwrap();
    let is_of_a = |merged: &&Value| {
        merged["points"].as_array().unwrap().iter().any(|point| point["capture"] == capture)
    };
    all.iter().find(is_of_a).unwrap_or_else(|| panic!("{answer:#}")).clone()
}

/// What a side of the expectation is called in this answer.
fn called<'a>(merged: &Value, order: &[usize], side: &'a str) -> &'a str {
    let captures = merged["points"].as_array().unwrap().iter().map(|point| &point["capture"]);
    let way: Vec<_> = captures
        .map(|capture| order[usize::try_from(capture.as_u64().unwrap()).unwrap() - 1])
        .collect();
    let is_reversed = way.first() > way.last();
    match (side, is_reversed) {
        ("a", true) => "b",
        ("b", true) => "a",
        _ => side,
    }
}

/// The names of the points between which it happened, in the order of the way from a.
fn between(found: &Value, merged: &Value, order: &[usize]) -> Option<Vec<String>> {
    let places = found["between"].as_array()?;
    let mut named: Vec<_> = places
        .iter()
        .map(|place| {
            let place = usize::try_from(place.as_u64().unwrap()).unwrap();
            let capture = merged["points"][place - 1]["capture"].as_u64().unwrap();
            order[usize::try_from(capture).unwrap() - 1]
        })
        .collect();
    named.sort_unstable();
    Some(named.into_iter().map(|place| POINTS[place].to_owned()).collect())
}

fn told(expected: &toml::Table) -> Option<Vec<String>> {
    let names = expected.get("between")?.as_array().unwrap();
    Some(names.iter().map(|name| name.as_str().unwrap().to_owned()).collect())
}

fn expectations() -> Vec<(String, toml::Table)> {
    let entries = fs::read_dir("captures/ends").unwrap().map(|entry| entry.unwrap().path());
    let expects = entries.filter(|path| path.extension().is_some_and(|ending| ending == "expect"));
    let all: Vec<_> = expects
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap().parse().unwrap())
        })
        .collect();
    assert!(all.len() >= 7, "where are the captures?");
    all
}

fn capture(name: &str, point: &str) -> String {
    format!("captures/ends/{name}/{point}.pcap")
}

fn tool(args: &[String]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    let output = command.arg("analyze").args(args).env_remove("COLUMNS").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {complaint}");
    output
}

fn json(files: &[String]) -> Value {
    let output = tool(&[&["--json".to_owned()], files].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

//! `analyze` on captures of real kernels, each with what is expected of it, and on files that are not what
//! they should be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

#[test]
fn every_capture_is_explained_as_expected() {
    for (name, expected) in expectations() {
        let answer = json(&["--all", &capture(&name)]);
        let number = expected["connection"].as_integer().unwrap();
        let connections = answer["connections"].as_array().unwrap();
        let connection = connections.iter().find(|one| one["number"] == number).unwrap();
        for key in ["seen_at", "opening", "outcome"] {
            assert_eq!(connection[key], *expected[key].as_str().unwrap(), "{name}: {key}");
        }
        let found = &connection["diagnosis"][0];
        for key in ["cause", "side", "confidence"] {
            let expected = expected.get(key).and_then(toml::Value::as_str);
            assert_eq!(found[key].as_str(), expected, "{name}: {key}");
        }
        if let Some(stack) = expected.get("stack") {
            assert_eq!(connection["stack"].as_str(), stack.as_str(), "{name}: stack");
        }
        if let Some(also) = expected.get("also") {
            let all = connection["diagnosis"].as_array().unwrap().iter();
            let mut besides = all.skip(1).filter_map(|found| found["cause"].as_str());
            assert!(besides.any(|cause| Some(cause) == also.as_str()), "{name}: also");
        }
        let frames = serde_json::to_value(&expected["frames"]).unwrap();
        assert_eq!(found["frames"], frames, "{name}: frames");
        assert!(!found["because"].as_str().unwrap().is_empty(), "{name}");
        assert!(!found["advice"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn every_cause_is_explained_in_the_documents() {
    let document = fs::read_to_string("docs/diagnoses.md").unwrap();
    for cause in causes() {
        let heading = format!("\n## {cause}\n");
        assert!(document.contains(&heading), "docs/diagnoses.md has no section '{cause}'");
    }
    let all = causes();
    for heading in document.lines().filter_map(|line| line.strip_prefix("## ")) {
        assert!(all.iter().any(|cause| cause == heading), "'{heading}' is no cause any more");
    }
}

#[test]
fn a_modelled_capture_names_its_source() {
    for (name, expected) in expectations() {
        match expected["made"].as_str().unwrap() {
            "kernel" => {}
            "modelled" => assert!(expected.get("source").is_some(), "{name}"),
            other => panic!("{name} is made by '{other}'"),
        }
    }
}

#[test]
fn answers_keep_to_the_schema() {
    let schema: Value = serde_json::from_str(&run(&["--json-schema"]).0).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, _) in expectations() {
        let answer = json(&["--all", &capture(&name)]);
        let errors: Vec<_> =
            validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn a_line_each_is_what_the_whole_has() {
    let file = capture("closed-port");
    let (lines, _) = run(&["--ndjson", &file]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, *json(&[&file])["connections"].as_array().unwrap());
}

#[test]
fn packed_copied_or_piped_it_is_the_same_capture() {
    let folder = tempfile::tempdir().unwrap();
    let original = capture("missed-window");
    let octets = fs::read(&original).unwrap();
    let packed = folder.path().join("packed.pcap.gz");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&octets).unwrap();
    fs::write(&packed, packer.finish().unwrap()).unwrap();
    let copy = folder.path().join("copy.pcapng");
    run(&[&original, "--annotate", text(&copy)]);
    let expected = &json(&[&original])["connections"];
    assert_eq!(json(&[text(&packed)])["connections"], *expected);
    assert_eq!(json(&[text(&copy)])["connections"], *expected);
    let (piped, _) = piped(&["--json", "-"], &octets);
    let piped: Value = serde_json::from_str(&piped).unwrap();
    assert_eq!(piped["connections"], *expected);
    // A directory is the captures in it.
    let all = json(&[text(folder.path())]);
    assert_eq!(all["captures"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_left_of_a_damaged_capture_is_analysed_and_the_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let octets = fs::read(capture("missed-window")).unwrap();
    let cut = folder.path().join("cut.pcap");
    fs::write(&cut, &octets[..octets.len() - 5]).unwrap();
    let output = tool(&["--json", text(&cut)]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("ends inside a frame"), "{complaint}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = answer["captures"][0]["truncated"]["at_octet"].as_u64().unwrap();
    assert!(at > 24 && at < octets.len() as u64);
    assert_eq!(answer["connections"][0]["diagnosis"][0]["cause"], "missed-window");
}

#[test]
fn frames_of_an_unknown_link_layer_are_named_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut octets = fs::read(capture("reset")).unwrap();
    octets[20..24].copy_from_slice(&147_u32.to_le_bytes());
    let file = folder.path().join("strange.pcap");
    fs::write(&file, octets).unwrap();
    let output = tool(&["--json", text(&file)]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("link type 147 skipped"), "{complaint}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["tally"]["connections"], 0);
    assert_eq!(answer["captures"][0]["link_type"][0]["read"], false);
}

#[test]
fn what_is_no_capture_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pcap");
    fs::write(&empty, "").unwrap();
    let prose = folder.path().join("prose.pcap");
    fs::write(&prose, "this is no capture, but a long line of prose").unwrap();
    let missing = folder.path().join("missing.pcap");
    let nothing = folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    for file in [&empty, &prose, &missing, &nothing] {
        let output = tool(&[text(file)]).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("error:") && complaint.contains("hint:"), "{complaint}");
    }
}

#[test]
fn one_file_that_cannot_be_read_does_not_hide_the_others() {
    let (good, folder) = (capture("reset"), tempfile::tempdir().unwrap());
    let missing = folder.path().join("missing.pcap");
    let output = tool(&["--json", text(&missing), &good]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["tally"]["connections"], 1);
}

#[test]
fn filters_leave_the_numbers_as_they_are() {
    let file = capture("closed-port");
    let refused = json(&["--outcome", "refused", &file]);
    assert_eq!(refused["connections"][0]["number"], 2);
    assert_eq!(refused["tally"]["connections"], 1);
    assert_eq!(json(&["--port", "6001", &file])["connections"][0]["number"], 1);
    assert_eq!(json(&["--address", "192.0.2.99", &file])["tally"]["connections"], 0);
    let all = json(&[&file])["tally"]["connections"].clone();
    assert_eq!(json(&["--address", "0.0.0.0/0", &file])["tally"]["connections"], all);
    assert_eq!(json(&["--address", "2001:db8::/32", &file])["tally"]["connections"], 0);
    assert_eq!(json(&["--until", "1", &file])["tally"]["connections"], 0);
}

#[test]
fn a_connection_that_is_not_there_is_said_to_be_not_there() {
    let output = tool(&["--ladder", "9", &capture("reset")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("no connection 9"), "{complaint}");
    let (ladder, _) = run(&["--ladder", "1", &capture("reset")]);
    assert!(ladder.contains("SYN ──") && ladder.contains("RST,ACK"), "{ladder}");
    assert!(ladder.lines().all(|line| line.chars().count() <= 80), "{ladder}");
}

#[test]
fn the_page_needs_no_network_and_no_script() {
    let folder = tempfile::tempdir().unwrap();
    let (page, picture) = (folder.path().join("page.html"), folder.path().join("picture.svg"));
    let file = capture("missed-window");
    run(&[&file, "--html", text(&page), "--svg", text(&picture)]);
    let page = fs::read_to_string(page).unwrap();
    let foreign = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!foreign.contains("http") && !foreign.contains("<script"), "{foreign}");
    assert!(page.contains("missed-window at a") && page.contains("prefers-color-scheme"));
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));
}

#[test]
fn a_copy_cannot_be_written_of_what_is_read_once() {
    let (_, status) = piped(&["-", "--annotate", "/nowhere/copy.pcapng"], b"");
    assert_eq!(status, Some(2));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = tool(&["--ndjson", "captures/causes"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The captures that have expectations, by name.
fn expectations() -> Vec<(String, toml::Table)> {
    let entries = fs::read_dir("captures/causes").unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "expect"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap().parse().unwrap())
        })
        .collect();
    all.sort_by(|one: &(String, toml::Table), other| one.0.cmp(&other.0));
    assert!(all.len() > 10, "where are the captures?");
    all
}

fn capture(name: &str) -> String {
    let of = |end: &str| PathBuf::from(format!("captures/causes/{name}.{end}"));
    let path = ["pcap", "pcapng"].map(of).into_iter().find(|path| path.exists()).unwrap();
    text(&path).to_owned()
}

/// Every cause, as the schema names them.
fn causes() -> Vec<String> {
    let schema: Value = serde_json::from_str(&run(&["--json-schema"]).0).unwrap();
    let all = schema["$defs"]["OpeningCause"]["oneOf"].as_array().unwrap();
    all.iter().map(|one| one["const"].as_str().unwrap().to_owned()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    command.arg("analyze").args(args).env_remove("COLUMNS");
    command
}

/// What it prints, and its exit code, which is 0.
fn run(args: &[&str]) -> (String, Output) {
    let output = tool(args).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {complaint}");
    (String::from_utf8(output.stdout.clone()).unwrap(), output)
}

fn json(args: &[&str]) -> Value {
    let output = tool(&[&["--json"], args].concat()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it prints of what it is given on stdin, and its exit code.
fn piped(args: &[&str], octets: &[u8]) -> (String, Option<i32>) {
    let mut child = tool(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(octets);
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

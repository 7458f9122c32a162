//! The evidence files of the presets, and what is said of them, are kept true.

use std::path::{Path, PathBuf};
use std::process::Command;

use tso_probe::nat::{Device, PRESETS, Preset};
use tso_probe::{capture, report, verdict};

#[test]
fn every_preset_has_an_evidence_file_that_is_judged_as_its_json_says() {
    for preset in PRESETS {
        let bytes = std::fs::read(file(preset, "pcapng")).unwrap();
        let evidence = capture::read(&bytes).unwrap();
        let judged = report::json(&verdict::judge(&evidence.run));
        let expected = std::fs::read_to_string(file(preset, "json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(judged, expected, "{}: `make captures` writes both afresh", preset.name);
    }
}

#[test]
fn the_simulator_still_gives_what_the_evidence_files_of_models_hold() {
    for preset in PRESETS.iter().filter(|preset| matches!(preset.device(), Device::Modelled(_))) {
        let expected = std::fs::read_to_string(file(preset, "json")).unwrap();
        let args = ["classify", "--sim", preset.name, "--seed", "5382", "--json"];
        assert_eq!(answer(&args), expected, "{}: `make captures` writes both afresh", preset.name);
    }
}

#[test]
fn masked_evidence_gets_the_same_findings_and_shows_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let masked = folder.path().join("masked.pcapng");
    let masked_name = masked.to_str().unwrap();
    let from = file(Preset::named("openwrt-kernel").unwrap(), "pcapng");
    let from = from.to_str().unwrap();
    let args = ["classify", "--from", from, "--mask", "--json", "--evidence", masked_name];
    let said: serde_json::Value = serde_json::from_str(&answer(&args)).unwrap();
    let again = answer(&["classify", "--from", masked_name, "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(said, again);
    let plain = answer(&["classify", "--from", from, "--json"]);
    let plain: serde_json::Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(said["findings"], plain["findings"]);
    let internal = "192.168.1.";
    let bytes = std::fs::read(&masked).unwrap();
    assert!(!again.to_string().contains(internal), "{again:#}");
    assert!(!String::from_utf8_lossy(&bytes).contains(internal));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_ones() {
    let args = |seed| ["classify", "--sim", "linux-random", "--json", "--seed", seed];
    assert_eq!(answer(&args("7")), answer(&args("7")));
    assert_ne!(answer(&args("7")), answer(&args("8")));
}

#[test]
fn the_evidence_files_of_punches_are_judged_as_their_json_says() {
    for name in ["crossed", "three-way", "elsewhere", "half-crossed"] {
        let bytes = std::fs::read(punch(name, "pcapng")).unwrap();
        let verdict = verdict::judge_punch(&capture::read(&bytes).unwrap().run);
        let mut judged = report::lab_run_json(&verdict, None);
        let expected = std::fs::read_to_string(punch(name, "json")).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        // Only the run itself knew whether its connection carried anything.
        judged["carries"].take();
        expected["carries"].take();
        assert_eq!(judged, expected, "{name}: `make captures` writes both afresh");
    }
}

#[test]
fn the_picture_of_a_crossing_is_that_of_its_evidence_file() {
    let bytes = std::fs::read(punch("crossed", "pcapng")).unwrap();
    let verdict = verdict::judge_punch(&capture::read(&bytes).unwrap().run);
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/punch.svg");
    let written = std::fs::read_to_string(written).unwrap();
    assert_eq!(report::punch_picture(&verdict), written, "`make captures` writes both afresh");
}

fn punch(name: &str, ending: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/punches");
    folder.join(format!("{name}.{ending}"))
}

fn file(preset: &Preset, ending: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    folder.join(format!("{}.{ending}", preset.name))
}

/// What the program prints; it must answer, or know what it does not know.
fn answer(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tso-probe"))
        .args(args)
        .output()
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {errors}");
    String::from_utf8(output.stdout).expect("answers are UTF-8")
}

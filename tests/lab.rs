//! Every modelled preset, with real packets through real kernels' stacks, gets the findings that it
//! gets on virtual time.

use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tso_probe::nat::{Device, PRESETS, Preset};
use tso_probe::os::privilege::is_root;

fn main() {
    let modelled = PRESETS.iter().filter(|preset| matches!(preset.device(), Device::Modelled(_)));
    let trials = modelled.map(|preset| {
        let name = format!("{}_is_classified_alike_in_the_lab_and_on_virtual_time", preset.name);
        // Each waits for seconds and computes for milliseconds: they run side by side.
        Trial::test(name, || alike(preset)).with_ignored_flag(!is_root())
    });
    if !is_root() {
        eprintln!("SKIPPED: the lab needs root");
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(SIDE_BY_SIDE);
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn alike(preset: &Preset) -> Result<(), Failed> {
    let lab = findings("--lab", preset.name)?;
    let sim = findings("--sim", preset.name)?;
    if lab == sim {
        return Ok(());
    }
    Err(format!("in the lab {lab:#}\non virtual time {sim:#}").into())
}

fn findings(source: &str, preset: &str) -> Result<Value, Failed> {
    let program = env!("CARGO_BIN_EXE_tso-probe");
    let args = ["classify", source, preset, "--delay", "5ms", "--json"];
    let output = Command::new(program).args(args).output()?;
    if !matches!(output.status.code(), Some(0 | 3)) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut answer: Value = serde_json::from_slice(&output.stdout)?;
    let mut findings = answer["findings"].take();
    forget_chance(&mut findings);
    Ok(findings)
}

/// Frames, ports, bounds and milliseconds differ from run to run.
fn forget_chance(findings: &mut Value) {
    match findings {
        Value::Object(fields) => {
            for chance in ["evidence", "error_bound", "range", "next"] {
                fields.remove(chance);
            }
            if let Some(after_ms) = fields.get_mut("after_ms") {
                *after_ms = after_ms.as_u64().map(|ms| (ms + 400) / 1_000).into();
            }
            fields.values_mut().for_each(forget_chance);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_chance),
        _ => {}
    }
}

const SIDE_BY_SIDE: usize = 5;

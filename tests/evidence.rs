//! Proof is what falls when it is taken away: whichever frame of a finding's evidence is deleted from
//! the evidence file, the finding changes or becomes unknown. And it is whole: with all of them
//! deleted, nothing else in the file shows the same value.

use tso_probe::capture::{Evidence, read, write};
use tso_probe::engine::Effort;
use tso_probe::nat::{self, Behaviour, Device, Preset};
use tso_probe::sim::{Layout, classify};
use tso_probe::time::Duration;
use tso_probe::verdict::{Finding, Findings, judge};

/// Presets that between them show every value of every finding.
const PRESETS: [&str; 9] = [
    "rfc5382",
    "openwrt",
    "linux-random",
    "sequential",
    "full-cone",
    "jool",
    "syn-ack-blocked",
    "split-handshake-firewall",
    "overloading",
];

#[test]
fn whatever_frame_is_deleted_the_findings_that_cite_it_change() {
    let mut stubborn = Vec::new();
    for name in PRESETS {
        let evidence = run(name);
        let before = judge(&evidence.run);
        let cited = claims(&before.findings, &evidence);
        assert!(cited.iter().any(|claim| !claim.frames.is_empty()), "{name} proves nothing");
        let mut frames: Vec<_> = cited.iter().flat_map(|claim| claim.frames.clone()).collect();
        frames.sort_unstable();
        frames.dedup();
        for frame in frames {
            let rest = without(&evidence, &[frame]);
            let after = claims(&judge(&rest.run).findings, &rest);
            let same = cited.iter().zip(&after).filter(|(before, after)| {
                before.frames.contains(&frame) && before.says == after.says
            });
            stubborn
                .extend(same.map(|(claim, _)| format!("{name}: {} and frame {frame}", claim.of)));
        }
    }
    assert!(stubborn.is_empty(), "{} unmoved:\n{}", stubborn.len(), stubborn.join("\n"));
}

#[test]
fn without_all_that_it_cites_no_finding_keeps_its_value() {
    let mut stubborn = Vec::new();
    for preset in nat::PRESETS {
        let Device::Modelled(_) = preset.device() else { continue };
        let evidence = run(preset.name);
        for (place, claim) in claims(&judge(&evidence.run).findings, &evidence).iter().enumerate() {
            let Some(value) = &claim.value else { continue };
            assert!(!claim.frames.is_empty(), "{}: {} cites nothing", preset.name, claim.of);
            let rest = without(&evidence, &claim.frames);
            let after = &claims(&judge(&rest.run).findings, &rest)[place];
            if after.value.as_ref() == Some(value) {
                stubborn.push(format!("{}: {} is still {value}", preset.name, claim.of));
            }
        }
    }
    assert!(stubborn.is_empty(), "{} unmoved:\n{}", stubborn.len(), stubborn.join("\n"));
}

/// A finding with its frames, and all that it says, with the content of its frames instead of their
/// numbers.
struct Claim {
    of: &'static str,
    frames: Vec<usize>,
    /// The value alone, if it is known.
    value: Option<String>,
    says: String,
}

fn run(preset: &str) -> Evidence {
    let nats: Vec<Behaviour> = match Preset::named(preset).map(Preset::device) {
        Some(Device::Modelled(nats)) => nats,
        _ => panic!("no modelled preset is called {preset}"),
    };
    let layout = Layout::fair(Effort::Default, 5_382, Duration::from_millis(50));
    let run = classify(&nats, &layout);
    let evidence = Evidence { run, started: Duration::ZERO };
    through_a_file(&evidence)
}

fn through_a_file(evidence: &Evidence) -> Evidence {
    read(&write(evidence, &|_| None)).expect("what was written reads back")
}

/// The same file with these frames left out.
fn without(evidence: &Evidence, frames: &[usize]) -> Evidence {
    let mut evidence = evidence.clone();
    let mut number = 0;
    evidence.run.trace.retain(|_| {
        number += 1;
        !frames.contains(&number)
    });
    through_a_file(&evidence)
}

fn claims(findings: &Findings, evidence: &Evidence) -> Vec<Claim> {
    let filtering = &findings.filtering;
    let unsolicited = &findings.unsolicited_syn;
    vec![
        claim("mapping", &findings.mapping, evidence),
        claim("on_port_clash", &findings.on_port_clash, evidence),
        claim("filtering", &filtering.after_syn, evidence),
        claim("filtering established", &filtering.established, evidence),
        claim("port_assignment", &findings.port_assignment, evidence),
        claim("unsolicited_syn", &unsolicited.unmapped_port, evidence),
        claim("unsolicited_syn filtered_port", &unsolicited.filtered_port, evidence),
        claim("simultaneous_open", &findings.simultaneous_open, evidence),
        claim("hairpinning", &findings.hairpinning, evidence),
    ]
}

fn claim<T: std::fmt::Debug, D: std::fmt::Debug>(
    of: &'static str,
    finding: &Finding<T, D>,
    evidence: &Evidence,
) -> Claim {
    let frames = finding.evidence().to_vec();
    let shown: Vec<_> = frames.iter().map(|frame| &evidence.run.trace[frame - 1]).collect();
    let says = match finding {
        Finding::Known { value, details, proof } => {
            format!("{value:?} {details:?} {:e} {shown:?}", proof.error_bound)
        }
        Finding::Unknown { why, .. } => format!("{why:?} {shown:?}"),
    };
    let value = finding.value().map(|value| format!("{value:?}"));
    Claim { of, frames, value, says }
}

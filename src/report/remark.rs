//! A remark on one frame, for its comment in the evidence file.

use crate::engine::{Fact, Question, Run};
use crate::verdict::{Frame, Verdict};
use crate::wire::control::ProbeId;

use super::words;

/// What the frame at this place in the trace, from 0, is for: what its probe asks, and which findings and
/// rulings cite it.
pub fn remark(run: &Run, verdict: &Verdict, index: usize) -> Option<String> {
    let probe = run.trace.get(index).and_then(|record| record.probe);
    let asked = probe.and_then(|probe| question(run, probe)).map(words::question);
    let cited = cited_by(verdict, index + 1);
    let cited = (!cited.is_empty()).then(|| format!("cited by: {}", cited.join(", ")));
    let parts: Vec<_> = asked.map(str::to_owned).into_iter().chain(cited).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn question(run: &Run, wanted: ProbeId) -> Option<Question> {
    run.facts.iter().find_map(|(_, fact)| match fact {
        Fact::Asked { probe, question, .. } if *probe == wanted => Some(*question),
        _ => None,
    })
}

fn cited_by(verdict: &Verdict, frame: Frame) -> Vec<String> {
    let rows = words::rows(&verdict.findings);
    let findings = rows.iter().filter(|row| row.evidence.contains(&frame)).map(|row| row.key);
    let rulings = verdict.requirements.iter().filter(|ruling| ruling.evidence.contains(&frame));
    findings.chain(rulings.map(|ruling| ruling.id)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::known;

    #[test]
    fn a_frame_says_what_cites_it() {
        let remark = remark(&Run::default(), &known(), 6);
        assert_eq!(remark.as_deref(), Some("cited by: mapping"));
    }
}

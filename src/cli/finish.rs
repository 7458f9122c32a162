//! A run and its verdict → what the user gets: the answer on stdout, the evidence in its file, what
//! went wrong on stderr, and an exit code.

use std::io::{self, Write};

use super::evidence;
use super::exit::Exit;
use super::failure::Failure;
use super::request::{Form, Output};
use super::screen::Screen;
use crate::capture::{self, Evidence};
use crate::engine::Trouble;
use crate::report::{self, Masker, words};
use crate::verdict::{Unknown, Verdict};

/// Shows a verdict, keeps its evidence, and says how it all ended. A failure to keep the evidence
/// comes after the answer, which is worth having without it.
pub fn finish(output: &Output, evidence: Evidence, verdict: Verdict) -> Exit {
    let (evidence, verdict) =
        if output.mask { masked(evidence, verdict) } else { (evidence, verdict) };
    show(&answer(output.form, &verdict, Screen::of_stdout()));
    complaint(&verdict).iter().for_each(complain);
    let kept = keep(output, &evidence, &verdict);
    kept.inspect_err(complain).map_or(Exit::CouldNotAsk, |()| Exit::of(&verdict))
}

fn masked(mut evidence: Evidence, mut verdict: Verdict) -> (Evidence, Verdict) {
    let mut masker = Masker::new(&verdict);
    masker.verdict(&mut verdict);
    masker.run(&mut evidence.run);
    (evidence, verdict)
}

/// The answer as text, its last line ended.
fn answer(form: Form, verdict: &Verdict, screen: Screen) -> String {
    match form {
        Form::Text => report::table(verdict, screen.width, screen.colour),
        Form::Json => format!("{:#}\n", report::json(verdict)),
    }
}

/// What kept a run from asking, if anything did.
fn complaint(verdict: &Verdict) -> Vec<Failure> {
    if Exit::of(verdict) != Exit::CouldNotAsk {
        return Vec::new();
    }
    if verdict.trouble.is_empty() {
        let why = verdict.findings.mapping.why().unwrap_or(Unknown::NeedsReflector);
        let error = format!("nothing could be asked: {}", words::because(why));
        return vec![Failure::new(error, words::remedy(why))];
    }
    told(&verdict.troubles, &verdict.trouble)
}

/// What spoiled a run, in prose, each with its remedy.
pub fn told(troubles: &[String], trouble: &[Trouble]) -> Vec<Failure> {
    let told = troubles.iter().zip(trouble);
    told.map(|(prose, trouble)| Failure::new(prose, words::remedy_for(trouble))).collect()
}

fn keep(output: &Output, evidence: &Evidence, verdict: &Verdict) -> Result<(), Failure> {
    let Some(path) = &output.evidence else { return Ok(()) };
    let remark = |index| report::remark(&evidence.run, verdict, index);
    evidence::save(path, &capture::write(evidence, &remark))
}

/// Prints an answer. A reader who has gone, as `head` does, is no error.
pub fn show(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints a failure; there is nowhere to say that this failed.
pub fn complain(failure: &Failure) {
    remark(&format!("{failure}\n"));
}

/// Prints beside the answer. That nobody reads it is no reason to stop.
pub fn remark(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Fact, Run, Unreached};
    use crate::report::testing::{known, unknown};
    use crate::time::{Duration, Instant};

    #[test]
    fn json_is_one_object_and_a_line_end() {
        let text = answer(Form::Json, &known(), Screen { width: 80, colour: true });
        assert!(text.starts_with("{\n  \"schema\": \"tso-probe/classify/1\""), "{text}");
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_run_without_a_reflector_points_to_the_lab() {
        let complaint = complaint(&unknown(Unknown::NeedsReflector));
        assert_eq!(complaint.len(), 1);
        assert!(complaint[0].hint.contains("--lab"), "{complaint:?}");
    }

    #[test]
    fn a_trouble_comes_with_its_own_remedy() {
        let mut verdict = unknown(Unknown::NoAnswer);
        let why = Unreached::TimedOut;
        verdict.trouble = vec![Trouble::Unreachable { reflector: 0, why }];
        verdict.troubles = vec!["Reflector 1 cannot be reached.".to_owned()];
        let complaint = complaint(&verdict);
        assert_eq!(complaint[0].error, "Reflector 1 cannot be reached.");
        assert!(complaint[0].hint.contains("control port"), "{complaint:?}");
    }

    #[test]
    fn the_evidence_that_is_kept_reads_back() {
        let path = std::env::temp_dir().join(format!("tso-probe-{}-kept", std::process::id()));
        let output = Output { evidence: Some(path.clone()), ..Output::default() };
        let started = Duration::from_secs(1_700_000_000);
        let facts = vec![(Instant::START, Fact::Complete)];
        let evidence = Evidence { run: Run { facts, ..Run::default() }, started };
        assert_eq!(keep(&output, &evidence, &known()), Ok(()));
        let octets = std::fs::read(&path).expect("it was written");
        assert_eq!(capture::read(&octets), Ok(evidence));
        std::fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn a_run_that_could_ask_has_nothing_to_complain_of() {
        assert_eq!(complaint(&known()), []);
    }
}

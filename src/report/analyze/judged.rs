//! The verdict of a run whose evidence file was analysed.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::report::punch::punch_text;
use crate::report::table::{table, wrapped};
use crate::report::{json, punch_json};
use crate::verdict::{PunchVerdict, Verdict};

/// A run that was judged again.
#[derive(Debug)]
pub struct Judged {
    /// The number of its capture, from 1.
    pub capture: usize,
    /// Its verdict.
    pub run: JudgedRun,
}

/// The verdict of a run.
#[derive(Debug)]
pub enum JudgedRun {
    /// Of a classification.
    Classify(Box<Verdict>),
    /// Of a punch.
    Punch(Box<PunchVerdict>),
}

/// A verdict in JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunVerdict {
    /// The number of the capture, from 1.
    capture: usize,
    /// The verdict, as `classify --from FILE --json` or `punch --json` prints it.
    verdict: Value,
}

impl Judged {
    pub(super) fn json(&self) -> RunVerdict {
        let verdict = match &self.run {
            JudgedRun::Classify(verdict) => json(verdict),
            JudgedRun::Punch(verdict) => punch_json(verdict, &[], None),
        };
        RunVerdict { capture: self.capture, verdict }
    }

    pub(super) fn text(&self, files: &[&str], width: u16) -> String {
        let file = files.get(self.capture - 1).copied().unwrap_or_default();
        let (what, text) = match &self.run {
            JudgedRun::Classify(verdict) => ("classify", table(verdict, width, false)),
            JudgedRun::Punch(verdict) => ("punch", punch_text(verdict, width)),
        };
        let head = format!("{file} is the evidence of a run of `{what}`, judged again:");
        format!("{}\n\n{}", wrapped(&head, width, ""), text.trim_end())
    }
}

//! An opening out of somebody's capture → how it went, what is known of both ends, and why it failed.

mod case;
mod cause;
mod crossing;
mod elsewhere;
mod middle;
mod proof;
mod quota;
mod refusal;
mod rewriting;
mod schedule;
mod silence;
mod tally;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub(super) use refusal::sure;

use proof::Proof;

pub use cause::{Confidence, Diagnosed, OpeningCause};
pub use schedule::Stack;
pub use tally::Tally;

use super::punch::{StateChange, StateSource};
use crate::capture::{self, Ending};
use crate::tcp::{Opening, Outcome, Post, Side, Testimony, onlooker};
use crate::time::Instant;
use crate::wire::{Endpoint, Packet};
pub(super) use case::{Case, Seen};

/// What is known of one connection of a capture.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Connection {
    /// Its number, from 1, in the order in which the connections were decided.
    pub number: u64,
    /// The number of the file that it is in, from 1.
    pub capture: usize,
    /// The end whose SYN was seen first.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// How it was opened.
    #[serde(flatten)]
    pub opening: Opening,
    /// What came of it.
    pub outcome: ConnectionOutcome,
    /// Where the capture was made.
    pub seen_at: SeenAt,
    /// When its first packet was seen, in seconds since 1970.
    pub first_s: f64,
    /// When its last one of the opening was seen.
    pub last_s: f64,
    /// How often a began anew, with another initial sequence number.
    pub attempts: usize,
    /// Whose pace and options the SYNs of a have, if there are enough to tell.
    pub stack: Option<Stack>,
    /// How the ends changed state, as far as that can be known from where they were seen.
    pub states: Vec<StateChange>,
    /// What cannot be known from there.
    pub unknown: Vec<String>,
    /// Why it failed, or what is strange about it; the first explains most.
    pub diagnosis: Vec<Diagnosed>,
    /// The packets of the opening, a line each, in the order of the capture.
    pub trace: Vec<PassedLine>,
    /// How many more packets it had than are in the trace.
    pub left_out: u64,
}

/// What came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionOutcome {
    /// An end became established.
    Open,
    /// A reset answered the SYN (RFC 9293 §3.10.7.1).
    Refused,
    /// A reset came after that, but before any data.
    Reset,
    /// Nothing came that would have opened or ended it.
    TimedOut,
    /// An ICMP error came about the SYN, and it did not open.
    Failed,
    /// It was under way when the capture ended, or given up since too many others were.
    Unfinished,
}

/// Where a capture was made, as seen from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SeenAt {
    /// At the host called a, or before the first router.
    A,
    /// At the host called b, or before the first router.
    B,
    /// Between them, or it cannot be told.
    Between,
}

/// A packet of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PassedLine {
    /// The number of its frame in the capture, from 1.
    pub frame: u64,
    /// Which end it came from; of an ICMP error, the end that it does not go to.
    pub from: Side,
    /// When, in microseconds after the first packet.
    pub at_us: f64,
    /// What it was.
    #[serde(serialize_with = "in_a_line")]
    #[schemars(with = "String")]
    pub packet: Packet,
}

impl Connection {
    /// Whether it deserves a person's attention: it did not open, or not as nearly all do.
    pub fn is_noteworthy(&self) -> bool {
        is_noteworthy(self.opening, self.outcome, &self.diagnosis)
    }
}

fn is_noteworthy(opening: Opening, outcome: ConnectionOutcome, diagnosis: &[Diagnosed]) -> bool {
    let is_usual =
        matches!(opening, Opening::ThreeWay | Opening::ThreeWayOrHalfCrossed | Opening::Accepted);
    outcome != ConnectionOutcome::Open || !is_usual || !diagnosis.is_empty()
}

/// What is known of an opening, as the connection of that number in the capture of that number.
pub fn explain(opening: &capture::Opening, number: u64, capture: usize) -> Connection {
    explain_case(&Case::of(opening), number, capture)
}

/// Of what [`explain`] tells, as much as counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    opening: Opening,
    /// What came of it.
    pub outcome: ConnectionOutcome,
    diagnosis: Vec<Diagnosed>,
}

impl Brief {
    /// What counts of an opening.
    pub fn of(opening: &capture::Opening) -> Self {
        let case = Case::untold(opening);
        let Findings { testimony, outcome, diagnosis, .. } = Findings::of(&case);
        Self { opening: testimony.opening, outcome, diagnosis }
    }

    /// Whether the connection deserves a person's attention.
    pub fn is_noteworthy(&self) -> bool {
        is_noteworthy(self.opening, self.outcome, &self.diagnosis)
    }
}

/// What is made of an opening, before it is told.
struct Findings {
    testimony: Testimony,
    proof: Option<Proof>,
    outcome: ConnectionOutcome,
    diagnosis: Vec<Diagnosed>,
}

impl Findings {
    fn of(case: &Case<'_>) -> Self {
        let opening = case.opening;
        let testimony = onlooker(&case.passed(), opening.a, opening.b, case.post);
        let (testimony, proof) = proof::proven(case, testimony);
        let outcome = outcome(case, &testimony);
        let diagnosis = cause::diagnosis(case, &testimony, outcome);
        Self { testimony, proof, outcome, diagnosis }
    }
}

/// The same of an opening whose packets have been read.
pub(super) fn explain_case(case: &Case<'_>, number: u64, capture: usize) -> Connection {
    let opening = case.opening;
    let Findings { testimony, proof, outcome, diagnosis } = Findings::of(case);
    Connection {
        number,
        capture,
        a: opening.a,
        b: opening.b,
        opening: testimony.opening,
        outcome,
        seen_at: case.post.into(),
        first_s: seconds(case.first),
        last_s: seconds(case.last),
        attempts: case.attempts(Side::A).max(1),
        stack: Stack::of(case),
        states: states(&testimony),
        unknown: unknown(case, &testimony, proof, outcome),
        diagnosis,
        trace: case.lines(),
        left_out: opening.left_out,
    }
}

/// As traces show it.
fn in_a_line<S: Serializer>(packet: &Packet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(packet)
}

/// Silence is an outcome only once an answer is overdue; a reset of an answer to a SYN that was not captured
/// is none.
fn outcome(case: &Case<'_>, testimony: &Testimony) -> ConnectionOutcome {
    match testimony.outcome {
        Outcome::Open => ConnectionOutcome::Open,
        Outcome::Refused => ConnectionOutcome::Refused,
        Outcome::Reset => ConnectionOutcome::Reset,
        Outcome::Failed => ConnectionOutcome::Failed,
        Outcome::TimedOut if is_reset(case) => ConnectionOutcome::Refused,
        Outcome::TimedOut if case.is_overdue() => ConnectionOutcome::TimedOut,
        Outcome::TimedOut => ConnectionOutcome::Unfinished,
    }
}

/// Whether the SYN,ACK was reset by the host that it went to.
fn is_reset(case: &Case<'_>) -> bool {
    refusal::local_reset(case).is_some() || proof::is_answer_reset(case)
}

fn states(testimony: &Testimony) -> Vec<StateChange> {
    let changes = testimony.states.iter().map(|step| StateChange {
        side: step.side,
        from: step.from,
        to: step.to,
        at_us: micros(step.at),
        source: StateSource::Wire,
    });
    changes.collect()
}

/// What an onlooker at that point cannot know, in prose.
fn unknown(
    case: &Case<'_>,
    testimony: &Testimony,
    proof: Option<Proof>,
    outcome: ConnectionOutcome,
) -> Vec<String> {
    let mut unknown = Vec::new();
    let shown = proof.and_then(|proof| proof.open);
    let reached = |side| {
        if shown == Some(side) {
            return true;
        }
        let last = testimony.states.iter().rev().find(|step| step.side == side);
        last.is_some_and(|step| step.to == crate::tcp::State::Established)
    };
    if testimony.outcome == Outcome::Open {
        for side in [Side::A, Side::B].into_iter().filter(|side| !reached(*side)) {
            let name = case.name(side);
            unknown
                .push(format!("whether {name} became ESTABLISHED: it sent nothing that shows it"));
        }
    }
    match testimony.opening {
        Opening::ThreeWayOrHalfCrossed => unknown.push(
            "whether b listened, or sent a SYN of its own that did not come this far".to_owned(),
        ),
        Opening::CrossedOrHalfCrossed { crossed_syn } => unknown.push(format!(
            "whether the SYN of {} crossed as well",
            case.name(crossed_syn.opposite())
        )),
        Opening::Unknown if shown.is_some() => unknown.push(
            "how it opened, and when its ends changed state: not all of its SYNs and their answers are in \
             the capture"
                .to_owned(),
        ),
        _ => {}
    }
    if outcome == ConnectionOutcome::Unfinished && case.opening.ending == Ending::CaptureEnded {
        let quiet = case.quiet().as_secs_f64();
        unknown
            .push(format!("what came later: the capture ends {quiet:.1} s after its last packet"));
    }
    if case.opening.ending == Ending::Unfinished {
        unknown
            .push("what came later: too many openings were under way to keep this one".to_owned());
    }
    unknown
}

impl From<Post> for SeenAt {
    fn from(post: Post) -> Self {
        match post {
            Post::At(Side::A) => Self::A,
            Post::At(Side::B) => Self::B,
            Post::Between => Self::Between,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "to a microsecond, which is what captures have")]
fn seconds(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1e6
}

/// Microseconds after the first packet, with three decimals.
#[allow(clippy::cast_precision_loss, reason = "an opening lasts minutes")]
fn micros(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests;

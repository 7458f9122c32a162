//! What a punch left → how the connection was opened, by whose testimony, how well it was timed, and
//! if it did not open, why.

mod diagnosis;
mod ends;
mod foreseen;
mod timing;

use schemars::JsonSchema;
use serde::Serialize;

pub use diagnosis::{Cause, Diagnosis, meaning as icmp_meaning};
pub use foreseen::Foreseen;
pub use timing::{Measured, Timing};

use super::finding::Frame;
use crate::engine::{By, Fact, Miss, Record, Run, Source, Trouble, Witness};
use crate::tcp::{Opening, Outcome, Side, State, witness};
use crate::time::Instant;
use crate::wire::Endpoint;
use ends::Ends;

/// What `punch` answers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PunchVerdict {
    /// How the connection was opened, by all witnesses together.
    #[serde(flatten)]
    pub opening: Opening,
    /// What came of it.
    pub outcome: Outcome,
    /// The ends that were run.
    pub ends: Vec<PunchEnd>,
    /// Who says how it was opened.
    pub witnesses: Witnesses,
    /// How the sockets changed state, in order of time.
    pub states: Vec<StateChange>,
    /// The packets, a line each, in order of time.
    pub trace: Vec<TraceLine>,
    /// How well the two departures were timed.
    #[serde(flatten)]
    pub timing: Timing,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// What was foreseen of the ports, if a rendezvous server has helped.
    pub foreseen: Option<Foreseen>,
    /// Why it did not open.
    pub diagnosis: Option<Diagnosis>,
    /// What spoiled the run, in prose.
    pub troubles: Vec<String>,
    /// The same, to act upon.
    #[serde(skip)]
    pub trouble: Vec<Trouble>,
}

/// One end of a punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PunchEnd {
    /// What it is called.
    pub side: Side,
    /// Its own endpoint.
    pub local: Endpoint,
    /// The peer's endpoint, as it was aimed at.
    pub aimed_at: Endpoint,
    /// The peer's endpoint, as the connection has it.
    pub remote: Option<Endpoint>,
    /// Which of its sockets the connection came from.
    pub by: Option<Socket>,
    /// How the connection was opened as far as this end alone could know, where both were run.
    pub alone: Option<Alone>,
}

/// What one end alone could know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alone {
    /// How the connection was opened.
    #[serde(flatten)]
    pub opening: Opening,
}

/// Which socket a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Socket {
    /// The one that connected.
    Connect,
    /// The one that listened.
    Accept,
}

/// Who says how the connection was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Witnesses {
    /// By the packets.
    pub wire: Testimony,
    /// By the states of the sockets.
    pub kernel: Testimony,
    /// Whether the two may both be right; none if one has nothing to say.
    pub agree: Option<bool>,
}

/// What one witness says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Testimony {
    /// How the connection was opened, if this one was there.
    #[serde(flatten)]
    pub opening: Option<Opening>,
    /// Why this one was not there, or saw less than all.
    pub gaps: Vec<String>,
}

/// A socket went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StateChange {
    /// At which end.
    pub side: Side,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// When, in microseconds after the agreed moment.
    pub at_us: f64,
    /// Who says so.
    pub source: StateSource,
}

/// Who tells of a socket's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StateSource {
    /// The kernel, of each change as it is made.
    Kernel,
    /// Samples of the socket: `at_us` is by when, and states between two samples are not seen.
    Sampled,
    /// The packets.
    Wire,
}

/// One packet at one end.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TraceLine {
    /// Its number in the evidence file, from 1.
    pub frame: Frame,
    /// At which end's interface it was seen.
    pub side: Side,
    /// Whether it came in there.
    pub inbound: bool,
    /// When, in microseconds after the agreed moment.
    pub at_us: f64,
    /// What it was.
    pub packet: String,
    /// The packet itself.
    #[serde(skip)]
    pub record: Record,
}

/// One attempt of one end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Attempt {
    /// At which end.
    pub side: Side,
    /// Its number there, from 1.
    pub number: u32,
    /// When its SYN was to leave, in microseconds after the agreed moment.
    pub at_us: f64,
    /// By how much the SYN was late at the interface, in microseconds; none if it was not seen.
    pub error_us: Option<f64>,
    /// How much CPU time a hypervisor gave to others around the shot, in microseconds and to a tick of
    /// commonly 10 ms; none if this host does not tell.
    pub stolen_us: Option<f64>,
    /// Why it came to nothing.
    pub missed: Option<Missed>,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// A reset answered the SYN.
    Refused,
    /// A reset came when the SYNs had crossed.
    Reset,
    /// Nothing answered.
    TimedOut,
    /// An ICMP error came, or there is no route.
    NoWay,
    /// The same connection exists already: the peer's SYN was first, or it lingers in TIME-WAIT.
    LocalTaken,
    /// This host refused to send, or another reason that it did not name.
    Unsaid,
}

/// Whether a run was a punch.
pub fn is_punch(run: &Run) -> bool {
    run.facts.iter().any(|(_, fact)| punched(fact).is_some())
}

/// Judges a punch.
pub fn judge_punch(run: &Run) -> PunchVerdict {
    let ends = Ends::of(run);
    let sightings = ends.sightings(run);
    let vantages = ends.vantages();
    let wire = witness(&sightings, &vantages);
    let seen_on_wire = (vantages.a.is_some() || vantages.b.is_some()).then_some(wire.opening);
    let outcome = ends.outcome(&wire);
    let mut witnesses = witnesses(run, seen_on_wire, ends.kernel());
    let mut opening = together(&witnesses);
    if outcome != Outcome::Open {
        // What packets have of an opening that no socket came to know of, or that did not last, is
        // no connection, and contradicts nobody.
        (opening, witnesses.agree) = (Opening::None, None);
    }
    let trouble: Vec<_> = run.facts.iter().filter_map(|(_, fact)| fact.trouble()).collect();
    let origin = ends.origin();
    let trace: Vec<_> = lines(run, origin);
    PunchVerdict {
        opening,
        outcome,
        ends: ends.shown().into_iter().map(|end| with_its_own_word(end, run, &ends)).collect(),
        states: states(&ends, &wire.states, origin),
        timing: timing::timing(&ends, run),
        attempts: timing::attempts(&ends, run),
        foreseen: foreseen::foreseen(run, outcome),
        diagnosis: diagnosis::diagnosis(&ends, run, outcome),
        trace,
        witnesses,
        troubles: trouble.iter().map(ToString::to_string).collect(),
        trouble,
    }
}

/// The end with what it alone could know, if it was not the only one.
fn with_its_own_word(end: PunchEnd, run: &Run, ends: &Ends) -> PunchEnd {
    if ends.all.len() < 2 {
        return end;
    }
    let opening = judge_punch(&ends::only(run, end.side)).opening;
    PunchEnd { alone: Some(Alone { opening }), ..end }
}

fn witnesses(run: &Run, wire: Option<Opening>, kernel: Option<Opening>) -> Witnesses {
    let gaps = |wanted| ends::gaps(run, wanted);
    let both = wire.zip(kernel).filter(|(wire, kernel)| {
        // Silence of both is no testimony.
        *wire != Opening::None || *kernel != Opening::None
    });
    Witnesses {
        wire: Testimony { opening: wire, gaps: gaps(Witness::Wire) },
        kernel: Testimony { opening: kernel, gaps: gaps(Witness::Kernel) },
        agree: both.map(|(wire, kernel)| wire.agrees_with(kernel)),
    }
}

/// What all witnesses know together. Where they contradict each other nobody is believed, and the
/// contradiction is told.
fn together(witnesses: &Witnesses) -> Opening {
    match (witnesses.wire.opening, witnesses.kernel.opening) {
        (Some(wire), Some(kernel)) if witnesses.agree == Some(true) => wire.and(kernel),
        (Some(Opening::None), Some(kernel)) => kernel,
        (Some(_), Some(_)) if witnesses.agree == Some(false) => Opening::Unknown,
        (Some(wire), _) => wire,
        (None, Some(kernel)) => kernel,
        (None, None) => Opening::None,
    }
}

fn states(ends: &Ends, wire: &[crate::tcp::Transition], origin: Instant) -> Vec<StateChange> {
    let told = ends.changes().map(|(side, change)| StateChange {
        side,
        from: change.from,
        to: change.to,
        at_us: micros(origin, change.at),
        source: match change.source {
            Source::Kernel => StateSource::Kernel,
            Source::Sampled => StateSource::Sampled,
        },
    });
    let inferred = wire.iter().map(|step| StateChange {
        side: step.side,
        from: step.from,
        to: step.to,
        at_us: micros(origin, step.at),
        source: StateSource::Wire,
    });
    let mut states: Vec<_> = told.chain(inferred).collect();
    states.sort_by(|one, other| one.at_us.total_cmp(&other.at_us));
    states
}

fn lines(run: &Run, origin: Instant) -> Vec<TraceLine> {
    let frames = run.trace.iter().enumerate();
    let lines = frames.filter_map(|(index, record)| {
        Some(TraceLine {
            frame: index + 1,
            side: ends::side_of(record)?,
            inbound: record.inbound,
            at_us: micros(origin, record.at),
            packet: record.packet.to_string(),
            record: record.clone(),
        })
    });
    lines.collect()
}

/// Microseconds from one moment to another, with three decimals.
#[allow(clippy::cast_precision_loss, reason = "a run lasts seconds")]
fn micros(from: Instant, to: Instant) -> f64 {
    (to.as_nanos() as f64 - from.as_nanos() as f64) / 1_000.0
}

impl From<By> for Socket {
    fn from(by: By) -> Self {
        match by {
            By::Connect => Self::Connect,
            By::Accept => Self::Accept,
        }
    }
}

impl From<Miss> for Missed {
    fn from(why: Miss) -> Self {
        use crate::engine::Unreached;
        match why {
            Miss::Unreached(Unreached::Refused) => Self::Refused,
            Miss::Unreached(Unreached::TimedOut) => Self::TimedOut,
            Miss::Unreached(Unreached::NoWay) => Self::NoWay,
            Miss::Unreached(Unreached::LocalTaken) => Self::LocalTaken,
            Miss::Unreached(Unreached::Unsaid) => Self::Unsaid,
            Miss::Ended(_) => Self::Reset,
        }
    }
}

/// The fact, if it is one of a punch.
fn punched(fact: &Fact) -> Option<(Side, &crate::engine::Punched)> {
    match fact {
        Fact::Punch { side, what } => Some((*side, what)),
        _ => None,
    }
}

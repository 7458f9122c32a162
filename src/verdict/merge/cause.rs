//! Why it failed, and between which points: what no point alone can tell.

mod elsewhere;
mod lost;
mod refused;
mod rewritten;

use schemars::JsonSchema;
use serde::Serialize;

use super::Part;
use super::carry::{Carriage, Pass};
use super::point::Point;
use crate::tcp::{Opening, Side};
use crate::verdict::explain::{Confidence, Connection, ConnectionOutcome, Diagnosed, OpeningCause};

/// Why an opening failed, or what is strange about it, as several points together show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MergedCause {
    /// The cause.
    pub cause: OpeningCause,
    /// The end that it is about; none if it is about both or neither.
    pub side: Option<Side>,
    /// Between which two points it happened, as their places in `points`, from 1; none if at an end, or if
    /// that is not known.
    pub between: Option<[usize; 2]>,
    /// How sure it is.
    pub confidence: Confidence,
    /// What was seen.
    pub because: String,
    /// The frames that show it.
    pub frames: Vec<FrameOf>,
    /// What to do.
    pub advice: String,
}

impl MergedCause {
    /// Whether people are to be told that it is no more than likely.
    pub fn is_doubtful(&self) -> bool {
        self.confidence.is_doubtful_of(self.cause)
    }
}

/// A frame of one of the captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct FrameOf {
    /// The number of the capture, from 1.
    pub capture: usize,
    /// The number of the frame in it, from 1.
    pub frame: u64,
}

/// What causes are told from.
pub struct Findings<'a> {
    pub points: &'a [Point<'a>],
    pub carried: &'a [Carriage<'a>],
    /// What each point alone tells, in the order of the points.
    pub alone: &'a [Connection],
    /// All openings of all captures.
    pub parts: &'a [Part],
    pub opening: Opening,
    pub outcome: ConnectionOutcome,
}

/// All that is wrong or strange, the first that explains a failure first.
pub fn diagnosis(findings: &Findings<'_>) -> Vec<MergedCause> {
    // Of openings that ports and time alone have brought together nothing is certain.
    if findings.points.iter().any(Point::is_by_ports) {
        let found = elsewhere::other_port(findings).or_else(|| lost::syn_lost(findings));
        let found = found.unwrap_or_else(|| unknown(findings));
        return vec![MergedCause { confidence: Confidence::Likely, ..found }];
    }
    let mut found: Vec<_> = match findings.outcome {
        ConnectionOutcome::Open => strange(findings).into_iter().collect(),
        ConnectionOutcome::Unfinished => failure(findings).into_iter().collect(),
        _ => vec![failure(findings).unwrap_or_else(|| unknown(findings))],
    };
    found.extend(rewritten::rewritten(findings));
    found.extend(rewritten::other_family(findings));
    for cause in &mut found {
        cause.frames.sort_unstable();
        cause.frames.dedup();
    }
    found
}

fn failure(findings: &Findings<'_>) -> Option<MergedCause> {
    let causes: [fn(&Findings<'_>) -> Option<MergedCause>; 10] = [
        refused::answered_in_its_place,
        refused::made_reset,
        refused::missed_window,
        elsewhere::remapped,
        elsewhere::other_port,
        refused::icmp_error,
        refused::closed_port,
        lost::syn_ack_lost,
        lost::ack_lost,
        lost::syn_lost,
    ];
    causes.iter().find_map(|cause| cause(findings)).or_else(|| by_a_point(findings))
}

fn strange(findings: &Findings<'_>) -> Option<MergedCause> {
    refused::answered_in_its_place(findings)
        .or_else(|| lost::ack_lost(findings))
        .or_else(|| lost::half_crossed(findings))
        .or_else(|| by_a_point(findings))
}

/// What a point alone has found, if no other one has found anything else. That nothing came back, or a
/// reset of which no more is known, is said where that is all there is.
fn by_a_point(findings: &Findings<'_>) -> Option<MergedCause> {
    let all = || {
        let found = findings.points.iter().zip(findings.alone);
        found.flat_map(|(point, alone)| alone.diagnosis.iter().map(move |found| (point, found)))
    };
    let is_weak = |found: &Diagnosed| {
        use OpeningCause::{NoAnswer, Reset, Unknown};
        matches!(found.cause, NoAnswer | Reset | Unknown)
    };
    let strong: Vec<_> = all().filter(|(_, found)| !is_weak(found)).collect();
    let weak: Vec<_> = all().filter(|(_, found)| found.cause != OpeningCause::Unknown).collect();
    let said = if strong.is_empty() { weak } else { strong };
    let (point, found) = *said.first()?;
    let is_one = said.iter().all(|(_, other)| other.cause == found.cause);
    is_one.then(|| as_merged(point, found))
}

fn as_merged(point: &Point<'_>, found: &Diagnosed) -> MergedCause {
    let side = |side: Side| if point.is_flipped { side.opposite() } else { side };
    let frames =
        found.frames.iter().map(|frame| FrameOf { capture: point.part.capture, frame: *frame });
    MergedCause {
        cause: found.cause,
        side: found.side.map(side),
        between: None,
        confidence: found.confidence,
        because: found.because.clone(),
        frames: frames.collect(),
        advice: found.advice.clone(),
    }
}

fn unknown(findings: &Findings<'_>) -> MergedCause {
    let first = findings.points.iter().filter_map(|point| {
        let here = point.packets.first()?;
        Some(FrameOf { capture: point.part.capture, frame: here.frame })
    });
    MergedCause {
        cause: OpeningCause::Unknown,
        side: None,
        between: None,
        // That several causes fit is no cause.
        confidence: Confidence::Likely,
        because: "the packets that were captured at these points fit several causes".to_owned(),
        frames: first.collect(),
        advice: "capture at both ends for as long, from before the first SYN until a minute after it; on \
                 both sides of a NAT as well, if that is yours"
            .to_owned(),
    }
}

impl Findings<'_> {
    /// A frame for each place where the packet was seen.
    fn frames_of(&self, carriage: &Carriage<'_>) -> Vec<FrameOf> {
        carriage.passed.iter().map(|pass| self.frame(pass)).collect()
    }

    fn frame(&self, pass: &Pass<'_>) -> FrameOf {
        FrameOf { capture: self.points[pass.point].part.capture, frame: pass.here.frame }
    }

    fn bare_syns(&self, side: Side) -> impl Iterator<Item = &Carriage<'_>> {
        self.segments(side).filter(|one| one.segment().is_some_and(|segment| segment.is_bare_syn()))
    }

    fn syn_acks(&self, side: Side) -> impl Iterator<Item = &Carriage<'_>> {
        self.segments(side).filter(|one| one.segment().is_some_and(|segment| segment.is_syn_ack()))
    }

    fn resets(&self, side: Side) -> impl Iterator<Item = &Carriage<'_>> {
        self.segments(side).filter(|one| one.segment().is_some_and(|segment| segment.is_reset()))
    }

    fn segments(&self, side: Side) -> impl Iterator<Item = &Carriage<'_>> {
        self.carried.iter().filter(move |one| one.from == side)
    }

    /// The place of the point that is nearest to an end.
    fn end(&self, side: Side) -> usize {
        match side {
            Side::A => 0,
            Side::B => self.points.len() - 1,
        }
    }

    fn died_between(&self, carriage: &Carriage<'_>) -> Option<[usize; 2]> {
        carriage.died_between(self.points.len())
    }

    fn made_between(&self, carriage: &Carriage<'_>) -> Option<[usize; 2]> {
        carriage.made_between(self.points)
    }

    /// Two places, as a person reads them.
    fn gap(&self, [one, other]: [usize; 2]) -> String {
        let [low, high] = [one.min(other), one.max(other)];
        format!("between {} and {}", self.name(low), self.name(high))
    }

    fn name(&self, place: usize) -> String {
        format!("point {}", place + 1)
    }
}

const SIDES: [Side; 2] = [Side::A, Side::B];

/// Places from 1, the lower one first.
fn places(between: [usize; 2]) -> [usize; 2] {
    let [one, other] = between;
    [one.min(other) + 1, one.max(other) + 1]
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

//! One connection as captures at several points saw it → what became of each packet between them.
//!
//! ```text
//!  openings ──pair──> which are one ──order──> points from a to b ──clock──> one time
//!           ──carry──> each packet from point to point ──cause──> why it failed, and where
//! ```
//!
//! NATs change endpoints, and some change more; what is left to know a connection by are the initial
//! sequence numbers of its SYNs, their time stamps, and ports. No two clocks are taken to agree: how far
//! one is ahead of another is bounded by packets that both captures saw.

mod alike;
mod carry;
mod cause;
mod change;
mod clock;
mod order;
mod pair;
mod point;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use cause::{FrameOf, MergedCause};
pub use change::{Change, Field};
pub use clock::Ahead;
pub use pair::MatchedBy;

use super::explain::{Case, Connection, ConnectionOutcome, SeenAt, explain_case};
use super::punch::{StateChange, StateSource};
use crate::capture;
use crate::tcp::{
    Opening, Outcome, Post, Side, Sighting, Testimony, Transition, Vantage, Vantages, witness,
};
use crate::time::Instant;
use crate::wire::{Endpoint, Packet};
use carry::Carriage;
use clock::Clocks;
use point::Point;

/// An opening, as it is kept to be compared with those of other points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of its capture, from 1.
    pub capture: usize,
    /// Its number among the connections, from 1.
    pub number: u64,
    /// The opening.
    pub opening: capture::Opening,
}

/// Between which moments a capture was made, in nanoseconds since 1970 on its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When its first frame was seen.
    pub first: u64,
    /// When its last one was.
    pub last: u64,
}

/// One connection, as several points saw it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Merged {
    /// Its number, from 1.
    pub number: u64,
    /// Where it was seen, from the end called a to the end called b.
    pub points: Vec<SeenPoint>,
    /// How it was opened, as all points together show.
    #[serde(flatten)]
    pub opening: Opening,
    /// What came of it.
    pub outcome: ConnectionOutcome,
    /// When its first packet was seen, in seconds since 1970, on the clock of the first point.
    pub first_s: f64,
    /// How the ends changed state, on the clock of the first point.
    pub states: Vec<StateChange>,
    /// What became of each packet, in order of time.
    pub packets: Vec<Carried>,
    /// Why it failed, or what is strange about it; the first explains most.
    pub diagnosis: Vec<MergedCause>,
    /// What cannot be known even so.
    pub unknown: Vec<String>,
}

/// A point at which a connection was seen.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SeenPoint {
    /// The number of the capture, from 1.
    pub capture: usize,
    /// Which interface of it, from 0.
    pub interface: u32,
    /// The connection's number there.
    pub connection: u64,
    /// The numbers of what it is there as well, where a NAT gave its mapping up and made another.
    pub later: Vec<u64>,
    /// The end called a, as it is known at this point.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// Whether this is the interface of an end.
    pub seen_at: SeenAt,
    /// By what it was known to be the same connection as at the first point.
    pub matched_by: MatchedBy,
    /// How far the clock here is ahead of that of the first point; none where no packet that passed both
    /// tells.
    pub clock: Option<Ahead>,
}

/// A packet, and what became of it between the points.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Carried {
    /// Which end it came from; of an ICMP error, the end that it does not go to.
    pub from: Side,
    /// The packet, as the first point on its way saw it.
    #[serde(serialize_with = "in_a_line")]
    #[schemars(with = "String")]
    pub packet: Packet,
    /// Where it passed, in the order of its way.
    pub passed: Vec<Passed>,
    /// What became of it.
    pub fate: PacketFate,
    /// The two points between which it died, as their places in `points`, from 1.
    pub died_between: Option<[usize; 2]>,
    /// The two points between which it was made: neither end sent it.
    pub made_between: Option<[usize; 2]>,
}

/// A packet at a point.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Passed {
    /// The place in `points`, from 1.
    pub point: usize,
    /// The number of its frame in the capture of that point, from 1.
    pub frame: u64,
    /// When, on the clock of the first point, in microseconds after the first packet.
    pub at_us: f64,
    /// What was changed since the point before.
    pub changes: Vec<Change>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PacketFate {
    /// The last point on its way saw it.
    Arrived,
    /// The last point on its way did not see it, but what came back shows that it arrived.
    ArrivedUnseen,
    /// It was not seen any more, while captures went on.
    Died,
    /// It was not seen any more, and nobody watched then.
    Unknown,
}

impl Merged {
    /// Whether it deserves a person's attention.
    pub fn is_noteworthy(&self) -> bool {
        let is_usual = matches!(
            self.opening,
            Opening::ThreeWay | Opening::ThreeWayOrHalfCrossed | Opening::Accepted
        );
        self.outcome != ConnectionOutcome::Open || !is_usual || !self.diagnosis.is_empty()
    }

    /// Whether this is the connection of that number, at one of its points.
    pub fn has(&self, connection: u64) -> bool {
        let is_at =
            |point: &SeenPoint| point.later.contains(&connection) || point.connection == connection;
        self.points.iter().any(is_at)
    }
}

/// The connections among these openings that were seen at more than one point, in the order of their
/// first packets. `spans` has that of each capture, by its number.
pub fn merge(parts: &[Part], spans: &BTreeMap<usize, Span>) -> Vec<Merged> {
    let groups: Vec<_> = pair::groups(parts).into_iter().map(order::points).collect();
    let clocks = Clocks::of(&groups);
    let mut merged: Vec<_> =
        groups.into_iter().map(|points| one(points, &clocks, spans, parts)).collect();
    merged.sort_by(|one, other| one.first_s.total_cmp(&other.first_s));
    (1..).zip(&mut merged).for_each(|(number, one)| one.number = number);
    merged
}

fn one(
    mut points: Vec<Point<'_>>,
    clocks: &Clocks,
    spans: &BTreeMap<usize, Span>,
    parts: &[Part],
) -> Merged {
    let ahead = point::put_on_one_clock(&mut points, clocks, spans);
    let carried = carry::carried(&points);
    let alone: Vec<_> = points.iter().map(alone).collect();
    let testimony = testimony(&points, &alone);
    let outcome = outcome(&testimony, &alone);
    let diagnosis = cause::diagnosis(&cause::Findings {
        points: &points,
        carried: &carried,
        alone: &alone,
        parts,
        opening: testimony.opening,
        outcome,
    });
    Merged {
        number: 0,
        opening: testimony.opening,
        outcome,
        first_s: points.iter().map(Point::first_s).fold(f64::INFINITY, f64::min),
        states: states(&testimony),
        packets: carried.iter().map(|carriage| shown(carriage, &points)).collect(),
        diagnosis,
        unknown: unknown(&points, &ahead),
        points: points.iter().zip(ahead).map(|(point, ahead)| seen_point(point, ahead)).collect(),
    }
}

/// What this point alone tells, with the ends called as the first point has them.
fn alone(point: &Point<'_>) -> Connection {
    let case = Case::called(&point.part.opening, point.is_flipped);
    let explained = explain_case(&case, point.part.number, point.part.capture);
    match point.is_flipped {
        false => explained,
        true => Connection { opening: flipped(explained.opening), ..explained },
    }
}

const fn flipped(opening: Opening) -> Opening {
    match opening {
        Opening::HalfCrossed { crossed_syn } => {
            Opening::HalfCrossed { crossed_syn: crossed_syn.opposite() }
        }
        Opening::CrossedOrHalfCrossed { crossed_syn } => {
            Opening::CrossedOrHalfCrossed { crossed_syn: crossed_syn.opposite() }
        }
        opening => opening,
    }
}

/// Where both ends were watched they are believed as two that were run; else what the points know together,
/// as long as they agree.
fn testimony(points: &[Point<'_>], alone: &[Connection]) -> Testimony {
    let ends = points.first().zip(points.last());
    let both = ends.filter(|(a, b)| a.post == Post::At(Side::A) && b.post == Post::At(Side::B));
    if let Some((a, b)) = both {
        let sightings = [a.sightings(Side::A), b.sightings(Side::B)].concat();
        let vantages = Vantages {
            a: Some(Vantage { local: a.a, remote: a.b }),
            b: Some(Vantage { local: b.b, remote: b.a }),
        };
        return witness(&sightings, &vantages);
    }
    let opening = alone.iter().map(|one| Some(one.opening)).reduce(|one, other| {
        let (one, other) = (one?, other?);
        match (one, other) {
            (Opening::None, known) | (known, Opening::None) => Some(known),
            (Opening::Unknown, known) | (known, Opening::Unknown) => Some(known),
            _ => one.agrees_with(other).then(|| one.and(other)),
        }
    });
    Testimony {
        opening: opening.flatten().unwrap_or(Opening::Unknown),
        outcome: Outcome::TimedOut,
        states: shown_states(points),
    }
}

/// At the ends that were watched; where none was, as far as what passed the first point shows.
fn shown_states(points: &[Point<'_>]) -> Vec<Transition> {
    let of = |side: Side| {
        let own = points.iter().find(|point| point.post == Post::At(side));
        own.map(|point| {
            point
                .shown_states()
                .into_iter()
                .filter(move |step| step.side == side)
                .collect::<Vec<_>>()
        })
    };
    let own: Vec<_> = [Side::A, Side::B].into_iter().filter_map(of).flatten().collect();
    match points.first() {
        Some(first) if own.is_empty() => first.shown_states(),
        _ => own,
    }
}

/// One point that saw it open is proof enough, unless a reset took it back.
fn outcome(testimony: &Testimony, alone: &[Connection]) -> ConnectionOutcome {
    use ConnectionOutcome::{Failed, Open, Refused, Reset, TimedOut, Unfinished};
    let by_both = match testimony.outcome {
        Outcome::Open => Some(Open),
        Outcome::Reset => Some(Reset),
        Outcome::Refused => Some(Refused),
        Outcome::Failed => Some(Failed),
        Outcome::TimedOut => None,
    };
    let outcomes = || by_both.into_iter().chain(alone.iter().map(|one| one.outcome));
    let order = [Reset, Open, Refused, Failed, TimedOut];
    order.into_iter().find(|wanted| outcomes().any(|one| one == *wanted)).unwrap_or(Unfinished)
}

fn states(testimony: &Testimony) -> Vec<StateChange> {
    let mut states: Vec<_> = testimony
        .states
        .iter()
        .map(|step| StateChange {
            side: step.side,
            from: step.from,
            to: step.to,
            at_us: micros(step.at),
            source: StateSource::Wire,
        })
        .collect();
    states.sort_by(|one, other| one.at_us.total_cmp(&other.at_us));
    states
}

fn shown(carriage: &Carriage<'_>, points: &[Point<'_>]) -> Carried {
    let passed = carriage.passed.iter().map(|pass| Passed {
        point: pass.point + 1,
        frame: pass.here.frame,
        at_us: micros(pass.here.at),
        changes: pass.changes.clone(),
    });
    let places = |between: [usize; 2]| between.map(|place| place + 1);
    Carried {
        from: carriage.from,
        packet: carriage.first().packet.clone(),
        passed: passed.collect(),
        fate: carriage.fate,
        died_between: carriage.died_between(points.len()).map(places),
        made_between: carriage.made_between(points).map(places),
    }
}

fn seen_point(point: &Point<'_>, clock: Option<Ahead>) -> SeenPoint {
    SeenPoint {
        capture: point.part.capture,
        interface: point.part.opening.interface,
        connection: point.part.number,
        later: point.later.iter().map(|part| part.number).collect(),
        a: point.a,
        b: point.b,
        seen_at: point.post.into(),
        matched_by: point.matched_by,
        clock,
    }
}

/// What cannot be known even with all the captures, in prose.
fn unknown(points: &[Point<'_>], ahead: &[Option<Ahead>]) -> Vec<String> {
    let mut unknown = Vec::new();
    let places = ahead.iter().zip(1..).filter(|(ahead, _)| ahead.is_none());
    let places: Vec<_> = places.map(|(_, place): (_, usize)| place.to_string()).collect();
    if !places.is_empty() {
        unknown.push(format!(
            "how far the clock of point {} is ahead of that of point 1: no packets are known for certain \
             that passed both ways between them, or a clock was set meanwhile; its times are as if the \
             fastest packet had taken none",
            places.join(", and that of point ")
        ));
    }
    for (_, place) in points.iter().zip(1..).filter(|(point, _)| point.is_by_ports()) {
        unknown.push(format!(
            "whether point {place} saw this connection: no packet was seen at both, and its ports and its \
             time alone say so"
        ));
    }
    unknown
}

/// As traces show it.
fn in_a_line<S: Serializer>(packet: &Packet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(packet)
}

/// Microseconds after the first packet, with three decimals.
#[allow(clippy::cast_precision_loss, reason = "an opening lasts minutes")]
fn micros(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e3
}

impl Point<'_> {
    /// The packets, as seen at the interface of that end.
    fn sightings(&self, side: Side) -> Vec<Sighting<'_>> {
        let seen = self.packets.iter().map(|here| Sighting {
            at: here.at,
            vantage: side,
            inbound: here.from != side,
            packet: &here.packet,
        });
        seen.collect()
    }
}

#[cfg(test)]
mod tests;

//! When SYNs left, when they should have, and what that means for a crossing.
//!
//! Two SYNs cross if each leaves before the other arrives: the difference between their departures
//! must be smaller than the one-way delay.

use schemars::JsonSchema;
use serde::Serialize;

use super::ends::{End, Ends, side_of};
use super::{Attempt, Missed, micros};
use crate::engine::{Record, Run};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Flags, Segment, Seq};

/// How well two departures were timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Timing {
    /// By how much the SYN of b left after that of a, in microseconds.
    pub skew_us: Option<f64>,
    /// The skew must lie between this and its negative for the SYNs to cross.
    pub crossing_window_us: Option<f64>,
    /// How long a packet from a to b is under way, in microseconds.
    pub a_to_b_us: Option<f64>,
    /// The same the other way.
    pub b_to_a_us: Option<f64>,
    /// What these stand on.
    pub measured: Measured,
    /// How far apart the two clocks may be, in microseconds: as the ends have measured it, or by the
    /// kernel's estimate at this end; none where nobody keeps the clock.
    pub clock_error_us: Option<f64>,
}

/// What a skew and delays stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// Nothing.
    #[default]
    No,
    /// Half the round trip at one end: as if the two ways took equally long.
    HalfRoundTrip,
    /// The same packets at both ends, on one clock or on two that were compared.
    BothEnds,
}

/// How well the SYNs were timed that met, as far as was seen.
pub fn timing(ends: &Ends, run: &Run) -> Timing {
    let side = |side| {
        let end = ends.all.get(&side).filter(|end| end.has_wire)?;
        Some(Syns::of(side, end, run))
    };
    let timing = match (side(Side::A), side(Side::B)) {
        (Some(a), Some(b)) => from_both(&a, &b),
        (Some(one), None) => from_one(Side::A, &one),
        (None, Some(one)) => from_one(Side::B, &one),
        (None, None) => Timing::default(),
    };
    Timing { clock_error_us: ends.clock_error().map(in_micros), ..timing }
}

fn from_both(a: &Syns<'_>, b: &Syns<'_>) -> Timing {
    let [a_to_b, b_to_a] = [a.delay_to(b), b.delay_to(a)];
    let departures = a.departure().zip(b.departure());
    // Both ways are needed: the narrower one bounds the window.
    let window = a_to_b.zip(b_to_a).map(|(one, other)| one.min(other));
    let measured = departures.or(a_to_b.zip(b_to_a).map(|_| Default::default()));
    Timing {
        skew_us: departures.map(|(a, b)| micros(a, b)),
        crossing_window_us: window.or(a_to_b).or(b_to_a).map(in_micros),
        a_to_b_us: a_to_b.map(in_micros),
        b_to_a_us: b_to_a.map(in_micros),
        measured: if measured.is_some() { Measured::BothEnds } else { Measured::No },
        ..Timing::default()
    }
}

fn from_one(side: Side, syns: &Syns<'_>) -> Timing {
    let Some(half) = syns.round_trip().map(|round_trip| round_trip / 2) else {
        return Timing::default();
    };
    let left = syns.departure().zip(syns.arrival()).map(|(ours, came)| {
        let theirs = micros(Instant::START, came) - in_micros(half);
        let skew = theirs - micros(Instant::START, ours);
        if side == Side::A { skew } else { -skew }
    });
    Timing {
        skew_us: left,
        crossing_window_us: Some(in_micros(half)),
        a_to_b_us: Some(in_micros(half)),
        b_to_a_us: Some(in_micros(half)),
        measured: Measured::HalfRoundTrip,
        ..Timing::default()
    }
}

fn in_micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The SYNs of one connection that one end saw, bare or not.
struct Syns<'a> {
    all: Vec<(&'a Record, &'a Segment)>,
}

impl<'a> Syns<'a> {
    fn of(side: Side, end: &End, run: &'a Run) -> Self {
        let vantage = end.vantage();
        let all = at(run, side).filter(|(record, segment)| {
            let ends = record.packet.endpoints();
            let (ours, theirs) = (vantage.local, vantage.remote);
            let expected = if record.inbound { (theirs, ours) } else { (ours, theirs) };
            ends == Some(expected) && segment.flags.contains(Flags::SYN)
        });
        Self { all: all.collect() }
    }

    fn bare(&self, inbound: bool) -> impl DoubleEndedIterator<Item = (&'a Record, &'a Segment)> {
        let all = self.all.iter().copied();
        all.filter(move |(record, segment)| record.inbound == inbound && segment.is_bare_syn())
    }

    /// The first answer that came: a SYN of either kind.
    fn answer(&self) -> Option<&'a Record> {
        let last = self.bare(false).next_back()?.1.seq;
        let first = self.bare(false).find(|(_, segment)| segment.seq == last)?.0.at;
        self.all
            .iter()
            .find(|(record, _)| record.inbound && record.at >= first)
            .map(|(record, _)| *record)
    }

    /// When the SYN left that was under way as the answer came: of an attempt that was repeated the
    /// last one before it.
    fn departure(&self) -> Option<Instant> {
        let before = self.answer().map_or(Instant::from_nanos(u64::MAX), |answer| answer.at);
        self.bare(false).rev().find(|(record, _)| record.at <= before).map(|(record, _)| record.at)
    }

    /// When the peer's bare SYN came, if it came to answer.
    fn arrival(&self) -> Option<Instant> {
        let answer = self.answer()?;
        self.bare(true).find(|(record, _)| record.at == answer.at).map(|(record, _)| record.at)
    }

    /// From our SYN to the SYN,ACK that answers it, if it was sent once: else nobody knows which one
    /// was answered (RFC 6298 §3).
    fn round_trip(&self) -> Option<Duration> {
        let mut inbound = self.all.iter().filter(|(record, _)| record.inbound);
        let (came, syn_ack) = inbound.find(|(_, segment)| segment.is_syn_ack())?;
        let mut sent = self.bare(false).filter(|(_, sent)| sent.seq + 1 == syn_ack.ack);
        let first = sent.next()?.0.at;
        sent.next().is_none().then(|| came.at.since(first))
    }

    /// How long a bare SYN from here to the other end was under way, if one was seen at both.
    fn delay_to(&self, other: &Self) -> Option<Duration> {
        let arrivals: Vec<_> =
            other.bare(true).map(|(record, segment)| (marks(segment), record.at)).collect();
        let sent: Vec<_> =
            self.bare(false).map(|(record, segment)| (marks(segment), record.at)).collect();
        // Repetitions with one number and one time stamp cannot be told apart.
        sent.iter().find_map(|(mark, left)| {
            let is_only = sent.iter().filter(|(other, _)| other == mark).count() == 1;
            let came = arrivals.iter().find(|(other, _)| other == mark)?.1;
            is_only.then(|| came.since(*left))
        })
    }
}

/// What tells a SYN from others: its number and its time stamp.
fn marks(segment: &Segment) -> (Seq, Option<u32>) {
    (segment.seq, segment.options.timestamps().map(|(value, _)| value))
}

/// What was tried, and when the SYNs left.
pub fn attempts(ends: &Ends, run: &Run) -> Vec<Attempt> {
    let all = ends.all.iter();
    let mut attempts: Vec<_> =
        all.flat_map(|(side, end)| of_end(*side, end, run, ends.origin())).collect();
    attempts.sort_by(|one, other| one.at_us.total_cmp(&other.at_us));
    attempts
}

fn of_end(side: Side, end: &End, run: &Run, origin: Instant) -> Vec<Attempt> {
    let departures: Vec<_> = first_departures(side, end.local, run).collect();
    let next = end.tried.iter().skip(1).map(|(_, at)| *at - EARLY);
    let until = next.chain([Instant::from_nanos(u64::MAX)]);
    let attempts = end.tried.iter().zip(until).map(|(&(number, at), until)| {
        let left = departures.iter().find(|left| (at - EARLY..until).contains(left));
        let missed = end.missed.iter().find(|(of, _)| *of == number);
        let stolen = end.stolen.iter().find(|(of, _)| *of == number);
        Attempt {
            side,
            number,
            at_us: micros(origin, at),
            error_us: left.map(|left| micros(at, *left)),
            stolen_us: stolen.map(|(_, stolen)| in_micros(*stolen)),
            missed: missed.map(|(_, why)| Missed::from(*why)),
        }
    });
    attempts.collect()
}

/// When each new SYN of this endpoint first left: repetitions have the same number.
fn first_departures(side: Side, local: Endpoint, run: &Run) -> impl Iterator<Item = Instant> {
    let mut known = Vec::new();
    at(run, side).filter_map(move |(record, segment)| {
        let is_ours = record.packet.endpoints().is_some_and(|(from, _)| from == local);
        let is_new =
            is_ours && segment.is_bare_syn() && !record.inbound && !known.contains(&segment.seq);
        is_new.then(|| known.push(segment.seq)).map(|()| record.at)
    })
}

fn at(run: &Run, side: Side) -> impl Iterator<Item = (&Record, &Segment)> {
    let here = run.trace.iter().filter(move |record| side_of(record) == Some(side));
    here.filter_map(|record| Some((record, record.packet.segment()?)))
}

/// More than a calibrated lead can be off.
const EARLY: Duration = Duration::from_millis(1);

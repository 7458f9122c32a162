//! What became of each packet on its way from one end to the other.

use std::collections::{BTreeMap, BTreeSet};

use super::PacketFate;
use super::alike::{Shifts, are_alike, has_all_marks, has_its_stamp};
use super::change::{Change, changes};
use super::point::{Here, Point};
use crate::tcp::Side;
use crate::time::Instant;
use crate::wire::{Flags, Segment, Seq};

/// A packet on its way from one end to the other.
pub struct Carriage<'a> {
    pub from: Side,
    /// Where it was seen, in order of its way; never nowhere.
    pub passed: Vec<Pass<'a>>,
    pub fate: PacketFate,
}

/// A packet at one of the points.
pub struct Pass<'a> {
    /// The place of the point, from 0.
    pub point: usize,
    pub here: &'a Here,
    /// What was changed since the point before.
    pub changes: Vec<Change>,
}

impl<'a> Carriage<'a> {
    fn begin(point: usize, here: &'a Here) -> Self {
        let passed = vec![Pass { point, here, changes: Vec::new() }];
        Self { from: here.from, passed, fate: PacketFate::Unknown }
    }

    pub fn first(&self) -> &'a Here {
        self.passed[0].here
    }

    pub fn last(&self) -> &Pass<'a> {
        &self.passed[self.passed.len() - 1]
    }

    pub fn segment(&self) -> Option<&'a Segment> {
        self.first().segment()
    }

    /// The packet at that point.
    pub fn at(&self, point: usize) -> Option<&'a Here> {
        self.passed.iter().find(|pass| pass.point == point).map(|pass| pass.here)
    }

    pub const fn has_arrived(&self) -> bool {
        matches!(self.fate, PacketFate::Arrived | PacketFate::ArrivedUnseen)
    }

    /// Of so many points the two between which it died.
    pub fn died_between(&self, points: usize) -> Option<[usize; 2]> {
        let last = self.last().point;
        (self.fate == PacketFate::Died).then_some([last, next(last, self.from, points)?])
    }

    /// The point before the first one that saw it, and that one: if the former would know of it, neither
    /// end has sent it.
    pub fn made_between(&self, points: &[Point<'_>]) -> Option<[usize; 2]> {
        let behind = self.behind(points.len())?;
        points[behind].would_know(self.first()).then_some([behind, self.passed[0].point])
    }

    /// The point before the first one that saw it; none at the end that it came from.
    pub fn behind(&self, points: usize) -> Option<usize> {
        next(self.passed[0].point, self.from.opposite(), points)
    }
}

/// The point after that one, on the way from an end.
fn next(place: usize, from: Side, points: usize) -> Option<usize> {
    match from {
        Side::A => Some(place + 1).filter(|next| *next < points),
        Side::B => place.checked_sub(1),
    }
}

/// All packets, in order of time.
pub fn carried<'a>(points: &'a [Point<'_>]) -> Vec<Carriage<'a>> {
    let mut floors = BTreeMap::new();
    let mut all = from_end(points, Side::A, &mut floors);
    all.extend(from_end(points, Side::B, &mut floors));
    let fates: Vec<_> = all.iter().map(|carriage| fate(carriage, points, &all)).collect();
    all.iter_mut().zip(fates).for_each(|(carriage, fate)| carriage.fate = fate);
    all.sort_by_key(|carriage| carriage.first().at);
    all
}

/// The least delay between two points, in nanoseconds: what goes the other way takes at least as much less
/// than nothing, if clocks that could not be compared are to blame.
type Floors = BTreeMap<(usize, usize), i64>;

/// The packets from one end, point by point along their way.
fn from_end<'a>(points: &'a [Point<'_>], side: Side, floors: &mut Floors) -> Vec<Carriage<'a>> {
    let mut way: Vec<usize> = (0..points.len()).collect();
    if side == Side::B {
        way.reverse();
    }
    let mut all: Vec<Carriage<'a>> = Vec::new();
    for place in way {
        let here: Vec<_> = points[place].sent(side).collect();
        let before: Vec<_> = all.iter().map(|one| (one.last().point, one.last().here)).collect();
        let shifts: Vec<_> =
            points.iter().map(|point| Shifts::between(point, &points[place])).collect();
        let fits = |one: usize, other: usize| {
            let (point, was) = before[one];
            are_alike(was, here[other], &shifts[point])
        };
        let earlier: Vec<_> = before.iter().map(|(_, here)| *here).collect();
        let floor = |one: usize| floors.get(&(place, before[one].0)).map(|delay| -delay - SLACK_NS);
        let pairs = matched(&earlier, &here, &fits, &floor);
        for (one, other) in &pairs {
            let delay = apart(earlier[*one].at, here[*other].at);
            let least = floors.entry((before[*one].0, place)).or_insert(delay);
            *least = delay.min(*least);
            let changes = changes(earlier[*one], here[*other]);
            all[*one].passed.push(Pass { point: place, here: here[*other], changes });
        }
        let seen: BTreeSet<_> = pairs.into_iter().map(|(_, other)| other).collect();
        let new = (0..here.len()).filter(|nth| !seen.contains(nth) && !is_copy(&here, *nth, &seen));
        all.extend(new.map(|nth| Carriage::begin(place, here[nth])));
    }
    all
}

/// Whether the network doubled a packet that is known already.
fn is_copy(here: &[&Here], nth: usize, seen: &BTreeSet<usize>) -> bool {
    let own = &here[nth].packet;
    let is_it =
        |other: &usize| here[*other].packet.id == own.id && here[*other].packet.body == own.body;
    own.id != 0 && seen.iter().any(is_it)
}

/// Which packets at an earlier point are which at a later one, by their places: those that bear the same
/// marks, then those that look alike and took about as long as others.
fn matched(
    earlier: &[&Here],
    later: &[&Here],
    fits: &impl Fn(usize, usize) -> bool,
    floor: &impl Fn(usize) -> Option<i64>,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for has_marks in [has_all_marks, has_its_stamp] {
        for (other, there) in later.iter().enumerate() {
            let is_free = |one: &usize| pairs.iter().all(|(taken, _)| taken != one);
            let is_new = pairs.iter().all(|(_, taken)| *taken != other);
            let mut marked = (0..earlier.len())
                .filter(|one| is_free(one) && fits(*one, other) && has_marks(earlier[*one], there));
            if let Some(one) = marked.next().filter(|_| is_new) {
                pairs.push((one, other));
            }
        }
    }
    let delay = |(one, other): &(usize, usize)| apart(earlier[*one].at, later[*other].at);
    let known = pairs.iter().map(delay).min();
    let left: Vec<_> =
        (0..earlier.len()).filter(|one| pairs.iter().all(|(taken, _)| taken != one)).collect();
    let came: Vec<_> =
        (0..later.len()).filter(|other| pairs.iter().all(|(_, taken)| taken != other)).collect();
    let all = left.iter().flat_map(|one| came.iter().map(move |other| (*one, *other)));
    let is_possible =
        |pair: &(usize, usize)| floor(pair.0).is_none_or(|floor| floor <= delay(pair));
    let fitting = all.filter(|(one, other)| fits(*one, *other)).filter(is_possible);
    let fitting: Vec<_> = fitting.collect();
    let delays = match known {
        Some(known) => vec![known],
        None => candidates(fitting.iter().map(delay)),
    };
    let most = delays.into_iter().map(|wanted| as_late_as(wanted, &fitting, &delay));
    pairs.extend(
        most.reduce(|best, other| if other.len() > best.len() { other } else { best })
            .unwrap_or_default(),
    );
    pairs
}

/// Of pairs that fit those whose delay is about that; of a packet with several, the nearest.
fn as_late_as(
    wanted: i64,
    fitting: &[(usize, usize)],
    delay: &impl Fn(&(usize, usize)) -> i64,
) -> Vec<(usize, usize)> {
    let off = |pair: &(usize, usize)| delay(pair).abs_diff(wanted);
    let mut near: Vec<_> = fitting.iter().filter(|pair| off(pair) <= JITTER_NS).copied().collect();
    near.sort_by_key(off);
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (one, other) in near {
        if pairs.iter().all(|(left, came)| *left != one && *came != other) {
            pairs.push((one, other));
        }
    }
    pairs
}

/// The delays that may be the usual one, the shortest first.
fn candidates(delays: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut delays: Vec<_> = delays.collect();
    delays.sort_by_key(|delay| delay.unsigned_abs());
    delays.dedup();
    delays.truncate(MOST_DELAYS);
    delays
}

/// From one moment to the other, in nanoseconds.
fn apart(one: Instant, other: Instant) -> i64 {
    let nanos = |at: Instant| i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
    nanos(other) - nanos(one)
}

/// What became of a packet, once all are known.
fn fate(carriage: &Carriage<'_>, points: &[Point<'_>], all: &[Carriage<'_>]) -> PacketFate {
    let last = carriage.last();
    let Some(next) = next(last.point, carriage.from, points.len()) else {
        return PacketFate::Arrived;
    };
    if is_acknowledged(carriage, all, points.len()) {
        return PacketFate::ArrivedUnseen;
    }
    if points[next].would_know(last.here) { PacketFate::Died } else { PacketFate::Unknown }
}

/// Whether the other end itself acknowledged a SYN, and this was the only one with its number.
fn is_acknowledged(carriage: &Carriage<'_>, all: &[Carriage<'_>], points: usize) -> bool {
    let Some(segment) = carriage.segment().filter(|one| one.flags.contains(Flags::SYN)) else {
        return false;
    };
    let number = |one: &Carriage<'_>| one.segment().map(|segment: &Segment| segment.seq);
    let same = all.iter().filter(|one| one.from == carriage.from);
    let is_only = same.filter(|one| number(one) == Some(segment.seq)).count() == 1;
    let point = carriage.passed[0].point;
    let answers = |one: &&Carriage<'_>| {
        let at_point = one.at(point).and_then(Here::segment);
        let ack: Option<Seq> =
            at_point.filter(|answer| answer.flags.contains(Flags::ACK)).map(|answer| answer.ack);
        one.from != carriage.from
            && one.behind(points).is_none()
            && ack == Some(segment.seq + segment.length())
    };
    is_only && all.iter().any(|one| answers(&one))
}

/// Repetitions come further apart.
const JITTER_NS: u64 = 250_000_000;

/// Clocks that drift, and packets that are stamped late.
const SLACK_NS: i64 = 100_000_000;

/// More pairs than any handful of repetitions has.
const MOST_DELAYS: usize = 256;

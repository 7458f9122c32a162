//! Which openings of different points are one connection: NATs change endpoints, and some change
//! sequence numbers as well.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;

use super::Part;
use super::point::Point;
use crate::tcp::{Post, Side};
use crate::wire::{Endpoint, Segment, Seq};

/// By what a connection was known again at another point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MatchedBy {
    /// It is the first point.
    First,
    /// An initial sequence number, and a time stamp, an identification or a port beside it.
    Numbers,
    /// The time stamp of a SYN, and its identification or its ports: the numbers were rewritten.
    TimeStamps,
    /// Its ports and its time, since no packet of it was seen at both points.
    Ports,
}

/// An opening of a group: its place among all, whether its ends are called the other way round than in
/// the first one of the group, and by what it belongs to it.
#[derive(Clone, Copy, Debug)]
struct Member {
    place: usize,
    is_flipped: bool,
    by: MatchedBy,
}

/// The connections that were seen at more than one point.
pub fn groups(parts: &[Part]) -> Vec<Vec<Point<'_>>> {
    // One point alone has nothing to be compared with.
    let first = parts.first().map(point_of);
    if parts.iter().all(|part| Some(point_of(part)) == first) {
        return Vec::new();
    }
    let known: Vec<_> = parts.iter().map(Known::of).collect();
    let index = Index::of(&known);
    let mut grouped = BTreeSet::new();
    let mut groups = Vec::new();
    for place in 0..parts.len() {
        if grouped.contains(&place) {
            continue;
        }
        let group = group_of(place, &known, &index, &grouped);
        if group.iter().any(|member| point_of(&parts[member.place]) != point_of(&parts[place])) {
            grouped.extend(group.iter().map(|member| member.place));
            groups.push(group);
        }
    }
    groups.extend(by_ports(parts, &known, &grouped));
    groups.iter().map(|group| points(group, parts)).collect()
}

/// The points of a group. Where a NAT gave its mapping up, the same connection goes on from another external
/// endpoint: at the points behind that it is several openings.
fn points<'a>(group: &[Member], parts: &'a [Part]) -> Vec<Point<'a>> {
    let mut points: Vec<Point<'a>> = Vec::new();
    for member in group {
        let part = &parts[member.place];
        match points.iter_mut().find(|point| point_of(point.part) == point_of(part)) {
            Some(point) if point.is_apart_from(part) => point.goes_on(part, member.is_flipped),
            // The same packets again, as a capture of all interfaces of a router has them.
            Some(_) => {}
            None => points.push(Point::new(part, member.is_flipped, member.by)),
        }
    }
    points
}

/// All that has a SYN in common with this opening, or with another one that has.
fn group_of(first: usize, known: &[Known], index: &Index, taken: &BTreeSet<usize>) -> Vec<Member> {
    let mut group = vec![Member { place: first, is_flipped: false, by: MatchedBy::First }];
    let mut open = VecDeque::from([group[0]]);
    while let Some(member) = open.pop_front() {
        for (place, by, is_flipped) in index.like(member.place, known) {
            let is_free = !taken.contains(&place) && !group.iter().any(|one| one.place == place);
            if is_free {
                let is_flipped = is_flipped != member.is_flipped;
                let found = Member { place, is_flipped, by };
                group.push(found);
                open.push_back(found);
            }
        }
    }
    group
}

const fn point_of(part: &Part) -> (usize, u32) {
    (part.capture, part.opening.interface)
}

/// What an opening is known by.
struct Known {
    syns: Vec<Syn>,
    a: Endpoint,
    b: Endpoint,
    post: Post,
    first: u64,
    last: u64,
}

/// A SYN, bare or not.
#[derive(Clone, Copy)]
struct Syn {
    from: Side,
    is_bare: bool,
    seq: Seq,
    /// TSval; zero marks nothing.
    stamp: u32,
    /// IP identification; zero marks nothing.
    id: u16,
    ports: [u16; 2],
    ack: Seq,
}

impl Known {
    fn of(part: &Part) -> Self {
        let point = Point::new(part, false, MatchedBy::First);
        let syn = |from: Side, id: u16, segment: &Segment| Syn {
            from,
            is_bare: segment.is_bare_syn(),
            seq: segment.seq,
            stamp: segment.options.timestamps().map_or(0, |(value, _)| value),
            id,
            ports: [segment.source_port, segment.destination_port],
            ack: segment.ack,
        };
        let all = point.packets.iter().filter_map(|here| {
            let segment = here.segment()?;
            let is_syn = segment.is_bare_syn() || segment.is_syn_ack();
            is_syn.then(|| syn(here.from, here.packet.id, segment))
        });
        let times = || point.packets.iter().map(|here| here.own);
        Self {
            syns: all.collect(),
            a: point.a,
            b: point.b,
            post: point.post,
            first: times().min().unwrap_or_default(),
            last: times().max().unwrap_or_default(),
        }
    }
}

impl Syn {
    /// By what two SYNs at different points are one, if they are: a number alone is shared by accident
    /// once in some billions of pairs, of which there may be as many.
    fn is(&self, other: &Self) -> Option<MatchedBy> {
        let same_stamp = self.stamp != 0 && self.stamp == other.stamp;
        let same_id = self.id != 0 && self.id == other.id;
        let same_port =
            self.ports.iter().zip(other.ports).filter(|(one, two)| **one == *two).count();
        let same_ack = !self.is_bare && self.ack == other.ack;
        if self.is_bare != other.is_bare {
            return None;
        }
        if self.seq == other.seq && (same_stamp || same_id || same_port > 0 || same_ack) {
            return Some(MatchedBy::Numbers);
        }
        // One clock may stamp all connections of a host.
        (same_stamp && (same_id || same_port == 2)).then_some(MatchedBy::TimeStamps)
    }
}

/// Where SYNs of which number and which time stamp are.
struct Index {
    by_seq: BTreeMap<Seq, Vec<(usize, usize)>>,
    by_stamp: BTreeMap<u32, Vec<(usize, usize)>>,
}

impl Index {
    fn of(known: &[Known]) -> Self {
        let mut index = Self { by_seq: BTreeMap::new(), by_stamp: BTreeMap::new() };
        for (place, one) in known.iter().enumerate() {
            for (nth, syn) in one.syns.iter().enumerate() {
                index.by_seq.entry(syn.seq).or_default().push((place, nth));
                index.by_stamp.entry(syn.stamp).or_default().push((place, nth));
            }
        }
        index.by_stamp.remove(&0);
        // What so many have marks none of them: a flood may have one number throughout.
        index.by_seq.retain(|_, alike| alike.len() <= MOST_ALIKE);
        index.by_stamp.retain(|_, alike| alike.len() <= MOST_ALIKE);
        index
    }

    /// The openings that have a SYN in common with that one, those that share numbers first.
    fn like(&self, place: usize, known: &[Known]) -> Vec<(usize, MatchedBy, bool)> {
        let mut found = Vec::new();
        for syn in &known[place].syns {
            let by_seq = self.by_seq.get(&syn.seq).into_iter().flatten();
            let by_stamp = self.by_stamp.get(&syn.stamp).into_iter().flatten();
            for (other, nth) in by_seq.chain(by_stamp).filter(|(other, _)| *other != place) {
                let theirs = &known[*other].syns[*nth];
                found.extend(syn.is(theirs).map(|by| (*other, by, syn.from != theirs.from)));
            }
        }
        found.sort_by_key(|(_, by, _)| *by != MatchedBy::Numbers);
        found
    }
}

/// Two openings of which no packet passed both points, each at its own end, and neither answered: each aims
/// at the port that the other has, at about the same time, and no third one does.
fn by_ports(parts: &[Part], known: &[Known], taken: &BTreeSet<usize>) -> Vec<Vec<Member>> {
    let free: Vec<_> = (0..parts.len()).filter(|place| !taken.contains(place)).collect();
    let mut by_ports: BTreeMap<[u16; 2], Vec<usize>> = BTreeMap::new();
    let is_own =
        |one: &Known| one.post == Post::At(Side::A) && one.syns.iter().all(|syn| syn.is_bare);
    for place in free.iter().filter(|place| is_own(&known[**place])) {
        let Known { a, b, .. } = &known[*place];
        by_ports.entry([a.port(), b.port()]).or_default().push(*place);
    }
    let mut groups = Vec::new();
    let mut paired = BTreeSet::new();
    for (ports, ones) in &by_ports {
        let Some(others) = by_ports.get(&[ports[1], ports[0]]) else { continue };
        for one in ones {
            let fits = |other: &&usize| {
                let is_elsewhere = parts[**other].capture != parts[*one].capture;
                is_elsewhere && are_near(&known[*one], &known[**other])
            };
            let mut fitting = others.iter().filter(fits);
            if let (Some(other), None) = (fitting.next(), fitting.next())
                && !paired.contains(one)
                && !paired.contains(other)
            {
                paired.extend([*one, *other]);
                let [first, second] = if one < other { [*one, *other] } else { [*other, *one] };
                groups.push(vec![
                    Member { place: first, is_flipped: false, by: MatchedBy::First },
                    Member { place: second, is_flipped: true, by: MatchedBy::Ports },
                ]);
            }
        }
    }
    groups
}

fn are_near(one: &Known, other: &Known) -> bool {
    one.first <= other.last.saturating_add(APART) && other.first <= one.last.saturating_add(APART)
}

/// More than the SYNs of one connection at all points, repetitions too.
const MOST_ALIKE: usize = 256;

/// Clocks of hosts that punch are seconds apart at most, and so are their beginnings: in nanoseconds.
const APART: u64 = 30_000_000_000;

//! Who sent a SYN to whom of late, and what other connections tell of an address.

mod generations;

use std::num::NonZeroU64;

use generations::Generations;

use crate::capture::batch::Item;
use crate::wire::glance::End;
use crate::wire::{Endpoint, Seq};

/// A SYN of another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// From whom.
    pub from: Endpoint,
    /// To whom.
    pub to: Endpoint,
    /// The number of its frame, from 1.
    pub frame: u64,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// Its initial sequence number.
    pub seq: Seq,
}

/// What all connections of an address tell of it, those of one of its ports apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearsay {
    /// The TTL of its last SYN or SYN,ACK, from whatever port.
    pub ttl: Option<u8>,
    /// The TTL of the last one from another port.
    pub ttl_elsewhere: Option<u8>,
    /// The shortest time between a SYN to it and its SYN,ACK, in nanoseconds.
    pub round_trip: Option<u64>,
}

/// How the openings went that one address began towards one endpoint, a few seconds apart at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How many were begun.
    pub begun: u32,
    /// How many of these were answered by a segment.
    pub answered: u32,
    /// The place of the last one that was, from 1.
    pub last_answered: u32,
    /// The place of this one, from 1.
    pub place: u32,
}

/// The last SYNs from each endpoint, and the last ones to each.
#[derive(Debug, Default)]
pub struct Recent {
    by_source: Generations<End, Callers>,
    by_target: Generations<End, Callers>,
    hosts: Generations<End, Host>,
    bursts: Generations<(End, End), Row>,
    /// The last number that was given out for one of those rows.
    rows: u32,
}

impl Recent {
    /// A SYN begins an opening. Its place among those that are close together.
    pub fn called(&mut self, syn: &Item) -> Place {
        let Item { source: from, destination: to, interface, kept, .. } = syn;
        let (from, to) = (*from, *to);
        let (frame, at, seq) = (kept.frame, kept.at, kept.number());
        let frame = NonZeroU64::new(frame).unwrap_or(NonZeroU64::MIN);
        let seen = |other| Seen { other, frame, at, interface: *interface, seq };
        self.by_source.entry(from).put(seen(to));
        self.by_target.entry(to).put(seen(from));
        self.rows = self.rows.wrapping_add(1);
        self.bursts.entry((from.host(), to)).begin(at, self.rows)
    }

    /// A segment answered the opening that has that place.
    pub fn answered(&mut self, from: End, to: End, place: Place) {
        if let Some(row) = self.bursts.find_mut((from.host(), to)) {
            row.answer(place);
        }
    }

    /// A host's SYN or SYN,ACK came from there with that TTL; if it answers a SYN, so many nanoseconds after
    /// that.
    pub fn heard(&mut self, from: End, ttl: u8, round_trip: Option<u64>) {
        let host = self.hosts.entry(from.host());
        host.hear(from.port(), ttl);
        host.round_trip = host.round_trip.min(round_trip.unwrap_or(u64::MAX));
    }

    /// What is known of that endpoint's address.
    pub fn hearsay(&self, of: End) -> Hearsay {
        self.hosts.find(of.host()).map_or_else(Hearsay::default, |host| host.of(of.port()))
    }

    /// How those went that were begun close to the one of that place.
    pub fn burst(&self, from: End, to: End, place: Place) -> Option<Burst> {
        self.bursts.find((from.host(), to))?.at(place)
    }

    /// The SYNs to a or b that are not from the other, and from a or b that are not to the other, unless
    /// from b to a, before this opening, which began then; and the one that another aimed as a aims, from
    /// b's port at a's, at the address of b.
    pub fn of(&self, a: End, b: End, interface: u32, began: u64) -> Vec<Call> {
        let by = |end| known(&self.by_source, end).map(move |seen| (end, seen.other, seen));
        let to = |end| known(&self.by_target, end).map(move |seen| (seen.other, end, seen));
        let to_a = to(a).find(|(from, ..)| *from != b);
        let to_b = to(b).find(|(from, ..)| *from != a);
        let by_a = by(a).find(|(_, to, _)| *to != b);
        let by_b = by(b).find(|(_, to, _)| *to != a);
        let back = by(b).find(|(_, to, seen)| *to == a && seen.at < began);
        let mut aimed = to(b.with_port_of(a));
        let aimed = aimed.find(|(from, to, _)| from.has_port_of(b) && *from != a && *to != a);
        let all = [to_a, to_b, by_a, by_b, back, aimed].into_iter().flatten();
        all.filter(|(.., seen)| seen.interface == interface).map(call).collect()
    }
}

fn known(table: &Generations<End, Callers>, end: End) -> impl Iterator<Item = Seen> {
    table.find(end).map_or([None; 2], |callers| callers.0).into_iter().flatten()
}

fn call((from, to, seen): (End, End, Seen)) -> Call {
    let Seen { frame, at, seq, .. } = seen;
    Call { from: from.endpoint(), to: to.endpoint(), frame: frame.get(), at, seq }
}

/// A SYN of an endpoint, or one to it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Whom it went to, or came from.
    other: End,
    /// From 1, so that none needs no room of its own.
    frame: NonZeroU64,
    at: u64,
    interface: u32,
    seq: Seq,
}

/// The last SYN of an endpoint, and the last one that had another at its other end.
#[derive(Clone, Copy, Debug, Default)]
struct Callers([Option<Seen>; 2]);

impl Callers {
    fn put(&mut self, seen: Seen) {
        let Self([last, before]) = self;
        if last.is_some_and(|last| last.other != seen.other) {
            *before = *last;
        }
        *last = Some(seen);
    }
}

/// An address: the port and the TTL of its last SYN or SYN,ACK, and those of the last one that had another
/// port than that.
#[derive(Clone, Copy, Debug)]
struct Host {
    last: Option<(u16, u8)>,
    other: Option<(u16, u8)>,
    /// `u64::MAX` if there is none.
    round_trip: u64,
}

impl Default for Host {
    fn default() -> Self {
        Self { last: None, other: None, round_trip: u64::MAX }
    }
}

impl Host {
    fn hear(&mut self, port: u16, ttl: u8) {
        let ttl = match self.last {
            // A router's capture has it twice, once with one taken off.
            Some((last, before)) if last == port && before == ttl.saturating_add(1) => before,
            _ => ttl,
        };
        if self.last.is_some_and(|(last, _)| last != port) {
            self.other = self.last;
        }
        self.last = Some((port, ttl));
    }

    fn of(&self, port: u16) -> Hearsay {
        let mut all = [self.last, self.other].into_iter().flatten();
        Hearsay {
            ttl: self.last.map(|(_, ttl)| ttl),
            ttl_elsewhere: all.find(|(from, _)| *from != port).map(|(_, ttl)| ttl),
            round_trip: (self.round_trip != u64::MAX).then_some(self.round_trip),
        }
    }
}

/// Where an opening stands in a row of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the row.
    row: u32,
    place: u32,
}

/// Openings by one address towards one endpoint, close together.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    number: u32,
    latest: u64,
    begun: u32,
    answered: u32,
    last_answered: u32,
}

impl Row {
    /// One more begins, or another row of that number.
    fn begin(&mut self, at: u64, number: u32) -> Place {
        if self.begun == 0 || at.saturating_sub(self.latest) > APART {
            *self = Self { number, ..Self::default() };
        }
        self.latest = self.latest.max(at);
        self.begun += 1;
        Place { row: self.number, place: self.begun }
    }

    fn answer(&mut self, place: Place) {
        if place.row == self.number {
            self.answered += 1;
            self.last_answered = self.last_answered.max(place.place);
        }
    }

    fn at(&self, place: Place) -> Option<Burst> {
        let Self { number, begun, answered, last_answered, .. } = *self;
        let burst = Burst { begun, answered, last_answered, place: place.place };
        (place.row == number).then_some(burst)
    }
}

/// What begins later than so many nanoseconds after the last one is another row.
const APART: u64 = 10_000_000_000;

//! Which packets at two points are one packet.

use std::collections::BTreeSet;

use super::point::{Here, Point};
use crate::tcp::Side;
use crate::wire::{Body, Flags, Icmp, Segment};

/// By how much sequence numbers differ between two points: nothing, unless something on the way rewrites
/// them, and then by a number of its own for each side and attempt.
pub struct Shifts {
    of_a: BTreeSet<u32>,
    of_b: BTreeSet<u32>,
}

impl Shifts {
    /// From what SYNs that bear one time stamp have at both.
    pub fn between(near: &Point<'_>, far: &Point<'_>) -> Self {
        let of = |side| {
            let pairs =
                near.sent(side).flat_map(|one| far.sent(side).map(move |other| (one, other)));
            let syns = pairs.filter_map(|(one, other)| {
                let (one, other) = (one.segment()?, other.segment()?);
                let is_syn = one.flags.contains(Flags::SYN) && one.flags == other.flags;
                let same = stamp(one) != 0 && stamp(one) == stamp(other);
                (is_syn && same).then(|| other.seq - one.seq)
            });
            [0].into_iter().chain(syns).collect()
        };
        Self { of_a: of(Side::A), of_b: of(Side::B) }
    }

    const fn of(&self, side: Side) -> &BTreeSet<u32> {
        match side {
            Side::A => &self.of_a,
            Side::B => &self.of_b,
        }
    }
}

/// Whether two packets from one end may be one, by what no middlebox changes, or changes alike throughout.
pub fn are_alike(near: &Here, far: &Here, shifts: &Shifts) -> bool {
    let from = near.from;
    match (&near.packet.body, &far.packet.body) {
        (Body::Tcp(one), Body::Tcp(other)) => {
            let stamps = [stamp(one), stamp(other)];
            let is_repeated = stamps[0] != stamps[1] && !stamps.contains(&0);
            // One whose time stamp was rewritten keeps its identification; a repetition has another.
            let same_id = near.packet.id != 0 && near.packet.id == far.packet.id;
            (!is_repeated || same_id) && are_alike_segments(one, other, from, shifts)
        }
        (Body::Icmp(one), Body::Icmp(other)) => {
            let what = |icmp: &Icmp| (icmp.kind, icmp.code);
            // What it quotes went the other way.
            let shift = other.quote.seq - one.quote.seq;
            what(one) == what(other) && shifts.of(from.opposite()).contains(&shift)
        }
        _ => false,
    }
}

fn are_alike_segments(one: &Segment, other: &Segment, from: Side, shifts: &Shifts) -> bool {
    let (own, others) = (shifts.of(from), shifts.of(from.opposite()));
    // RFC 9293 §3.10.7.1: the number of a reset that answers what had no ACK is zero.
    let same_seq = own.contains(&(other.seq - one.seq));
    let same_ack = !one.flags.contains(Flags::ACK) || others.contains(&(other.ack - one.ack));
    one.flags == other.flags && one.payload.len() == other.payload.len() && same_seq && same_ack
}

/// Whether identification and time stamp are the same: then they are one packet, and no repetition.
pub fn has_all_marks(near: &Here, far: &Here) -> bool {
    let same_id = near.packet.id != 0 && near.packet.id == far.packet.id;
    let stamps = [near, far].map(|here| here.segment().map_or(0, stamp));
    same_id && stamps[0] == stamps[1]
}

/// Whether the time stamps are the same: repetitions a millisecond later have others.
pub fn has_its_stamp(near: &Here, far: &Here) -> bool {
    let stamps = [near, far].map(|here| here.segment().map_or(0, stamp));
    stamps[0] != 0 && stamps[0] == stamps[1]
}

fn stamp(segment: &Segment) -> u32 {
    segment.options.timestamps().map_or(0, |(value, _)| value)
}

/// The packets from an end of which it is certain, without any clock, that both points saw them.
pub fn certain_pairs<'a>(
    near: &'a Point<'_>,
    far: &'a Point<'_>,
    side: Side,
) -> Vec<(&'a Here, &'a Here)> {
    let shifts = Shifts::between(near, far);
    let pairs = near.sent(side).filter_map(|here| {
        let alike: Vec<_> =
            far.sent(side).filter(|there| are_alike(here, there, &shifts)).collect();
        let with = |has: fn(&Here, &Here) -> bool| alike.iter().find(|there| has(here, there));
        // What looks like no other at either point is no repetition.
        let is_only =
            || near.sent(side).filter(|other| are_alike(other, alike[0], &shifts)).count();
        let only = || alike.first().filter(|_| alike.len() == 1 && is_only() == 1);
        let there = with(has_all_marks).or_else(|| with(has_its_stamp)).or_else(only);
        there.map(|there| (here, *there))
    });
    pairs.collect()
}

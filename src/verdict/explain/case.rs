//! The packets of one opening, and the questions that every cause asks of them.

use std::fmt;

use super::{PassedLine, micros};
use crate::capture::{self, Ending, Hearsay};
use crate::tcp::{Passing, Post, Side};
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Flags, Icmp, Packet, Segment, Seq};

/// An opening, its packets read.
pub struct Case<'a> {
    pub opening: &'a capture::Opening,
    pub packets: Vec<Seen>,
    /// What was captured before and behind somebody who changed it.
    pub altered: Vec<Altered>,
    /// Whether some were captured twice, as routers see them: those that are left may be one hop farther.
    pub has_copies: bool,
    pub post: Post,
    /// When the first and the last packet were seen, in nanoseconds since 1970.
    pub first: u64,
    pub last: u64,
    /// Whether people know the ends the other way round, as another capture has them.
    is_flipped: bool,
    /// Whether nobody reads about it.
    is_untold: bool,
}

/// A packet that was captured twice on its way, and was not the same.
pub struct Altered {
    pub before: Seen,
    pub after: Seen,
}

/// A packet of the opening.
#[derive(Clone)]
pub struct Seen {
    pub frame: u64,
    /// After the first packet.
    pub at: Instant,
    pub from: Side,
    pub packet: Packet,
}

impl Seen {
    pub fn segment(&self) -> Option<&Segment> {
        self.packet.segment()
    }
}

impl<'a> Case<'a> {
    pub fn of(opening: &'a capture::Opening) -> Self {
        Self::called(opening, false)
    }

    /// The same, where people may know the end called a as b, and b as a.
    pub fn called(opening: &'a capture::Opening, is_flipped: bool) -> Self {
        let times = || opening.packets.iter().map(|kept| kept.at);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let packets = opening.packets.iter().filter_map(|kept| {
            let packet = kept.packet().ok()?;
            let from = if kept.from_a { Side::A } else { Side::B };
            Some(Seen { frame: kept.frame, at: Instant::from_nanos(kept.at - first), from, packet })
        });
        let mut packets: Vec<_> = packets.collect();
        let captured = packets.len();
        let (altered, routed) = drop_copies(&mut packets);
        // A SYN proxy lets some packets pass that look like one of its own; a router all of them.
        let has_copies = routed > 0 && routed * 4 >= captured;
        let post = post(opening);
        let is_untold = false;
        Self { opening, packets, altered, has_copies, post, first, last, is_flipped, is_untold }
    }

    /// The same, without anybody who reads about it.
    pub fn untold(opening: &'a capture::Opening) -> Self {
        Self { is_untold: true, ..Self::of(opening) }
    }

    /// A text for people, if there are any.
    pub fn tell(&self, what: fmt::Arguments<'_>) -> String {
        if self.is_untold { String::new() } else { fmt::format(what) }
    }

    /// What people call an end.
    pub const fn name(&self, side: Side) -> &'static str {
        match (side, self.is_flipped) {
            (Side::A, false) | (Side::B, true) => "a",
            (Side::B, false) | (Side::A, true) => "b",
        }
    }

    pub fn passed(&self) -> Vec<Passing<'_>> {
        let passed = self.packets.iter().map(|seen| Passing {
            at: seen.at,
            from: seen.from,
            packet: &seen.packet,
        });
        passed.collect()
    }

    pub fn lines(&self) -> Vec<PassedLine> {
        let lines = self.packets.iter().map(|seen| PassedLine {
            frame: seen.frame,
            from: seen.from,
            at_us: micros(seen.at),
            packet: seen.packet.clone(),
        });
        lines.collect()
    }

    pub const fn end(&self, side: Side) -> Endpoint {
        match side {
            Side::A => self.opening.a,
            Side::B => self.opening.b,
        }
    }

    /// The segments that an end sent.
    pub fn sent(&self, side: Side) -> impl Iterator<Item = (&Seen, &Segment)> {
        let from = self.packets.iter().filter(move |seen| seen.from == side);
        from.filter_map(|seen| Some((seen, seen.segment()?)))
    }

    pub fn bare_syns(&self, side: Side) -> impl Iterator<Item = (&Seen, &Segment)> {
        self.sent(side).filter(|(_, segment)| segment.is_bare_syn())
    }

    pub fn syn_acks(&self, side: Side) -> impl Iterator<Item = (&Seen, &Segment)> {
        self.sent(side).filter(|(_, segment)| segment.is_syn_ack())
    }

    pub fn resets(&self, side: Side) -> impl Iterator<Item = (&Seen, &Segment)> {
        self.sent(side).filter(|(_, segment)| segment.is_reset())
    }

    /// The ICMP errors about what an end sent.
    pub fn errors(&self, side: Side) -> impl Iterator<Item = (&Seen, &Icmp)> {
        let about = self.packets.iter().filter(move |seen| seen.from == side.opposite());
        about.filter_map(|seen| Some((seen, seen.packet.icmp_error()?)))
    }

    /// Whether the snap length has left all of its options.
    pub fn is_whole(&self, seen: &Seen) -> bool {
        let mut kept = self.opening.packets.iter();
        kept.any(|kept| kept.frame == seen.frame && kept.is_whole())
    }

    /// What other connections tell of an end's address.
    pub const fn hearsay(&self, side: Side) -> Hearsay {
        match side {
            Side::A => self.opening.hearsay[0],
            Side::B => self.opening.hearsay[1],
        }
    }

    /// Whether what has one TTL has come fewer hops than what has the other.
    pub fn is_nearer(&self, one: u8, other: u8) -> bool {
        hops(one) + u8::from(self.has_copies) < hops(other)
    }

    /// Whether a reset of that end came from nearer than a SYN or SYN,ACK of it, and so from another host.
    pub fn is_injected(&self, side: Side, reset: &Seen) -> bool {
        let host = self.sent(side).find(|(_, segment)| segment.flags.contains(Flags::SYN));
        let ttl = host.map(|(seen, _)| seen.packet.ttl).filter(|ttl| hops(*ttl) <= FARTHEST);
        ttl.is_some_and(|ttl| self.is_nearer(reset.packet.ttl, ttl))
    }

    /// Whether the capture is known to have been made elsewhere than at the interface of that end.
    pub fn is_away_from(&self, side: Side) -> bool {
        match self.post {
            Post::At(here) => here != side,
            Post::Between => {
                let has_direction = self.opening.packets.iter().any(|kept| kept.inbound.is_some());
                has_direction || self.sent(side).any(|(seen, _)| hops(seen.packet.ttl) > 0)
            }
        }
    }

    /// How many initial sequence numbers an end's SYNs had.
    pub fn attempts(&self, side: Side) -> usize {
        let mut numbers: Vec<Seq> = self.bare_syns(side).map(|(_, syn)| syn.seq).collect();
        numbers.sort();
        numbers.dedup();
        numbers.len()
    }

    /// Whether the opening has been quiet for so long that an answer, or the next try, is overdue.
    pub fn is_overdue(&self) -> bool {
        match self.opening.ending {
            Ending::Decided => true,
            Ending::Unfinished => false,
            Ending::CaptureEnded => self.quiet() > self.longest_gap().max(LEAST_WAIT) * 2,
        }
    }

    /// How long the capture went on after the last packet.
    pub fn quiet(&self) -> Duration {
        Duration::from_nanos(self.opening.decided_at.saturating_sub(self.last))
    }

    fn longest_gap(&self) -> Duration {
        let pairs = self.packets.windows(2).map(|pair| pair[1].at.since(pair[0].at));
        pairs.max().unwrap_or_default()
    }
}

/// Leaves out what was captured twice: on a bridge, or on every interface of a router, which takes one
/// off the TTL. What was changed between the two is handed back, and how often one was taken off.
fn drop_copies(packets: &mut Vec<Seen>) -> (Vec<Altered>, usize) {
    let mut kept: Vec<Seen> = Vec::with_capacity(packets.len());
    let (mut altered, mut routed) = (Vec::new(), 0);
    for seen in packets.drain(..) {
        let mut near = kept.iter_mut().rev().take(NEAR);
        let is_copy =
            |earlier: &Seen| is_near(earlier, &seen) && earlier.packet.body == seen.packet.body;
        if let Some(earlier) = near.find(|earlier| is_copy(earlier)) {
            let ttl = earlier.packet.ttl;
            routed += usize::from(ttl != seen.packet.ttl);
            // What came first is not always captured first.
            earlier.packet.ttl = ttl.max(seen.packet.ttl);
            continue;
        }
        let mut near = kept.iter().rev().take(NEAR);
        match near.find(|earlier| is_near(earlier, &seen) && is_altered(earlier, &seen)) {
            Some(earlier) => altered.push(in_order(earlier.clone(), seen)),
            None => kept.push(seen),
        }
    }
    *packets = kept;
    routed += altered.len();
    (altered, routed)
}

fn is_near(earlier: &Seen, seen: &Seen) -> bool {
    apart(earlier.at, seen.at) < COPIED_WITHIN
        && earlier.from == seen.from
        && earlier.packet.id == seen.packet.id
        && earlier.packet.ttl.abs_diff(seen.packet.ttl) <= 1
}

/// Whether two different SYNs, or SYN,ACKs, were one packet: a router has taken one off the TTL, and its
/// identification, or else its number, is the same; a host sends no two within so little time.
fn is_altered(one: &Seen, other: &Seen) -> bool {
    let (Some(first), Some(second)) = (one.segment(), other.segment()) else { return false };
    let is_one = first.seq == second.seq || one.packet.id != 0;
    let is_routed = one.packet.ttl != other.packet.ttl;
    first.flags == second.flags && first.flags.contains(Flags::SYN) && is_one && is_routed
}

fn in_order(one: Seen, other: Seen) -> Altered {
    if one.packet.ttl > other.packet.ttl {
        Altered { before: one, after: other }
    } else {
        Altered { before: other, after: one }
    }
}

fn apart(one: Instant, other: Instant) -> Duration {
    if one < other { other.since(one) } else { one.since(other) }
}

/// Where the capture was made: by the directions that it noted, else by the TTLs.
pub fn post(opening: &capture::Opening) -> Post {
    let mut sides = opening.packets.iter().filter_map(|kept| {
        // Whoever sent what left here is here.
        let sender_is_here = !kept.inbound?;
        Some(if sender_is_here == kept.from_a { Side::A } else { Side::B })
    });
    match sides.next() {
        Some(side) if sides.all(|other| other == side) => Post::At(side),
        Some(_) => Post::Between,
        None => by_ttls(opening),
    }
}

/// A TTL that nobody has taken anything off is that of a host without a router between.
fn by_ttls(opening: &capture::Opening) -> Post {
    let fresh = |is_a| {
        let mut sent =
            opening.packets.iter().filter(|kept| kept.from_a == is_a && !kept.is_icmp()).peekable();
        sent.peek()?;
        Some(sent.all(|kept| matches!(kept.ttl(), 64 | 128 | 255)))
    };
    match (fresh(true), fresh(false)) {
        (Some(true), Some(false) | None) => Post::At(Side::A),
        (Some(false) | None, Some(true)) => Post::At(Side::B),
        _ => Post::Between,
    }
}

/// Hosts send with a TTL of 64, 128 or 255: so many routers have taken one off.
pub const fn hops(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64 - ttl,
        65..=128 => 128 - ttl,
        _ => 255 - ttl,
    }
}

/// How far away what has that TTL came from, for people.
pub fn away(ttl: u8) -> String {
    match hops(ttl) {
        1 => "1 hop away".to_owned(),
        more => format!("{more} hops away"),
    }
}

/// Nobody is as many routers away: whoever seems to be sends with a TTL of its own choice.
pub const FARTHEST: u8 = 32;

/// A copy follows at once; what is repeated later was sent again.
const COPIED_WITHIN: Duration = Duration::from_millis(10);

/// So many packets may lie between a packet and its copy.
const NEAR: usize = 8;

/// The classic first timeout of a SYN, before RFC 6298 made it one second.
const LEAST_WAIT: Duration = Duration::from_secs(3);

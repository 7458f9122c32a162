//! The octets of a capture → the few packets of it that may matter to an opening.
//!
//! Whether a packet does is told by its flags, or by how many openings are under way among the
//! connections of its bucket: SYNs begin to be watched here, and [`Openings`](super::Openings) say with
//! each batch that they give back which need it no more. That may be late without harm, since a packet
//! too many is passed over there. So each may run on a core of its own, and they share no memory.

use std::collections::BTreeMap;

use super::batch::{Batch, Item};
use super::frames::{Flaw, FlawKind, Frame, Frames, Next, Run};
use super::kept::{Kept, LONGEST_HEADERS, length};
use crate::wire::decode_lax;
use crate::wire::glance::{self, Glance, RST, SYN, Segment, glance};
use crate::wire::link::LinkType;

/// Reads a capture from start to end.
#[derive(Debug)]
pub struct Screen {
    frames: Frames,
    sieve: Sieve,
}

/// What was read of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// How many frames.
    pub frames: u64,
    /// How many octets they had on the wire.
    pub octets: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// Fragments that are not the first, which have no ports.
    pub fragments: u64,
    /// Packets whose headers are cut short, make no sense or are more than are followed here.
    pub cut: u64,
    /// Frames whose packet stands behind a header that is not taken off here, such as MPLS's.
    pub wrapped: u64,
    /// Frames of which the file does not say when they were captured.
    pub untimed: u64,
    /// Frames whose interface is not described, which are not looked at.
    pub nameless: u64,
    /// The numbers of their link layers, each with how many frames had it.
    pub links: BTreeMap<i32, u64>,
    /// The earliest time of a frame, in nanoseconds since 1970.
    pub first: Option<u64>,
    /// The latest one.
    pub last: Option<u64>,
    /// Where nothing more could be read, and why.
    pub flaw: Option<Flaw>,
    /// The names of the interfaces, where the file has names.
    pub interfaces: Vec<String>,
}

impl Screen {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::of(BUCKETS)
    }

    /// The same with at least so many buckets: few let pass more than is needed.
    pub fn of(buckets: usize) -> Self {
        Self { frames: Frames::default(), sieve: Sieve::of(buckets) }
    }

    /// Takes back a batch whose packets have been dealt with, and empties it.
    pub fn take_back(&mut self, batch: &mut Batch) {
        for hash in batch.unwatched.drain(..) {
            self.sieve.watch.remove(hash);
        }
        batch.clear();
    }

    /// Reads what it can of these octets. How many are used up: as long as that is less than there are,
    /// call again with the rest and more behind it; where it is more, leave out so many.
    pub fn read(&mut self, octets: &[u8], batch: &mut Batch) -> u64 {
        let Self { frames, sieve } = self;
        let mut used = 0;
        while let Some(rest) = octets.get(used..) {
            let run = sieve.take_run(frames, rest, batch);
            used += run;
            match frames.next(&rest[run..]) {
                (Next::Frame(frame), length) => {
                    sieve.take(&frame, batch);
                    used += length;
                }
                (Next::Nameless, length) => {
                    sieve.surveyed.frames += 1;
                    sieve.surveyed.nameless += 1;
                    used += length;
                }
                (Next::Other(length), _) => {
                    used = used.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
                }
                (Next::More, _) => break,
                (Next::Broken(flaw), _) => {
                    sieve.surveyed.flaw = Some(flaw);
                    break;
                }
            }
        }
        batch.has_interfaces = frames.has_interfaces();
        used as u64
    }

    /// Takes a frame.
    pub fn take(&mut self, frame: &Frame<'_>, batch: &mut Batch) {
        self.sieve.take(frame, batch);
    }

    /// No more octets can be had, for that reason.
    pub fn fail(&mut self, why: FlawKind) {
        self.sieve.surveyed.flaw.get_or_insert(self.frames.fail(why));
    }

    /// Whether nothing more can be read.
    pub const fn is_broken(&self) -> bool {
        self.sieve.surveyed.flaw.is_some()
    }

    /// The latest time of a frame so far, in nanoseconds since 1970.
    pub fn latest(&self) -> Option<u64> {
        self.sieve.times().map(|(_, last)| last)
    }

    /// Whether nothing was read, not even a header.
    pub const fn is_at_start(&self) -> bool {
        self.frames.is_at_start() && self.sieve.surveyed.frames == 0
    }

    /// The file has ended with these octets left over. What was read of it.
    pub fn end(self, left: &[u8]) -> Surveyed {
        let mut surveyed = self.sieve.end();
        if surveyed.flaw.is_none() {
            surveyed.flaw = self.frames.end(left);
        }
        surveyed.interfaces = self.frames.interfaces().to_vec();
        surveyed
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the packets that may matter from all others, in a few instructions for nearly each of them.
#[derive(Debug)]
struct Sieve {
    watch: Watch,
    surveyed: Surveyed,
    /// The link layer of the last frames: its number, what that means, and how many had it.
    link: (i32, Option<LinkType>, u64),
    /// The earliest time of a frame and the latest one; the other way round while there is none.
    first: u64,
    last: u64,
}

impl Sieve {
    fn of(buckets: usize) -> Self {
        Self {
            watch: Watch::of(buckets),
            surveyed: Surveyed::default(),
            link: (0, LinkType::from_number(0), 0),
            first: u64::MAX,
            last: 0,
        }
    }

    /// Takes the frames that stand at the start of these octets. How many octets they take.
    fn take_run(&mut self, frames: &mut Frames, octets: &[u8], batch: &mut Batch) -> usize {
        let Some(link) = frames.link() else { return 0 };
        self.turn_to(link, LinkType::from_number);
        let mut segments = 0;
        let run = frames.run(octets, |frame| segments += u64::from(self.sift(frame, batch)));
        self.surveyed.segments += segments;
        self.note(&run);
        run.used
    }

    /// Takes a frame.
    fn take(&mut self, frame: &Frame<'_>, batch: &mut Batch) {
        self.turn_to(frame.link, |_| frame.link_type());
        let is_segment = self.sift(*frame, batch);
        self.surveyed.segments += u64::from(is_segment);
        let (first, last) = if frame.is_timed { (frame.at, frame.at) } else { (u64::MAX, 0) };
        self.surveyed.untimed += u64::from(!frame.is_timed);
        self.note(&Run { used: 0, frames: 1, octets: frame.length as u64, first, last });
    }

    /// Looks whether a frame has a packet that may matter, and whether it has a segment.
    #[inline(always)]
    fn sift(&mut self, frame: Frame<'_>, batch: &mut Batch) -> bool {
        let Some(packet) = self.link.1.and_then(|link| link.ip_packet(frame.octets)) else {
            self.pass_over(frame.octets);
            return false;
        };
        let Some((flags, hash)) = glance::quick(packet) else {
            return self.look(&{ frame }, packet, batch);
        };
        if flags & (SYN | RST) != 0 || self.watch.has(hash ^ salt(frame.interface)) {
            // A copy: a frame that is not looked at need never stand anywhere.
            self.look(&{ frame }, packet, batch);
        }
        true
    }

    /// A frame in which no IP packet was found.
    #[cold]
    fn pass_over(&mut self, frame: &[u8]) {
        let is_wrapped = self.link.1.is_some_and(|link| link.is_wrapped(frame));
        self.surveyed.wrapped += u64::from(is_wrapped);
    }

    /// Takes a packet that may matter, and says whether it is a segment.
    #[inline(never)]
    fn look(&mut self, frame: &Frame<'_>, packet: &[u8], batch: &mut Batch) -> bool {
        match glance(packet) {
            Glance::Tcp(seen) => {
                self.take_segment(frame, packet, seen, batch);
                return true;
            }
            Glance::Icmp => take_icmp(frame, packet, batch),
            Glance::Fragment => self.surveyed.fragments += 1,
            Glance::Cut => self.surveyed.cut += 1,
            Glance::Other => {}
        }
        false
    }

    fn take_segment(&mut self, frame: &Frame<'_>, packet: &[u8], seen: Segment, batch: &mut Batch) {
        let Segment { source, destination, flags, .. } = seen;
        let hash = glance::hash(source, destination) ^ salt(frame.interface);
        if flags & SYN != 0 {
            self.watch.add(hash);
        }
        // Without any flag it is a scanner's, and of no connection.
        if flags & (SYN | RST) != 0 || flags != 0 && self.watch.has(hash) {
            let item = batch.room();
            item.kept.put_segment(frame, packet, seen);
            item.hash = hash;
            item.source = source;
            item.destination = destination;
            item.interface = frame.interface;
        }
    }

    /// Frames of that link layer follow.
    #[inline]
    fn turn_to(&mut self, link: i32, of: impl Fn(i32) -> Option<LinkType>) {
        if self.link.0 != link {
            *self.surveyed.links.entry(self.link.0).or_default() += self.link.2;
            self.link = (link, of(link), 0);
        }
    }

    fn note(&mut self, run: &Run) {
        self.surveyed.frames += run.frames;
        self.surveyed.octets += run.octets;
        self.link.2 += run.frames;
        self.first = self.first.min(run.first);
        self.last = self.last.max(run.last);
    }

    /// The earliest time of a frame, and the latest one.
    fn times(&self) -> Option<(u64, u64)> {
        (self.first <= self.last).then_some((self.first, self.last))
    }

    fn end(self) -> Surveyed {
        let (first, last) = self.times().unzip();
        let mut surveyed = Surveyed { first, last, ..self.surveyed };
        *surveyed.links.entry(self.link.0).or_default() += self.link.2;
        surveyed.links.retain(|_, count| *count > 0);
        surveyed
    }
}

/// An ICMP error is of the connection whose packet it quotes.
fn take_icmp(frame: &Frame<'_>, packet: &[u8], batch: &mut Batch) {
    let headers = &packet[..packet.len().min(LONGEST_HEADERS)];
    let Ok(error) = decode_lax(headers, length(frame, packet)) else { return };
    let Some(icmp) = error.icmp_error() else { return };
    let (source, destination) = (icmp.quote.source.into(), icmp.quote.destination.into());
    let hash = glance::hash(source, destination) ^ salt(frame.interface);
    let kept = Kept::icmp(frame, packet, icmp);
    *batch.room() = Item { kept, hash, source, destination, interface: frame.interface };
}

/// How many openings are under way in each bucket, and how many SYNs are on their way to whoever knows
/// whether they begin one. Each packet looks up whether there are any: a bit of each bucket, which all stay
/// in the nearest cache.
#[derive(Debug)]
struct Watch {
    counts: Box<[u8]>,
    bits: Box<[u64]>,
}

impl Watch {
    fn of(buckets: usize) -> Self {
        let buckets = buckets.next_power_of_two().max(64);
        Self { counts: vec![0; buckets].into(), bits: vec![0; buckets / 64].into() }
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let bucket = self.bucket(hash);
        self.bits[bucket / 64] >> (bucket % 64) & 1 != 0
    }

    /// What is too many to be counted stays: all packets of that bucket are then looked at.
    fn add(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.bits[bucket / 64] |= 1 << (bucket % 64);
    }

    fn remove(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        if self.counts[bucket] < u8::MAX {
            self.counts[bucket] -= 1;
        }
        if self.counts[bucket] == 0 {
            self.bits[bucket / 64] &= !(1 << (bucket % 64));
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.counts.len() - 1)
    }
}

/// Interfaces see the same connection, each in its own way.
#[inline]
const fn salt(interface: u32) -> u64 {
    (interface as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Some times as many as there are openings under way at once on a busy link.
const BUCKETS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_watched_no_more_unless_it_was_too_many_to_count() {
        for (count, is_watched) in [(1, false), (254, false), (255, true), (1_000, true)] {
            let mut watch = Watch::of(16);
            assert!(!watch.has(9));
            (0..count).for_each(|_| watch.add(9));
            assert!(watch.has(9));
            (0..count).for_each(|_| watch.remove(9));
            assert_eq!(watch.has(9), is_watched, "{count}");
        }
    }
}

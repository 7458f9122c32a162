//! The octets of a capture → the few packets of it that may matter to an opening.
//!
//! Whether a packet does is told by its flags, or by how many openings are under way among the
//! connections of its bucket: SYNs begin to be watched here, and [`Openings`](super::Openings) say with
//! each batch that they give back which need it no more. That may be late without harm, since a packet
//! too many is passed over there. So each may run on a core of its own, and they share no memory.

use std::collections::BTreeMap;

use super::frames::{Flaw, FlawKind, Frame, Frames, Next};
use crate::wire::glance::{self, Glance, RST, SYN, glance};

/// Reads a capture from start to end.
#[derive(Debug)]
pub struct Screen {
    frames: Frames,
    watch: Watch,
    surveyed: Surveyed,
    /// The link layer of the last frames, and how many had it.
    link: (i32, u64),
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

/// Packets that may matter, in order, with as many of their octets as their headers may have.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) items: Vec<Item>,
    octets: Vec<u8>,
    /// On its way back: of each opening that need not be watched any more, and of each SYN that began
    /// none, the hash.
    pub(super) unwatched: Vec<u64>,
    /// The latest time of a frame so far, in nanoseconds since 1970, if what comes comes live.
    pub live: Option<u64>,
}

/// A packet that may matter; small, since it goes from one core to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub frame: u64,
    pub at: u64,
    pub interface: u32,
    /// How long the packet was.
    pub length: u32,
    from: u32,
    kept: u16,
    pub inbound: Option<bool>,
}

impl Batch {
    /// Whether there are so many that they should be handed on.
    pub fn is_full(&self) -> bool {
        self.items.len() >= ENOUGH
    }

    pub(super) fn packet(&self, item: &Item) -> &[u8] {
        &self.octets[item.from as usize..][..usize::from(item.kept)]
    }

    /// Puts in a packet, of which the headers are so many octets at most.
    fn put(&mut self, frame: &Frame<'_>, packet: &[u8], headers: usize) {
        let kept = packet.len().min(headers).min(LONGEST_HEADERS);
        let link = frame.octets.len() - packet.len();
        self.items.push(Item {
            frame: frame.number,
            at: frame.at,
            interface: frame.interface,
            length: u32::try_from(frame.length.saturating_sub(link)).unwrap_or(u32::MAX),
            from: u32::try_from(self.octets.len()).expect("a batch is handed on long before"),
            kept: u16::try_from(kept).expect("headers are short"),
            inbound: frame.direction(),
        });
        self.octets.extend(&packet[..kept]);
    }
}

impl Screen {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::of(BUCKETS)
    }

    /// The same with at least so many buckets: few let pass more than is needed.
    pub fn of(buckets: usize) -> Self {
        Self {
            frames: Frames::default(),
            watch: Watch::of(buckets),
            surveyed: Surveyed::default(),
            link: (0, 0),
        }
    }

    /// Takes back a batch whose packets have been dealt with, and empties it.
    pub fn take_back(&mut self, batch: &mut Batch) {
        for hash in batch.unwatched.drain(..) {
            self.watch.remove(hash);
        }
        batch.live = None;
        batch.items.clear();
        batch.octets.clear();
    }

    /// Reads what it can of these octets. How many are used up: as long as that is less than there are,
    /// call again with the rest and more behind it; where it is more, leave out so many.
    pub fn read(&mut self, octets: &[u8], batch: &mut Batch) -> u64 {
        let mut used = 0;
        while let Some(rest) = octets.get(used..) {
            match self.frames.next(rest) {
                (Next::Frame(frame), length) => {
                    self.take(&frame, batch);
                    used += length;
                }
                (Next::Nameless, length) => {
                    self.surveyed.frames += 1;
                    self.surveyed.nameless += 1;
                    used += length;
                }
                (Next::Other(length), _) => {
                    used = used.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
                }
                (Next::More, _) => break,
                (Next::Broken(flaw), _) => {
                    self.surveyed.flaw = Some(flaw);
                    break;
                }
            }
        }
        used as u64
    }

    /// Takes a frame.
    #[inline]
    pub fn take(&mut self, frame: &Frame<'_>, batch: &mut Batch) {
        self.note(frame);
        let Some(packet) = frame.link_type().and_then(|link| link.ip_packet(frame.octets)) else {
            return self.pass_over(frame);
        };
        let quick = glance::quick(packet);
        if let Some((flags, hash)) = quick
            && flags & (SYN | RST) == 0
            && !self.watch.has(hash ^ salt(frame.interface))
        {
            self.surveyed.segments += 1;
            return;
        }
        self.look(frame, packet, batch);
    }

    /// A frame in which no IP packet was found.
    #[cold]
    fn pass_over(&mut self, frame: &Frame<'_>) {
        let is_wrapped = frame.link_type().is_some_and(|link| link.is_wrapped(frame.octets));
        self.surveyed.wrapped += u64::from(is_wrapped);
    }

    /// Takes a packet that may matter.
    fn look(&mut self, frame: &Frame<'_>, packet: &[u8], batch: &mut Batch) {
        match glance(packet) {
            Glance::Tcp(seen) => {
                self.surveyed.segments += 1;
                let hash = glance::hash(seen.source, seen.destination) ^ salt(frame.interface);
                if seen.flags & SYN != 0 {
                    self.watch.add(hash);
                }
                if seen.flags & (SYN | RST) != 0 || self.watch.has(hash) {
                    batch.put(frame, packet, seen.headers(packet));
                }
            }
            Glance::Icmp => batch.put(frame, packet, LONGEST_HEADERS),
            Glance::Fragment => self.surveyed.fragments += 1,
            Glance::Cut => self.surveyed.cut += 1,
            Glance::Other => {}
        }
    }

    /// No more octets can be had, for that reason.
    pub fn fail(&mut self, why: FlawKind) {
        self.surveyed.flaw.get_or_insert(self.frames.fail(why));
    }

    /// Whether nothing more can be read.
    pub const fn is_broken(&self) -> bool {
        self.surveyed.flaw.is_some()
    }

    /// The latest time of a frame so far, in nanoseconds since 1970.
    pub const fn latest(&self) -> Option<u64> {
        self.surveyed.last
    }

    /// Whether nothing was read, not even a header.
    pub const fn is_at_start(&self) -> bool {
        self.frames.is_at_start() && self.surveyed.frames == 0
    }

    /// The file has ended with these octets left over. What was read of it.
    pub fn end(mut self, left: &[u8]) -> Surveyed {
        if self.surveyed.flaw.is_none() {
            self.surveyed.flaw = self.frames.end(left);
        }
        self.surveyed.interfaces = self.frames.interfaces().to_vec();
        *self.surveyed.links.entry(self.link.0).or_default() += self.link.1;
        self.surveyed.links.retain(|_, count| *count > 0);
        self.surveyed
    }

    #[inline]
    fn note(&mut self, frame: &Frame<'_>) {
        let surveyed = &mut self.surveyed;
        surveyed.frames += 1;
        surveyed.octets += frame.length as u64;
        if self.link.0 != frame.link {
            *surveyed.links.entry(self.link.0).or_default() += self.link.1;
            self.link = (frame.link, 0);
        }
        self.link.1 += 1;
        if !frame.is_timed {
            surveyed.untimed += 1;
            return;
        }
        surveyed.first = Some(surveyed.first.map_or(frame.at, |first| first.min(frame.at)));
        surveyed.last = Some(surveyed.last.unwrap_or_default().max(frame.at));
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// How many openings are under way in each bucket, and how many SYNs are on their way to whoever knows
/// whether they begin one. Octets, since each packet looks up one: as many as stay in a core's own cache.
#[derive(Debug)]
struct Watch {
    buckets: Box<[u8]>,
}

impl Watch {
    fn of(buckets: usize) -> Self {
        Self { buckets: vec![0; buckets.next_power_of_two()].into() }
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        self.buckets[self.bucket(hash)] != 0
    }

    /// What is too many to be counted stays: all packets of that bucket are then looked at.
    fn add(&mut self, hash: u64) {
        let count = &mut self.buckets[self.bucket(hash)];
        *count = count.saturating_add(1);
    }

    fn remove(&mut self, hash: u64) {
        let count = &mut self.buckets[self.bucket(hash)];
        if *count < u8::MAX {
            *count -= 1;
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        (hash >> 24) as usize & (self.buckets.len() - 1)
    }
}

/// Interfaces see the same connection, each in its own way.
#[inline]
pub(super) const fn salt(interface: u32) -> u64 {
    (interface as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Handing them on costs little beside what they cost.
const ENOUGH: usize = 1_024;

/// Some times as many as there are openings under way at once on a busy link.
const BUCKETS: usize = 1 << 16;

/// Both headers with their options, and what an ICMP error quotes; IPv6 extension headers beside.
const LONGEST_HEADERS: usize = 256;

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

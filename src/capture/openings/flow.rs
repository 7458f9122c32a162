//! What is kept of one opening while it is under way, and what is left of it.

use super::recent::{Burst, Call, Hearsay, Place, Recent};
use crate::capture::kept::Kept;
use crate::capture::screen::Item;
use crate::wire::Endpoint;
use crate::wire::glance::{ACK, End, Ends, RST, SYN};

/// One attempt, or several, to open a connection between two endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The end whose packet was seen first; of a SYN,ACK, the one that it goes to.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// On which interface of the capture it was seen.
    pub interface: u32,
    /// What was kept, in the order of the capture.
    pub packets: Vec<Kept>,
    /// How many more there were.
    pub left_out: u64,
    /// Why it was decided.
    pub ending: Ending,
    /// SYNs to or from an end of it that belong to other connections.
    pub related: Vec<Call>,
    /// What all connections tell of the address of a, and of b.
    pub hearsay: [Hearsay; 2],
    /// How the openings went that a's address began towards b around this one.
    pub burst: Option<Burst>,
    /// When it was decided, in nanoseconds since 1970.
    pub decided_at: u64,
}

impl Opening {
    /// Whether it is the opening that nearly all are: a SYN, a SYN,ACK that answers it, and the
    /// acknowledgement of that, and nothing else.
    pub fn is_plain(&self) -> bool {
        let Some(syn) = self.packets.first().filter(|first| first.is_bare_syn()) else {
            return false;
        };
        let Some(answer) = self.packets.iter().find(|kept| kept.is_syn_ack()) else { return false };
        let begins = answer.ack == syn.seq.wrapping_add(1) && !answer.from_a && syn.payload == 0;
        let fits = |kept: &Kept| match kept.flags & (SYN | RST | ACK) {
            // One that follows at once is the same again, as a router has it on another interface, and may
            // have been changed there.
            SYN if kept.frame != syn.frame && kept.at.abs_diff(syn.at) < COPIED_WITHIN => false,
            SYN => kept.from_a && kept.seq == syn.seq,
            // One that is repeated may have lost the acknowledgement.
            SYN_ACK => kept.frame == answer.frame,
            // What came before it answers another, which was not captured.
            ACK if kept.frame < answer.frame => false,
            ACK if kept.from_a => kept.seq.wrapping_sub(syn.seq) < BEGINNING,
            ACK => kept.seq.wrapping_sub(answer.seq) < BEGINNING,
            _ => false,
        };
        let completes = |kept: &Kept| {
            let is_last = kept.flags & (SYN | ACK) == ACK && kept.from_a;
            let numbers = (answer.ack, answer.seq.wrapping_add(1));
            is_last && (kept.seq, kept.ack) == numbers
        };
        // Of what is out of order, somebody has to say what came first.
        let is_in_order = self.packets.is_sorted_by_key(|kept| kept.at);
        begins
            && is_in_order
            && self.left_out == 0
            && !self.is_answered_by_another()
            && !self.is_rewritten(syn, answer)
            && self.packets.iter().all(fits)
            && self.packets.iter().any(completes)
            && self.a != self.b
    }
}

impl Opening {
    /// Whether the SYN,ACK looks as if another than the host had sent it: other packets from there come
    /// another way, or it announces no window.
    fn is_answered_by_another(&self) -> bool {
        let mut answers = self.packets.iter().filter(|kept| !kept.from_a);
        let Some(answer) = answers.next() else { return false };
        let elsewhere = self.hearsay[1].ttl_elsewhere;
        let is_other = |ttl: u8| ttl != answer.ttl();
        answers.any(|kept| is_other(kept.ttl()))
            || elsewhere.is_some_and(is_other)
            || answer.is_shut()
    }

    /// Whether the SYN,ACK has options that the SYN does not call for, or one of them some that no host
    /// sends: somebody has to look.
    fn is_rewritten(&self, syn: &Kept, answer: &Kept) -> bool {
        let (offered, taken) = (syn.offers(), answer.offers());
        let is_echo = |(value, echo): (u32, u32)| echo == value || echo == 0;
        let echoes =
            offered.clock.zip(taken.clock).is_none_or(|(ours, theirs)| is_echo((ours.0, theirs.1)));
        let is_odd = offered.is_odd || taken.is_odd;
        is_odd || !echoes || taken.beyond(offered).next().is_some()
    }
}

/// Why an opening was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of it came any more.
    Decided,
    /// It was given up, since too many were under way.
    Unfinished,
    /// The capture ended before it was quiet for long enough.
    CaptureEnded,
}

/// How far an opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Every segment counts.
    Opening,
    /// It is open and of use: what is neither SYN nor reset counts no more.
    Settled,
}

/// By what an opening is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub ends: Ends,
    pub interface: u32,
}

impl Key {
    pub fn of(item: &Item) -> Self {
        Self { ends: item.ends, interface: item.interface }
    }
}

/// An opening under way.
#[derive(Debug)]
pub struct Flow {
    pub hash: u64,
    pub key: Key,
    pub phase: Phase,
    /// When it is decided, if nothing more comes.
    pub due: u64,
    /// Which of its entries in the queues counts, and which was its first.
    pub turn: u32,
    pub born: u32,
    /// Where it stands among the openings like it.
    pub place: Place,
    /// Whether it counts in the watch: whether segments without SYN and RST are wanted.
    pub is_watched: bool,
    /// Until when, if no SYN comes.
    pub watched_until: u64,
    pub has_watch_entry: bool,
    /// Which of the ends is a.
    a_is_low: bool,
    packets: Vec<Kept>,
    left_out: u64,
    has_syn_ack: bool,
    has_reset: bool,
    /// Whether b has sent a segment.
    is_answered: bool,
    /// Whether a, and b, have sent something that only an established end sends.
    is_heard: [bool; 2],
    has_use: bool,
}

impl Flow {
    /// `packets` is to be empty, and may have room.
    pub fn begin(key: Key, first: Item, packets: Vec<Kept>) -> Self {
        let (source, destination) = (first.source(), first.destination());
        let Item { hash, kept, .. } = first;
        let a = if kept.is_bare_syn() { source } else { destination };
        let mut flow = Self {
            hash,
            key,
            phase: Phase::Opening,
            due: 0,
            turn: 0,
            born: 0,
            place: Place::default(),
            is_watched: true,
            watched_until: 0,
            has_watch_entry: false,
            a_is_low: key.ends.end(true) == a,
            packets,
            left_out: 0,
            has_syn_ack: false,
            has_reset: false,
            is_answered: false,
            is_heard: [false; 2],
            has_use: false,
        };
        flow.take(kept, source == a);
        flow
    }

    /// Takes a packet of that end, or an ICMP error about one to that end; whether it is kept.
    #[inline]
    pub fn take(&mut self, kept: Kept, from_a: bool) -> bool {
        self.has_syn_ack |= kept.is_syn_ack();
        self.has_reset |= kept.flags & RST != 0;
        self.is_answered |= !from_a && !kept.is_icmp();
        if self.phase == Phase::Settled && kept.flags & SYN == 0 {
            return false;
        }
        self.is_heard[usize::from(from_a)] |= kept.flags & (SYN | RST | ACK) == ACK;
        self.has_use |= kept.is_of_use();
        // As long as one has sent but SYNs, it may go on sending them.
        if self.has_syn_ack && self.is_heard == [true; 2] && self.has_use {
            self.phase = Phase::Settled;
        }
        let is_kept = self.packets.len() < MOST_PACKETS;
        if is_kept {
            self.packets.push(kept);
            // Only now: a copy would wait for what was written just before it.
            self.packets.last_mut().expect("it was just put there").from_a = from_a;
        } else {
            self.left_out += 1;
        }
        is_kept
    }

    /// How many packets are kept of it.
    pub fn kept(&self) -> usize {
        self.packets.len()
    }

    /// Whether a segment begins another connection between the same endpoints: this one was of use, and
    /// a SYN with another number comes.
    pub fn is_over_by(&self, kept: &Kept) -> bool {
        let is_again = |earlier: &Kept| earlier.flags & SYN != 0 && earlier.seq == kept.seq;
        self.phase == Phase::Settled && kept.is_bare_syn() && !self.packets.iter().any(is_again)
    }

    /// When it is decided, if nothing comes after this moment.
    pub const fn due_after(&self, at: u64) -> u64 {
        at.saturating_add(match self.phase {
            Phase::Opening => QUIET,
            Phase::Settled => QUIET_ONCE_SETTLED,
        })
    }

    /// Whether segments without SYN and RST matter no more, until a SYN comes.
    pub fn is_done_for_now(&self, last_is_reset: bool) -> bool {
        self.phase == Phase::Settled || last_is_reset
    }

    /// Whether something ended it: then nothing is missing if no more is waited for.
    pub fn has_end(&self) -> bool {
        self.has_reset || self.phase == Phase::Settled || self.packets.iter().any(Kept::is_icmp)
    }

    /// Whether a is the end that is less, or the other.
    pub const fn is_a(&self, is_low: bool) -> bool {
        self.a_is_low == is_low
    }

    pub const fn a(&self) -> End {
        self.key.ends.end(self.a_is_low)
    }

    pub const fn b(&self) -> End {
        self.key.ends.end(!self.a_is_low)
    }

    pub fn packets(&self) -> &[Kept] {
        &self.packets
    }

    /// How many nanoseconds after b was last sent a SYN this segment from there comes, if it is the first.
    pub fn first_answer(&self, kept: &Kept, from_a: bool) -> Option<u64> {
        if self.is_answered || from_a {
            return None;
        }
        let syn = self.packets.iter().rfind(|earlier| earlier.is_bare_syn() && earlier.from_a)?;
        Some(kept.at.saturating_sub(syn.at))
    }

    /// When it began, in nanoseconds since 1970.
    pub fn began(&self) -> u64 {
        self.packets.first().map_or(0, |kept| kept.at)
    }

    pub fn first_frame(&self) -> u64 {
        self.packets.first().map_or(0, |kept| kept.frame)
    }

    /// What is left of it once it is decided, which takes its packets.
    pub fn conclude(&mut self, ending: Ending, recent: &Recent, now: u64) -> Opening {
        let (a, b, interface) = (self.a(), self.b(), self.key.interface);
        let related = match self.has_syn_ack {
            true => Vec::new(),
            // SYNs of other connections may explain it.
            false => recent.of(a, b, interface, self.began()),
        };
        // Its end may be owed to a limit, which what began beside it shows.
        let burst = if self.is_answered { None } else { recent.burst(a, b, self.place) };
        Opening {
            a: a.endpoint(),
            b: b.endpoint(),
            interface,
            packets: std::mem::take(&mut self.packets),
            left_out: self.left_out,
            ending,
            related,
            hearsay: [a, b].map(|end| recent.hearsay(end)),
            burst,
            decided_at: now,
        }
    }
}

/// No host repeats a SYN so soon (RFC 6298 §2.1): in nanoseconds.
const COPIED_WITHIN: u64 = 10_000_000;

const SYN_ACK: u8 = SYN | ACK;

/// So many octets after the SYN are its connection's, not an earlier one's: an unscaled window.
const BEGINNING: u32 = 65_536;

/// More is no opening but an attack, or a loop.
const MOST_PACKETS: usize = 96;

/// Linux waits up to 64 seconds between two SYNs (RFC 6298 §5.5 doubles them), and the answer to the
/// last may take a while.
const QUIET: u64 = 70_000_000_000;

/// What was delayed or repeated on the way has come by then (RFC 9293 §3.4.3 allows for minutes, but
/// what comes so late changes nothing).
const QUIET_ONCE_SETTLED: u64 = 2_000_000_000;

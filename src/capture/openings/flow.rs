//! What is kept of one opening while it is under way, and what is left of it.

use std::hint::black_box;
use std::net::Ipv4Addr;

use super::recent::{Burst, Call, Hearsay, Place, Recent};
use crate::capture::batch::Item;
use crate::capture::kept::Kept;
use crate::wire::Endpoint;
use crate::wire::glance::{ACK, End, RST, SYN};

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
        let Some((syn, others)) = self.packets.split_first() else { return false };
        let begins = syn.flags & (SYN | RST | ACK) == SYN && syn.payload == 0;
        if !begins || self.left_out > 0 || self.a == self.b {
            return false;
        }
        let (mut answer, mut is_complete, mut latest): (Option<&Kept>, _, _) =
            (None, false, syn.at);
        for kept in others {
            let fits = match (kept.flags & (SYN | RST | ACK), answer) {
                // One that follows at once is the same again, as a router has it on another interface, and
                // may have been changed there.
                (SYN, _) => {
                    kept.from_a && kept.seq == syn.seq && kept.at.abs_diff(syn.at) >= COPIED_WITHIN
                }
                (SYN_ACK, None) => {
                    answer = Some(kept);
                    !kept.from_a && kept.ack == syn.seq.wrapping_add(1)
                }
                // What came before it answers another, which was not captured.
                (ACK, Some(answer)) if kept.from_a => {
                    let numbers = (answer.ack, answer.seq.wrapping_add(1));
                    is_complete |= (kept.seq, kept.ack) == numbers;
                    kept.seq.wrapping_sub(syn.seq) < BEGINNING
                }
                // Other packets of the host come the same way.
                (ACK, Some(answer)) => {
                    kept.seq.wrapping_sub(answer.seq) < BEGINNING && kept.ttl() == answer.ttl()
                }
                // A SYN,ACK that is repeated may have lost the acknowledgement.
                _ => false,
            };
            // Of what is out of order, somebody has to say what came first.
            if !fits || kept.at < latest {
                return false;
            }
            latest = kept.at;
        }
        is_complete
            && answer
                .is_some_and(|answer| self.is_of_the_host(answer) && !is_rewritten(syn, answer))
    }

    /// Whether the SYN,ACK looks as if the host had sent it: those of its other connections come the same
    /// way, and it announces a window.
    fn is_of_the_host(&self, answer: &Kept) -> bool {
        let elsewhere = self.hearsay[1].ttl_elsewhere;
        elsewhere.is_none_or(|ttl| ttl == answer.ttl()) && !answer.is_shut()
    }
}

/// Whether the SYN,ACK has options that the SYN does not call for, or one of them some that no host sends:
/// somebody has to look.
fn is_rewritten(syn: &Kept, answer: &Kept) -> bool {
    let (offered, taken) = (syn.offers(), answer.offers());
    let is_echo = |(value, echo): (u32, u32)| echo == value || echo == 0;
    let echoes =
        offered.clock.zip(taken.clock).is_none_or(|(ours, theirs)| is_echo((ours.0, theirs.1)));
    let is_odd = offered.is_odd || taken.is_odd;
    is_odd || !echoes || taken.beyond(offered).next().is_some()
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Every segment counts.
    #[default]
    Opening,
    /// It is open and of use: what is neither SYN nor reset counts no more.
    Settled,
}

/// An opening under way: in one line of a cache what tells which it is, in the next what goes on.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Flow {
    pub a: End,
    pub b: End,
    pub hash: u64,
    pub interface: u32,
    left_out: u32,
    packets: Vec<Kept>,
    /// When it is decided, if nothing more comes.
    pub due: u64,
    /// Until when it is watched, if no SYN comes.
    pub watched_until: u64,
    /// Where it stands among the openings like it.
    pub place: Place,
    pub phase: Phase,
    /// Whether it counts in the watch: whether segments without SYN and RST are wanted.
    pub is_watched: bool,
    pub has_watch_entry: bool,
    has_syn_ack: bool,
    has_reset: bool,
    /// Whether b has sent a segment.
    is_answered: bool,
    /// Which of the ends have sent something that only an established one sends.
    heard: u8,
    has_use: bool,
}

impl Flow {
    /// Another begins in this one's place: each field for itself, since a copy of all of them would wait
    /// until they have been written.
    pub fn begin(&mut self, place: Place, first: &mut Item) {
        let Item { source, destination, .. } = *first;
        let is_syn = first.kept.is_bare_syn();
        self.hash = first.hash;
        (self.a, self.b) = if is_syn { (source, destination) } else { (destination, source) };
        self.interface = first.interface;
        self.phase = Phase::Opening;
        self.place = place;
        self.is_watched = true;
        self.has_watch_entry = false;
        self.left_out = 0;
        self.has_syn_ack = false;
        self.has_reset = false;
        self.is_answered = false;
        self.heard = 0;
        self.has_use = false;
        // Of most that are given up in a flood there is one packet.
        self.packets.reserve_exact(1);
        let from_a = self.is_from_a(first);
        self.take(&mut first.kept, from_a);
    }

    /// Takes a packet of that end, or an ICMP error about one to that end; whether it is kept.
    #[inline]
    pub fn take(&mut self, kept: &mut Kept, from_a: bool) -> bool {
        self.has_syn_ack |= kept.is_syn_ack();
        self.has_reset |= kept.flags & RST != 0;
        self.is_answered |= !from_a && !kept.is_icmp();
        if self.phase == Phase::Settled && kept.flags & SYN == 0 {
            return false;
        }
        let is_heard = kept.flags & (SYN | RST | ACK) == ACK;
        self.heard |= u8::from(is_heard) << u8::from(from_a);
        self.has_use |= kept.is_of_use();
        // As long as one has sent but SYNs, it may go on sending them.
        if self.has_syn_ack && self.heard == HEARD_BOTH && self.has_use {
            self.phase = Phase::Settled;
        }
        let is_kept = self.packets.len() < MOST_PACKETS;
        if is_kept {
            self.packets.push(kept.take());
            // Only now: a copy would wait for what was written just before it.
            self.packets.last_mut().expect("it was just put there").from_a = from_a;
        } else {
            self.left_out = self.left_out.saturating_add(1);
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

    /// Whether a packet is of its connection, whichever way that goes.
    #[inline]
    pub fn has(&self, item: &Item) -> bool {
        let (source, destination) = (item.source, item.destination);
        let is_of_a = self.a == source && self.b == destination;
        (is_of_a || self.b == source && self.a == destination) && self.interface == item.interface
    }

    /// Of a packet of its connection: whether a has sent it.
    #[inline]
    pub fn is_from_a(&self, item: &Item) -> bool {
        self.a == item.source
    }

    /// Looks at both its lines, so that they come to this core's cache. Its packets.
    pub fn touch(&self) -> &[Kept] {
        black_box((self.interface, self.due));
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

    /// Writes down what is left of it once it is decided, in the place of an opening that has been dealt
    /// with, whose room for packets it gets.
    pub fn conclude(&mut self, opening: &mut Opening, ending: Ending, recent: &Recent, now: u64) {
        let (a, b, interface) = (self.a, self.b, self.interface);
        opening.a = a.endpoint();
        opening.b = b.endpoint();
        opening.interface = interface;
        opening.left_out = self.left_out.into();
        opening.ending = ending;
        // SYNs of other connections may explain it.
        opening.related = match self.has_syn_ack {
            true => Vec::new(),
            false => recent.of(a, b, interface, self.began()),
        };
        opening.hearsay[0] = recent.hearsay(a);
        opening.hearsay[1] = recent.hearsay(b);
        // Its end may be owed to a limit, which what began beside it shows.
        opening.burst = if self.is_answered { None } else { recent.burst(a, b, self.place) };
        opening.decided_at = now;
        std::mem::swap(&mut self.packets, &mut opening.packets);
        self.packets.clear();
    }

    /// Keeps room for so many packets of one to come.
    pub fn keep_room(&mut self, packets: usize) {
        self.packets.shrink_to(packets);
    }
}

impl Opening {
    /// Nothing yet.
    pub(super) fn blank() -> Self {
        let nobody = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self {
            a: nobody,
            b: nobody,
            interface: 0,
            packets: Vec::new(),
            left_out: 0,
            ending: Ending::Decided,
            related: Vec::new(),
            hearsay: [Hearsay::default(); 2],
            burst: None,
            decided_at: 0,
        }
    }
}

/// A bit for each end.
const HEARD_BOTH: u8 = 0b11;

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

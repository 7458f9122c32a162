//! Control connections on virtual time: TCP flows like any other, which take mappings, are delayed
//! and can die. Segments carry two numbers as payload, which no NAT rewrites: that of their message
//! and that of the next one expected. Messages are repeated until acknowledged and delivered in
//! order, as a host's TCP would.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::Name;
use crate::time::{Duration, Instant};
use crate::wire::control::Message;
use crate::wire::{Endpoint, Flags, Packet, Segment};

/// One end of a control connection.
#[derive(Debug)]
pub struct Stream {
    pub name: Name,
    pub local: Endpoint,
    pub remote: Endpoint,
    pub joined: bool,
    /// Messages not yet acknowledged, the first of them numbered `acknowledged`.
    unacknowledged: VecDeque<Message>,
    acknowledged: u32,
    /// The number of the message to be delivered next.
    expected: u32,
    /// Messages that came before their turn.
    early: BTreeMap<u32, Message>,
    tries: u32,
    pub due: Instant,
}

/// What a segment made happen.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answers: Vec<Packet>,
    pub joined: bool,
    pub ended: bool,
    pub delivered: Vec<Message>,
}

impl Stream {
    /// The end that opens the connection.
    pub const fn opening(name: Name, local: Endpoint, remote: Endpoint, now: Instant) -> Self {
        Self::new(name, local, remote, now)
    }

    /// The end that accepts it.
    pub const fn accepting(name: Name, local: Endpoint, remote: Endpoint) -> Self {
        Self::new(name, local, remote, NEVER)
    }

    const fn new(name: Name, local: Endpoint, remote: Endpoint, due: Instant) -> Self {
        Self {
            name,
            local,
            remote,
            joined: false,
            unacknowledged: VecDeque::new(),
            acknowledged: 0,
            expected: 0,
            early: BTreeMap::new(),
            tries: 0,
            due,
        }
    }

    /// Takes a message to send; the segment that carries it.
    pub fn tell(&mut self, now: Instant, message: Message) -> Packet {
        if self.unacknowledged.is_empty() {
            (self.tries, self.due) = (0, now + FIRST_TIMEOUT);
        }
        let number = self.acknowledged + u32::try_from(self.unacknowledged.len()).unwrap_or(0);
        self.unacknowledged.push_back(message);
        self.data(number)
    }

    /// What to repeat when the timer runs out; none when the connection has died.
    pub fn repeat(&mut self, now: Instant) -> Option<Vec<Packet>> {
        if self.joined && self.unacknowledged.is_empty() {
            self.due = NEVER;
            return Some(Vec::new());
        }
        if self.tries == MOST_TRIES {
            return None;
        }
        self.due = now + FIRST_TIMEOUT * (1 << self.tries.min(3));
        self.tries += 1;
        if !self.joined {
            return Some(vec![self.segment(Flags::SYN, 0)]);
        }
        let held = u32::try_from(self.unacknowledged.len()).unwrap_or(0).min(AT_ONCE);
        Some((0..held).map(|ahead| self.data(self.acknowledged + ahead)).collect())
    }

    /// Ends the connection.
    pub fn hang_up(&self) -> Packet {
        self.segment(Flags::FIN | Flags::ACK, 0)
    }

    /// Takes a segment; `carried` looks up the message with a number that the peer is sending.
    pub fn take(
        &mut self,
        now: Instant,
        segment: &Segment,
        carried: impl Fn(u32) -> Option<Message>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if segment.is_bare_syn() {
            outcome.answers.push(self.segment(Flags::SYN | Flags::ACK, 0));
            return outcome;
        }
        if segment.flags.contains(Flags::FIN) {
            outcome.ended = true;
            return outcome;
        }
        if segment.is_syn_ack() {
            outcome.answers.push(self.segment(Flags::ACK, 0));
        }
        outcome.joined = !std::mem::replace(&mut self.joined, true);
        if outcome.joined {
            (self.tries, self.due) = (0, NEVER);
        }
        let (number, acknowledged) = numbers(segment);
        self.take_acknowledgement(now, acknowledged);
        if segment.flags.contains(Flags::PSH) {
            self.take_data(number, carried, &mut outcome);
        }
        outcome
    }

    fn take_acknowledgement(&mut self, now: Instant, acknowledged: u32) {
        let before = self.acknowledged;
        while self.acknowledged < acknowledged && self.unacknowledged.pop_front().is_some() {
            self.acknowledged += 1;
        }
        if self.unacknowledged.is_empty() {
            self.due = NEVER;
        } else if before < self.acknowledged {
            (self.tries, self.due) = (0, now + FIRST_TIMEOUT);
        }
    }

    fn take_data(
        &mut self,
        number: u32,
        carried: impl Fn(u32) -> Option<Message>,
        outcome: &mut Outcome,
    ) {
        if let Some(message) = carried(number).filter(|_| number >= self.expected) {
            self.early.insert(number, message);
        }
        while let Some(message) = self.early.remove(&self.expected) {
            self.expected += 1;
            outcome.delivered.push(message);
        }
        outcome.answers.push(self.segment(Flags::ACK, 0));
    }

    /// The message with this number, while it is not acknowledged.
    pub fn carried(&self, number: u32) -> Option<Message> {
        let ahead = usize::try_from(number.checked_sub(self.acknowledged)?).ok()?;
        self.unacknowledged.get(ahead).cloned()
    }

    fn data(&self, number: u32) -> Packet {
        self.segment(Flags::PSH | Flags::ACK, number)
    }

    fn segment(&self, flags: Flags, number: u32) -> Packet {
        let payload = [number.to_be_bytes(), self.expected.to_be_bytes()].concat();
        let segment = Segment { flags, payload, ..Segment::default() };
        Packet::tcp(self.local, self.remote, segment)
    }
}

/// The message that a segment carries, and the one that its sender expects.
pub fn numbers(segment: &Segment) -> (u32, u32) {
    let number = |place: usize| {
        let octets = segment.payload.get(place..place + 4)?;
        octets.try_into().ok().map(u32::from_be_bytes)
    };
    (number(0).unwrap_or(0), number(4).unwrap_or(0))
}

/// Linux's smallest retransmission timeout is 200 ms.
const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
/// After some fourteen seconds without an answer the connection is dead.
const MOST_TRIES: u32 = 9;
/// As many segments as an initial window of ten (RFC 6928).
const AT_ONCE: u32 = 10;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

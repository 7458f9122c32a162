//! Control connections on virtual time: TCP flows like any other, which take mappings, are delayed
//! and can die. Segments carry three numbers as payload, which no NAT rewrites: that of their first
//! message, how many they carry, and that of the next one expected. What is told at one moment
//! shares segments, acknowledgements wait a little for company, messages are repeated until
//! acknowledged and delivered in order: as a host's TCP would.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

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
    /// How many of them were sent already.
    sent: u32,
    /// The number of the message to be delivered next.
    expected: u32,
    /// Messages that came before their turn.
    early: BTreeMap<u32, Message>,
    tries: u32,
    /// When to repeat what is not acknowledged.
    repeats: Instant,
    /// When to acknowledge, unless something is sent before.
    acknowledges: Instant,
    /// When it is reset.
    pub resets: Instant,
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
            sent: 0,
            expected: 0,
            early: BTreeMap::new(),
            tries: 0,
            repeats: due,
            acknowledges: NEVER,
            resets: NEVER,
        }
    }

    /// Takes a message to send.
    pub fn tell(&mut self, message: Message) {
        self.unacknowledged.push_back(message);
    }

    /// When it wants to act.
    pub fn due(&self) -> Instant {
        self.repeats.min(self.acknowledges).min(self.resets)
    }

    /// The segments that carry what was told and not yet sent.
    pub fn flush(&mut self, now: Instant) -> Vec<Packet> {
        let unsent = self.sent..self.held();
        if unsent.is_empty() {
            return Vec::new();
        }
        if self.sent == 0 {
            (self.tries, self.repeats) = (0, now + FIRST_TIMEOUT);
        }
        self.sent = unsent.end;
        self.data(unsent)
    }

    /// What to send when a timer runs out; none when the connection has died.
    pub fn act(&mut self, now: Instant) -> Option<Vec<Packet>> {
        if self.resets <= now {
            return None;
        }
        if self.repeats <= now {
            return self.repeat(now);
        }
        let due = self.acknowledges <= now;
        Some(due.then(|| self.acknowledgement()).into_iter().collect())
    }

    fn repeat(&mut self, now: Instant) -> Option<Vec<Packet>> {
        if self.joined && self.sent == 0 {
            self.repeats = NEVER;
            return Some(Vec::new());
        }
        if self.tries == MOST_TRIES {
            return None;
        }
        self.repeats = now + FIRST_TIMEOUT * (1 << self.tries.min(3));
        self.tries += 1;
        if !self.joined {
            return Some(vec![self.segment(Flags::SYN, 0..0)]);
        }
        Some(self.data(0..self.sent.min(AT_ONCE)))
    }

    /// Ends the connection.
    pub fn hang_up(&mut self) -> Packet {
        self.segment(Flags::FIN | Flags::ACK, 0..0)
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
            outcome.answers.push(self.segment(Flags::SYN | Flags::ACK, 0..0));
            return outcome;
        }
        if segment.flags.contains(Flags::FIN) {
            outcome.ended = true;
            return outcome;
        }
        if segment.is_syn_ack() {
            outcome.answers.push(self.acknowledgement());
        }
        outcome.joined = !std::mem::replace(&mut self.joined, true);
        if outcome.joined {
            (self.tries, self.repeats) = (0, NEVER);
        }
        let (carried_here, acknowledged) = numbers(segment);
        self.take_acknowledgement(now, acknowledged);
        if segment.flags.contains(Flags::PSH) {
            self.take_data(now, carried_here, carried, &mut outcome);
        }
        outcome
    }

    fn take_acknowledgement(&mut self, now: Instant, acknowledged: u32) {
        let before = self.acknowledged;
        while self.acknowledged < acknowledged && self.unacknowledged.pop_front().is_some() {
            self.acknowledged += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        if self.sent == 0 {
            self.repeats = NEVER;
        } else if before < self.acknowledged {
            (self.tries, self.repeats) = (0, now + FIRST_TIMEOUT);
        }
    }

    fn take_data(
        &mut self,
        now: Instant,
        numbers: Range<u32>,
        carried: impl Fn(u32) -> Option<Message>,
        outcome: &mut Outcome,
    ) {
        for number in numbers.start.max(self.expected)..numbers.end {
            match carried(number) {
                Some(message) if number == self.expected => {
                    self.expected += 1;
                    outcome.delivered.push(message);
                }
                message => self.early.extend(message.map(|message| (number, message))),
            }
        }
        while let Some(message) = self.early.remove(&self.expected) {
            self.expected += 1;
            outcome.delivered.push(message);
        }
        self.acknowledges = self.acknowledges.min(now + DELAYED);
    }

    /// The message with this number, while it is not acknowledged.
    pub fn carried(&self, number: u32) -> Option<Message> {
        let ahead = usize::try_from(number.checked_sub(self.acknowledged)?).ok()?;
        self.unacknowledged.get(ahead).cloned()
    }

    fn held(&self) -> u32 {
        u32::try_from(self.unacknowledged.len()).unwrap_or(u32::MAX)
    }

    /// The messages at these places among the unacknowledged, a few a segment.
    fn data(&mut self, places: Range<u32>) -> Vec<Packet> {
        let first = |place| self.acknowledged + place;
        let numbers = first(places.start)..first(places.end);
        let starts = numbers.clone().step_by(IN_ONE);
        let parts = starts.map(|start| start..numbers.end.min(start + IN_ONE as u32));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| self.segment(Flags::PSH | Flags::ACK, part)).collect()
    }

    fn acknowledgement(&mut self) -> Packet {
        self.segment(Flags::ACK, 0..0)
    }

    /// Whatever is sent acknowledges.
    fn segment(&mut self, flags: Flags, numbers: Range<u32>) -> Packet {
        self.acknowledges = NEVER;
        let all = [numbers.start, numbers.end, self.expected];
        let payload = all.map(u32::to_be_bytes).concat();
        let segment = Segment { flags, payload, ..Segment::default() };
        Packet::tcp(self.local, self.remote, segment)
    }
}

/// The messages that a segment carries, and the one that its sender expects.
pub fn numbers(segment: &Segment) -> (Range<u32>, u32) {
    let number = |place: usize| {
        let octets = segment.payload.get(place..place + 4)?;
        octets.try_into().ok().map(u32::from_be_bytes)
    };
    let [first, end, expected] = [0, 4, 8].map(|place| number(place).unwrap_or(0));
    (first..end, expected)
}

/// Linux's smallest retransmission timeout is 200 ms.
const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
/// After some fourteen seconds without an answer the connection is dead.
const MOST_TRIES: u32 = 9;
/// As many messages as fit an initial window of ten segments (RFC 6928).
const AT_ONCE: u32 = 80;
/// Reports that fit a segment.
const IN_ONE: usize = 8;
/// An acknowledgement waits this long for something to go along with.
const DELAYED: Duration = Duration::from_millis(20);

const NEVER: Instant = Instant::from_nanos(u64::MAX);

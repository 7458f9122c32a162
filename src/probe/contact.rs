//! SYNs that go out to remotes until they were seen there.

use super::NEVER;
use super::patience::{REFRESH, RETRY};
use crate::time::Instant;
use crate::wire::control::{Answer, Expectation, ProbeId};
use crate::wire::{Endpoint, Packet, Segment, Seq, identification};

/// The SYNs of one internal endpoint.
#[derive(Debug)]
pub struct Contacts {
    probe: ProbeId,
    internal: Endpoint,
    list: Vec<Contact>,
    /// Whether each waits for the one before it to be seen.
    in_order: bool,
}

/// One remote, and what is known of the SYN to it.
#[derive(Debug)]
pub struct Contact {
    /// Where the SYN goes.
    pub remote: Endpoint,
    isn: Seq,
    timestamp: u32,
    answer: Answer,
    /// How it arrived there.
    pub seen: Option<Seen>,
    due: Instant,
    refreshes_left: u16,
    /// Whether an answer is waited for: it is repeated until hushed, seen or not.
    awaits_answer: bool,
}

/// How a SYN arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The external endpoint that it came from.
    pub external: Endpoint,
    /// Its sequence number, which a NAT may have rewritten.
    pub seq: Seq,
}

impl Contact {
    /// A SYN to `remote` with these two numbers as its marks.
    pub const fn new(remote: Endpoint, answer: Answer, marks: [u32; 2]) -> Self {
        let [isn, timestamp] = marks;
        Self {
            remote,
            isn: Seq(isn),
            timestamp,
            answer,
            seen: None,
            due: Instant::START,
            refreshes_left: 0,
            awaits_answer: false,
        }
    }
}

impl Contact {
    /// The same, with its mapping refreshed so many times after it was seen.
    pub const fn held(mut self, refreshes: u16) -> Self {
        self.refreshes_left = refreshes;
        self
    }

    /// Sets when the SYN goes out next.
    fn rest(&mut self, now: Instant) {
        self.due = match (self.seen, self.refreshes_left) {
            (None, _) => now + RETRY,
            (Some(_), _) if self.awaits_answer => now + RETRY,
            (Some(_), 0) => NEVER,
            (Some(_), _) => now + REFRESH,
        };
    }
}

impl Contacts {
    /// Contacts that go out all at once.
    pub const fn at_once(probe: ProbeId, internal: Endpoint, list: Vec<Contact>) -> Self {
        Self { probe, internal, list, in_order: false }
    }

    /// Contacts that go out one after the other, each when the one before it was seen.
    pub const fn in_order(probe: ProbeId, internal: Endpoint, list: Vec<Contact>) -> Self {
        Self { probe, internal, list, in_order: true }
    }

    /// The internal endpoint that they go out from.
    pub const fn internal(&self) -> Endpoint {
        self.internal
    }

    /// The probe, and the internal endpoint that it asks from.
    pub fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        vec![(self.probe, vec![self.internal])]
    }

    /// What reflectors should expect.
    pub fn expectations(&self) -> Vec<Expectation> {
        let expectation = |contact: &Contact| Expectation {
            probe: self.probe,
            on: contact.remote,
            isn: contact.isn,
            timestamp: contact.timestamp,
            port: self.internal.port(),
            answer: contact.answer,
        };
        self.list.iter().map(expectation).collect()
    }

    /// The next SYN that is due: to a remote that has not seen one, or to refresh a mapping.
    pub fn next(&mut self, now: Instant) -> Option<Packet> {
        let turn = self.turn();
        let due = self.list[..turn].iter_mut().find(|contact| contact.due <= now)?;
        let refreshes = due.seen.is_some() && !due.awaits_answer;
        due.refreshes_left -= u16::from(refreshes);
        due.rest(now);
        let segment = Segment::syn(due.isn, due.timestamp);
        Some(Packet::marked(self.internal, due.remote, segment))
    }

    /// When the next SYN is due.
    pub fn wakes(&self) -> Instant {
        self.list[..self.turn()].iter().map(|contact| contact.due).min().unwrap_or(NEVER)
    }

    /// How many of the list may go out yet.
    fn turn(&self) -> usize {
        let waiting = self.list.iter().position(|contact| contact.seen.is_none());
        match waiting {
            Some(first) if self.in_order => first + 1,
            _ => self.list.len(),
        }
    }

    /// Takes a report: a segment of this probe that arrived at a reflector.
    pub fn saw(&mut self, now: Instant, packet: &Packet) {
        let Some((external, on)) = packet.endpoints() else { return };
        let Some(segment) = packet.segment().filter(|segment| segment.is_bare_syn()) else {
            return;
        };
        let mut unseen = self.list.iter_mut().filter(|contact| contact.seen.is_none());
        if let Some(contact) = unseen.find(|contact| contact.remote == on) {
            contact.seen = Some(Seen { external, seq: segment.seq });
            contact.rest(now);
        }
    }

    /// The same, for one who waits for an answer: the SYN goes on being repeated until hushed.
    pub fn saw_again(&mut self, now: Instant, packet: &Packet) {
        let due: Vec<_> = self.list.iter().map(|contact| contact.due).collect();
        self.saw(now, packet);
        for (contact, due) in self.list.iter_mut().zip(due) {
            (contact.due, contact.awaits_answer) = (due, true);
        }
    }

    /// Whether a reported SYN carries a mark of one of these: its number, or if that was rewritten
    /// its timestamp or identification.
    pub fn expects(&self, packet: &Packet) -> bool {
        packet.segment().is_some_and(|segment| {
            let stamp = segment.options.timestamps().map(|(value, _)| value);
            let marked = |c: &Contact| {
                let same_id = packet.id == identification(c.timestamp);
                segment.seq == c.isn || stamp == Some(c.timestamp) || same_id
            };
            self.list.iter().any(marked)
        })
    }

    /// How the SYN to `remote` arrived.
    pub fn seen(&self, remote: Endpoint) -> Option<Seen> {
        self.list.iter().find(|contact| contact.remote == remote)?.seen
    }

    /// Whether every SYN was seen.
    pub fn is_complete(&self) -> bool {
        self.list.iter().all(|contact| contact.seen.is_some())
    }

    /// The number that SYNs to `remote` begin with.
    pub fn isn(&self, remote: Endpoint) -> Option<Seq> {
        self.list.iter().find(|contact| contact.remote == remote).map(|contact| contact.isn)
    }

    /// The SYN to one of the remotes that were seen, in turn, once more: its timestamp, `number`,
    /// tells it apart.
    pub fn beat(&self, number: u32) -> Option<Packet> {
        let seen: Vec<_> = self.list.iter().filter(|contact| contact.seen.is_some()).collect();
        let contact = seen.get(number as usize % seen.len().max(1))?;
        let segment = Segment::syn(contact.isn, number);
        Some(Packet::marked(self.internal, contact.remote, segment))
    }

    /// Sends nothing more to `remote`: its connection has gone on.
    pub fn hush(&mut self, remote: Endpoint) {
        let hushed = self.list.iter_mut().filter(|contact| contact.remote == remote);
        hushed.for_each(|contact| contact.due = NEVER);
    }
}

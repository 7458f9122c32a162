//! A simultaneous open (RFC 9293 §3.5, figure 7): our SYN goes out, the reflector's bare SYN comes
//! back from the same endpoint, and both sides send SYN,ACK with their original sequence number.
//!
//! Beside each SYN,ACK of ours goes a SYN that the reflector answers in the ordinary way: should
//! the SYN,ACKs of the crossing not arrive, in either direction, these show whether the path was
//! alive just then.

use super::contact::{Contact, Contacts};
use super::patience::RETRY;
use super::volley::{Aim, Block};
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// One simultaneous open with a reflector.
#[derive(Debug)]
pub struct Crossing {
    contacts: Contacts,
    beside: Contacts,
    /// Whether the SYN beside the last SYN,ACK is still to be sent.
    owes_beside: bool,
    remote: Endpoint,
    /// The number that our SYN and SYN,ACK both carry.
    isn: Seq,
    /// The reflector's, by agreement.
    peer_isn: Seq,
    /// Whether its SYN arrived: we are in SYN-RECEIVED.
    received: bool,
    /// Whether its SYN,ACK arrived: we are in ESTABLISHED.
    complete: bool,
    tries_left: u16,
    due: Instant,
}

impl Crossing {
    /// An open from the first endpoint, whose SYN,ACK goes out `tries` times at most, beside SYNs
    /// from the second.
    pub fn new(
        probe: ProbeId,
        crossing: (Endpoint, Contact),
        beside: (Endpoint, Contact),
        peer_isn: Seq,
        tries: u16,
    ) -> Self {
        let remote = crossing.1.remote;
        let contacts = Contacts::at_once(probe, crossing.0, vec![crossing.1]);
        let isn = contacts.isn(remote).expect("the contact was just put in");
        Self {
            contacts,
            beside: Contacts::at_once(probe, beside.0, vec![beside.1]),
            owes_beside: false,
            remote,
            isn,
            peer_isn,
            received: false,
            complete: false,
            tries_left: tries,
            due: NEVER,
        }
    }

    /// When it wants to send again.
    fn wakes(&self) -> Instant {
        self.contacts.wakes().min(self.beside.wakes())
    }

    fn arrived(&mut self, now: Instant, packet: &Packet) {
        let Some(segment) = packet.segment() else { return };
        if packet.endpoints() != Some((self.remote, self.contacts.internal())) {
            return;
        }
        if segment.is_bare_syn() && !self.received {
            self.received = true;
            self.contacts.hush(self.remote);
            self.due = now;
        }
        self.complete |= segment.is_syn_ack();
    }

    /// RFC 9293 §3.10.7.3: `<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>`.
    fn syn_ack(&self) -> Packet {
        let segment = Segment::syn_ack(self.isn, self.peer_isn + 1, self.isn.0, self.peer_isn.0);
        Packet::marked(self.contacts.internal(), self.remote, segment)
    }
}

impl Party for Crossing {
    fn poll(&mut self, now: Instant) -> Step {
        if let Some(syn) = self.contacts.next(now).or_else(|| self.beside.next(now)) {
            return Step::Send(syn);
        }
        let owed = std::mem::take(&mut self.owes_beside);
        if let Some(syn) = self.beside.beat(self.tries_left.into()).filter(|_| owed) {
            return Step::Send(syn);
        }
        if self.is_done() {
            return Step::Wait(self.wakes());
        }
        if self.due <= now {
            self.tries_left -= 1;
            self.due = now + RETRY / 2;
            self.owes_beside = true;
            return Step::Send(self.syn_ack());
        }
        Step::Wait(self.due.min(self.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => self.arrived(now, &packet),
            Event::Told(_, Message::Saw { packet, .. }) => {
                let of_beside = self.beside.expects(&packet.0);
                let contacts = if of_beside { &mut self.beside } else { &mut self.contacts };
                contacts.saw(now, &packet.0);
                if self.received {
                    self.contacts.hush(self.remote);
                }
            }
            _ => {}
        }
    }
}

impl Probe for Crossing {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        let (probe, crossing) = self.contacts.asks().remove(0);
        vec![(probe, [crossing, vec![self.beside.internal()]].concat())]
    }

    fn expectations(&self) -> Vec<Expectation> {
        [self.contacts.expectations(), self.beside.expectations()].concat()
    }

    fn aims(&self, block: Block) -> Vec<Aim> {
        let seen = self.contacts.seen(self.remote).filter(|_| block == Block::First);
        let aim = |to| Aim { from: self.remote, to, seq: Some(self.peer_isn), ack: None };
        seen.map(|seen| aim(seen.external)).into_iter().collect()
    }

    fn is_open(&self) -> bool {
        self.contacts.is_complete() && self.beside.is_complete()
    }

    fn is_done(&self) -> bool {
        !self.received || self.complete || self.tries_left == 0
    }
}

//! A simultaneous open (RFC 9293 §3.5, figure 7): our SYN goes out, the reflector's bare SYN comes
//! back from the same endpoint, and both sides send SYN,ACK with their original sequence number.

use super::contact::{Contact, Contacts};
use super::patience::RETRY;
use super::volley::Aim;
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// One simultaneous open with a reflector.
#[derive(Debug)]
pub struct Crossing {
    contacts: Contacts,
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
    /// An open from `internal`, whose SYN,ACK goes out `tries` times at most.
    pub fn new(
        probe: ProbeId,
        internal: Endpoint,
        contact: Contact,
        peer_isn: Seq,
        tries: u16,
    ) -> Self {
        let remote = contact.remote;
        let contacts = Contacts::at_once(probe, internal, vec![contact]);
        let isn = contacts.isn(remote).expect("the contact was just put in");
        let (received, complete, tries_left) = (false, false, tries);
        Self { contacts, remote, isn, peer_isn, received, complete, tries_left, due: NEVER }
    }

    fn arrived(&mut self, now: Instant, packet: &Packet) {
        let Some(segment) = packet.segment() else { return };
        if packet.endpoints().map(|(from, _)| from) != Some(self.remote) {
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
        Packet::tcp(self.contacts.internal(), self.remote, segment)
    }
}

impl Party for Crossing {
    fn poll(&mut self, now: Instant) -> Step {
        if let Some(syn) = self.contacts.next(now) {
            return Step::Send(syn);
        }
        if self.is_done() {
            return Step::Wait(NEVER);
        }
        if self.due <= now {
            self.tries_left -= 1;
            self.due = now + RETRY / 2;
            return Step::Send(self.syn_ack());
        }
        Step::Wait(self.due.min(self.contacts.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => self.arrived(now, &packet),
            Event::Told(_, Message::Saw { packet, .. }) => {
                self.contacts.saw(now, &packet.0);
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
        self.contacts.asks()
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.contacts.expectations()
    }

    fn aims(&self) -> Vec<Aim> {
        let seen = self.contacts.seen(self.remote);
        let aim = |to| Aim { from: self.remote, to, seq: Some(self.peer_isn), ack: None };
        seen.map(|seen| aim(seen.external)).into_iter().collect()
    }

    fn is_open(&self) -> bool {
        self.contacts.is_complete()
    }

    fn is_done(&self) -> bool {
        !self.received || self.complete || self.tries_left == 0
    }
}

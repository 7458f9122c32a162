//! A probe that opens a connection with an ordinary handshake and holds it: whose SYNs get in then?

use super::contact::{Contact, Contacts};
use super::patience::{REFRESH, RETRY};
use super::volley::{Aim, Block};
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Remotes, Step};
use crate::time::Instant;
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Flags, Packet, Segment, Seq};

/// An established connection with a reflector that other endpoints knock at.
#[derive(Debug)]
pub struct Established {
    contacts: Contacts,
    remotes: Remotes,
    /// The reflector's initial sequence number, once its SYN,ACK arrived.
    peer_isn: Option<Seq>,
    /// Whether our ACK was seen: the connection is established at both ends and in between.
    acknowledged: bool,
    due: Instant,
}

impl Established {
    /// A connection from `internal` to the contacted endpoint.
    pub fn new(probe: ProbeId, internal: Endpoint, contact: Contact, remotes: Remotes) -> Self {
        Self {
            contacts: Contacts::at_once(probe, internal, vec![contact]),
            remotes,
            peer_isn: None,
            acknowledged: false,
            due: NEVER,
        }
    }

    fn acknowledgement(&self) -> Option<Packet> {
        let isn = self.contacts.isn(self.remotes.contacted)?;
        let segment = Segment::ack(isn + 1, self.peer_isn? + 1);
        Some(Packet::tcp(self.contacts.internal(), self.remotes.contacted, segment))
    }

    fn arrived(&mut self, now: Instant, packet: &Packet) {
        let from_peer = packet.endpoints().map(|(from, _)| from) == Some(self.remotes.contacted);
        let syn_ack = packet.segment().filter(|segment| segment.is_syn_ack() && from_peer);
        if let (Some(segment), None) = (syn_ack, self.peer_isn) {
            self.peer_isn = Some(segment.seq);
            self.contacts.hush(self.remotes.contacted);
            self.due = now;
        }
    }

    fn saw(&mut self, now: Instant, packet: &Packet) {
        self.contacts.saw_again(now, packet);
        let flags = packet.segment().map(|segment| segment.flags);
        self.acknowledged |= flags == Some(Flags::ACK);
    }
}

impl Party for Established {
    fn poll(&mut self, now: Instant) -> Step {
        if let Some(syn) = self.contacts.next(now) {
            return Step::Send(syn);
        }
        match self.acknowledgement().filter(|_| self.due <= now) {
            Some(ack) => {
                self.due = now + if self.acknowledged { REFRESH } else { RETRY };
                Step::Send(ack)
            }
            None => Step::Wait(self.due.min(self.contacts.wakes())),
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => self.arrived(now, &packet),
            Event::Told(_, Message::Saw { packet, .. }) => self.saw(now, &packet.0),
            _ => {}
        }
    }
}

impl Probe for Established {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        self.contacts.asks()
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.contacts.expectations()
    }

    fn aims(&self, block: Block) -> Vec<Aim> {
        let Some(seen) = self.contacts.seen(self.remotes.contacted) else { return Vec::new() };
        if !self.acknowledged || block == Block::First {
            return Vec::new();
        }
        let strangers = [Some(self.remotes.other_port), self.remotes.other_address];
        let aim = |from| Aim { from, to: seen.external, seq: None, ack: None };
        strangers.into_iter().flatten().map(aim).collect()
    }

    fn is_open(&self) -> bool {
        self.acknowledged
    }
}

//! A probe that contacts remotes and has volleys aimed at where it was seen.

use super::contact::{Contact, Contacts};
use super::volley::{Aim, Block};
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::Endpoint;
use crate::wire::Seq;
use crate::wire::control::{Expectation, Message, ProbeId};

/// What most questions come down to: SYNs out, and segments back from chosen endpoints.
#[derive(Debug)]
pub struct Outreach {
    contacts: Contacts,
    shots: Vec<Back>,
}

/// A segment to be shot back.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// The endpoint that it comes from.
    pub from: Endpoint,
    /// It goes to where the SYN to this remote was seen to come from.
    pub seen_at: Endpoint,
    /// What it is.
    pub kind: Kind,
    /// Its sequence number, if it is one segment repeated.
    pub seq: Option<Seq>,
    /// The only block of volleys that carries it, if not both.
    pub block: Option<Block>,
}

/// What is shot back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bare SYN.
    Syn,
    /// A SYN,ACK that acknowledges the SYN that was seen.
    SynAck,
}

impl Outreach {
    /// A probe from `internal` with these contacts, and these segments back.
    pub const fn new(
        probe: ProbeId,
        internal: Endpoint,
        contacts: Vec<Contact>,
        shots: Vec<Back>,
    ) -> Self {
        Self { contacts: Contacts::at_once(probe, internal, contacts), shots }
    }

    /// Its contacts.
    pub const fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    fn aim(&self, back: &Back) -> Option<Aim> {
        let seen = self.contacts.seen(back.seen_at)?;
        let ack = (back.kind == Kind::SynAck).then(|| seen.seq + 1);
        Some(Aim { from: back.from, to: seen.external, seq: back.seq, ack })
    }
}

impl Party for Outreach {
    fn poll(&mut self, now: Instant) -> Step {
        match self.contacts.next(now) {
            Some(syn) => Step::Send(syn),
            None => Step::Wait(self.contacts.wakes()),
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        if let Event::Told(_, Message::Saw { packet, .. }) = event {
            self.contacts.saw(now, &packet.0);
        }
    }
}

impl Probe for Outreach {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        self.contacts.asks()
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.contacts.expectations()
    }

    fn aims(&self, block: Block) -> Vec<Aim> {
        let shots = self.shots.iter().filter(|back| back.block.is_none_or(|only| only == block));
        shots.filter_map(|back| self.aim(back)).collect()
    }

    fn is_open(&self) -> bool {
        self.contacts.is_complete()
    }
}

/// A probe that asks from outside alone: SYNs to endpoints that are not mapped.
#[derive(Debug)]
pub struct FromOutside {
    /// Its number.
    pub probe: ProbeId,
    /// What it shoots.
    pub aims: Vec<Aim>,
}

impl Party for FromOutside {
    fn poll(&mut self, _: Instant) -> Step {
        Step::Wait(NEVER)
    }

    fn handle(&mut self, _: Instant, _: Event) {}
}

impl Probe for FromOutside {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        vec![(self.probe, Vec::new())]
    }

    fn expectations(&self) -> Vec<Expectation> {
        Vec::new()
    }

    fn aims(&self, block: Block) -> Vec<Aim> {
        if block == Block::First { self.aims.clone() } else { Vec::new() }
    }
}

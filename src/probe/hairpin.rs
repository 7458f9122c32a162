//! Two internal endpoints that send SYNs to each other's external endpoint: does one come back in?
//!
//! Both send, so that each opens its filter towards the other; otherwise filtering would read as
//! "unsupported". A NAT may drop a SYN that crosses another, so every other time the second end
//! answers with a SYN,ACK, which can show that hairpinning works, though not that it does not. Where an external endpoint is known depends on the NAT, so there are two kinds:
//! one asks a reflector first (right when the mapping does not depend on the remote, or nothing is
//! filtered), one expects its port to be preserved (right when it is).

use std::net::IpAddr;

use super::contact::{Contact, Contacts};
use super::patience::Pace;
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Step};
use crate::time::Instant;
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Packet, Segment, Seq, identification};

/// Two internal endpoints that knock at each other from outside.
#[derive(Debug)]
pub struct Hairpin {
    probe: ProbeId,
    ends: [Contacts; 2],
    remote: Option<Endpoint>,
    knocks: Knocks,
}

/// Knocks from two internal endpoints at each other's external endpoint, in turn.
#[derive(Debug)]
pub struct Knocks {
    internal: [Endpoint; 2],
    /// Where each knocks; none until it is known.
    at: Option<[Endpoint; 2]>,
    isn: Seq,
    left: u16,
    pace: Pace,
    due: Instant,
    /// Whether one arrived.
    pub arrived: bool,
}

impl Knocks {
    /// Knocks from both ends at this pace.
    pub const fn new(internal: [Endpoint; 2], isn: Seq, pace: Pace) -> Self {
        Self { internal, at: None, isn, left: pace.knocks, pace, due: NEVER, arrived: false }
    }

    /// Begins: the first end knocks at `at[0]`, the second at `at[1]`.
    pub fn begin(&mut self, now: Instant, at: [Endpoint; 2]) {
        self.at = Some(at);
        self.due = now + self.pace.first;
    }

    /// The next SYN, if one is due.
    pub fn next(&mut self, now: Instant) -> Option<Packet> {
        let at = self.at.filter(|_| self.due <= now && !self.is_over())?;
        self.left -= 1;
        self.due = now + self.pace.pause;
        let end = usize::from(self.left.is_multiple_of(2));
        let (number, stamp) = (self.isn + u32::from(self.left), self.isn.0);
        let segment = if self.left.is_multiple_of(4) {
            // It acknowledges the SYN before it, which had the next higher number.
            Segment::syn_ack(number, number + 2, stamp, stamp)
        } else {
            Segment::syn(number, stamp)
        };
        Some(Packet::marked(self.internal[end], at[end], segment))
    }

    /// When the next SYN is due.
    pub const fn wakes(&self) -> Instant {
        if self.is_over() { NEVER } else { self.due }
    }

    /// Whether there is nothing more to send.
    pub const fn is_over(&self) -> bool {
        self.left == 0 || self.arrived
    }

    /// Whether a packet that arrived, from none of the reflectors, is one of these. A router answers
    /// what knocks at itself with segments of its own; a SYN,ACK is ours if it carries our mark.
    pub fn is_one(&self, packet: &Packet) -> bool {
        let ours = packet.id == identification(self.isn.0);
        packet
            .segment()
            .is_some_and(|segment| segment.is_bare_syn() || (segment.is_syn_ack() && ours))
    }

    /// The two internal endpoints.
    pub const fn ends(&self) -> [Endpoint; 2] {
        self.internal
    }
}

impl Hairpin {
    /// Ends that learn their external endpoints from a reflector first.
    pub fn contacting(
        probe: ProbeId,
        ends: [(Endpoint, Contact); 2],
        isn: Seq,
        pace: Pace,
    ) -> Self {
        let remote = Some(ends[0].1.remote);
        let internal = [ends[0].0, ends[1].0];
        let ends = ends.map(|(end, contact)| Contacts::at_once(probe, end, vec![contact]));
        Self { probe, ends, remote, knocks: Knocks::new(internal, isn, pace) }
    }

    /// Ends that expect `external` to be their address and their ports to be preserved.
    pub fn expecting(
        probe: ProbeId,
        internal: [Endpoint; 2],
        external: IpAddr,
        isn: Seq,
        (now, pace): (Instant, Pace),
    ) -> Self {
        let ends = internal.map(|end| Contacts::at_once(probe, end, Vec::new()));
        let mut knocking = Knocks::new(internal, isn, pace);
        let [first, second] = internal.map(|end| Endpoint::new(external, end.port()));
        knocking.begin(now, [second, first]);
        Self { probe, ends, remote: None, knocks: knocking }
    }

    fn seen(&self) -> Option<[Endpoint; 2]> {
        let [first, second] = &self.ends;
        let remote = self.remote?;
        Some([second.seen(remote)?.external, first.seen(remote)?.external])
    }
}

impl Party for Hairpin {
    fn poll(&mut self, now: Instant) -> Step {
        let [first, second] = &mut self.ends;
        let syn = first.next(now).or_else(|| second.next(now));
        if let Some(syn) = syn.or_else(|| self.knocks.next(now)) {
            return Step::Send(syn);
        }
        let contacts = first.wakes().min(second.wakes());
        Step::Wait(contacts.min(self.knocks.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => {
                let from_reflector = self.remote.is_some_and(|remote| packet.source == remote.ip());
                self.knocks.arrived |= self.knocks.is_one(&packet) && !from_reflector;
            }
            Event::Told(_, Message::Saw { packet, .. }) => {
                let end = usize::from(self.ends[1].expects(&packet.0));
                self.ends[end].saw(now, &packet.0);
                if let (Some(at), None) = (self.seen(), self.knocks.at) {
                    self.knocks.begin(now, at);
                }
            }
            _ => {}
        }
    }
}

impl Probe for Hairpin {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        vec![(self.probe, self.knocks.internal.to_vec())]
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.ends.iter().flat_map(Contacts::expectations).collect()
    }

    fn is_open(&self) -> bool {
        self.ends.iter().all(Contacts::is_complete)
    }

    fn is_done(&self) -> bool {
        self.knocks.is_over()
    }
}

//! Before any question to the NAT: do the reflectors answer an ordinary opening, at every endpoint
//! that the questions need? What fails here is an error about a reflector, never a finding.

use std::collections::{BTreeMap, BTreeSet};

use super::Probe;
use super::contact::{Contact, Contacts};
use crate::engine::{Event, Party, Step, Trouble};
use crate::time::Instant;
use crate::wire::Endpoint;
use crate::wire::control::{Expectation, Message, ProbeId};

/// An ordinary opening with each endpoint.
#[derive(Debug)]
pub struct Preflight {
    contacts: Contacts,
    endpoints: Vec<Endpoint>,
    /// How many SYNs went to each endpoint while none of them was seen to leave.
    stuck: BTreeMap<Endpoint, u32>,
    /// Endpoints whose SYN,ACK was seen to leave.
    left: BTreeSet<Endpoint>,
    /// Endpoints whose SYN,ACK arrived here.
    arrived: BTreeSet<Endpoint>,
}

impl Preflight {
    /// Openings from `internal`.
    pub fn new(probe: ProbeId, internal: Endpoint, contacts: Vec<Contact>) -> Self {
        let endpoints: Vec<_> = contacts.iter().map(|contact| contact.remote).collect();
        let contacts = Contacts::at_once(probe, internal, contacts);
        let stuck = endpoints.iter().map(|endpoint| (*endpoint, 0)).collect();
        Self { contacts, endpoints, stuck, left: BTreeSet::new(), arrived: BTreeSet::new() }
    }

    /// What is wrong with each endpoint that has not answered; but if this host kept SYNs back,
    /// that alone.
    pub fn troubles(&self) -> Vec<Trouble> {
        let silent = self.endpoints.iter().filter(|endpoint| !self.arrived.contains(endpoint));
        let packets = silent.clone().filter_map(|endpoint| self.stuck.get(endpoint)).sum();
        if packets > 0 {
            return vec![Trouble::HostFirewall { packets }];
        }
        silent.map(|endpoint| self.trouble(*endpoint)).collect()
    }

    fn trouble(&self, endpoint: Endpoint) -> Trouble {
        if self.left.contains(&endpoint) {
            Trouble::Mute { endpoint }
        } else if self.contacts.seen(endpoint).is_some() {
            Trouble::Muzzled { endpoint }
        } else {
            Trouble::Deaf { endpoint }
        }
    }
}

impl Party for Preflight {
    fn poll(&mut self, now: Instant) -> Step {
        if self.is_done() {
            return Step::Wait(super::NEVER);
        }
        match self.contacts.next(now) {
            Some(syn) => {
                let to = syn.endpoints().map(|(_, to)| to);
                to.and_then(|to| self.stuck.get_mut(&to)).into_iter().for_each(|sent| *sent += 1);
                Step::Send(syn)
            }
            None => Step::Wait(self.contacts.wakes()),
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => {
                let syn_ack = packet.segment().is_some_and(|segment| segment.is_syn_ack());
                if let (Some((from, _)), true) = (packet.endpoints(), syn_ack) {
                    self.arrived.insert(from);
                    self.contacts.hush(from);
                }
            }
            Event::Left(packet) => {
                packet.endpoints().and_then(|(_, to)| self.stuck.remove(&to));
            }
            Event::Told(_, Message::Saw { packet, .. }) => self.contacts.saw_again(now, &packet.0),
            Event::Told(_, Message::Sent { packet, .. }) => {
                self.left.extend(packet.0.endpoints().map(|(from, _)| from));
            }
            _ => {}
        }
    }
}

impl Probe for Preflight {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        self.contacts.asks()
    }

    fn expectations(&self) -> Vec<Expectation> {
        self.contacts.expectations()
    }

    fn is_done(&self) -> bool {
        self.endpoints.iter().all(|endpoint| self.arrived.contains(endpoint))
    }
}

//! Hairpinning through a NAT that gives every remote another port, in a fixed step.
//!
//! Two SYNs to a reflector show the step; the next two ports are then those of the two ends, if
//! nobody else takes one in between. A third SYN shows afterwards whether they were: if the NAT went
//! on by one step only, the knocks took no mapping, so they were not taken for hairpinning at all.

use super::contact::{Contact, Contacts};
use super::hairpin::{Knocks, is_knock};
use super::patience::settle;
use super::{NEVER, Probe};
use crate::engine::{Event, Party, Step};
use crate::time::{Duration, Instant};
use crate::wire::control::{Expectation, Message, ProbeId};
use crate::wire::{Endpoint, Packet};

/// Several attempts, one after the other.
#[derive(Debug)]
pub struct Sequence {
    attempts: Vec<Attempt>,
    round_trip: Duration,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    probe: ProbeId,
    /// The two SYNs before and the one after, from an internal endpoint each.
    before: [Contacts; 2],
    after: Contacts,
    remote: Endpoint,
    knocks: Knocks,
    /// When stragglers among the knocks are no longer waited for.
    settled: Option<Instant>,
    over: bool,
}

impl Attempt {
    /// An attempt with three contacts to one remote, and knocks between the second and the third.
    pub fn new(probe: ProbeId, contacts: [(Endpoint, Contact); 3], knocks: Knocks) -> Self {
        let remote = contacts[0].1.remote;
        let [first, second, after] =
            contacts.map(|(end, contact)| Contacts::at_once(probe, end, vec![contact]));
        let before = [first, second];
        Self { probe, before, after, remote, knocks, settled: None, over: false }
    }

    fn external(&self, contacts: &Contacts) -> Option<Endpoint> {
        contacts.seen(self.remote).map(|seen| seen.external)
    }

    /// Where the two ends should knock: each at the port that the other will get.
    fn prediction(&self) -> Option<[Endpoint; 2]> {
        let first = self.external(&self.before[0])?;
        let second = self.external(&self.before[1])?;
        let step = second.port().wrapping_sub(first.port());
        let at = |steps: u16| {
            let port = second.port().wrapping_add(step.wrapping_mul(steps));
            Endpoint::new(second.ip(), port)
        };
        Some([at(2), at(1)])
    }

    fn poll(&mut self, now: Instant, round_trip: Duration) -> Step {
        let [first, second] = &mut self.before;
        if !first.is_complete() {
            return first.next(now).map_or(Step::Wait(first.wakes()), Step::Send);
        }
        if !second.is_complete() {
            return second.next(now).map_or(Step::Wait(second.wakes()), Step::Send);
        }
        if let Some(knock) = self.knocks.next(now) {
            return Step::Send(knock);
        }
        if !self.knocks.is_over() {
            return Step::Wait(self.knocks.wakes());
        }
        let settled = *self.settled.get_or_insert(now + settle(round_trip));
        if settled > now && !self.knocks.arrived {
            return Step::Wait(settled);
        }
        self.after.next(now).map_or(Step::Wait(self.after.wakes()), Step::Send)
    }

    fn saw(&mut self, now: Instant, packet: &Packet) {
        let [first, second] = &mut self.before;
        if !first.is_complete() {
            first.saw(now, packet);
        } else if !second.is_complete() {
            // The first end's SYN may be reported twice; it shows the first port again.
            let again = first.seen(self.remote).map(|seen| seen.external);
            if packet.endpoints().map(|(from, _)| from) != again {
                second.saw(now, packet);
                if let Some(at) = self.prediction() {
                    self.knocks.begin(now, at);
                }
            }
        } else if self.settled.is_some() && self.is_after(packet) {
            self.after.saw(now, packet);
            self.over = self.after.is_complete();
        }
    }

    fn is_after(&self, packet: &Packet) -> bool {
        let from = packet.endpoints().map(|(from, _)| from);
        self.before.iter().all(|contacts| self.external(contacts) != from)
    }
}

impl Sequence {
    /// These attempts, over a path with this round trip.
    pub const fn new(attempts: Vec<Attempt>, round_trip: Duration) -> Self {
        Self { attempts, round_trip }
    }

    fn current(&mut self) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| !attempt.over)
    }
}

impl Party for Sequence {
    fn poll(&mut self, now: Instant) -> Step {
        let round_trip = self.round_trip;
        self.current().map_or(Step::Wait(NEVER), |attempt| attempt.poll(now, round_trip))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        let Some(attempt) = self.current() else { return };
        match event {
            Event::Arrived(packet) => {
                let from_reflector = packet.source == attempt.remote.ip();
                attempt.knocks.arrived |= is_knock(&packet) && !from_reflector;
            }
            Event::Told(_, Message::Saw { packet, probe, .. }) if probe == attempt.probe => {
                attempt.saw(now, &packet.0);
            }
            _ => {}
        }
    }
}

impl Probe for Sequence {
    fn asks(&self) -> Vec<(ProbeId, Vec<Endpoint>)> {
        let ends = |attempt: &Attempt| {
            let [first, second] = &attempt.before;
            let [third, fourth] = attempt.knocks.ends();
            vec![first.internal(), second.internal(), third, fourth, attempt.after.internal()]
        };
        self.attempts.iter().map(|attempt| (attempt.probe, ends(attempt))).collect()
    }

    fn expectations(&self) -> Vec<Expectation> {
        let contacts = self.attempts.iter().flat_map(|attempt| {
            attempt.before.iter().chain([&attempt.after]).flat_map(Contacts::expectations)
        });
        contacts.collect()
    }

    fn is_done(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.over)
    }
}

//! The reflector: reports every segment of a probe exactly as it saw it, and sends back what the
//! prober asks for.
//!
//! It is no weapon: crafted segments go only to an address that has shown that it asked, by a
//! control connection from there or by a SYN that carries what only that connection's prober knows,
//! and no more of them than [`Limits`] allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::flow::{Flow, conversation};
use super::limits::{Limits, Rate};
use super::marks::Marks;
use crate::engine::{Event, Name, Party, Step};
use crate::time::{Duration, Instant};
use crate::wire::control::{
    Answer, Expectation, Message, PacketText, ProbeId, Refusal, Shot, VERSION, Volley,
};
use crate::wire::{Endpoint, Packet, Segment, Seq};

/// A party that serves any number of probers.
#[derive(Debug)]
pub struct Reflector {
    endpoints: Vec<Endpoint>,
    limits: Limits,
    random: Xoshiro256PlusPlus,
    clients: BTreeMap<Name, Client>,
    /// Connections by remote and own endpoint.
    flows: BTreeMap<(Endpoint, Endpoint), Flow>,
    shots: BTreeMap<(Instant, u64), (Name, Shot)>,
    shots_ordered: u64,
    /// Segments crafted and not yet seen to leave, the oldest first, and what they are for.
    crafted: VecDeque<(Crafted, (Name, ProbeId, Volley))>,
    rate: Rate,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Client {
    /// Its end of the control connection.
    remote: Endpoint,
    /// Addresses that have shown that they asked.
    proven: BTreeSet<IpAddr>,
    /// By the endpoint of ours that they are on.
    expectations: BTreeMap<Endpoint, Vec<Expectation>>,
    /// How many connections its SYNs have made known.
    flows: usize,
    shots: usize,
    rate: Rate,
    leaves: Instant,
    welcomed: bool,
}

/// What tells a segment that was crafted from every other one: its own and remote endpoint, its
/// flags, its numbers and its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crafted {
    ends: (Endpoint, Endpoint),
    flags: u16,
    numbers: (Seq, Seq),
    timestamp: Option<u32>,
}

impl Reflector {
    /// A reflector that takes probes at these endpoints: two ports of one address, then two of
    /// another if it has one.
    pub fn new(endpoints: Vec<Endpoint>, limits: Limits, seed: u64) -> Self {
        let steps = endpoints.iter().copied().map(Step::Claim).collect();
        Self {
            endpoints,
            limits,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            clients: BTreeMap::new(),
            flows: BTreeMap::new(),
            shots: BTreeMap::new(),
            shots_ordered: 0,
            crafted: VecDeque::new(),
            rate: Rate::default(),
            steps,
        }
    }

    fn joined(&mut self, now: Instant, name: Name, remote: Endpoint) {
        let neighbours = self.clients.values().filter(|client| client.remote.ip() == remote.ip());
        if self.clients.len() >= self.limits.clients
            || neighbours.count() >= self.limits.clients_of_one_address
        {
            return self.show_out(name, Refusal::Busy);
        }
        let client = Client {
            remote,
            proven: BTreeSet::from([remote.ip()]),
            expectations: BTreeMap::new(),
            flows: 0,
            shots: 0,
            rate: Rate::default(),
            leaves: now + self.limits.greeting,
            welcomed: false,
        };
        self.clients.insert(name, client);
    }

    fn told(&mut self, now: Instant, name: Name, message: Message) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        match message {
            Message::Hello { version } => {
                if version == VERSION && !client.welcomed {
                    client.welcomed = true;
                    client.leaves = now + self.limits.stay;
                }
                let (observed, endpoints) = (client.remote, self.endpoints.clone());
                let welcome = Message::Welcome { version: VERSION, observed, endpoints, now };
                self.steps.push_back(Step::Tell(name, welcome));
                // A prober of any version reads ours in the welcome, and can name it.
                if version != VERSION {
                    self.show_out(name, Refusal::Version);
                }
            }
            _ if !client.welcomed => self.refuse(name, Refusal::OutOfTurn),
            Message::Expect { expectations } => self.expect(name, expectations),
            Message::Shoot { shots } => self.order(now, name, shots),
            Message::Finish => self.steps.push_back(Step::Tell(name, Message::Finished)),
            _ => self.refuse(name, Refusal::OutOfTurn),
        }
    }

    fn refuse(&mut self, name: Name, why: Refusal) {
        self.steps.push_back(Step::Tell(name, Message::Refused { why }));
    }

    /// Refuses, and ends the connection.
    fn show_out(&mut self, name: Name, why: Refusal) {
        self.refuse(name, why);
        self.steps.push_back(Step::HangUp(name));
        self.forget(name);
    }

    fn expect(&mut self, name: Name, expectations: Vec<Expectation>) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        let known: usize = client.expectations.values().map(Vec::len).sum();
        if known + expectations.len() > self.limits.expectations {
            return self.refuse(name, Refusal::TooMuch);
        }
        for expected in expectations {
            client.expectations.entry(expected.on).or_default().push(expected);
        }
        self.steps.push_back(Step::Tell(name, Message::Expecting));
    }

    fn order(&mut self, now: Instant, name: Name, shots: Vec<Shot>) {
        if let Some(why) = self.objection(name, &shots) {
            return self.refuse(name, why);
        }
        for shot in shots {
            self.shots_ordered += 1;
            let at = now + Duration::from_millis(shot.after_ms.into());
            self.shots.insert((at, self.shots_ordered), (name, shot));
        }
    }

    fn objection(&mut self, name: Name, shots: &[Shot]) -> Option<Refusal> {
        let client = self.clients.get_mut(&name)?;
        let in_all = client.shots.saturating_add(shots.len());
        let ahead = |shot: &Shot| Duration::from_millis(shot.after_ms.into()) > self.limits.ahead;
        let own = |shot: &Shot| {
            self.endpoints.contains(&shot.from) && shot.from.is_ipv4() == shot.to.is_ipv4()
        };
        if in_all > self.limits.shots || shots.iter().any(ahead) {
            Some(Refusal::TooMuch)
        } else if !shots.iter().all(own) {
            Some(Refusal::ForeignSource)
        } else if !shots.iter().all(|shot| client.proven.contains(&shot.to.ip())) {
            Some(Refusal::UnprovenTarget)
        } else {
            client.shots = in_all;
            None
        }
    }

    fn arrived(&mut self, now: Instant, packet: Packet) {
        let Some((remote, own)) = conversation(&packet) else { return };
        // A NAT that overloads ports shows two internal hosts as one: ask each SYN anew whose it is.
        let known = self.recognise(remote, own, &packet);
        let known = known.or_else(|| self.flows.get(&(remote, own)).copied());
        let Some(flow) = known else { return };
        if let Some(answer) = flow.answer_to(&packet) {
            self.answer(now, flow.client, answer);
        }
        let packet = PacketText(packet);
        let saw = Message::Saw { probe: flow.probe, at: now, packet };
        self.steps.push_back(Step::Tell(flow.client, saw));
    }

    /// Whose SYN this is: that of the one expectation that most of its marks speak for, at least
    /// two, since a NAT may have rewritten any one of them.
    fn recognise(&mut self, remote: Endpoint, own: Endpoint, packet: &Packet) -> Option<Flow> {
        let marks = Marks::of(remote, packet)?;
        let (mut most, mut tied, mut best) = (FEWEST_MARKS - 1, false, None);
        for (name, client) in &self.clients {
            let at_home = u8::from(client.remote.ip() == remote.ip());
            for expected in client.expectations.get(&own).into_iter().flatten() {
                let fitting = marks.that_fit(expected) + at_home;
                tied = (tied || fitting == most) && fitting <= most;
                if fitting > most {
                    (most, best) = (fitting, Some((*name, expected.probe, expected.answer)));
                }
            }
        }
        let (client, probe, answer) = best.filter(|_| !tied)?;
        self.belongs(remote, own, client, probe, answer)
    }

    /// Takes it that a connection belongs to a client's probe; within the limits, since whoever
    /// forges source addresses can have any number of SYNs recognised.
    fn belongs(
        &mut self,
        remote: Endpoint,
        own: Endpoint,
        name: Name,
        probe: ProbeId,
        answer: Answer,
    ) -> Option<Flow> {
        let known = self.flows.get(&(remote, own)).filter(|flow| flow.client == name).copied();
        if let Some(flow) = known.filter(|flow| (flow.probe, flow.answer) == (probe, answer)) {
            return Some(flow);
        }
        let client = self.clients.get_mut(&name)?;
        let isn = match known {
            Some(flow) if flow.probe == probe => flow.isn,
            _ => Seq(self.random.next_u32()),
        };
        if known.is_none() {
            if client.flows >= self.limits.flows {
                return None;
            }
            client.flows += 1;
        }
        if client.proven.len() < self.limits.addresses {
            client.proven.insert(remote.ip());
        }
        let flow = Flow { client: name, probe, answer, isn };
        self.flows.insert((remote, own), flow);
        Some(flow)
    }

    fn shoot(&mut self, now: Instant, name: Name, shot: Shot) {
        let Shot { probe, from, to, seq, ack, .. } = shot;
        let fresh = Flow { client: name, probe, answer: Answer::Nothing, isn: seq };
        let flow = self.flows.entry((to, from)).or_insert(fresh);
        if flow.client != name {
            return self.refuse(name, Refusal::UnprovenTarget);
        }
        // The second half of a simultaneous open carries the number of the first.
        if ack.is_none() && flow.answer == Answer::Cross {
            flow.isn = seq;
        }
        // Repeated segments keep their number, as a NAT that follows connections expects; the
        // timestamp tells them apart.
        let stamp = u32::from(shot.volley.0) + 1;
        let segment = match ack {
            Some(ack) => Segment::syn_ack(seq, ack, stamp, 0),
            None => Segment::syn(seq, stamp),
        };
        let packet = Packet::marked(from, to, segment);
        self.crafted.extend(Crafted::of(&packet).map(|key| (key, (name, probe, shot.volley))));
        self.answer(now, name, packet);
    }

    /// Sends a packet for a client, within the limits.
    fn answer(&mut self, now: Instant, name: Name, packet: Packet) {
        let limits = self.limits;
        let Some(client) = self.clients.get_mut(&name) else { return };
        let allowed = client.rate.allows(now, limits.shots_per_second)
            && self.rate.allows(now, limits.shots_per_second_in_total);
        if allowed {
            self.steps.push_back(Step::Send(packet));
        } else {
            self.refuse(name, Refusal::TooMuch);
        }
    }

    fn left(&mut self, now: Instant, packet: Packet) {
        let crafted = self.take_crafted(&packet);
        let crafted = crafted.map(|(client, probe, volley)| (client, probe, Some(volley)));
        let answered = || {
            let (own, remote) = packet.endpoints()?;
            let flow = self.flows.get(&(remote, own))?;
            Some((flow.client, flow.probe, None))
        };
        let Some((client, probe, volley)) = crafted.or_else(answered) else { return };
        let packet = PacketText(packet);
        let sent = Message::Sent { probe, volley, at: now, packet };
        self.steps.push_back(Step::Tell(client, sent));
    }

    /// What a segment seen leaving was crafted for.
    fn take_crafted(&mut self, packet: &Packet) -> Option<(Name, ProbeId, Volley)> {
        let key = Crafted::of(packet)?;
        let place = self.crafted.iter().position(|(crafted, _)| *crafted == key)?;
        self.crafted.remove(place).map(|(_, what_for)| what_for)
    }

    fn forget(&mut self, name: Name) {
        self.clients.remove(&name);
        self.shots.retain(|_, (client, _)| *client != name);
        self.flows.retain(|_, flow| flow.client != name);
        self.crafted.retain(|(_, (client, ..))| *client != name);
    }

    /// Shoots what is due and shows out who has stayed too long.
    fn act(&mut self, now: Instant) {
        while let Some(entry) = self.shots.first_entry().filter(|entry| entry.key().0 <= now) {
            let (name, shot) = entry.remove();
            self.shoot(now, name, shot);
        }
        let overdue = self.clients.iter().filter(|(_, client)| client.leaves <= now);
        let overdue: Vec<_> = overdue.map(|(name, _)| *name).collect();
        for name in overdue {
            self.steps.push_back(Step::HangUp(name));
            self.forget(name);
        }
    }

    fn wakes(&self) -> Instant {
        let shot = self.shots.keys().next().map(|(at, _)| *at);
        let leaver = self.clients.values().map(|client| client.leaves).min();
        shot.into_iter().chain(leaver).min().unwrap_or(NEVER)
    }
}

impl Party for Reflector {
    fn poll(&mut self, now: Instant) -> Step {
        if self.steps.is_empty() {
            self.act(now);
        }
        self.steps.pop_front().unwrap_or_else(|| Step::Wait(self.wakes()))
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Joined { name, remote, .. } => self.joined(now, name, remote),
            Event::Told(name, message) => self.told(now, name, message),
            Event::Arrived(packet) => self.arrived(now, packet),
            Event::Left(packet) => self.left(now, packet),
            Event::Lost(name) | Event::Unjoined(name, _) => self.forget(name),
            Event::Garbled(name) => self.show_out(name, Refusal::OutOfTurn),
            Event::Interrupted | Event::HostFailed(_) => self.steps.push_back(Step::Done),
            // A deadline is looked at when polled; connections of its own it has none.
            _ => {}
        }
    }
}

impl Crafted {
    fn of(packet: &Packet) -> Option<Self> {
        let segment = packet.segment()?;
        Some(Self {
            ends: packet.endpoints()?,
            flags: segment.flags.bits(),
            numbers: (segment.seq, segment.ack),
            timestamp: segment.options.timestamps().map(|(value, _)| value),
        })
    }
}

/// Fewer would let a stranger's SYN pass for a probe's.
const FEWEST_MARKS: u8 = 2;

/// Later than any run lasts.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

#[cfg(test)]
mod tests;

//! The rendezvous server: it shows clients how the world sees them, introduces two of them to each
//! other, and passes on what they say. It knows neither their secret nor what they agree on.

mod client;
mod limits;
mod message;
mod rooms;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::engine::{Event, Flow, How, Party, Step};
use crate::time::Instant;
use crate::wire::Endpoint;
use client::{Client, Duty, Known, Stage};
use limits::{Census, Neighbourhood, PerMinute};
use rooms::Rooms;

pub use limits::IntroducerLimits;
pub use message::{
    Answer, Code, LONGEST_LINE, Lines, Proof, Request, Role, Seen, Ticket, VERSION, Why, to_line,
};

/// A party that introduces clients to each other (`docs/protocol.md`).
#[derive(Debug)]
pub struct Introducer {
    limits: IntroducerLimits,
    probes: Vec<Endpoint>,
    /// Tickets come from it, so it has to be one that nobody foresees.
    random: StdRng,
    clients: BTreeMap<Flow, Client>,
    flows: BTreeMap<Ticket, Flow>,
    near: Census,
    joins: PerMinute,
    rooms: Rooms,
    /// When each client has to be seen to.
    due: BTreeSet<(Instant, Flow)>,
    introduced: u64,
    refused: BTreeMap<Code, u64>,
    steps: VecDeque<Step>,
    is_over: bool,
}

/// How busy a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Connections that stand.
    pub connections: usize,
    /// Rooms where somebody waits.
    pub waiting: usize,
    /// Rooms with two in them.
    pub pairs: usize,
    /// Pairs that have come together since it started.
    pub introduced: u64,
    /// What was refused since it started, and how often.
    pub refused: BTreeMap<Code, u64>,
}

impl Introducer {
    /// A server that is reached at these endpoints. Tickets are drawn from the seed, which nobody else
    /// may know.
    pub fn new(probes: Vec<Endpoint>, limits: IntroducerLimits, seed: [u8; 32]) -> Self {
        Self {
            limits,
            probes,
            random: StdRng::from_seed(seed),
            clients: BTreeMap::new(),
            flows: BTreeMap::new(),
            near: Census::default(),
            joins: PerMinute::default(),
            rooms: Rooms::new(limits.rooms, limits.rooms_of_one_address),
            due: BTreeSet::new(),
            introduced: 0,
            refused: BTreeMap::new(),
            steps: VecDeque::new(),
            is_over: false,
        }
    }

    /// How busy it is.
    pub fn status(&self) -> Status {
        Status {
            connections: self.clients.len(),
            waiting: self.rooms.waiting(),
            pairs: self.rooms.pairs(),
            introduced: self.introduced,
            refused: self.refused.clone(),
        }
    }

    fn accepted(&mut self, now: Instant, flow: Flow, local: Endpoint, remote: Endpoint) {
        let near = Neighbourhood::of(remote.ip());
        let is_full = self.clients.len() >= self.limits.connections;
        if is_full || self.near.of(near) >= self.limits.connections_of_one_address {
            return self.turn_away(flow, Code::Busy);
        }
        self.near.enter(near);
        self.clients.insert(flow, Client::new(now, local, remote));
        self.see_to(now, flow);
    }

    fn read(&mut self, now: Instant, flow: Flow, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let Some(client) = self.clients.get_mut(&flow) else { return };
            let taken = client.take(now, rest, self.limits.messages_per_second);
            let heard = taken.and_then(|(request, used)| {
                rest = &rest[used..];
                request.map_or(Ok(()), |request| self.heard(now, flow, request))
            });
            if let Err(code) = heard {
                self.refuse(flow, code);
            }
        }
    }

    fn heard(&mut self, now: Instant, flow: Flow, request: Request) -> Result<(), Code> {
        let Some(client) = self.clients.get(&flow) else { return Ok(()) };
        match (&client.stage, request) {
            (Stage::New, Request::Hello { version, proof, internal }) => {
                self.greet(now, flow, version, proof, internal)
            }
            (Stage::New, Request::Show { ticket, internal }) => {
                self.show(now, flow, ticket, internal)
            }
            (Stage::Known(known), Request::Wait { room, ticket }) if !self.rooms.has(flow) => {
                let ticket = ticket.unwrap_or(known.ticket);
                self.wait(now, flow, room, ticket)
            }
            (Stage::Known(_), Request::Join { room }) if !self.rooms.has(flow) => {
                self.join(now, flow, room)
            }
            (Stage::Known(_), Request::Relay { text }) => {
                // The peer may have left while this was on its way.
                if let Some(other) = self.rooms.other(flow) {
                    self.say(other, &Answer::Relay { text });
                    self.talk(flow, other);
                }
                Ok(())
            }
            (Stage::Known(_), Request::Ping { id }) => {
                self.say(flow, &Answer::Pong { id, time_us: message::micros(now) });
                Ok(())
            }
            (Stage::Known(_), Request::Pong { .. }) => Ok(()),
            _ => Err(Code::OutOfTurn),
        }
    }

    fn greet(
        &mut self,
        now: Instant,
        flow: Flow,
        version: u16,
        proof: Proof,
        internal: Option<u16>,
    ) -> Result<(), Code> {
        if version != VERSION {
            return Err(Code::Version);
        }
        let ticket = Ticket(self.random.random());
        let Some(client) = self.clients.get_mut(&flow) else { return Ok(()) };
        let seen = client.seen(internal);
        client.stage = Stage::Known(Box::new(Known::new(ticket, proof, seen)));
        self.flows.insert(ticket, flow);
        let probes = self.probes.iter().map(|probe| reached_at(*probe, seen.server)).collect();
        let (observed, time_us) = (seen.external, message::micros(now));
        self.say(flow, &Answer::Welcome { version: VERSION, observed, probes, ticket, time_us });
        self.see_to(now, flow);
        Ok(())
    }

    fn show(
        &mut self,
        now: Instant,
        flow: Flow,
        ticket: Ticket,
        internal: Option<u16>,
    ) -> Result<(), Code> {
        let owner = *self.flows.get(&ticket).ok_or(Code::NoSuchTicket)?;
        let Some(client) = self.clients.get_mut(&flow) else { return Ok(()) };
        client.stage = Stage::Shows(owner);
        let seen = client.seen(internal);
        self.say(flow, &Answer::Shown { observed: seen.external });
        self.see_to(now, flow);
        let known = self.clients.get_mut(&owner).and_then(Client::known_mut);
        if let Some(known) = known {
            known.shows.insert(flow);
            let mappings = known.add(seen, self.limits.mappings);
            self.say(owner, &Answer::Seen { mappings });
        }
        Ok(())
    }

    fn wait(
        &mut self,
        now: Instant,
        flow: Flow,
        room: Option<u32>,
        ticket: Ticket,
    ) -> Result<(), Code> {
        let near = self.neighbourhood(flow);
        let room = match room {
            None => self.rooms.open(flow, ticket, near)?,
            Some(number) => {
                // Whoever comes back while its peer is there still wants another.
                if let Some(paired) = self.rooms.paired_waiter(number, ticket) {
                    self.refuse(paired, Code::Replaced);
                }
                let before = self.rooms.claim(flow, number, ticket, near)?;
                before.into_iter().for_each(|before| self.refuse(before, Code::Replaced));
                number
            }
        };
        self.set_waiting(flow, Some(now));
        self.say(flow, &Answer::Room { room, ticket });
        self.see_to(now, flow);
        Ok(())
    }

    fn join(&mut self, now: Instant, flow: Flow, room: u32) -> Result<(), Code> {
        let near = self.neighbourhood(flow);
        if !self.joins.allows(now, near, self.limits.joins_per_minute) {
            return Err(Code::TooManyJoins);
        }
        let waiter = self.rooms.join(flow, room)?;
        self.introduced += 1;
        self.set_waiting(waiter, None);
        // It could be silent for longer before.
        self.clients.get_mut(&waiter).into_iter().for_each(|client| client.is_there(now));
        for (one, role, other) in [(waiter, Role::Waiter, flow), (flow, Role::Joiner, waiter)] {
            let proof = self.clients.get(&other).and_then(Client::known).map(|known| known.proof);
            self.say(one, &Answer::Paired { room, role, proof: proof.unwrap_or_default() });
            self.see_to(now, one);
        }
        Ok(())
    }

    /// Whoever is talked to by the one who waited has not guessed a room: its attempt counts no more.
    fn talk(&mut self, flow: Flow, other: Flow) {
        if self.rooms.has_said(flow) == WORDS_OF_TRUST {
            let near = self.neighbourhood(other);
            self.joins.forgive(near);
        }
    }

    /// Does whatever a client needs now, and sees when it needs something next.
    fn see_to(&mut self, now: Instant, flow: Flow) {
        let is_paired = self.rooms.other(flow).is_some();
        let Some(client) = self.clients.get_mut(&flow) else { return };
        self.due.remove(&(client.due, flow));
        match client.duty(now, is_paired, &self.limits) {
            Duty::Later(at) => {
                client.due = at;
                self.due.insert((at, flow));
            }
            Duty::Ping(id) => {
                self.say(flow, &Answer::Ping { id, time_us: message::micros(now) });
                self.see_to(now, flow);
            }
            Duty::Refuse(code) => self.refuse(flow, code),
        }
    }

    /// Says why something is not done; after most reasons the connection ends.
    fn refuse(&mut self, flow: Flow, code: Code) {
        if !self.clients.contains_key(&flow) {
            return;
        }
        if !code.closes() {
            *self.refused.entry(code).or_default() += 1;
            return self.say(flow, &error(code));
        }
        self.turn_away(flow, code);
        self.forget(flow, if code == Code::Silent { Why::Silent } else { Why::Refused });
    }

    fn turn_away(&mut self, flow: Flow, code: Code) {
        *self.refused.entry(code).or_default() += 1;
        self.say(flow, &error(code));
        self.steps.push_back(Step::Close(flow, How::Fin));
    }

    /// Whoever was with this client is told, and what it had opened to show mappings goes with it.
    fn forget(&mut self, flow: Flow, why: Why) {
        let Some(client) = self.clients.remove(&flow) else { return };
        self.due.remove(&(client.due, flow));
        self.near.leave(Neighbourhood::of(client.remote.ip()));
        match client.stage {
            Stage::New => {}
            Stage::Shows(owner) => {
                let owner = self.clients.get_mut(&owner).and_then(Client::known_mut);
                if let Some(known) = owner {
                    known.shows.remove(&flow);
                }
            }
            Stage::Known(known) => {
                self.flows.remove(&known.ticket);
                for shows in known.shows {
                    self.steps.push_back(Step::Close(shows, How::Fin));
                    self.forget(shows, why);
                }
            }
        }
        let other = self.rooms.leave(flow);
        other.into_iter().for_each(|other| self.say(other, &Answer::Gone { why }));
    }

    fn stop(&mut self) {
        self.due.clear();
        for flow in self.clients.keys().copied().collect::<Vec<_>>() {
            self.say(flow, &error(Code::Stopping));
            self.steps.push_back(Step::Close(flow, How::Fin));
        }
        self.is_over = true;
    }

    fn say(&mut self, flow: Flow, answer: &Answer) {
        self.steps.push_back(Step::Write(flow, to_line(answer)));
    }

    fn set_waiting(&mut self, flow: Flow, since: Option<Instant>) {
        if let Some(known) = self.clients.get_mut(&flow).and_then(Client::known_mut) {
            known.waiting_since = since;
        }
    }

    fn neighbourhood(&self, flow: Flow) -> Neighbourhood {
        let remote = self.clients.get(&flow).map(|client| client.remote.ip());
        Neighbourhood::of(remote.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }
}

impl Party for Introducer {
    fn poll(&mut self, now: Instant) -> Step {
        while self.steps.is_empty()
            && let Some((at, flow)) = self.due.first().copied()
        {
            if at > now {
                return Step::Wait(at);
            }
            self.see_to(now, flow);
        }
        let nothing = if self.is_over { Step::Done } else { Step::Wait(NEVER) };
        self.steps.pop_front().unwrap_or(nothing)
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Accepted { flow, local, remote } => self.accepted(now, flow, local, remote),
            Event::Read(flow, octets) => self.read(now, flow, &octets),
            Event::Ended(flow, _) => {
                self.forget(flow, Why::Left);
                self.steps.push_back(Step::Close(flow, How::Fin));
            }
            Event::Interrupted | Event::HostFailed(_) => self.stop(),
            _ => {}
        }
    }
}

fn error(code: Code) -> Answer {
    Answer::Error { code, text: code.text().to_owned() }
}

/// Where a client reaches an endpoint of a server that listens at all its addresses: at that which the
/// client has reached already.
fn reached_at(probe: Endpoint, server: Endpoint) -> Endpoint {
    let ip = if probe.ip().is_unspecified() { server.ip().to_canonical() } else { probe.ip() };
    Endpoint::new(ip, probe.port())
}

/// Whoever waits says its part of a key, and a word of farewell to one who knows no more than the room's
/// number (`docs/protocol.md`). A third text is for somebody who is welcome.
const WORDS_OF_TRUST: u32 = 3;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

#[cfg(test)]
mod tests;

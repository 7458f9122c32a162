//! The own TCP of a simulated host: listeners, connections, and to which of them a packet goes.
//!
//! A segment goes to the connection between its two endpoints, else to the listener at its
//! destination, else a reset answers it (RFC 9293 §3.10.7.1), as Linux has it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::doing::{Doing, Gone};
use super::host::NEVER;
use super::socket::Socket;
use crate::engine::{Bind, Change, End, Event, Flow, How, Reader, Source, Step, Unreached};
use crate::tcp::{Host, Profile, State};
use crate::time::Instant;
use crate::wire::{Endpoint, Icmp, Packet, Segment, Seq};

/// The TCP of one host.
#[derive(Debug)]
pub struct Tcp {
    profile: Profile,
    address: IpAddr,
    random: Xoshiro256PlusPlus,
    /// The endpoint whose packets and sockets the party is told of.
    watched: Option<Endpoint>,
    listeners: Vec<(Endpoint, Reader)>,
    /// Connections whose SYN is to leave later.
    aimed: BTreeMap<(Instant, Flow), (Endpoint, Endpoint, Reader)>,
    sockets: Vec<Socket>,
    numbered: u32,
    accepted: u32,
    /// The last port that it chose itself.
    chosen: u16,
}

/// What became of one thing that was asked of a host's TCP.
#[derive(Debug, Default)]
pub struct Outcome {
    pub packets: Vec<Packet>,
    pub events: Vec<Event>,
}

impl Tcp {
    /// A TCP of this kind at this address; initial sequence numbers are drawn from `seed`.
    pub fn new(profile: Profile, address: IpAddr, seed: u64) -> Self {
        Self {
            profile,
            address,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            watched: None,
            listeners: Vec::new(),
            aimed: BTreeMap::new(),
            sockets: Vec::new(),
            numbered: 0,
            accepted: 0,
            chosen: FIRST_CHOSEN,
        }
    }

    /// The same; the party sees what passes at this endpoint, and how its sockets change state.
    #[must_use]
    pub fn watching(self, endpoint: Endpoint) -> Self {
        Self { watched: Some(endpoint), ..self }
    }

    /// The same, with these endpoints listened on for the party from the start.
    #[must_use]
    pub fn listening(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.listeners.extend(endpoints.into_iter().map(|on| (on, Reader::Party)));
        self
    }

    /// Does what a party wants of it.
    pub(super) fn perform(&mut self, now: Instant, step: Step) -> Outcome {
        let mut outcome = Outcome::default();
        match step {
            Step::Open { flow, from, to, at, reader } => {
                let local = self.bound(from);
                match at.filter(|at| *at > now) {
                    Some(at) => drop(self.aimed.insert((at, flow), (local, to, reader))),
                    None => self.connect(now, flow, [local, to], reader, &mut outcome),
                }
            }
            Step::Listen { on, reader } => self.listeners.push((on, reader)),
            Step::Write(flow, octets) => {
                if let Some(place) = self.place(flow) {
                    let doings = self.sockets[place].write(now, &octets);
                    self.settle(now, place, doings, &mut outcome);
                }
            }
            Step::Close(flow, how) => self.close(now, flow, how, &mut outcome),
            _ => {}
        }
        outcome
    }

    /// Takes a packet for this host.
    pub(super) fn take(&mut self, now: Instant, packet: Packet) -> Outcome {
        let mut outcome = Outcome::default();
        let is_watched = self.watched == Some(packet.receiver());
        outcome.events.extend(is_watched.then(|| Event::Arrived(packet.clone())));
        match (packet.endpoints(), packet.segment(), packet.icmp_error()) {
            (Some((remote, local)), Some(segment), _) => {
                self.take_segment(now, [local, remote], segment, &mut outcome);
            }
            (_, _, Some(icmp)) => self.take_error(now, icmp, &mut outcome),
            _ => {}
        }
        outcome
    }

    /// When it will act on its own next.
    pub(super) fn due(&self) -> Instant {
        let aimed = self.aimed.keys().next().map_or(NEVER, |(at, _)| *at);
        self.sockets.iter().map(Socket::due).fold(aimed, Instant::min)
    }

    /// What it does now, if it is time.
    pub(super) fn act(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(entry) = self.aimed.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, flow), (local, to, reader)) = entry.remove_entry();
            self.connect(now, flow, [local, to], reader, &mut outcome);
        }
        for place in (0..self.sockets.len()).rev() {
            if self.sockets[place].due() <= now {
                let doings = self.sockets[place].act(now);
                self.settle(now, place, doings, &mut outcome);
            }
        }
        outcome
    }

    /// The party is gone: nobody listens any more, and what was not begun never is.
    pub(super) fn abandon(&mut self) {
        self.listeners.clear();
        self.aimed.clear();
        self.sockets.retain(|socket| !is_embryo(socket));
    }

    fn bound(&mut self, from: Bind) -> Endpoint {
        match from {
            Bind::Shared(local) => local,
            Bind::Kernel => {
                self.chosen = self.chosen.checked_add(1).unwrap_or(FIRST_CHOSEN);
                Endpoint::new(self.address, self.chosen)
            }
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        flow: Flow,
        ends: [Endpoint; 2],
        reader: Reader,
        outcome: &mut Outcome,
    ) {
        if self.between(ends).is_some() {
            // EADDRNOTAVAIL: there cannot be two.
            outcome.events.push(Event::Failed(flow, Unreached::LocalTaken));
            return;
        }
        let (mut socket, doings) = Socket::connecting(now, self.opening(), ends);
        (socket.flow, socket.reader) = (Some(flow), reader);
        self.add(now, socket, doings, outcome);
    }

    fn take_segment(
        &mut self,
        now: Instant,
        ends: [Endpoint; 2],
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        if let Some(place) = self.between(ends) {
            let doings = self.sockets[place].take(now, segment);
            return self.settle(now, place, doings, outcome);
        }
        let [local, remote] = ends;
        let listener = self.listeners.iter().find(|(on, _)| *on == local).copied();
        let mut opening = self.opening();
        if listener.is_some() {
            opening.listen();
        }
        let answers = opening.take(now, segment);
        match listener.filter(|_| opening.state() == State::SynReceived) {
            Some((_, reader)) => {
                let mut socket = Socket::accepting(now, opening, ends);
                socket.reader = reader;
                let doings = answers.into_iter().map(Doing::Send).collect();
                self.add(now, socket, doings, outcome);
            }
            None => {
                let packets = answers.into_iter().map(|answer| Packet::tcp(local, remote, answer));
                packets.for_each(|packet| self.send(packet, outcome));
            }
        }
    }

    fn take_error(&mut self, now: Instant, icmp: &Icmp, outcome: &mut Outcome) {
        if let Some(place) = self.between([icmp.quote.source, icmp.quote.destination]) {
            let doings = self.sockets[place].take_error(icmp);
            self.settle(now, place, doings, outcome);
        }
    }

    fn close(&mut self, now: Instant, flow: Flow, how: How, outcome: &mut Outcome) {
        self.aimed.retain(|(_, aimed), _| *aimed != flow);
        if let Some(place) = self.place(flow) {
            let doings = self.sockets[place].close(now, how);
            self.settle(now, place, doings, outcome);
        }
    }

    fn opening(&mut self) -> Host {
        Host::new(self.profile, Seq(self.random.next_u32()))
    }

    fn between(&self, [local, remote]: [Endpoint; 2]) -> Option<usize> {
        self.sockets.iter().position(|one| (one.local, one.remote) == (local, remote))
    }

    fn place(&self, flow: Flow) -> Option<usize> {
        self.sockets.iter().position(|socket| socket.flow == Some(flow))
    }

    fn add(&mut self, now: Instant, mut socket: Socket, doings: Vec<Doing>, outcome: &mut Outcome) {
        self.numbered += 1;
        socket.number = self.numbered;
        self.sockets.push(socket);
        self.settle(now, self.sockets.len() - 1, doings, outcome);
    }

    /// Tells the network and the party of what a socket does.
    fn settle(&mut self, now: Instant, place: usize, doings: Vec<Doing>, outcome: &mut Outcome) {
        let was_opening = doings.iter().any(|doing| {
            matches!(doing, Doing::Change(State::SynSent | State::SynReceived, State::Closed))
        });
        for doing in doings {
            let Socket { number, local, remote, flow, reader, .. } = self.sockets[place];
            let heard = flow.filter(|_| reader == Reader::Party);
            match doing {
                Doing::Send(segment) => self.send(Packet::tcp(local, remote, segment), outcome),
                Doing::Change(from, to) => {
                    let (at, source, socket) = (now, Source::Kernel, number);
                    let change = Change { at, source, socket, local, remote, from, to };
                    let is_watched = self.watched == Some(local);
                    outcome.events.extend(is_watched.then_some(Event::Changed(change)));
                }
                Doing::Establish => outcome.events.extend(self.established(place)),
                Doing::Read(octets) => {
                    outcome.events.extend(heard.map(|flow| Event::Read(flow, octets)));
                }
                Doing::Finish => {
                    outcome.events.extend(heard.map(|flow| Event::Ended(flow, End::Finished)));
                }
                Doing::Go(why) => {
                    outcome.events.extend(flow.and_then(|flow| {
                        if was_opening { missed(flow, why) } else { ended(flow, reader, why) }
                    }));
                    self.sockets.remove(place);
                    return;
                }
            }
        }
    }

    fn established(&mut self, place: usize) -> Option<Event> {
        let Socket { local, remote, is_passive, flow, .. } = self.sockets[place];
        if !is_passive {
            return flow.map(|flow| Event::Opened { flow, local });
        }
        let flow = Flow(Flow::FIRST_ACCEPTED + self.accepted);
        self.accepted += 1;
        self.sockets[place].flow = Some(flow);
        Some(Event::Accepted { flow, local, remote })
    }

    fn send(&self, packet: Packet, outcome: &mut Outcome) {
        let own = packet.endpoints().map(|(from, _)| from);
        let is_watched = own.is_some() && own == self.watched;
        outcome.events.extend(is_watched.then(|| Event::Left(packet.clone())));
        outcome.packets.push(packet);
    }
}

fn is_embryo(socket: &Socket) -> bool {
    socket.is_passive && socket.state == State::SynReceived
}

/// What the live driver says of an opening that failed.
const fn missed(flow: Flow, why: Gone) -> Option<Event> {
    Some(match why {
        Gone::Refused => Event::Failed(flow, Unreached::Refused),
        // Past SYN-SENT.
        Gone::Reset => Event::Ended(flow, End::Reset),
        Gone::TimedOut => Event::Failed(flow, Unreached::TimedOut),
        Gone::Unreached(why) => Event::Failed(flow, why),
        Gone::Closed => return None,
    })
}

/// What it says of a connection that stood: where nobody reads it sees only that it is gone.
const fn ended(flow: Flow, reader: Reader, why: Gone) -> Option<Event> {
    let end = match (why, reader) {
        (Gone::Closed, _) => return None,
        (Gone::TimedOut, Reader::Party) => End::TimedOut,
        _ => End::Reset,
    };
    Some(Event::Ended(flow, end))
}

/// IANA's dynamic ports begin here (RFC 6335 §6).
const FIRST_CHOSEN: u16 = 49_152;

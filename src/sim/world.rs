//! The simulator: one inside host, a row of NATs, outside hosts, and the links between them. The last
//! NATs of the row may stand before an outside host and face the other way.
//!
//! Time jumps from event to event. The same seed gives the same run, to the byte.

mod tcp;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::host::{Host, NEVER};
use super::link::{Link, Weather};
use super::queue::{Queue, What};
use super::stream::Stream;
use crate::engine::{Event, Name, Run, Step};
use crate::nat::{Behaviour, Fate, Side, Translator};
use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::{Endpoint, Packet};

/// A world in which one inside host and some outside hosts run.
pub struct World<'a> {
    now: Instant,
    queue: Queue,
    hosts: Vec<Host<'a>>,
    nats: Vec<Router>,
    /// Between each two places in the row, outward and inward.
    links: Vec<[Link; 2]>,
    /// Control connections that were accepted so far.
    accepted: u32,
    run: Run,
}

/// A NAT, its external addresses, and when it is to be woken to act on its own.
struct Router {
    translator: Translator,
    addresses: BTreeSet<IpAddr>,
    alarm: Instant,
    /// Whether its internal hosts are those at the far end of the row.
    faces_back: bool,
}

impl Router {
    /// A side of the row as a side of this NAT, and the other way round.
    const fn side(&self, of_row: Side) -> Side {
        if self.faces_back { of_row.opposite() } else { of_row }
    }
}

impl<'a> World<'a> {
    /// A row of these NATs, the innermost first, each with its external addresses; `weather` of each
    /// link, outward and inward, one link more than NATs.
    pub fn new(
        hosts: Vec<Host<'a>>,
        nats: &[(Behaviour, Vec<IpAddr>)],
        weather: &[[Weather; 2]],
        seed: u64,
    ) -> Self {
        let luck = |number: usize| seed.wrapping_mul(SPREAD).wrapping_add(number as u64);
        let translators = nats.iter().enumerate().map(|(number, (behaviour, addresses))| {
            let translator = Translator::new(behaviour, addresses, luck(number));
            let addresses = addresses.iter().copied().collect();
            Router { translator, addresses, alarm: NEVER, faces_back: false }
        });
        let links = weather.iter().enumerate().map(|(number, [outward, inward])| {
            let number = 100 + 2 * number;
            [Link::new(*outward, luck(number)), Link::new(*inward, luck(number + 1))]
        });
        Self {
            now: Instant::START,
            queue: Queue::default(),
            hosts,
            nats: translators.collect(),
            links: links.collect(),
            accepted: 0,
            run: Run::default(),
        }
    }

    /// The last so many NATs stand before an outside host: they face the other way.
    #[must_use]
    pub fn facing_back(mut self, nats: usize) -> Self {
        self.nats.iter_mut().rev().take(nats).for_each(|nat| nat.faces_back = true);
        self
    }

    /// The same NATs, and whatever they remember, among these hosts.
    #[must_use]
    pub fn among(self, hosts: Vec<Host<'a>>) -> Self {
        Self { hosts, ..self }
    }

    /// Runs until the hosts that it is about are done, or until nothing can happen any more.
    pub fn run(mut self) -> Run {
        self.hosts.iter_mut().take(1).for_each(|inside| inside.is_subject = true);
        for host in 0..self.hosts.len() {
            self.dial(host);
            self.drive(host);
        }
        while self.hosts.iter().any(|host| host.is_subject && !host.done) {
            let Some((at, what)) = self.queue.pop() else { break };
            self.now = at;
            match what {
                What::Arrive(place, side, packet) => self.arrive(place, side, packet),
                What::Due(nat) => self.act(nat),
                What::Wake(host) => self.wake(host),
                What::Flush(host) => self.flush(host),
            }
        }
        self.run.settle();
        self.run
    }

    fn dial(&mut self, host: usize) {
        let dials = self.hosts[host].dials.clone();
        for (number, (local, remote)) in dials.into_iter().enumerate() {
            let name = Name(u32::try_from(number).unwrap_or(u32::MAX));
            let mut stream = Stream::opening(name, local, remote, self.now);
            let reset = self.hosts[host].resets.filter(|(end, _)| *end == local);
            stream.resets = reset.map_or(NEVER, |(_, at)| at);
            self.hosts[host].streams.push(stream);
        }
        self.act_streams(host);
    }

    fn wake(&mut self, host: usize) {
        if self.hosts[host].alarm != self.now || self.hosts[host].is_dark(self.now) {
            return;
        }
        self.hosts[host].alarm = NEVER;
        self.act_streams(host);
        self.act_tcp(host);
        let Host { interrupted, pending, wakes, .. } = &mut self.hosts[host];
        if interrupted.take_if(|at| *at <= self.now).is_some() {
            pending.push_back(Event::Interrupted);
        }
        if *wakes <= self.now {
            pending.push_back(Event::DeadlinePassed);
        }
        self.drive(host);
    }

    /// Lets a host's party act until it waits, and hands it what has happened meanwhile.
    fn drive(&mut self, host: usize) {
        if self.hosts[host].is_dark(self.now) {
            return;
        }
        while !self.hosts[host].done {
            match self.hosts[host].party.poll(self.now) {
                Step::Wait(until) => {
                    let Some(event) = self.hosts[host].pending.pop_front() else {
                        return self.sleep(host, until);
                    };
                    self.hosts[host].party.handle(self.now, event);
                }
                step => self.perform(host, step),
            }
        }
    }

    fn sleep(&mut self, host: usize, until: Instant) {
        self.hosts[host].wakes = until;
        self.set_alarm(host);
    }

    fn set_alarm(&mut self, host: usize) {
        let due = self.hosts[host].due();
        if due < self.hosts[host].alarm {
            self.hosts[host].alarm = due;
            self.queue.push(due, What::Wake(host));
        }
    }

    fn perform(&mut self, host: usize, step: Step) {
        match step {
            Step::Claim(endpoint) => {
                self.hosts[host].claims.insert(endpoint);
            }
            Step::Send(packet) => {
                self.hosts[host].pending.push_back(Event::Left(packet.clone()));
                self.depart(host, packet);
            }
            Step::Tell(name, message) => self.tell(host, name, message),
            Step::HangUp(name) => self.hang_up(host, name),
            Step::Note(fact) if self.hosts[host].is_subject => self.run.note(self.now, *fact),
            Step::Open { .. } | Step::Listen { .. } | Step::Write(..) | Step::Close(..) => {
                self.use_tcp(host, step);
            }
            // A simulated host sees its packets and the states of its sockets anyway.
            Step::Watch { .. } | Step::Note(_) | Step::Wait(_) => {}
            Step::Done => self.end(host),
        }
    }

    fn tell(&mut self, host: usize, name: Name, message: Message) {
        let mut streams = self.hosts[host].streams.iter_mut();
        if let Some(stream) = streams.find(|stream| stream.name == name && stream.joined) {
            stream.tell(message);
            if !std::mem::replace(&mut self.hosts[host].flushes, true) {
                self.queue.push(self.now, What::Flush(host));
            }
        }
    }

    fn flush(&mut self, host: usize) {
        self.hosts[host].flushes = false;
        let now = self.now;
        let streams = self.hosts[host].streams.iter_mut();
        let packets: Vec<_> = streams.flat_map(|stream| stream.flush(now)).collect();
        packets.into_iter().for_each(|packet| self.depart(host, packet));
        self.set_alarm(host);
    }

    fn hang_up(&mut self, host: usize, name: Name) {
        let streams = &mut self.hosts[host].streams;
        if let Some(place) = streams.iter().position(|stream| stream.name == name) {
            let mut stream = streams.remove(place);
            let last = stream.flush(self.now);
            last.into_iter().for_each(|packet| self.depart(host, packet));
            self.depart(host, stream.hang_up());
        }
    }

    fn act_streams(&mut self, host: usize) {
        let now = self.now;
        let mut packets = Vec::new();
        let mut dead = Vec::new();
        for stream in self.hosts[host].streams.iter_mut().filter(|stream| stream.due() <= now) {
            match stream.act(now) {
                Some(due) => packets.extend(due),
                None => dead.push(stream.name),
            }
        }
        packets.into_iter().for_each(|packet| self.depart(host, packet));
        for name in dead {
            self.hosts[host].streams.retain(|stream| stream.name != name);
            self.hosts[host].pending.push_back(Event::Lost(name));
        }
    }

    /// A packet leaves a host.
    fn depart(&mut self, host: usize, packet: Packet) {
        let own = packet.endpoints().map(|(from, _)| from);
        if own.is_some_and(|own| self.hosts[host].is_cut(self.now, own)) {
            return;
        }
        if host == 0 {
            self.carry(0, Side::Outside, packet);
        } else {
            self.carry(self.nats.len() + 1, Side::Inside, packet);
        }
    }

    /// Carries a packet from a place in the row over the link on this side of it.
    fn carry(&mut self, place: usize, towards: Side, packet: Packet) {
        let (link, direction, next) = match towards {
            Side::Outside => (place, 0, place + 1),
            Side::Inside => (place - 1, 1, place - 1),
        };
        let [once, twice] = self.links[link][direction].pass(self.now, &packet);
        let from = towards.opposite();
        if let Some(at) = twice {
            self.queue.push(at, What::Arrive(next, from, packet.clone()));
        }
        if let Some(at) = once {
            self.queue.push(at, What::Arrive(next, from, packet));
        }
    }

    fn arrive(&mut self, place: usize, from: Side, packet: Packet) {
        if place == 0 {
            return self.receive(0, packet);
        }
        if place > self.nats.len() {
            let mut outside = self.hosts.iter().skip(1);
            let host = outside.position(|host| host.addresses.contains(&packet.destination));
            return host.map_or((), |host| self.receive(host + 1, packet));
        }
        let router = &mut self.nats[place - 1];
        let side = router.side(from);
        if side == Side::Outside && !router.addresses.contains(&packet.destination) {
            return;
        }
        match router.translator.take(self.now, side, packet) {
            Fate::Forward(to, packet) => self.carry(place, self.nats[place - 1].side(to), packet),
            Fate::Answer(packet) => self.carry(place, from, packet),
            Fate::Drop => {}
        }
        self.set_nat_alarm(place);
    }

    fn set_nat_alarm(&mut self, place: usize) {
        let router = &mut self.nats[place - 1];
        if let Some(at) = router.translator.wakes().filter(|at| *at < router.alarm) {
            router.alarm = at;
            self.queue.push(at, What::Due(place));
        }
    }

    fn act(&mut self, place: usize) {
        if self.nats[place - 1].alarm != self.now {
            return;
        }
        self.nats[place - 1].alarm = NEVER;
        let outside = self.nats[place - 1].side(Side::Outside);
        while let Some(packet) = self.nats[place - 1].translator.due(self.now) {
            self.carry(place, outside, packet);
        }
        self.set_nat_alarm(place);
    }

    /// A packet comes to a host: to its party if that has claimed the endpoint, else to its TCP.
    fn receive(&mut self, host: usize, packet: Packet) {
        let own = packet.receiver();
        if self.hosts[host].is_dark(self.now) || self.hosts[host].is_cut(self.now, own) {
            return;
        }
        if self.hosts[host].claims.contains(&own) {
            self.hosts[host].pending.push_back(Event::Arrived(packet));
        } else if self.hosts[host].tcp.is_some() {
            self.receive_tcp(host, packet);
        } else {
            self.receive_stream(host, &packet);
        }
        self.drive(host);
    }

    fn receive_stream(&mut self, host: usize, packet: &Packet) {
        let (Some((remote, local)), Some(segment)) = (packet.endpoints(), packet.segment()) else {
            return;
        };
        let streams = &mut self.hosts[host].streams;
        let known = streams.iter().position(|s| s.local == local && s.remote == remote);
        let place = match known {
            Some(place) => place,
            None if segment.is_bare_syn() && host > 0 => {
                self.accepted += 1;
                let name = Name(self.accepted);
                streams.push(Stream::accepting(name, local, remote));
                streams.len() - 1
            }
            None => return,
        };
        let mut stream = streams.swap_remove(place);
        let outcome = stream.take(self.now, segment, |number| self.peer_of(host, remote, number));
        let name = stream.name;
        if !outcome.ended {
            self.hosts[host].streams.push(stream);
        }
        let pending = &mut self.hosts[host].pending;
        if outcome.joined {
            pending.push_back(Event::Joined { name, local, remote });
        }
        pending.extend(outcome.delivered.into_iter().map(|message| Event::Told(name, message)));
        if outcome.ended {
            self.hosts[host].pending.push_back(Event::Lost(name));
        }
        outcome.answers.into_iter().for_each(|packet| self.depart(host, packet));
    }

    /// The message with this number from the stream that sent it: segments carry the number alone.
    fn peer_of(&self, host: usize, remote: Endpoint, number: u32) -> Option<Message> {
        if host == 0 {
            let server = self.hosts.iter().skip(1).find(|h| h.addresses.contains(&remote.ip()))?;
            return server.streams.first()?.carried(number);
        }
        let own = &self.hosts[host].addresses;
        let mut streams = self.hosts[0].streams.iter();
        streams.find(|stream| own.contains(&stream.remote.ip()))?.carried(number)
    }
}

/// Spreads seeds that differ by one over all of them (the golden ratio of 2⁶⁴).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

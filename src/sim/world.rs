//! The simulator: one inside host, a row of NATs, outside hosts, and the links between them.
//!
//! Time jumps from event to event. The same seed gives the same run, to the byte.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::IpAddr;

use super::link::{Link, Weather};
use super::stream::{Stream, numbers};
use crate::engine::{Event, Name, Party, Run, Step};
use crate::nat::{Behaviour, Fate, Side, Translator};
use crate::time::Instant;
use crate::wire::control::Message;
use crate::wire::{Endpoint, Packet, Segment};

/// A world in which one inside host and some outside hosts run.
pub struct World<'a> {
    now: Instant,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    hosts: Vec<Host<'a>>,
    nats: Vec<(Translator, BTreeSet<IpAddr>)>,
    /// Between each two places in the row, outward and inward.
    links: Vec<[Link; 2]>,
    run: Run,
}

/// A host with the party that runs on it; the first in a world is the one inside.
pub struct Host<'a> {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What runs on it.
    pub party: Box<dyn Party + 'a>,
    /// Control connections that it opens at the start: where from, and where to.
    pub dials: Vec<(Endpoint, Endpoint)>,
    /// When it goes dark, if it does: it neither hears nor speaks from then on.
    pub dies: Option<Instant>,
    claims: BTreeSet<Endpoint>,
    streams: Vec<Stream>,
    pending: VecDeque<Event>,
    wakes: Instant,
    done: bool,
}

#[derive(Debug)]
struct Scheduled {
    at: Instant,
    order: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A packet comes to a place in the row: 0 is the inside host, then NATs, then outside.
    Arrive(usize, Side, Box<Packet>),
    /// A NAT acts on its own.
    Due(usize),
    /// A host's party or one of its streams has waited long enough.
    Wake(usize),
}

impl<'a> Host<'a> {
    /// A host that opens these control connections.
    pub fn new(
        addresses: Vec<IpAddr>,
        party: Box<dyn Party + 'a>,
        dials: Vec<(Endpoint, Endpoint)>,
    ) -> Self {
        Self {
            addresses,
            party,
            dials,
            dies: None,
            claims: BTreeSet::new(),
            streams: Vec::new(),
            pending: VecDeque::new(),
            wakes: Instant::START,
            done: false,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.wakes <= now || self.streams.iter().any(|stream| stream.due <= now)
    }

    fn is_dark(&self, now: Instant) -> bool {
        self.dies.is_some_and(|dies| dies <= now)
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
            (translator, addresses.iter().copied().collect())
        });
        let links = weather.iter().enumerate().map(|(number, [outward, inward])| {
            let number = 100 + 2 * number;
            [Link::new(*outward, luck(number)), Link::new(*inward, luck(number + 1))]
        });
        Self {
            now: Instant::START,
            queue: BinaryHeap::new(),
            scheduled: 0,
            hosts,
            nats: translators.collect(),
            links: links.collect(),
            run: Run::default(),
        }
    }

    /// Runs until the inside host is done, or until nothing can happen any more.
    pub fn run(mut self) -> Run {
        for host in 0..self.hosts.len() {
            self.dial(host);
            self.drive(host);
        }
        while !self.hosts[0].done {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            match next.what {
                What::Arrive(place, side, packet) => self.arrive(place, side, *packet),
                What::Due(nat) => self.act(nat),
                What::Wake(host) => self.wake(host),
            }
        }
        self.run.settle();
        self.run
    }

    fn schedule(&mut self, at: Instant, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.scheduled, what }));
    }

    fn dial(&mut self, host: usize) {
        let dials = self.hosts[host].dials.clone();
        for (number, (local, remote)) in dials.into_iter().enumerate() {
            let name = Name(u32::try_from(number).unwrap_or(u32::MAX));
            let stream = Stream::opening(name, local, remote, self.now);
            self.hosts[host].streams.push(stream);
        }
        self.repeat_streams(host);
    }

    fn wake(&mut self, host: usize) {
        // What was waited for may have come about meanwhile, or been put off.
        if self.hosts[host].is_dark(self.now) || !self.hosts[host].is_due(self.now) {
            return;
        }
        self.repeat_streams(host);
        if self.hosts[host].wakes <= self.now {
            self.hosts[host].pending.push_back(Event::DeadlinePassed);
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
        if until != self.hosts[host].wakes {
            self.hosts[host].wakes = until;
            self.schedule(until, What::Wake(host));
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
            Step::Note(fact) if host == 0 => self.run.note(self.now, fact),
            Step::Note(_) | Step::Wait(_) => {}
            Step::Done => self.hosts[host].done = true,
        }
    }

    fn tell(&mut self, host: usize, name: Name, message: Message) {
        let now = self.now;
        let mut streams = self.hosts[host].streams.iter_mut();
        let Some(stream) = streams.find(|stream| stream.name == name && stream.joined) else {
            return;
        };
        let packet = stream.tell(now, message);
        let due = stream.due;
        self.schedule(due, What::Wake(host));
        self.depart(host, packet);
    }

    fn hang_up(&mut self, host: usize, name: Name) {
        let streams = &mut self.hosts[host].streams;
        if let Some(place) = streams.iter().position(|stream| stream.name == name) {
            let packet = streams.remove(place).hang_up();
            self.depart(host, packet);
        }
    }

    fn repeat_streams(&mut self, host: usize) {
        let now = self.now;
        let mut packets = Vec::new();
        let mut dead = Vec::new();
        for stream in self.hosts[host].streams.iter_mut().filter(|stream| stream.due <= now) {
            match stream.repeat(now) {
                Some(repeated) => packets.extend(repeated),
                None => dead.push(stream.name),
            }
        }
        let due = self.hosts[host].streams.iter().map(|stream| stream.due);
        let soonest = due.filter(|due| *due > now).min().filter(|due| *due != NEVER);
        if let Some(due) = soonest {
            self.schedule(due, What::Wake(host));
        }
        packets.into_iter().for_each(|packet| self.depart(host, packet));
        for name in dead {
            self.hosts[host].streams.retain(|stream| stream.name != name);
            self.hosts[host].pending.push_back(Event::Lost(name));
        }
    }

    /// A packet leaves a host.
    fn depart(&mut self, host: usize, packet: Packet) {
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
            self.schedule(at, What::Arrive(next, from, Box::new(packet.clone())));
        }
        if let Some(at) = once {
            self.schedule(at, What::Arrive(next, from, Box::new(packet)));
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
        let (translator, addresses) = &mut self.nats[place - 1];
        if from == Side::Outside && !addresses.contains(&packet.destination) {
            return;
        }
        let fate = translator.take(self.now, from, packet);
        let wakes = translator.wakes();
        match fate {
            Fate::Forward(side, packet) => self.carry(place, side, packet),
            Fate::Answer(packet) => self.carry(place, from, packet),
            Fate::Drop => {}
        }
        if let Some(at) = wakes {
            self.schedule(at, What::Due(place));
        }
    }

    fn act(&mut self, place: usize) {
        while let Some(packet) = self.nats[place - 1].0.due(self.now) {
            self.carry(place, Side::Outside, packet);
        }
    }

    /// A packet comes to a host: to its party if that has claimed the endpoint, else to its TCP.
    fn receive(&mut self, host: usize, packet: Packet) {
        if self.hosts[host].is_dark(self.now) {
            return;
        }
        if self.hosts[host].claims.contains(&packet.receiver()) {
            self.hosts[host].pending.push_back(Event::Arrived(packet));
        } else {
            self.receive_stream(host, &packet);
        }
        self.drive(host);
    }

    fn receive_stream(&mut self, host: usize, packet: &Packet) {
        let (Some((remote, local)), Some(segment)) = (packet.endpoints(), packet.segment()) else {
            return;
        };
        let peer = self.peer_of(host, segment, remote);
        let streams = &mut self.hosts[host].streams;
        let known = streams.iter().position(|s| s.local == local && s.remote == remote);
        let place = match known {
            Some(place) => place,
            None if segment.is_bare_syn() && host > 0 => {
                let name = Name(u32::try_from(self.scheduled).unwrap_or(u32::MAX));
                streams.push(Stream::accepting(name, local, remote));
                streams.len() - 1
            }
            None => return,
        };
        let stream = &mut streams[place];
        let outcome = stream.take(self.now, segment, |_| peer.clone());
        let name = stream.name;
        let pending = &mut self.hosts[host].pending;
        if outcome.joined {
            pending.push_back(Event::Joined { name, local, remote });
        }
        pending.extend(outcome.delivered.into_iter().map(|message| Event::Told(name, message)));
        if outcome.ended {
            self.hosts[host].streams.remove(place);
            self.hosts[host].pending.push_back(Event::Lost(name));
        }
        outcome.answers.into_iter().for_each(|packet| self.depart(host, packet));
    }

    /// The message that a segment carries, from the stream that sent it: segments carry its number.
    fn peer_of(&self, host: usize, segment: &Segment, remote: Endpoint) -> Option<Message> {
        let (number, _) = numbers(segment);
        if host == 0 {
            let server = self.hosts.iter().skip(1).find(|h| h.addresses.contains(&remote.ip()))?;
            return server.streams.first()?.carried(number);
        }
        let own = &self.hosts[host].addresses;
        let mut streams = self.hosts[0].streams.iter();
        streams.find(|stream| own.contains(&stream.remote.ip()))?.carried(number)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// Spreads seeds that differ by one over all of them (the golden ratio of 2⁶⁴).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

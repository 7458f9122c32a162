//! Two ends, the NATs before them and a server, on virtual time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::super::*;
use super::nats::{Nat, sequence};
use crate::engine::End as Ending;
use crate::punch::Code;
use crate::rendezvous::{Introducer, IntroducerLimits};

pub struct World {
    pub now: Instant,
    /// The same, for NATs that are busy by themselves.
    pub clock: Rc<Cell<Instant>>,
    pub server: Option<Introducer>,
    pub server_waits: Instant,
    /// The server's connections: whose, and which of theirs.
    pub links: BTreeMap<Flow, (usize, Flow)>,
    pub ends: [End; 2],
    pub agenda: BTreeMap<(Instant, u64), What>,
    pub count: u64,
    pub relayed: u32,
    /// The number of the relayed message that is changed on its way.
    pub tampers_with: Option<u32>,
}

pub struct End {
    pub party: Introduced,
    pub internal: IpAddr,
    pub external: IpAddr,
    pub nat: Nat,
    pub next_port: Box<dyn FnMut(Endpoint) -> u16>,
    pub waits: Instant,
    pub is_done: bool,
    pub has_listened: bool,
    pub binds: Vec<Bind>,
    pub notes: Vec<Punched>,
    pub facts: Vec<Fact>,
    /// SYNs that have left: flow, external endpoint, remote.
    pub fired: Vec<(Flow, Endpoint, Endpoint)>,
}

pub enum What {
    Tell(usize, Event),
    TellServer(Event),
    Fire(usize, Flow, Bind, Endpoint),
    /// A SYN comes to the NAT of this end: from, to.
    Syn(usize, Endpoint, Endpoint),
}

impl World {
    pub fn new(nats: [Nat; 2], ports: [Option<u16>; 2]) -> Self {
        Self::at(vec![end(SERVER), end("203.0.113.10:5387")], nats, ports)
    }

    /// With a server that believes to be there.
    pub fn at(probes: Vec<Endpoint>, nats: [Nat; 2], ports: [Option<u16>; 2]) -> Self {
        let words = "1-violin-lagoon".parse::<Code>().expect("a code").words;
        let mut places = 0..;
        let ends = nats.into_iter().zip(ports).map(|(nat, port)| {
            let place: u8 = places.next().expect("there are two");
            let room = (place == 1).then_some(1);
            End::new(place, nat, introduction(room, words.clone(), port))
        });
        let mut ends: Vec<_> = ends.collect();
        let [b, a] = [ends.pop(), ends.pop()].map(|end| end.expect("there are two"));
        let mut world = Self {
            now: Instant::START,
            clock: Rc::default(),
            server: None,
            server_waits: Instant::START,
            links: BTreeMap::new(),
            ends: [a, b],
            agenda: BTreeMap::new(),
            count: 0,
            relayed: 0,
            tampers_with: None,
        };
        world.server = Some(Introducer::new(probes, IntroducerLimits::default(), [1; 32]));
        // The other joins once there is a room.
        world.ends[1].is_done = true;
        world.run_until(|world| world.room().is_some());
        world.ends[1].is_done = false;
        world
    }

    pub fn start_server(&mut self, seed: u8) {
        let probes = vec![end(SERVER), end("203.0.113.10:5387")];
        self.server = Some(Introducer::new(probes, IntroducerLimits::default(), [seed; 32]));
    }

    pub fn kill_server(&mut self) {
        self.server = None;
        for (_, (place, flow)) in std::mem::take(&mut self.links) {
            self.later(DELAY, What::Tell(place, Event::Ended(flow, Ending::Reset)));
        }
    }

    pub fn room(&self) -> Option<u32> {
        self.ends[0].notes.iter().rev().find_map(|what| match what {
            Punched::Waits { room } => Some(*room),
            _ => None,
        })
    }

    pub fn foreseen(&self, place: usize) -> Vec<Endpoint> {
        let notes = self.ends[place].notes.iter();
        let mut told = notes.filter_map(|what| match what {
            Punched::Foresaw { peer, .. } => Some(peer.clone()),
            _ => None,
        });
        told.next().unwrap_or_default()
    }

    pub fn is_open(&self, attempt: u32) {
        for end in &self.ends {
            assert!(end.party.opened().is_some(), "{:#?} {:?}", end.notes, end.troubles());
            assert_eq!(end.party.attempt(), attempt);
        }
    }

    pub fn run(&mut self) {
        self.run_until(|world| world.ends.iter().all(|end| end.is_done));
    }

    pub fn run_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let give_up = self.now + Duration::from_secs(600);
        loop {
            self.poll();
            if is_enough(self) || self.now > give_up {
                return;
            }
            let waits = self.ends.iter().filter(|end| !end.is_done).map(|end| end.waits);
            let server = self.server.is_some().then_some(self.server_waits);
            let next = waits.chain(server).chain(self.agenda.keys().map(|(at, _)| *at)).min();
            self.now = self.now.max(next.unwrap_or(give_up + DELAY));
            self.clock.set(self.now);
            match self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let what = entry.remove();
                    self.happen(what);
                }
                None => self.deadlines(),
            }
        }
    }

    pub fn deadlines(&mut self) {
        for end in self.ends.iter_mut().filter(|end| !end.is_done && end.waits <= self.now) {
            end.party.handle(self.now, Event::DeadlinePassed);
        }
        if let Some(server) = self.server.as_mut().filter(|_| self.server_waits <= self.now) {
            server.handle(self.now, Event::DeadlinePassed);
        }
    }

    pub fn later(&mut self, after: Duration, what: What) {
        self.count += 1;
        self.agenda.insert((self.now + after, self.count), what);
    }

    pub fn happen(&mut self, what: What) {
        match what {
            What::Tell(place, event) if !self.ends[place].is_done => {
                self.ends[place].party.handle(self.now, event);
            }
            What::Tell(..) => {}
            What::TellServer(event) => {
                if let Some(server) = &mut self.server {
                    server.handle(self.now, event);
                }
            }
            What::Fire(place, flow, from, to) => self.fire(place, flow, from, to),
            What::Syn(place, from, to) => self.syn(place, from, to),
        }
    }

    pub fn fire(&mut self, place: usize, flow: Flow, from: Bind, to: Endpoint) {
        let (local, external) = self.ends[place].maps(from, to);
        self.ends[place].fired.push((flow, external, to));
        let (stolen, local) = (None, Some(local));
        self.ends[place].party.handle(self.now, Event::Fired { flow, stolen, local });
        self.later(DELAY, What::Syn(1 - place, external, to));
    }

    /// It passes if a SYN has left the other way.
    pub fn syn(&mut self, place: usize, from: Endpoint, to: Endpoint) {
        let of = |end: &End, own, peer| {
            let fired = end.fired.iter().find(|(_, external, to)| (*external, *to) == (own, peer));
            fired.map(|(flow, ..)| *flow)
        };
        let flows = [of(&self.ends[place], to, from), of(&self.ends[1 - place], from, to)];
        if let [Some(here), Some(there)] = flows {
            for (place, flow) in [(place, here), (1 - place, there)] {
                let local = Endpoint::new(self.ends[place].internal, 1);
                self.later(DELAY, What::Tell(place, Event::Opened { flow, local }));
            }
        }
    }

    /// Until all wait.
    pub fn poll(&mut self) {
        for place in 0..2 {
            while !self.ends[place].is_done {
                match self.ends[place].party.poll(self.now) {
                    Step::Wait(until) => {
                        self.ends[place].waits = until;
                        break;
                    }
                    Step::Done => {
                        let goes_on = self.ends[place].party.again(self.now);
                        self.ends[place].is_done = !goes_on;
                        if !goes_on {
                            self.leave(place);
                        }
                    }
                    step => self.perform(place, step),
                }
            }
        }
        while let Some(server) = &mut self.server {
            match server.poll(self.now) {
                Step::Wait(until) => {
                    self.server_waits = until;
                    return;
                }
                Step::Write(flow, octets) => self.answered(flow, octets),
                Step::Close(flow, _) => {
                    if let Some((place, flow)) = self.links.remove(&flow) {
                        let ended = Event::Ended(flow, Ending::Finished);
                        self.later(DELAY, What::Tell(place, ended));
                    }
                }
                _ => {}
            }
        }
    }

    pub fn answered(&mut self, flow: Flow, mut octets: Vec<u8>) {
        let Some((place, flow)) = self.links.get(&flow).copied() else { return };
        let begin = br#"{"type":"relay","text":""#;
        if octets.starts_with(begin) {
            if self.tampers_with == Some(self.relayed) {
                let letter = &mut octets[begin.len() + 3];
                *letter = if *letter == b'A' { b'B' } else { b'A' };
            }
            self.relayed += 1;
        }
        self.later(DELAY, What::Tell(place, Event::Read(flow, octets)));
    }

    /// Another comes in b's stead, with these words.
    pub fn rejoin(&mut self, words: Words, room: u32) {
        let b = &mut self.ends[1];
        let setting = Introduction { words, room: Some(room), ..b.party.setting.clone() };
        // What is still on its way to the last is not taken for its own.
        let flows = b.party.flows + 100;
        b.party = Introduced { flows, ..Introduced::new(setting) };
        b.party.steps.clear();
        b.party.dial(self.now);
        (b.is_done, b.facts) = (false, Vec::new());
    }

    /// All its connections end.
    pub fn leave(&mut self, place: usize) {
        let own: Vec<_> = self.links.iter().filter(|(_, (of, _))| *of == place).collect();
        let flows: Vec<_> = own.into_iter().map(|(flow, _)| *flow).collect();
        for flow in flows {
            self.links.remove(&flow);
            self.later(DELAY, What::TellServer(Event::Ended(flow, Ending::Finished)));
        }
    }

    pub fn perform(&mut self, place: usize, step: Step) {
        match step {
            Step::Open { flow, from, to, at: None, .. } => self.open(place, flow, from, to),
            Step::Open { flow, from, to, at: Some(at), .. } => {
                self.later(at.since(self.now), What::Fire(place, flow, from, to));
            }
            Step::Write(flow, octets) => {
                if let Some(flow) = self.link(place, flow) {
                    self.later(DELAY, What::TellServer(Event::Read(flow, octets)));
                }
            }
            Step::Close(flow, _) => {
                if let Some(flow) = self.link(place, flow) {
                    self.links.remove(&flow);
                    self.later(DELAY, What::TellServer(Event::Ended(flow, Ending::Finished)));
                }
            }
            Step::Listen { .. } => self.ends[place].has_listened = true,
            Step::Note(fact) => {
                if let Fact::Punch { what, .. } = &*fact {
                    self.ends[place].notes.push(what.clone());
                }
                self.ends[place].facts.push(*fact);
            }
            _ => {}
        }
    }

    pub fn link(&self, place: usize, flow: Flow) -> Option<Flow> {
        let mut all = self.links.iter();
        all.find(|(_, own)| **own == (place, flow)).map(|(server, _)| *server)
    }

    pub fn open(&mut self, place: usize, flow: Flow, from: Bind, to: Endpoint) {
        self.ends[place].binds.push(from);
        let (local, remote) = self.ends[place].maps(from, to);
        if self.server.is_none() {
            let refused = Event::Failed(flow, Unreached::Refused);
            return self.later(2 * DELAY, What::Tell(place, refused));
        }
        self.count += 1;
        let accepted = Flow(Flow::FIRST_ACCEPTED + u32::try_from(self.count).expect("few"));
        self.links.insert(accepted, (place, flow));
        let event = Event::Accepted { flow: accepted, local: to, remote };
        self.later(DELAY, What::TellServer(event));
        self.later(2 * DELAY, What::Tell(place, Event::Opened { flow, local }));
    }
}

impl End {
    pub fn new(place: u8, nat: Nat, introduction: Introduction) -> Self {
        Self {
            party: Introduced::new(introduction),
            internal: IpAddr::from([192, 168, place + 1, 2]),
            external: IpAddr::from([198, 51, 100, if place == 0 { 7 } else { 1 }]),
            nat,
            next_port: Box::new(sequence(50_000, 1)),
            waits: Instant::START,
            is_done: false,
            has_listened: false,
            binds: Vec::new(),
            notes: Vec::new(),
            facts: Vec::new(),
            fired: Vec::new(),
        }
    }

    /// Internal and external endpoint of a flow.
    pub fn maps(&mut self, from: Bind, to: Endpoint) -> (Endpoint, Endpoint) {
        let port = match from {
            Bind::Shared(local) => local.port(),
            Bind::Kernel => (self.next_port)(to),
        };
        let external = (self.nat)(port, to);
        (Endpoint::new(self.internal, port), Endpoint::new(self.external, external))
    }

    pub fn aimed(&self) -> Option<Endpoint> {
        self.notes.iter().find_map(|what| match what {
            Punched::Aimed { remote, .. } => Some(*remote),
            _ => None,
        })
    }

    pub fn noted(&self, is_it: impl Fn(&Punched) -> bool) -> usize {
        self.notes.iter().filter(|what| is_it(what)).count()
    }

    pub fn troubles(&self) -> Vec<String> {
        self.facts.iter().filter_map(Fact::trouble).map(|trouble| trouble.to_string()).collect()
    }
}

pub fn introduction(room: Option<u32>, words: Words, port: Option<u16>) -> Introduction {
    Introduction {
        server: end(SERVER),
        room,
        claim: None,
        words,
        port,
        attempts: 3,
        wait: Duration::from_secs(10),
        patience: Duration::from_secs(5),
        secret: [if room.is_some() { 3 } else { 4 }; 32],
        seed: 7,
    }
}

pub fn end(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

pub const WELCOME: &str = r#"{"type":"welcome","version":1,"observed":"192.0.2.1:7","probes":[],"ticket":"2f7a64c1f3d94a0be1a05d6a3c9be1d7","time_us":1}"#;

pub const SERVER: &str = "203.0.113.10:5386";

pub const DELAY: Duration = Duration::from_millis(10);

//! A punch with no server: both ends know each other's endpoints and the moment.
//!
//! Each end listens on its port and connects from it at the agreed moment. If the SYNs cross, both
//! connect; if the peer's comes first, it is accepted. Either is the one connection between these two
//! endpoints: there cannot be two.

use std::collections::VecDeque;

use super::schedule::Schedule;
use crate::engine::{
    Bind, By, Event, Fact, Flow, How, Miss, Party, Place, Punched, Reader, Record, Step, Trouble,
};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Packet};

/// What to open, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// What this end is called.
    pub side: Side,
    /// This end's endpoint.
    pub local: Endpoint,
    /// The peer's endpoint, as it is reached from here.
    pub remote: Endpoint,
    /// When the first SYN is to leave.
    pub first: Instant,
    /// How long to try from then on.
    pub patience: Duration,
    /// What to draw randomness from.
    pub seed: u64,
}

/// One end of a punch.
#[derive(Debug)]
pub struct Direct {
    aim: Aim,
    schedule: Schedule,
    steps: VecDeque<Step>,
    phase: Phase,
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An attempt is under way, or about to be.
    Trying {
        since: Instant,
    },
    /// A connection stands; what follows its opening on the wire is still watched.
    Stands {
        flow: Flow,
        until: Instant,
    },
    Over(Option<Flow>),
}

impl Direct {
    /// A punch that has not begun.
    pub fn new(aim: Aim) -> Self {
        let Aim { side, local, remote, first, patience, seed } = aim;
        let aimed = Punched::Aimed { local, remote, first, give_up: first + patience };
        let listen = Step::Listen { on: local, reader: Reader::Heir };
        let steps = [note(side, aimed), Step::Watch { local, towards: remote }, listen].into();
        let schedule = Schedule::new(first, seed);
        let phase = Phase::Trying { since: first };
        let mut direct = Self { aim, schedule, steps, phase, attempts: 0 };
        direct.attempt(Instant::START);
        direct
    }

    /// The connection that stands, once the punch is done.
    pub const fn opened(&self) -> Option<Flow> {
        match self.phase {
            Phase::Over(flow) => flow,
            _ => None,
        }
    }

    /// Aims the next SYN, if there is time for one.
    fn attempt(&mut self, now: Instant) {
        let at = self.schedule.next_after(now);
        self.phase = Phase::Trying { since: at };
        if self.give_up() <= at {
            return;
        }
        self.attempts += 1;
        self.note(Punched::Tried { attempt: self.attempts, at });
        let (from, to) = (Bind::Shared(self.aim.local), self.aim.remote);
        let (flow, at, reader) = (self.flow(), Some(at), Reader::Heir);
        self.steps.push_back(Step::Open { flow, from, to, at, reader });
    }

    /// The attempt under way.
    const fn flow(&self) -> Flow {
        Flow(self.attempts)
    }

    fn give_up(&self) -> Instant {
        self.aim.first + self.aim.patience
    }

    fn note(&mut self, what: Punched) {
        self.steps.push_back(note(self.aim.side, what));
    }

    /// Keeps what concerns the peer, and whoever knocks in its stead; the port may have been used
    /// for something else before, such as to ask for its external endpoint.
    fn see(&mut self, at: Instant, inbound: bool, packet: Packet) {
        let peer = self.aim.remote.ip();
        let concerns = match packet.segment() {
            Some(segment) => {
                packet.source == peer
                    || packet.destination == peer
                    || (inbound && segment.is_bare_syn())
            }
            None => packet.icmp_error().is_some_and(|icmp| icmp.quote.destination.ip() == peer),
        };
        if !concerns {
            return;
        }
        let place = Place::End(self.aim.side);
        let record = Record { at, place, inbound, probe: None, volley: None, packet };
        self.steps.push_back(Step::Note(Box::new(Fact::Seen(record))));
    }

    fn missed(&mut self, now: Instant, flow: Flow, why: Miss) {
        let is_ours = match self.phase {
            Phase::Trying { .. } => flow == self.flow(),
            Phase::Stands { flow: standing, .. } => flow == standing,
            Phase::Over(_) => false,
        };
        if is_ours {
            self.note(Punched::Missed { attempt: self.attempts, why });
            self.attempt(now);
        }
    }

    /// A second connection, between other endpoints since a NAT remapped a SYN, is left alone: the
    /// peer may have taken that one.
    fn stands(&mut self, now: Instant, flow: Flow, by: By, [local, remote]: [Endpoint; 2]) {
        self.note(Punched::Stood { by, local, remote });
        let Phase::Trying { since } = self.phase else { return };
        if flow != self.flow() {
            self.steps.push_back(Step::Close(self.flow(), How::Fin));
        }
        let took = now.since(since);
        let until = now + took.clamp(SHORTEST_AFTERMATH, LONGEST_AFTERMATH);
        self.phase = Phase::Stands { flow, until };
    }

    fn accepted(&mut self, now: Instant, flow: Flow, ends: [Endpoint; 2]) {
        let [_, remote] = ends;
        if remote.ip() == self.aim.remote.ip() {
            return self.stands(now, flow, By::Accept, ends);
        }
        self.note(Punched::Stranger { remote });
        self.steps.push_back(Step::Close(flow, How::Reset));
    }

    fn time_is_up(&mut self, now: Instant) {
        match self.phase {
            Phase::Stands { flow, until } if until <= now => self.phase = Phase::Over(Some(flow)),
            Phase::Trying { .. } if self.give_up() <= now => {
                self.note(Punched::GaveUp);
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.steps.push_back(Step::Close(self.flow(), How::Fin));
        self.phase = Phase::Over(None);
    }

    fn spoiled(&mut self, trouble: Trouble) {
        self.steps.push_back(Step::Note(Box::new(Fact::Trouble(trouble))));
        self.end();
    }
}

impl Party for Direct {
    fn poll(&mut self, _now: Instant) -> Step {
        match (self.steps.pop_front(), self.phase) {
            (Some(step), _) => step,
            (None, Phase::Trying { .. }) => Step::Wait(self.give_up()),
            (None, Phase::Stands { until, .. }) => Step::Wait(until),
            (None, Phase::Over(_)) => Step::Done,
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => self.see(now, true, packet),
            Event::Left(packet) => self.see(now, false, packet),
            Event::Changed(change) => self.note(Punched::Changed(change)),
            Event::Unwatched(witness, why) => self.note(Punched::Unwatched { witness, why }),
            Event::Opened { flow, local } => {
                self.stands(now, flow, By::Connect, [local, self.aim.remote]);
            }
            Event::Accepted { flow, local, remote } => self.accepted(now, flow, [local, remote]),
            Event::Failed(flow, why) => self.missed(now, flow, Miss::Unreached(why)),
            Event::Ended(flow, how) => self.missed(now, flow, Miss::Ended(how)),
            Event::DeadlinePassed => self.time_is_up(now),
            Event::Interrupted => self.spoiled(Trouble::Interrupted),
            Event::HostFailed(what) => self.spoiled(Trouble::Host { what }),
            _ => {}
        }
    }
}

fn note(side: Side, what: Punched) -> Step {
    Step::Note(Box::new(Fact::Punch { side, what }))
}

/// What a capture may lag behind the socket.
const SHORTEST_AFTERMATH: Duration = Duration::from_millis(20);

/// Longer than a round trip takes on most paths.
const LONGEST_AFTERMATH: Duration = Duration::from_millis(500);

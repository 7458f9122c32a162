//! A punch whose ends first agree over a byte stream: on where, and on when.
//!
//! One end decides. With [`Sync::RoundTrip`] it says go, waits for half a round trip and shoots, and
//! the other shoots as it hears it (as DCUtR does). With [`Sync::Clock`] it measures how the two
//! clocks stand to each other and names a moment. Afterwards each tells the other what it saw, so that
//! both can judge by both.

use std::collections::VecDeque;

use super::appointment::{Appointment, Meet, Role, Sync};
use super::direct::{Aim, Direct};
use super::journal::Journal;
use super::offset::{Exchange, Offset};
use super::signal::{Clocks, Lines, Signal, VERSION, to_line};
use crate::engine::{Bind, Event, Fact, Flow, How, Party, Punched, Reader, Step, Trouble};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// One end of such a punch.
#[derive(Debug)]
pub struct Agreed {
    appointment: Appointment,
    steps: VecDeque<Step>,
    lines: Lines,
    stream: Option<Flow>,
    phase: Phase,
    /// Before this something has to happen.
    deadline: Instant,
    journal: Journal,
    clocks: Clocks,
    peer_is_done: bool,
    opened: Option<Flow>,
}

#[derive(Debug)]
enum Phase {
    /// No stream yet.
    Apart,
    /// Hello was said; the other's is waited for.
    Greeting {
        local: Endpoint,
        remote: Endpoint,
    },
    /// The decider measures, the other answers.
    Measuring {
        aim: Aim,
        asked: Instant,
        number: u32,
        offset: Offset,
    },
    /// The punch is on.
    Punching(Box<Direct>),
    /// It is over; what the other saw is still to come.
    Reporting,
    Over,
}

impl Agreed {
    /// A punch that has not begun.
    pub fn new(appointment: Appointment) -> Self {
        let reader = Reader::Party;
        let first = match appointment.meet {
            Meet::Listen(on) => Step::Listen { on, reader },
            Meet::Via(to, _) => {
                Step::Open { flow: STREAM, from: Bind::Kernel, to, at: None, reader }
            }
        };
        Self {
            appointment,
            steps: VecDeque::from([first]),
            lines: Lines::default(),
            stream: None,
            phase: Phase::Apart,
            deadline: Instant::START + appointment.wait,
            journal: Journal::default(),
            clocks: Clocks::default(),
            peer_is_done: false,
            opened: None,
        }
    }

    /// The connection that stands, once the punch is done.
    pub const fn opened(&self) -> Option<Flow> {
        self.opened
    }

    const fn side(&self) -> Side {
        match self.appointment.meet {
            Meet::Via(_, Role::Follows) | Meet::Listen(_) => Side::B,
            Meet::Via(..) => Side::A,
        }
    }

    fn say(&mut self, signal: &Signal) {
        if let Some(flow) = self.stream {
            self.steps.push_back(Step::Write(flow, to_line(signal)));
        }
    }

    /// The stream stands: the same address that it leads from is punched from.
    fn joined(&mut self, now: Instant, flow: Flow, local: Endpoint, remote: Endpoint) {
        self.stream = Some(flow);
        let Appointment { port, external, .. } = self.appointment;
        let own = Endpoint::new(local.ip(), port);
        self.say(&Signal::Hello { version: VERSION, port, external });
        self.phase = Phase::Greeting { local: own, remote };
        self.deadline = now + ANSWER;
    }

    fn hear(&mut self, now: Instant) {
        loop {
            match self.lines.next() {
                Ok(Some(signal)) => self.understand(now, signal),
                Ok(None) => return,
                Err(why) => {
                    return self.give_up(format!("what the peer says makes no sense: {why}"));
                }
            }
        }
    }

    fn understand(&mut self, now: Instant, signal: Signal) {
        match signal {
            Signal::Hello { version, port, external } => self.greeted(now, version, port, external),
            Signal::Ping { number } => {
                let answer = Signal::Pong { number, received: now, answered: now };
                self.say(&answer);
                self.deadline = now + ANSWER;
            }
            Signal::Pong { number, received, answered } => {
                self.measured(now, number, received, answered);
            }
            Signal::Go { at, clocks, trial } => self.go(now, at, clocks, trial),
            Signal::Saw { .. } | Signal::Told { .. } => self.told(signal),
            Signal::Done => self.peer_is_done(),
        }
    }

    fn greeted(&mut self, now: Instant, version: u16, port: u16, external: Option<Endpoint>) {
        let Phase::Greeting { local, remote } = self.phase else { return };
        if version != VERSION {
            return self.give_up(format!("the peer speaks version {version}, this is {VERSION}"));
        }
        if let Meet::Via(_, Role::Parts) = self.appointment.meet {
            self.phase = Phase::Over;
            return self.say(&Signal::Done);
        }
        let known = self.appointment.peer.or(external);
        let peer = known.unwrap_or_else(|| Endpoint::new(remote.ip(), port));
        let Appointment { patience, seed, .. } = self.appointment;
        let (side, remote, tries) = (self.side(), peer, None);
        let aim = Aim { side, local, remote, first: now, patience, tries, seed };
        let (asked, number, offset) = (now, 0, Offset::UNKNOWN);
        self.phase = Phase::Measuring { aim, asked, number, offset };
        // Before there is any hurry.
        self.steps.push_back(Step::Watch { local, towards: peer });
        if self.side() == Side::A {
            self.say(&Signal::Ping { number });
        }
    }

    /// One answer more; after enough of them it is decided.
    fn measured(&mut self, now: Instant, number: u32, received: Instant, answered: Instant) {
        let Phase::Measuring { aim, asked, number: expected, offset } = self.phase else { return };
        if number != expected || answered < received {
            return self.give_up("the peer answers what it was not asked".to_owned());
        }
        let offset = offset.with(&Exchange { asked, received, answered, heard: now });
        let number = number + 1;
        if number < EXCHANGES {
            self.phase = Phase::Measuring { aim, asked: now, number, offset };
            self.deadline = now + ANSWER;
            return self.say(&Signal::Ping { number });
        }
        self.decide(now, aim, offset.clocks());
    }

    fn decide(&mut self, now: Instant, aim: Aim, clocks: Clocks) {
        let Meet::Via(_, role) = self.appointment.meet else { return };
        self.clocks = clocks;
        let known_there = now + clocks.round_trip + HEAD_START;
        let (first, at, trial) = match role {
            Role::Decides(Sync::RoundTrip) => (now + clocks.round_trip / 2, None, None),
            Role::Decides(Sync::Clock) => (known_there, Some(known_there), None),
            Role::Tries { skew_ns } => {
                let apart = Duration::from_nanos(skew_ns.unsigned_abs());
                let first = known_there + apart;
                (first, Some(first.shifted(skew_ns)), Some(apart + patience(clocks)))
            }
            Role::Parts | Role::Follows => return,
        };
        let at = at.map(|at| at.shifted(clocks.ahead_ns));
        self.say(&Signal::Go { at, clocks, trial });
        self.begin(tried(Aim { first, ..aim }, trial));
    }

    fn go(&mut self, now: Instant, at: Option<Instant>, clocks: Clocks, trial: Option<Duration>) {
        let Phase::Measuring { aim, .. } = self.phase else { return };
        let is_far = at > Some(now + PLAUSIBLE) || trial > Some(PLAUSIBLE);
        if self.side() == Side::A || clocks.error > PLAUSIBLE || is_far {
            return self.give_up("the peer decides what makes no sense".to_owned());
        }
        self.clocks = clocks;
        self.begin(tried(Aim { first: at.unwrap_or(now), ..aim }, trial));
    }

    fn begin(&mut self, aim: Aim) {
        let Clocks { error, round_trip, .. } = self.clocks;
        self.journal.agree(self.side(), self.clocks);
        self.note(Punched::Synchronised { error, round_trip });
        self.phase = Phase::Punching(Box::new(Direct::new(aim)));
    }

    /// The other end may be done first, or have nothing to open.
    fn peer_is_done(&mut self) {
        self.peer_is_done = true;
        if matches!(self.phase, Phase::Reporting | Phase::Measuring { .. }) {
            self.phase = Phase::Over;
        }
    }

    /// Keeps what the other end told.
    fn told(&mut self, signal: Signal) {
        let fact = self.journal.hear(signal);
        self.steps.extend(fact.map(|fact| Step::Note(Box::new(fact))));
    }

    fn note(&mut self, what: Punched) {
        let fact = Fact::Punch { side: self.side(), what };
        self.journal.keep(&fact);
        self.steps.push_back(Step::Note(Box::new(fact)));
    }

    /// The punch's next step, or, once it is done, the report.
    fn punch(&mut self, now: Instant) -> Step {
        let Phase::Punching(direct) = &mut self.phase else { return Step::Done };
        let step = direct.poll(now);
        match &step {
            // It watches what is watched since the greeting.
            Step::Watch { .. } => return self.poll(now),
            Step::Note(fact) => self.journal.keep(fact),
            Step::Done => {
                self.opened = direct.opened();
                self.report(now);
                return self.poll(now);
            }
            _ => {}
        }
        step
    }

    fn report(&mut self, now: Instant) {
        for signal in self.journal.take() {
            self.say(&signal);
        }
        self.say(&Signal::Done);
        let waits = self.stream.is_some() && !self.peer_is_done;
        self.phase = if waits { Phase::Reporting } else { Phase::Over };
        // The other end may have to give up first.
        let patience = self.appointment.patience;
        self.deadline =
            now + ANSWER + if self.opened.is_none() { patience } else { Duration::ZERO };
    }

    /// The ends did not come to an agreement. Whoever listens goes on doing so: it may have been
    /// somebody else who came.
    fn give_up(&mut self, what: String) {
        let listens = matches!(self.appointment.meet, Meet::Listen(_));
        if listens && matches!(self.phase, Phase::Greeting { .. }) {
            let stream = self.stream.take().into_iter();
            self.steps.extend(stream.map(|flow| Step::Close(flow, How::Fin)));
            (self.lines, self.phase) = (Lines::default(), Phase::Apart);
            self.deadline = Instant::START + self.appointment.wait;
            return;
        }
        if matches!(self.phase, Phase::Apart | Phase::Greeting { .. } | Phase::Measuring { .. }) {
            self.steps.push_back(Step::Note(Box::new(Fact::Trouble(Trouble::Host { what }))));
        }
        self.phase = Phase::Over;
    }

    /// The stream is gone: before the punch that is the end of it, afterwards it is no matter.
    fn lost(&mut self) {
        self.stream = None;
        match self.phase {
            Phase::Punching(_) => {}
            _ => self.give_up("the control connection with the peer was lost".to_owned()),
        }
    }

    fn interrupted(&mut self, trouble: Trouble) {
        self.steps.push_back(Step::Note(Box::new(Fact::Trouble(trouble))));
        self.phase = Phase::Over;
    }

    fn time_is_up(&mut self) {
        self.give_up(match self.phase {
            Phase::Apart => "no peer came to the control connection in time".to_owned(),
            _ => "the peer fell silent on the control connection".to_owned(),
        });
    }
}

impl Party for Agreed {
    fn poll(&mut self, now: Instant) -> Step {
        if let Some(step) = self.steps.pop_front() {
            return step;
        }
        match &self.phase {
            Phase::Punching(_) => self.punch(now),
            Phase::Over => Step::Done,
            _ => Step::Wait(self.deadline),
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        let is_streams = |flow: &Flow| Some(*flow) == self.stream;
        match (event, &mut self.phase) {
            (Event::Read(flow, octets), _) if is_streams(&flow) => {
                self.lines.take(&octets);
                self.hear(now);
            }
            (Event::Ended(flow, _), _) if is_streams(&flow) => self.lost(),
            // Somebody else on the control port.
            (Event::Accepted { flow, local, .. }, _)
                if self.stream.is_some() && local.port() != self.appointment.port =>
            {
                self.steps.push_back(Step::Close(flow, How::Fin));
            }
            (event @ (Event::Interrupted | Event::HostFailed(_)), Phase::Punching(direct)) => {
                direct.handle(now, event);
                // Whoever wants to go waits for nobody's report.
                self.peer_is_done = true;
            }
            (event, Phase::Punching(direct)) => direct.handle(now, event),
            (Event::Accepted { flow, local, remote }, _) => self.joined(now, flow, local, remote),
            (Event::Opened { flow, local }, _) => {
                if let Meet::Via(remote, _) = self.appointment.meet {
                    self.joined(now, flow, local, remote);
                }
            }
            (Event::Failed(..), _) => {
                self.give_up("the peer's control connection was not to be reached".to_owned());
            }
            (Event::Unwatched(witness, why), _) => {
                self.note(Punched::Unwatched { witness, why });
            }
            (Event::Interrupted, _) => self.interrupted(Trouble::Interrupted),
            (Event::HostFailed(what), _) => self.interrupted(Trouble::Host { what }),
            (Event::DeadlinePassed, _) => self.time_is_up(),
            _ => {}
        }
    }
}

/// One SYN alone, if it is for a trial of so long.
fn tried(aim: Aim, trial: Option<Duration>) -> Aim {
    match trial {
        Some(patience) => Aim { patience, tries: Some(1), ..aim },
        None => aim,
    }
}

/// How long it may take to see what becomes of two SYNs.
fn patience(clocks: Clocks) -> Duration {
    clocks.round_trip + AFTERWARDS
}

/// The number of the connection that the two ends agree over.
const STREAM: Flow = Flow(Flow::FIRST_ACCEPTED - 1);

/// So many exchanges that one of them found the path idle.
const EXCHANGES: u32 = 16;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What the decision may be late by, beyond its way to the other end.
const HEAD_START: Duration = Duration::from_millis(200);

/// For an answer to be seen: less than the second after which a SYN is sent again (RFC 6298 §2.1).
const AFTERWARDS: Duration = Duration::from_millis(100);

/// No moment lies further off, and no clock is worse known.
const PLAUSIBLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

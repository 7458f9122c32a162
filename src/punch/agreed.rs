//! A punch whose ends first agree over a byte stream: on where, and on when.
//!
//! One end decides. With [`Sync::RoundTrip`] it says go, waits for half a round trip and shoots, and
//! the other shoots as it hears it (as DCUtR does). With [`Sync::Clock`] it measures how the two
//! clocks stand to each other and names a moment. Afterwards each tells the other what it saw, so that
//! both can judge by both.

mod greeting;
mod measuring;

use std::collections::VecDeque;
use std::net::IpAddr;

use super::appointment::{Appointment, Meet, Role};
use super::direct::{Aim, Direct};
use super::journal::Journal;
use super::prospect::Prospect;
use super::signal::{Clocks, Lines, Signal, VERSION, to_line};
use crate::engine::{Bind, Event, Fact, Flow, Gone, How, Party, Punched, Reader, Step, Trouble};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use measuring::{Measured, Measuring};

pub use measuring::duration as agreeing;

/// One end of such a punch.
#[derive(Debug)]
pub struct Agreed {
    appointment: Appointment,
    /// Where this end will be seen from, if a server has helped to find out.
    prospect: Option<Prospect>,
    /// Whether another attempt may follow.
    goes_on: bool,
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
        /// Where the stream leads, if it leads to the peer.
        remote: Option<IpAddr>,
    },
    /// The decider measures, the other answers.
    Measuring(Measuring),
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
            Meet::Listen(on) => Some(Step::Listen { on, reader }),
            Meet::Via(to, _) => {
                Some(Step::Open { flow: STREAM, from: Bind::Kernel, to, at: None, reader })
            }
            Meet::Over(_) => None,
        };
        let deadline = Instant::START + appointment.wait;
        Self {
            appointment,
            prospect: None,
            goes_on: false,
            steps: first.into_iter().collect(),
            lines: Lines::default(),
            stream: None,
            phase: Phase::Apart,
            deadline,
            journal: Journal::default(),
            clocks: Clocks::default(),
            peer_is_done: false,
            opened: None,
        }
    }

    /// A punch whose ends have a stream between them already, by this name.
    pub fn over(
        (stream, local): (Flow, IpAddr),
        now: Instant,
        appointment: Appointment,
        prospect: Option<Prospect>,
    ) -> Self {
        let mut agreed = Self { prospect, ..Self::new(appointment) };
        agreed.joined(now, stream, local, None);
        agreed
    }

    /// Another attempt may follow: what has little chance is tried for as long as there is something to
    /// learn from it.
    #[must_use]
    pub fn going_on(self, goes_on: bool) -> Self {
        Self { goes_on, ..self }
    }

    /// The connection that stands, once the punch is done.
    pub const fn opened(&self) -> Option<Flow> {
        self.opened
    }

    const fn side(&self) -> Side {
        match self.appointment.meet {
            Meet::Via(_, Role::Follows) | Meet::Over(Role::Follows) | Meet::Listen(_) => Side::B,
            Meet::Via(..) | Meet::Over(_) => Side::A,
        }
    }

    fn say(&mut self, signal: &Signal) {
        if let Some(flow) = self.stream {
            self.steps.push_back(Step::Write(flow, to_line(signal)));
        }
    }

    /// The stream stands: the same address that it leads from is punched from.
    fn joined(&mut self, now: Instant, flow: Flow, local: IpAddr, remote: Option<IpAddr>) {
        self.stream = Some(flow);
        let Appointment { port, external, .. } = self.appointment;
        let own = Endpoint::new(local, port);
        let prospect = self.prospect.clone();
        self.say(&Signal::Hello { version: VERSION, port, external, prospect });
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
            // Late, from an attempt before.
            Signal::Saw { .. } | Signal::Told { .. } | Signal::Done
                if matches!(self.phase, Phase::Greeting { .. }) => {}
            Signal::Hello { version, port, external, prospect } => {
                self.greeted(now, version, (port, external), prospect);
            }
            Signal::Ping { number } => {
                let answer = Signal::Pong { number, received: now, answered: now };
                self.say(&answer);
                self.deadline = now + ANSWER;
            }
            Signal::Pong { number, received, answered } => {
                self.measured(now, number, [received, answered]);
            }
            Signal::Go { at, clocks, trial } => self.go(now, at, clocks, trial),
            Signal::Saw { .. } | Signal::Told { .. } => self.told(signal),
            Signal::Done => self.peer_is_done(),
            Signal::Other => {}
        }
    }

    /// One answer more; after enough of them it is decided.
    fn measured(&mut self, now: Instant, number: u32, moments: [Instant; 2]) {
        let Phase::Measuring(measuring) = &mut self.phase else { return };
        match measuring.take(now, number, moments) {
            Measured::Nonsense => self.give_up("the peer answers what it was not asked".to_owned()),
            Measured::Ask(question) => {
                self.deadline = now + ANSWER;
                self.say(&question);
            }
            Measured::Known(clocks) => self.decide(now, clocks),
        }
    }

    fn decide(&mut self, now: Instant, clocks: Clocks) {
        let Phase::Measuring(Measuring { aim, .. }) = &self.phase else { return };
        let (Meet::Via(_, role) | Meet::Over(role)) = self.appointment.meet else { return };
        if let Some((go, aim)) = measuring::decide(now, role, clocks, aim.clone()) {
            self.clocks = clocks;
            self.say(&go);
            self.begin(aim);
        }
    }

    fn go(&mut self, now: Instant, at: Option<Instant>, clocks: Clocks, trial: Option<Duration>) {
        let Phase::Measuring(Measuring { aim, .. }) = &self.phase else { return };
        let aim = aim.clone();
        let is_far = at > Some(now + PLAUSIBLE) || trial > Some(PLAUSIBLE);
        if self.side() == Side::A || clocks.error > PLAUSIBLE || is_far {
            return self.give_up("the peer decides what makes no sense".to_owned());
        }
        self.clocks = clocks;
        self.begin(measuring::tried(Aim { first: at.unwrap_or(now), ..aim }, trial));
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
        if matches!(self.phase, Phase::Reporting | Phase::Measuring(_)) {
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
        // A server in between takes no more than a bounded amount at once.
        let through_a_server = matches!(self.appointment.meet, Meet::Over(_));
        let most = if through_a_server { MOST_TOLD } else { usize::MAX };
        for signal in self.journal.take(most) {
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
        if matches!(self.phase, Phase::Apart | Phase::Greeting { .. } | Phase::Measuring(_)) {
            self.steps.push_back(Step::Note(Box::new(Fact::Trouble(Trouble::Host { what }))));
        }
        self.phase = Phase::Over;
    }

    /// The peer is gone, by the word of the server that the stream leads through. What is on its way may
    /// still open, for a moment.
    pub fn parted(&mut self, now: Instant, how: Gone) {
        let awaits = !self.peer_is_done && self.opened.is_none();
        self.stream = None;
        match &mut self.phase {
            Phase::Punching(_) | Phase::Reporting if !awaits => self.lost(),
            Phase::Punching(direct) => {
                direct.give_up_by(now + GRACE);
                self.note(Punched::PeerGone { how });
            }
            Phase::Reporting => {
                self.note(Punched::PeerGone { how });
                self.phase = Phase::Over;
            }
            _ => self.give_up(how.in_words().to_owned()),
        }
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
            (Event::Accepted { flow, local, remote }, _) => {
                self.joined(now, flow, local.ip(), Some(remote.ip()));
            }
            (Event::Opened { flow, local }, _) => {
                if let Meet::Via(remote, _) = self.appointment.meet {
                    self.joined(now, flow, local.ip(), Some(remote.ip()));
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

/// The number of the connection that the two ends agree over.
const STREAM: Flow = Flow(Flow::FIRST_ACCEPTED - 1);

/// So many packets and facts, at some 300 octets each and a third more once sealed, are half of the 64 KiB
/// that a rendezvous server keeps for a client which is slow to read.
const MOST_TOLD: usize = 80;

/// A SYN that is lost is sent again after one second, and once more two seconds later (RFC 6298 §2).
const GRACE: Duration = Duration::from_millis(3_500);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// No moment lies further off, and no clock is worse known.
const PLAUSIBLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

//! A punch whose ends are brought together by a rendezvous server.
//!
//! ```text
//!  hello ─ wait or join ─ paired ─ words proven ─ mappings shown ─ agreed and tried
//!                                                      ▲                 │ came to nothing
//!                                                      └─────────────────┘
//! ```
//!
//! The server tells this end how the world sees its connections; where the next one will be seen from is
//! foreseen from that. What the ends say to each other goes through the server, sealed. Each attempt
//! that comes to nothing teaches where SYNs really came from.

mod anew;
mod learnt;
mod meeting;
mod peer;
mod shows;

use std::collections::VecDeque;

use super::agreed::{Agreed, agreeing};
use super::appointment::{Appointment, Meet, Role, Sync};
use super::code::Words;
use super::prospect::{Outlook, Prospect};
use crate::engine::{
    Bind, Event, Fact, Flow, Gone, Party, Punched, Reader, Step, Trouble, Unreached,
};
use crate::rendezvous::introducer::{self as wire, Code, Lines, Request, Seen, Ticket};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use learnt::Learnt;
use peer::Peer;
use shows::Shows;

/// What is known beforehand.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The rendezvous server.
    pub server: Endpoint,
    /// The room to enter; none to open one.
    pub room: Option<u32>,
    /// The room that this end had before, and its ticket: it is opened again.
    pub claim: Option<(u32, Ticket)>,
    /// The words that both ends know.
    pub words: Words,
    /// The local port to punch from; none to leave the choice to the host, and never to bind or listen.
    pub port: Option<u16>,
    /// How often to try.
    pub attempts: u32,
    /// How long an answer may take.
    pub wait: Duration,
    /// How long to try, each time.
    pub patience: Duration,
    /// What to draw secrets from.
    pub secret: [u8; 32],
    /// What to draw other randomness from.
    pub seed: u64,
}

/// One end of such a punch. It is done after each attempt; [`Introduced::again`] begins another.
pub struct Introduced {
    setting: Introduction,
    steps: VecDeque<Step>,
    stage: Stage,
    /// Before this something has to happen.
    deadline: Instant,
    /// The connection with the server.
    server: Option<Flow>,
    lines: Lines,
    /// This end of that connection.
    local: Option<Endpoint>,
    /// When the server was greeted, and how long its answer took.
    greeted: Instant,
    round_trip: Duration,
    probes: Vec<Endpoint>,
    ticket: Option<Ticket>,
    /// The room that this end has opened, and how it is claimed.
    own_room: Option<(u32, Ticket)>,
    /// What the server refused, if that was the end of it.
    refusal: Option<Code>,
    /// How often the server was lost in a row, and how often somebody came with wrong words.
    losses: u32,
    impostors: u32,
    peer: Peer,
    role: Role,
    shows: Shows,
    attempt: u32,
    learnt: Learnt,
    opened: Option<Flow>,
    flows: u32,
}

enum Stage {
    /// The server is connected to.
    Dialling,
    /// It is asked for a room, or for entry.
    Asking,
    /// A room is kept for this end.
    Waiting,
    /// The server was lost while this end waited.
    Parted,
    /// The peer is there, and proves itself.
    Proving,
    /// Mappings are shown.
    Showing,
    /// The ends agree and try.
    Agreeing(Box<Agreed>),
    /// This attempt is over.
    Over,
}

impl Introduced {
    /// A punch that has not begun.
    pub fn new(setting: Introduction) -> Self {
        let role = if setting.room.is_none() { Role::Decides(Sync::Clock) } else { Role::Follows };
        let mut introduced = Self {
            steps: VecDeque::new(),
            stage: Stage::Dialling,
            deadline: Instant::START,
            server: None,
            lines: Lines::default(),
            local: None,
            greeted: Instant::START,
            round_trip: Duration::ZERO,
            probes: Vec::new(),
            ticket: None,
            own_room: setting.claim,
            refusal: None,
            losses: 0,
            impostors: 0,
            peer: Peer::new(setting.words.clone(), setting.secret),
            role,
            shows: Shows::default(),
            attempt: 1,
            learnt: Learnt::new(side(role)),
            opened: None,
            flows: 0,
            setting,
        };
        introduced.dial(Instant::START);
        introduced
    }

    /// The connection that stands, once an attempt is done.
    pub const fn opened(&self) -> Option<Flow> {
        self.opened
    }

    /// The room that this end has opened, and its ticket.
    pub const fn room(&self) -> Option<(u32, Ticket)> {
        self.own_room
    }

    /// What the server has refused to do, if that was the end of it.
    pub const fn refusal(&self) -> Option<Code> {
        self.refusal
    }

    /// Which attempt it is, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Begins another attempt, if there is one to make.
    pub fn again(&mut self, now: Instant) -> bool {
        let has_peer = self.server.is_some() && self.peer.is_there();
        let is_tried = self.learnt.has_tried() && !self.learnt.was_spoiled();
        if self.opened.is_some() || self.attempt >= self.setting.attempts || !has_peer || !is_tried
        {
            return false;
        }
        self.attempt += 1;
        self.show(now);
        true
    }

    fn next_flow(&mut self) -> Flow {
        self.flows += 1;
        Flow(STREAM.0 - self.flows)
    }

    fn open(&mut self, flow: Flow, from: Bind, to: Endpoint) {
        self.steps.push_back(Step::Open { flow, from, to, at: None, reader: Reader::Party });
    }

    fn ask(&mut self, request: &Request) {
        if let Some(flow) = self.server {
            self.steps.push_back(Step::Write(flow, wire::to_line(request)));
        }
    }

    /// Opens connections whose mappings the server will see.
    fn show(&mut self, now: Instant) {
        let Some(local) = self.local else { return };
        self.learnt.begin();
        let own = self.setting.port.map(|port| (local.ip(), port));
        self.shows.plan(&self.probes, own, self.attempt == 1);
        self.stage = Stage::Showing;
        self.show_next(now);
    }

    /// One after another, ever further apart: at once they would not tell how many ports others take
    /// meanwhile, and at equal distances not whether that is so many a moment or so many a flow.
    fn show_next(&mut self, now: Instant) {
        if let Some((from, to)) = self.shows.next() {
            let flow = self.next_flow();
            self.shows.add(flow);
            self.open(flow, from, to);
        }
        let first = if self.setting.port.is_some() { APART } else { FAR_APART };
        let pause = self.shows.pause(first);
        self.deadline = now + pause.unwrap_or(SHOWING);
        self.go_on(now);
    }

    fn introduce(&mut self, flow: Flow, local: Endpoint) {
        let Some(ticket) = self.ticket else { return };
        self.shows.stands(flow, local.port());
        let show = Request::Show { ticket, internal: Some(local.port()) };
        self.steps.push_back(Step::Write(flow, wire::to_line(&show)));
    }

    fn saw(&mut self, now: Instant, mappings: Vec<Seen>) {
        self.shows.saw(now, mappings);
        self.go_on(now);
    }

    /// Goes on once all that was to be shown has been seen.
    fn go_on(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Showing) && self.shows.are_seen() {
            self.agree(now);
        }
    }

    fn agree(&mut self, now: Instant) {
        let Some(address) = self.local.map(|local| local.ip()) else { return };
        let mut seen: Vec<_> =
            self.shows.seen.iter().copied().chain(self.learnt.mappings()).collect();
        let mut unseen = self.learnt.unseen().to_vec();
        if self.setting.port.is_none() {
            anew::forget(&mut seen, &mut unseen);
        }
        let ahead = now.since(self.shows.seen_at) + ahead(self.round_trip);
        let (to, port) = (self.learnt.peer(), self.setting.port);
        let outlook = Outlook { seen: &seen, unseen: &unseen, ahead, to, address, port };
        let mut prospect = Prospect::of(&outlook);
        if let Some(prospect) = prospect.as_mut().filter(|_| self.attempt > 1) {
            // What did not open within, if that was tried, has to be tried from outside.
            prospect.within = None;
        }
        let external = prospect.as_ref().and_then(|told| told.external.first().copied());
        let Introduction { wait, patience, seed, .. } = self.setting;
        let (meet, port, peer) = (Meet::Over(self.role), port.unwrap_or(0), None);
        let appointment = Appointment { meet, port, external, peer, wait, patience, seed };
        let mut agreed = Agreed::over((STREAM, address), now, appointment, prospect)
            .going_on(self.attempt < self.setting.attempts);
        if let Some(early) = self.peer.kept() {
            agreed.handle(now, Event::Read(STREAM, early));
        }
        self.stage = Stage::Agreeing(Box::new(agreed));
    }

    /// The next step of the attempt under way. What it says is sealed, as much at once as there is.
    fn try_on(&mut self, now: Instant) -> Step {
        let Stage::Agreeing(agreed) = &mut self.stage else { return Step::Done };
        let step = loop {
            match agreed.poll(now) {
                Step::Write(STREAM, octets) => self.peer.say(octets),
                Step::Close(STREAM, _) => {}
                step => break step,
            }
        };
        if let Step::Note(fact) = &step {
            self.learnt.take(fact);
        }
        let opened = agreed.opened();
        for text in self.peer.said() {
            self.ask(&Request::Relay { text });
        }
        if step == Step::Done {
            (self.opened, self.stage) = (opened, Stage::Over);
            self.conclude();
        } else {
            self.steps.push_back(step);
        }
        self.steps.pop_front().unwrap_or(Step::Done)
    }

    /// What the attempt has taught, if it came to nothing.
    fn conclude(&mut self) {
        if self.opened.is_none() && self.learnt.has_tried() {
            let (own, peer) = self.learnt.conclude(self.shows.last(), self.shows.seen_at);
            self.note(Punched::Taught { own, peer });
        }
    }

    fn time_is_up(&mut self, now: Instant) {
        match self.stage {
            Stage::Dialling | Stage::Asking => {
                self.hang_up();
                self.lost(now, Some(Unreached::TimedOut));
            }
            Stage::Waiting => {
                // It keeps mappings on the way alive, and finds a server that is gone without a word.
                self.ask(&Request::Ping { id: 0 });
                self.deadline = now + KEEP_ALIVE;
            }
            Stage::Parted => self.dial(now),
            Stage::Proving => self.visited(now, Gone::Silent.in_words()),
            Stage::Showing if self.shows.has_more() => self.show_next(now),
            // What was not seen by now is done without.
            Stage::Showing => self.agree(now),
            Stage::Agreeing(_) | Stage::Over => {}
        }
    }

    fn fail(&mut self, what: &str) {
        self.spoil(Trouble::Host { what: what.to_owned() });
    }

    fn spoil(&mut self, trouble: Trouble) {
        self.hang_up();
        self.steps.push_back(Step::Note(Box::new(Fact::Trouble(trouble))));
        self.stage = Stage::Over;
    }

    fn note(&mut self, what: Punched) {
        self.steps.push_back(Step::Note(Box::new(Fact::Punch { side: side(self.role), what })));
    }
}

const fn side(role: Role) -> Side {
    match role {
        Role::Follows => Side::B,
        _ => Side::A,
    }
}

impl Party for Introduced {
    fn poll(&mut self, now: Instant) -> Step {
        if let Some(step) = self.steps.pop_front() {
            return step;
        }
        match self.stage {
            Stage::Agreeing(_) => self.try_on(now),
            Stage::Over => Step::Done,
            _ => Step::Wait(self.deadline),
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        let is_server = |flow: &Flow| Some(*flow) == self.server;
        match (event, &mut self.stage) {
            (Event::Read(flow, octets), _) if is_server(&flow) => self.hear(now, flow, &octets),
            (Event::Opened { flow, local }, _) if is_server(&flow) => self.greet(now, local),
            (Event::Ended(flow, _), _) if is_server(&flow) => self.lost(now, None),
            (Event::Failed(flow, why), _) if is_server(&flow) => self.lost(now, Some(why)),
            (Event::Opened { flow, local }, _) if self.shows.awaits(flow) => {
                self.introduce(flow, local);
            }
            (Event::Failed(flow, _) | Event::Ended(flow, _), _) if self.shows.awaits(flow) => {
                self.shows.lost(flow);
                self.go_on(now);
            }
            (Event::Read(flow, _), _) if self.shows.awaits(flow) => {}
            (event, Stage::Agreeing(agreed)) => agreed.handle(now, event),
            (Event::Interrupted, _) => self.spoil(Trouble::Interrupted),
            (Event::HostFailed(what), _) => self.spoil(Trouble::Host { what }),
            (Event::DeadlinePassed, _) => self.time_is_up(now),
            _ => {}
        }
    }
}

/// What the ends agree over, which leads through the server and is no connection of its own.
const STREAM: Flow = Flow(Flow::FIRST_ACCEPTED - 1);

/// What is not seen by then was lost.
const SHOWING: Duration = Duration::from_secs(3);

/// From the first connection that shows a mapping to the second; and where the host chooses the port, so
/// that it counts how many ports others take meanwhile.
const APART: Duration = Duration::from_millis(10);
const FAR_APART: Duration = Duration::from_millis(20);

/// From when mappings were shown to the moment of the SYN, by the round trip to the server: the peer is
/// taken to be as far from it as this end.
fn ahead(round_trip: Duration) -> Duration {
    agreeing(2 * round_trip)
}

/// Often enough for every NAT on the way to remember the connection, and for the server to find this
/// end alive.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests;

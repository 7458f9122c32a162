//! One connection to a rendezvous server, and what it has come to.

use std::collections::{BTreeSet, VecDeque};

use super::limits::IntroducerLimits;
use super::message::{Code, Lines, Proof, Request, Seen, Ticket, micros};
use crate::engine::Flow;
use crate::time::Instant;
use crate::wire::Endpoint;

/// One connection.
#[derive(Debug)]
pub struct Client {
    pub remote: Endpoint,
    pub stage: Stage,
    /// When it has to be seen to next.
    pub due: Instant,
    local: Endpoint,
    came: Instant,
    lines: Lines,
    /// When it last said something whole, or was asked for a sign of life: a server that was stopped
    /// itself must not take that time for its clients' silence.
    quiet_since: Instant,
    /// Pings since it said something.
    pings: u32,
    /// The current second, and what was said in it.
    second: u64,
    said: u32,
}

/// What a connection is.
#[derive(Debug)]
pub enum Stage {
    /// It has not said yet.
    New,
    /// A client.
    Known(Box<Known>),
    /// It shows a mapping of this client.
    Shows(Flow),
}

/// A client that has said hello.
#[derive(Debug)]
pub struct Known {
    pub ticket: Ticket,
    pub proof: Proof,
    /// Connections that show its mappings.
    pub shows: BTreeSet<Flow>,
    /// Since when it waits in a room for somebody.
    pub waiting_since: Option<Instant>,
    mappings: VecDeque<Seen>,
}

/// What is to be done for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing before this moment.
    Later(Instant),
    /// It has been silent for a while.
    Ping(u64),
    /// It has to go.
    Refuse(Code),
}

impl Client {
    pub fn new(now: Instant, local: Endpoint, remote: Endpoint) -> Self {
        let (stage, lines) = (Stage::New, Lines::default());
        let (came, quiet_since, due) = (now, now, now);
        Self { remote, stage, due, local, came, lines, quiet_since, pings: 0, second: 0, said: 0 }
    }

    /// Takes octets up to the end of a message: what it was, and how many octets are used up.
    pub fn take(
        &mut self,
        now: Instant,
        octets: &[u8],
        most_in_a_second: u32,
    ) -> Result<(Option<Request>, usize), Code> {
        let (request, used) = self.lines.take(octets)?;
        if request.is_some() {
            let second = now.since_start().as_secs();
            self.said = if second == self.second { self.said + 1 } else { 1 };
            self.second = second;
            self.is_there(now);
        }
        if self.said > most_in_a_second { Err(Code::TooFast) } else { Ok((request, used)) }
    }

    /// From now on its silence counts.
    pub const fn is_there(&mut self, now: Instant) {
        (self.quiet_since, self.pings) = (now, 0);
    }

    /// The mapping of this very connection.
    pub fn seen(&self, internal: Option<u16>) -> Seen {
        Seen { time_us: micros(self.came), server: self.local, external: self.remote, internal }
    }

    /// What it is to be asked or told by itself.
    pub fn duty(&mut self, now: Instant, is_paired: bool, limits: &IntroducerLimits) -> Duty {
        let known = match &self.stage {
            Stage::New if self.came + limits.greeting <= now => return Duty::Refuse(Code::Silent),
            Stage::New => return Duty::Later(self.came + limits.greeting),
            // It goes with its client.
            Stage::Shows(_) => return Duty::Later(super::NEVER),
            Stage::Known(known) => known,
        };
        let waits_until = known.waiting_since.map_or(super::NEVER, |since| since + limits.waiting);
        if waits_until <= now {
            return Duty::Refuse(Code::WaitedTooLong);
        }
        let silence = if is_paired { limits.silence_of_a_pair } else { limits.silence };
        let next = self.quiet_since + silence / (PINGS + 1);
        if now < next {
            Duty::Later(next.min(waits_until))
        } else if self.pings == PINGS {
            Duty::Refuse(Code::Silent)
        } else {
            (self.quiet_since, self.pings) = (now, self.pings + 1);
            Duty::Ping(self.pings.into())
        }
    }

    pub fn known(&self) -> Option<&Known> {
        if let Stage::Known(known) = &self.stage { Some(known) } else { None }
    }

    pub fn known_mut(&mut self) -> Option<&mut Known> {
        if let Stage::Known(known) = &mut self.stage { Some(known) } else { None }
    }
}

impl Known {
    pub fn new(ticket: Ticket, proof: Proof, seen: Seen) -> Self {
        let (shows, mappings) = (BTreeSet::new(), VecDeque::from([seen]));
        Self { ticket, proof, shows, waiting_since: None, mappings }
    }

    /// Adds a mapping and gives back all that are kept, the newest last.
    pub fn add(&mut self, seen: Seen, most: usize) -> Vec<Seen> {
        self.mappings.push_back(seen);
        while self.mappings.len() > most {
            self.mappings.pop_front();
        }
        self.mappings.iter().copied().collect()
    }
}

/// How often somebody silent is asked for a sign of life.
const PINGS: u32 = 2;

//! Coming together: with the server, and through it with the peer; and what happens if one is lost.

use std::net::IpAddr;

use super::peer::Heard;
use super::{Introduced, KEEP_ALIVE, STREAM, Stage};
use crate::engine::{Bind, End, Event, Flow, How, Party, Punched, Step, Unreached};
use crate::rendezvous::introducer::{
    self as wire, Answer, Code, Lines, Proof, Request, Role, Ticket,
};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

impl Introduced {
    pub(super) fn dial(&mut self, now: Instant) {
        let flow = self.next_flow();
        self.server = Some(flow);
        (self.lines, self.stage) = (Lines::default(), Stage::Dialling);
        self.peer.part();
        self.deadline = now + self.setting.wait;
        self.open(flow, Bind::Kernel, self.setting.server);
    }

    pub(super) fn greet(&mut self, now: Instant, local: Endpoint) {
        self.local = Some(local.ip());
        let (version, internal) = (wire::VERSION, Some(local.port()));
        self.ask(&Request::Hello { version, proof: Proof::Spake2, internal });
        self.deadline = now + self.setting.wait;
    }

    pub(super) fn hear(&mut self, now: Instant, flow: Flow, octets: &[u8]) {
        let mut rest = octets;
        // What else came is of no interest once this end has left.
        while !rest.is_empty() && self.server == Some(flow) {
            match self.lines.take::<Answer>(rest) {
                Ok((answer, used)) => {
                    rest = &rest[used..];
                    if let Some(answer) = answer {
                        self.understand(now, answer);
                    }
                }
                Err(_) => return self.fail("what the rendezvous server says makes no sense"),
            }
        }
    }

    fn understand(&mut self, now: Instant, answer: Answer) {
        if !self.expects(&answer) {
            return self.fail("the rendezvous server speaks out of turn");
        }
        match answer {
            Answer::Welcome { probes, ticket, .. } => self.welcomed(now, probes, ticket),
            Answer::Room { room, ticket } => self.waits(now, room, ticket),
            Answer::Paired { role, proof, .. } => self.paired(now, role, proof),
            Answer::Relay { text } => self.told(now, &text),
            Answer::Seen { mappings } => self.saw(now, mappings),
            Answer::Gone { .. } => self.left(now),
            Answer::Ping { id, .. } => self.ask(&Request::Pong { id }),
            Answer::Error { code, text } => self.refused(code, &text),
            Answer::Shown { .. } | Answer::Pong { .. } => {}
        }
    }

    /// A second pairing, for one, would be another guess at the words.
    const fn expects(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Welcome { .. } => matches!(self.stage, Stage::Dialling),
            Answer::Room { .. } => matches!(self.stage, Stage::Asking),
            Answer::Paired { .. } => matches!(self.stage, Stage::Asking | Stage::Waiting),
            _ => true,
        }
    }

    fn welcomed(&mut self, now: Instant, probes: Vec<Endpoint>, ticket: Ticket) {
        let server = self.setting.server;
        let alike = probes.into_iter().filter(|probe| is_alike(server.ip(), probe.ip()));
        self.probes = alike.take(MOST_PROBES).collect();
        self.ticket = Some(ticket);
        let request = match (self.own_room, self.setting.room) {
            (Some((room, ticket)), _) => Request::Wait { room: Some(room), ticket: Some(ticket) },
            (None, Some(room)) => Request::Join { room },
            (None, None) => Request::Wait { room: None, ticket: None },
        };
        self.ask(&request);
        (self.stage, self.deadline) = (Stage::Asking, now + self.setting.wait);
    }

    fn waits(&mut self, now: Instant, room: u32, ticket: Ticket) {
        self.own_room = Some((room, ticket));
        self.losses = 0;
        self.note(Punched::Waits { room });
        (self.stage, self.deadline) = (Stage::Waiting, now + KEEP_ALIVE);
    }

    fn paired(&mut self, now: Instant, role: Role, proof: Proof) {
        if proof != Proof::Spake2 {
            return self.fail("the peer does not prove that it knows the words of the code");
        }
        let text = self.peer.meet(role);
        self.ask(&Request::Relay { text });
        (self.stage, self.deadline) = (Stage::Proving, now + self.setting.wait);
    }

    fn told(&mut self, now: Instant, text: &str) {
        match (self.peer.hear(text), &mut self.stage) {
            (Heard::Key(proof), _) => self.ask(&Request::Relay { text: proof }),
            (Heard::Nonsense, Stage::Proving) => self.is_impostor(now),
            (Heard::Nonsense, _) => self.fail("what came from the peer was changed on its way"),
            (Heard::Words(_), Stage::Proving) => {
                self.note(Punched::Met);
                self.show(now);
            }
            (Heard::Words(octets), Stage::Agreeing(agreed)) => {
                agreed.handle(now, Event::Read(STREAM, octets));
            }
            (Heard::Words(octets), _) if self.peer.keep(&octets) => {}
            (Heard::Words(_), _) => self.fail("the peer says too much too early"),
        }
    }

    /// One who does not know the words has had one guess at them.
    pub(super) fn is_impostor(&mut self, now: Instant) {
        self.impostors += 1;
        if self.own_room.is_none() || self.impostors >= MOST_IMPOSTORS {
            return self.fail(WRONG_WORDS);
        }
        self.note(Punched::Impostor);
        self.hang_up();
        self.dial(now);
    }

    /// The peer has left.
    fn left(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Agreeing(agreed) => {
                self.peer.part();
                agreed.handle(now, Event::Ended(STREAM, End::Finished));
            }
            Stage::Proving if self.own_room.is_none() => self.fail(WRONG_WORDS),
            Stage::Proving => self.is_impostor(now),
            Stage::Showing if self.own_room.is_some() && self.attempt == 1 => {
                self.hang_up();
                self.dial(now);
            }
            Stage::Showing if self.attempt > 1 => self.stage = Stage::Over,
            _ => self.fail("the peer has left"),
        }
    }

    fn refused(&mut self, code: Code, text: &str) {
        // The end of the connection follows, and is seen to then.
        if code != Code::Stopping {
            self.refusal = Some(code);
            self.fail(&format!("the rendezvous server says: {text} ({code})"));
        }
    }

    pub(super) fn hang_up(&mut self) {
        let flows = self.server.take().into_iter().chain(self.shows.take());
        self.steps.extend(flows.map(|flow| Step::Close(flow, How::Fin)));
    }

    /// The server is gone. Whoever waits comes back to it.
    pub(super) fn lost(&mut self, now: Instant, why: Option<Unreached>) {
        self.server = None;
        let what = match why {
            Some(Unreached::Refused) => "refuses connections",
            Some(Unreached::TimedOut) => "does not answer",
            Some(Unreached::NoWay) => "cannot be reached from here",
            Some(_) => "was not to be reached",
            None => "has ended the connection",
        };
        match &mut self.stage {
            Stage::Agreeing(agreed) => {
                self.peer.part();
                agreed.handle(now, Event::Ended(STREAM, End::Finished));
            }
            Stage::Over => {}
            _ if self.own_room.is_some() && self.losses < MOST_LOSSES => self.part(now),
            _ => self.fail(&format!("the rendezvous server {} {what}", self.setting.server)),
        }
    }

    fn part(&mut self, now: Instant) {
        self.hang_up();
        self.losses += 1;
        if self.losses == 1 {
            self.note(Punched::Parted);
        }
        let pause = FIRST_PAUSE * (1 << self.losses.min(LONGEST_DOUBLING));
        (self.stage, self.deadline) = (Stage::Parted, now + pause);
    }
}

/// Whether both are in the same kind of network: a server on the Internet must not have its clients knock
/// within their own.
fn is_alike(server: IpAddr, probe: IpAddr) -> bool {
    let kind = |address: IpAddr| match address {
        IpAddr::V4(address) => (
            address.is_loopback(),
            address.is_private() || address.is_link_local(),
            address.is_unspecified() || address.is_multicast() || address.is_broadcast(),
        ),
        IpAddr::V6(address) => (
            address.is_loopback(),
            address.is_unique_local() || address.is_unicast_link_local(),
            address.is_unspecified() || address.is_multicast(),
        ),
    };
    let (server, probe) = (kind(server), kind(probe));
    !probe.2 && (server.0, server.1) == (probe.0, probe.1)
}

/// Two ports at two addresses are all that is of use.
const MOST_PROBES: usize = 4;

/// Whoever guesses has three guesses at 60 million pairs of words.
const MOST_IMPOSTORS: u32 = 3;

const WRONG_WORDS: &str =
    "the peer has other words: the code was mistyped, or somebody guesses at it";

/// A server that was lost is asked again after half a second, then twice as long each time, up to 32 s,
/// for some half an hour in all.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_DOUBLING: u32 = 7;
const MOST_LOSSES: u32 = 60;

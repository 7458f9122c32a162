//! Coming together: with the server, and through it with the peer; and what happens if one is lost.

use std::net::IpAddr;

use super::peer::Heard;
use super::{Introduced, KEEP_ALIVE, STREAM, Stage};
use crate::engine::{Bind, End, Event, Flow, Gone, How, Party, Punched, Step, Unreached};
use crate::rendezvous::introducer::{
    self as wire, Answer, Code, Lines, Proof, Request, Role, Seen, Ticket, Why,
};
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, printable};

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
        (self.local, self.greeted) = (Some(local), now);
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
            Answer::Welcome { version, .. } if version != wire::VERSION => {
                let ours = wire::VERSION;
                let what =
                    format!("the rendezvous server speaks version {version}, this is {ours}");
                self.fail(&what);
            }
            Answer::Welcome { observed, probes, ticket, time_us, .. } => {
                self.is_seen(now, time_us, observed);
                self.welcomed(now, probes, ticket);
            }
            Answer::Room { room, ticket } => self.waits(now, room, ticket),
            Answer::Paired { role, proof, .. } => self.paired(now, role, proof),
            Answer::Relay { text } => self.told(now, &text),
            Answer::Seen { mappings } => self.saw(now, mappings),
            Answer::Gone { why } => self.left(now, how(why)),
            Answer::Ping { id, .. } => self.ask(&Request::Pong { id }),
            Answer::Error { code, text } => self.refused(now, code, &text),
            Answer::Shown { .. } | Answer::Pong { .. } | Answer::Other => {}
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

    fn is_seen(&mut self, now: Instant, time_us: u64, external: Endpoint) {
        let (server, internal) = (self.setting.server, self.local.map(|local| local.port()));
        self.shows.begin(now, Seen { time_us, server, external, internal });
    }

    fn welcomed(&mut self, now: Instant, probes: Vec<Endpoint>, ticket: Ticket) {
        self.round_trip = now.since(self.greeted);
        self.probes = reachable(self.setting.server, &probes);
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
            return self
                .visited(now, "the peer does not prove that it knows the words of the code");
        }
        let text = self.peer.meet(role);
        self.ask(&Request::Relay { text });
        (self.stage, self.deadline) = (Stage::Proving, now + self.setting.wait);
    }

    fn told(&mut self, now: Instant, text: &str) {
        match (self.peer.hear(text), &mut self.stage) {
            (Heard::Key, _) => self.prove(false),
            (Heard::Nonsense, Stage::Proving) if self.peer.is_there() => self.is_impostor(now),
            (Heard::Nonsense, Stage::Proving) => {
                self.visited(now, "the peer says no part of a key");
            }
            (Heard::Nonsense, _) => self.fail("what came from the peer was changed on its way"),
            (Heard::Words(_), Stage::Proving) => {
                self.prove(true);
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

    fn prove(&mut self, is_proven: bool) {
        if let Some(text) = self.peer.proof(is_proven) {
            self.ask(&Request::Relay { text });
        }
    }

    /// One who does not know the words has had one guess at them, and is told so.
    fn is_impostor(&mut self, now: Instant) {
        self.impostors += 1;
        if self.own_room.is_some() {
            self.ask(&Request::Relay { text: NO.to_owned() });
        }
        if self.own_room.is_none() || self.impostors >= MOST_IMPOSTORS {
            return self.fail(WRONG_WORDS);
        }
        self.note(Punched::Impostor);
        self.hang_up();
        self.dial(now);
    }

    /// Somebody was there who proved nothing, and has not learnt anything about the words.
    pub(super) fn visited(&mut self, now: Instant, what: &str) {
        if self.own_room.is_none() {
            return self.fail(what);
        }
        self.note(Punched::Visitor);
        self.hang_up();
        self.dial(now);
    }

    /// The peer has left.
    fn left(&mut self, now: Instant, how: Gone) {
        match &mut self.stage {
            Stage::Agreeing(agreed) => {
                self.peer.part();
                agreed.parted(now, how);
            }
            Stage::Proving => self.visited(now, how.in_words()),
            Stage::Showing if self.own_room.is_some() && self.attempt == 1 => {
                self.note(Punched::PeerGone { how });
                self.hang_up();
                self.dial(now);
            }
            Stage::Showing if self.attempt > 1 => self.stage = Stage::Over,
            Stage::Over => {}
            _ => self.fail(how.in_words()),
        }
    }

    fn refused(&mut self, now: Instant, code: Code, text: &str) {
        let will_pass = matches!(
            code,
            Code::Stopping | Code::Silent | Code::Busy | Code::TooFast | Code::TooManyRooms
        );
        let may_come_back =
            self.own_room.is_some() && self.attempt == 1 && self.losses < MOST_LOSSES;
        match &self.stage {
            // Where the connection ends with it, that is seen to then.
            Stage::Agreeing(_) | Stage::Over if will_pass => {}
            _ if code == Code::Stopping => {}
            stage if code == Code::Other && !matches!(stage, Stage::Asking) => {}
            // The room was this end's, and may be again.
            _ if will_pass && may_come_back => self.part(now),
            _ => {
                self.refusal = Some(code);
                let text: String = printable(text).chars().take(LONGEST_TEXT).collect();
                self.fail(&format!("the rendezvous server says: {text} ({code})"));
            }
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

/// Where connections may show their mappings. A server behind a NAT names endpoints that are not to be
/// reached from here: what it is reached at has, as a rule, the same ports.
fn reachable(server: Endpoint, named: &[Endpoint]) -> Vec<Endpoint> {
    let as_seen = |probe: &Endpoint| match is_alike(server.ip(), probe.ip()) {
        true => *probe,
        false => Endpoint::new(server.ip(), probe.port()),
    };
    let is_some_alike = named.iter().any(|probe| is_alike(server.ip(), probe.ip()));
    let usable = named.iter().filter(|probe| !is_some_alike || is_alike(server.ip(), probe.ip()));
    let mut all = Vec::new();
    for probe in usable.map(as_seen) {
        if !all.contains(&probe) && all.len() < MOST_PROBES {
            all.push(probe);
        }
    }
    // Of this one it is certain.
    if !all.contains(&server) {
        all.truncate(MOST_PROBES - 1);
        all.push(server);
    }
    all
}

/// How a peer is gone, as the server says it.
const fn how(why: Why) -> Gone {
    match why {
        Why::Left => Gone::Left,
        Why::Silent => Gone::Silent,
        Why::Refused => Gone::Refused,
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

/// Whoever guesses has twenty guesses at 60 million pairs of words: one in three million comes in.
const MOST_IMPOSTORS: u32 = 20;

/// What whoever joined with other words is told: no proof of theirs.
const NO: &str = "no";

/// A sentence or two.
const LONGEST_TEXT: usize = 300;

const WRONG_WORDS: &str =
    "the peer has other words: the code was mistyped, or somebody guesses at it";

/// A server that was lost is asked again after half a second, then twice as long each time, up to 32 s,
/// for some half an hour in all.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_DOUBLING: u32 = 7;
const MOST_LOSSES: u32 = 60;

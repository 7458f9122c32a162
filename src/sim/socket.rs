//! One connection of a simulated host: opened as [`crate::tcp::Host`] has it, then as much of RFC
//! 9293 as carries octets reliably, one segment at a time, and ends.

use super::doing::{Doing, Gone, unreached};
use crate::engine::{Flow, How, Reader};
use crate::tcp::{Host, State};
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Flags, Icmp, Segment, Seq};

/// One end of one connection.
#[derive(Debug)]
pub struct Socket {
    /// A number of its own.
    pub number: u32,
    /// What the party calls it; none before it is accepted, and once the party has closed it.
    pub flow: Option<Flow>,
    pub local: Endpoint,
    pub remote: Endpoint,
    pub reader: Reader,
    pub state: State,
    /// Whether it came from a listener.
    pub is_passive: bool,
    opening: Host,
    /// When an opening, or octets that nobody acknowledges, are given up.
    gives_up: Instant,
    /// SND.UNA and RCV.NXT.
    una: Seq,
    expected: Seq,
    /// Octets not acknowledged yet, of which the first so many are under way.
    outgoing: Vec<u8>,
    in_flight: usize,
    fin: Fin,
    /// When what is under way is sent again, and how long to wait the next time.
    repeats: Instant,
    timeout: Duration,
    /// When it is forgotten, once it has ended.
    forgets: Instant,
    /// Until when nothing else that does not belong is answered.
    mute_until: Instant,
}

/// How far our own FIN has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Unwanted,
    Wanted,
    Sent,
    Acknowledged,
}

impl Socket {
    /// One that connects by a SYN that leaves now, with all that it does.
    pub fn connecting(
        now: Instant,
        mut opening: Host,
        [local, remote]: [Endpoint; 2],
    ) -> (Self, Vec<Doing>) {
        let syn = opening.open(now);
        let socket = Self::new(now, opening, [local, remote], State::SynSent);
        (socket, vec![Doing::Change(State::Closed, State::SynSent), Doing::Send(syn)])
    }

    /// One that a listener has made of a SYN.
    pub fn accepting(now: Instant, opening: Host, ends: [Endpoint; 2]) -> Self {
        Self { is_passive: true, ..Self::new(now, opening, ends, State::SynReceived) }
    }

    fn new(now: Instant, opening: Host, [local, remote]: [Endpoint; 2], state: State) -> Self {
        Self {
            number: 0,
            flow: None,
            local,
            remote,
            reader: Reader::Heir,
            state,
            is_passive: false,
            opening,
            gives_up: now + USER_TIMEOUT,
            una: Seq(0),
            expected: Seq(0),
            outgoing: Vec::new(),
            in_flight: 0,
            fin: Fin::Unwanted,
            repeats: NEVER,
            timeout: FIRST_TIMEOUT,
            forgets: NEVER,
            mute_until: Instant::START,
        }
    }

    /// Takes a segment that arrived.
    pub fn take(&mut self, now: Instant, segment: &Segment) -> Vec<Doing> {
        if self.is_opening() {
            self.take_while_opening(now, segment)
        } else {
            self.take_once_open(now, segment)
        }
    }

    /// Takes an ICMP error about what was sent. As Linux has it (tcp_v4_err), any that says
    /// unreachable or expired ends a socket that is connecting; one that is not is left alone.
    pub fn take_error(&mut self, icmp: &Icmp) -> Vec<Doing> {
        let (next, _) = self.opening.numbers();
        let is_own = icmp.quote.seq == next || icmp.quote.seq + 1 == next;
        let why = unreached(icmp).filter(|_| self.is_opening() && is_own);
        match why {
            // A listener lets go of a SYN only where nobody can be reached (tcp_req_err).
            Some(_) if self.is_passive && !matches!((icmp.kind, icmp.code), (3, 0 | 1)) => vec![],
            Some(why) => self.go(Gone::Unreached(why)),
            None => vec![],
        }
    }

    /// Takes octets to send.
    pub fn write(&mut self, now: Instant, octets: &[u8]) -> Vec<Doing> {
        self.outgoing.extend(octets);
        self.flush(now).into_iter().collect()
    }

    /// Ends it, for the party.
    pub fn close(&mut self, now: Instant, how: How) -> Vec<Doing> {
        self.flow = None;
        if self.state == State::SynSent {
            return self.go(Gone::Closed);
        }
        let next = if self.is_opening() { self.opening.numbers().0 } else { self.next() };
        if how == How::Reset {
            let reset = Segment { seq: next, flags: Flags::RST, ..Segment::default() };
            return [vec![Doing::Send(reset)], self.go(Gone::Closed)].concat();
        }
        if self.is_opening() {
            (self.una, self.expected) = self.opening.numbers();
        }
        self.fin = Fin::Wanted;
        let after = if self.state == State::CloseWait { State::LastAck } else { State::FinWait1 };
        let mut doings = vec![self.turn(after)];
        doings.extend(self.flush(now));
        doings
    }

    /// When it will act on its own next.
    pub fn due(&self) -> Instant {
        if self.is_opening() {
            return self.opening.wakes().map_or(self.gives_up, |at| at.min(self.gives_up));
        }
        self.repeats.min(self.forgets)
    }

    /// What it does now, if it is time.
    pub fn act(&mut self, now: Instant) -> Vec<Doing> {
        if self.is_opening() {
            let repeated = self.opening.due(now).filter(|_| now < self.gives_up);
            let is_over = now >= self.gives_up || self.opening.state() == State::Closed;
            return match repeated {
                Some(segment) => vec![Doing::Send(segment)],
                None if is_over => self.go(Gone::TimedOut),
                None => vec![],
            };
        }
        if self.forgets <= now {
            return self.go(Gone::Closed);
        }
        if self.repeats > now {
            return vec![];
        }
        if self.gives_up <= now {
            return self.go(Gone::TimedOut);
        }
        // RFC 6298 §5.5.
        self.timeout *= 2;
        self.repeats = now + self.timeout;
        vec![Doing::Send(self.under_way())]
    }

    const fn is_opening(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived)
    }

    fn take_while_opening(&mut self, now: Instant, segment: &Segment) -> Vec<Doing> {
        let before = self.state;
        let answers = self.opening.take(now, segment).into_iter().map(Doing::Send);
        let mut doings = Vec::new();
        match self.opening.state() {
            State::Established => {
                (self.una, self.expected) = self.opening.numbers();
                if self.is_passive {
                    // On Linux there is a socket only once the handshake is over.
                    doings.push(Doing::Change(State::Listen, State::SynReceived));
                }
                doings.push(self.turn(State::Established));
                doings.push(Doing::Establish);
                doings.extend(answers);
                if !segment.is_syn_ack() {
                    doings.extend(self.take_octets(now, segment));
                }
                doings.extend(self.flush(now));
            }
            State::Closed | State::Listen => {
                let why = if before == State::SynSent { Gone::Refused } else { Gone::Reset };
                doings.extend(answers);
                doings.extend(self.go(why));
            }
            after if after != before => {
                doings.push(self.turn(after));
                doings.extend(answers);
            }
            _ => {
                let answers: Vec<_> = answers.collect();
                doings.extend(answers.into_iter().filter(|answer| self.may_answer(now, answer)));
            }
        }
        doings
    }

    /// RFC 9293 §3.10.7.4, for ESTABLISHED and what follows.
    fn take_once_open(&mut self, now: Instant, segment: &Segment) -> Vec<Doing> {
        let is_in_window = segment.seq - self.expected < WINDOW;
        if segment.is_reset() {
            return match segment.seq == self.expected {
                // RFC 1337 §3: TIME-WAIT outlives a reset.
                _ if self.state == State::TimeWait => vec![],
                true => self.go(Gone::Reset),
                false => is_in_window.then(|| self.challenge(now)).flatten().into_iter().collect(),
            };
        }
        if segment.flags.contains(Flags::SYN) || !is_in_window {
            let repeats_octets = !segment.payload.is_empty() || segment.flags.contains(Flags::FIN);
            let answer = if repeats_octets { Some(self.ack()) } else { self.challenge(now) };
            return answer.into_iter().collect();
        }
        if !segment.flags.contains(Flags::ACK) {
            return vec![];
        }
        let mut doings = self.take_acknowledgement(now, segment.ack);
        doings.extend(self.take_octets(now, segment));
        doings.extend(self.flush(now));
        doings
    }

    fn take_acknowledgement(&mut self, now: Instant, ack: Seq) -> Vec<Doing> {
        // SND.UNA < SEG.ACK =< SND.NXT.
        let newly = ack - self.una;
        if newly == 0 || newly > self.next() - self.una {
            return vec![];
        }
        let octets = self.in_flight.min(newly as usize);
        self.outgoing.drain(..octets);
        self.in_flight -= octets;
        self.una = ack;
        (self.repeats, self.timeout) = (NEVER, FIRST_TIMEOUT);
        if self.fin != Fin::Sent || (octets as u32) == newly {
            return vec![];
        }
        self.fin = Fin::Acknowledged;
        match self.state {
            State::FinWait1 => {
                self.forgets = now + LINGER;
                vec![self.turn(State::FinWait2)]
            }
            State::Closing => vec![self.wait_out(now)],
            _ => self.go(Gone::Closed),
        }
    }

    fn take_octets(&mut self, now: Instant, segment: &Segment) -> Vec<Doing> {
        let is_next = segment.seq == self.expected;
        let mut doings = Vec::new();
        if segment.length() == 0 {
            return doings;
        }
        if is_next && !segment.payload.is_empty() {
            self.expected = self.expected + segment.payload.len() as u32;
            doings.push(Doing::Read(segment.payload.clone()));
        }
        if is_next && segment.flags.contains(Flags::FIN) {
            self.expected = self.expected + 1;
            doings.push(Doing::Finish);
            doings.push(match self.state {
                State::FinWait1 => self.turn(State::Closing),
                State::FinWait2 => self.wait_out(now),
                _ => self.turn(State::CloseWait),
            });
        }
        doings.push(self.ack());
        doings
    }

    /// Sends the next segment, unless one is under way.
    fn flush(&mut self, now: Instant) -> Option<Doing> {
        let is_idle = self.in_flight == 0 && self.fin != Fin::Sent;
        if self.is_opening() || self.state == State::Closed || !is_idle {
            return None;
        }
        if !self.outgoing.is_empty() {
            self.in_flight = self.outgoing.len().min(LARGEST);
        } else if self.fin == Fin::Wanted {
            self.fin = Fin::Sent;
        } else {
            return None;
        }
        (self.repeats, self.gives_up) = (now + self.timeout, now + USER_TIMEOUT);
        Some(Doing::Send(self.under_way()))
    }

    fn under_way(&self) -> Segment {
        let payload = self.outgoing[..self.in_flight].to_vec();
        let more = if payload.is_empty() { Flags::FIN } else { Flags::PSH };
        let ack = Segment::ack(self.una, self.expected);
        Segment { flags: ack.flags | more, payload, ..ack }
    }

    /// An ACK in answer to what does not belong here.
    fn challenge(&mut self, now: Instant) -> Option<Doing> {
        let ack = self.ack();
        self.may_answer(now, &ack).then_some(ack)
    }

    /// RFC 5961 §7: two ends that disagree would answer each other's ACKs for ever.
    fn may_answer(&mut self, now: Instant, answer: &Doing) -> bool {
        let is_ack = |segment: &Segment| segment.flags == Flags::ACK;
        if !matches!(answer, Doing::Send(segment) if is_ack(segment)) {
            return true;
        }
        let may = self.mute_until <= now;
        if may {
            self.mute_until = now + MUTE;
        }
        may
    }

    fn ack(&self) -> Doing {
        Doing::Send(Segment::ack(self.next(), self.expected))
    }

    /// SND.NXT.
    fn next(&self) -> Seq {
        self.una + self.in_flight as u32 + u32::from(self.fin == Fin::Sent)
    }

    fn turn(&mut self, to: State) -> Doing {
        Doing::Change(std::mem::replace(&mut self.state, to), to)
    }

    fn wait_out(&mut self, now: Instant) -> Doing {
        self.forgets = now + LINGER;
        self.turn(State::TimeWait)
    }

    fn go(&mut self, why: Gone) -> Vec<Doing> {
        let is_told = !(self.is_passive && self.state == State::SynReceived);
        let change = self.turn(State::Closed);
        is_told.then_some(change).into_iter().chain([Doing::Go(why)]).collect()
    }
}

/// As the live driver has it for connections that a run depends on.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// RFC 6298 §2.1.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Linux's TIME-WAIT, and how long it keeps a FIN-WAIT-2 that belongs to nobody.
const LINGER: Duration = Duration::from_secs(60);

/// Linux's `tcp_invalid_ratelimit`.
const MUTE: Duration = Duration::from_millis(500);

/// The payload of a segment on most paths.
const LARGEST: usize = 1_440;

/// As in every segment of ours.
const WINDOW: u32 = 65_535;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

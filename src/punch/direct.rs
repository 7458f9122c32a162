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
    /// How many SYNs at most; none for as many as there is time for.
    pub tries: Option<u32>,
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
        let Aim { side, local, remote, first, patience, seed, .. } = aim;
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
        let is_last = self.aim.tries.is_some_and(|most| most <= self.attempts);
        if is_last || self.give_up() <= at {
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
        if !is_ours {
            return;
        }
        self.note(Punched::Missed { attempt: self.attempts, why });
        self.attempt(now);
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
            Event::Fired { flow: Flow(attempt), stolen } => {
                self.note(Punched::Fired { attempt, stolen });
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{End, Unreached};
    use crate::wire::{Segment, Seq};

    const FIRST: Instant = Instant::from_millis(1_000);
    const PATIENCE: Duration = Duration::from_secs(5);
    const LOCAL: &str = "192.168.1.2:41001";
    const PEER: &str = "203.0.113.1:42002";
    const ACCEPTED: Flow = Flow(Flow::FIRST_ACCEPTED);

    #[test]
    fn it_listens_before_it_connects_at_the_agreed_moment() {
        let mut direct = direct();
        let watch = Step::Watch { local: end(LOCAL), towards: end(PEER) };
        let listen = Step::Listen { on: end(LOCAL), reader: Reader::Heir };
        let (aimed, steps) = (noted(Instant::START, &mut direct), wanted(&mut direct));
        assert!(matches!(aimed[0], Punched::Aimed { first: FIRST, .. }), "{aimed:?}");
        assert_eq!(steps, []);
        let steps = wanted(&mut self::direct());
        assert_eq!(steps, [watch, listen, open(1, FIRST)]);
    }

    #[test]
    fn attempts_follow_the_schedule_until_the_time_is_up() {
        let mut direct = begun();
        let mut schedule = Schedule::new(FIRST, 7);
        schedule.next_after(Instant::START);
        let (mut now, mut attempt) = (FIRST + MOMENT, 1);
        loop {
            let refused = Event::Failed(Flow(attempt), Unreached::Refused);
            direct.handle(now, refused);
            let at = schedule.next_after(now);
            if FIRST + PATIENCE <= at {
                break;
            }
            attempt += 1;
            assert_eq!(wanted(&mut direct), [open(attempt, at)]);
            now = at + MOMENT;
        }
        assert!(attempt > 10, "{attempt} attempts in five seconds");
        assert_eq!(wanted(&mut direct), []);
        assert_eq!(direct.poll(now), Step::Wait(FIRST + PATIENCE));
        direct.handle(FIRST + PATIENCE, Event::DeadlinePassed);
        assert_eq!(noted(now, &mut direct), [Punched::GaveUp]);
        assert_eq!(direct.opened(), None);
    }

    #[test]
    fn an_attempt_that_nothing_answers_is_cancelled_when_the_time_is_up() {
        let mut direct = begun();
        direct.handle(FIRST + PATIENCE - MOMENT, Event::DeadlinePassed);
        assert_eq!(wanted(&mut direct), []);
        direct.handle(FIRST + PATIENCE, Event::DeadlinePassed);
        assert_eq!(wanted(&mut direct), [Step::Close(Flow(1), How::Fin), Step::Done]);
    }

    #[test]
    fn a_stranger_is_shown_out_and_the_attempt_goes_on() {
        let mut direct = begun();
        direct.handle(FIRST, accepted("198.51.100.9:5"));
        assert_eq!(wanted(&mut direct), [Step::Close(ACCEPTED, How::Reset)]);
        connect(&mut direct, FIRST + MOMENT);
        assert_eq!(outlasted(&mut direct), Some(Flow(1)));
    }

    #[test]
    fn a_connection_that_is_accepted_cancels_the_attempt_that_is_pending() {
        // Its NAT may have given the peer's SYN another port than was aimed at.
        for remote in [PEER, "203.0.113.1:9"] {
            let mut direct = begun();
            direct.handle(FIRST - MOMENT, accepted(remote));
            let stood = Punched::Stood { by: By::Accept, local: end(LOCAL), remote: end(remote) };
            assert_eq!(noted(FIRST, &mut direct), [stood]);
            let mut direct = begun();
            direct.handle(FIRST - MOMENT, accepted(remote));
            assert_eq!(wanted(&mut direct), [Step::Close(Flow(1), How::Fin)]);
            assert_eq!(outlasted(&mut direct), Some(ACCEPTED));
        }
    }

    #[test]
    fn the_failure_of_an_attempt_that_was_cancelled_ends_nothing() {
        let mut direct = begun();
        direct.handle(FIRST, accepted(PEER));
        direct.handle(FIRST, Event::Failed(Flow(1), Unreached::LocalTaken));
        assert_eq!(wanted(&mut direct), [Step::Close(Flow(1), How::Fin)]);
        assert_eq!(outlasted(&mut direct), Some(ACCEPTED));
    }

    #[test]
    fn what_stood_and_was_lost_is_tried_again() {
        let mut connected = begun();
        connect(&mut connected, FIRST + MOMENT);
        connected.handle(FIRST + 2 * MOMENT, Event::Ended(Flow(1), End::Reset));
        let again = |steps: &[Step]| matches!(steps, [Step::Open { flow: Flow(2), .. }]);
        let steps = wanted(&mut connected);
        assert!(again(&steps), "{steps:?}");
        let mut called = begun();
        called.handle(FIRST, accepted(PEER));
        wanted(&mut called);
        called.handle(FIRST + MOMENT, Event::Ended(ACCEPTED, End::Reset));
        let steps = wanted(&mut called);
        assert!(again(&steps), "{steps:?}");
    }

    #[test]
    fn what_follows_an_opening_is_watched_for_as_long_as_it_took_within_bounds() {
        for (took, watched) in [(0, 20), (100, 100), (3_000, 500)] {
            let mut direct = begun();
            let stood = FIRST + Duration::from_millis(took);
            connect(&mut direct, stood);
            let until = stood + Duration::from_millis(watched);
            assert_eq!(direct.poll(stood), Step::Wait(until), "{took} ms");
        }
    }

    #[test]
    fn an_interrupt_ends_it_and_says_so() {
        for (event, trouble) in [
            (Event::Interrupted, Trouble::Interrupted),
            (Event::HostFailed("x".to_owned()), Trouble::Host { what: "x".to_owned() }),
        ] {
            let mut direct = begun();
            direct.handle(FIRST, event);
            assert_eq!(direct.poll(FIRST), Step::Note(Fact::Trouble(trouble).into()));
            assert_eq!(wanted(&mut direct), [Step::Close(Flow(1), How::Fin), Step::Done]);
            assert_eq!(direct.opened(), None);
        }
    }

    #[test]
    fn packets_are_noted_as_seen_at_this_end() {
        let mut direct = begun();
        let packet = Packet::tcp(end(LOCAL), end(PEER), Segment::syn(Seq(1), 1));
        direct.handle(FIRST, Event::Left(packet.clone()));
        let place = Place::End(Side::A);
        let (probe, volley, at, inbound) = (None, None, FIRST, false);
        let record = Record { at, place, inbound, probe, volley, packet };
        assert_eq!(direct.poll(FIRST), Step::Note(Fact::Seen(record).into()));
    }

    const MOMENT: Duration = Duration::from_millis(10);

    fn direct() -> Direct {
        let (side, seed) = (Side::A, 7);
        let (local, remote) = (end(LOCAL), end(PEER));
        Direct::new(Aim {
            side,
            local,
            remote,
            first: FIRST,
            patience: PATIENCE,
            tries: None,
            seed,
        })
    }

    /// One whose first SYN is aimed.
    fn begun() -> Direct {
        let mut direct = direct();
        wanted(&mut direct);
        direct
    }

    fn connect(direct: &mut Direct, now: Instant) {
        direct.handle(now, Event::Opened { flow: Flow(1), local: end(LOCAL) });
        assert_eq!(wanted(direct), []);
    }

    fn accepted(remote: &str) -> Event {
        Event::Accepted { flow: ACCEPTED, local: end(LOCAL), remote: end(remote) }
    }

    /// The connection that it has once the time to watch it is over.
    fn outlasted(direct: &mut Direct) -> Option<Flow> {
        let Step::Wait(until) = direct.poll(FIRST) else { panic!("it waits") };
        direct.handle(until, Event::DeadlinePassed);
        assert_eq!(direct.poll(until), Step::Done);
        direct.opened()
    }

    fn open(number: u32, at: Instant) -> Step {
        let (flow, from, to) = (Flow(number), Bind::Shared(end(LOCAL)), end(PEER));
        Step::Open { flow, from, to, at: Some(at), reader: Reader::Heir }
    }

    /// What it wants until it waits or is done, notes aside.
    fn wanted(direct: &mut Direct) -> Vec<Step> {
        steps(FIRST, direct).into_iter().filter(|step| !matches!(step, Step::Note(_))).collect()
    }

    /// What it notes until it waits or is done.
    fn noted(now: Instant, direct: &mut Direct) -> Vec<Punched> {
        let noted = steps(now, direct).into_iter().filter_map(|step| match step {
            Step::Note(fact) => match *fact {
                Fact::Punch { what, .. } => Some(what),
                _ => None,
            },
            _ => None,
        });
        noted.collect()
    }

    fn steps(now: Instant, direct: &mut Direct) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            match direct.poll(now) {
                Step::Wait(_) => return steps,
                Step::Done => {
                    steps.push(Step::Done);
                    return steps;
                }
                step => steps.push(step),
            }
        }
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }
}

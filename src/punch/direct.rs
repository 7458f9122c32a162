//! A punch with no server: both ends know each other's endpoints and the moment.
//!
//! Each end listens on its port and connects from it at the agreed moment. If the SYNs cross, both
//! connect; if the peer's comes first, it is accepted. Either is the one connection between these two
//! endpoints: there cannot be two.
//!
//! Where the peer's port is not known for sure, each port that it may be is aimed at. An end whose port
//! the host chooses neither binds nor listens.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::schedule::Schedule;
use crate::engine::{
    Bind, By, Change, Event, Fact, Flow, How, Miss, Party, Place, Punched, Reader, Record, Step,
    Trouble,
};
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::{Endpoint, Packet};

/// What to open, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// What this end is called.
    pub side: Side,
    /// This end's endpoint. If its port is 0, each attempt has one that the host chooses, and nothing is
    /// listened on.
    pub local: Endpoint,
    /// The peer's endpoint, as it is reached from here.
    pub remote: Endpoint,
    /// Where else the peer may be, if that is not sure.
    pub also: Vec<Endpoint>,
    /// When the first SYN is to leave.
    pub first: Instant,
    /// How long to try from then on.
    pub patience: Duration,
    /// How many SYNs at most, to each endpoint; none for as many as there is time for.
    pub tries: Option<u32>,
    /// What to draw randomness from.
    pub seed: u64,
}

/// One end of a punch.
#[derive(Debug)]
pub struct Direct {
    aim: Aim,
    lanes: Vec<Lane>,
    steps: VecDeque<Step>,
    phase: Phase,
    attempts: u32,
}

/// One endpoint that is aimed at, in attempts one after another.
#[derive(Debug)]
struct Lane {
    remote: Endpoint,
    schedule: Schedule,
    /// So many so far.
    tried: u32,
    /// The last one.
    flow: Flow,
    /// The moment of its SYN.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Attempts are under way, or about to be.
    Trying,
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
        let remotes = [aim.remote].into_iter().chain(aim.also.iter().copied());
        let lanes = remotes.map(|remote| Lane {
            remote,
            schedule: Schedule::new(aim.first, aim.seed),
            tried: 0,
            flow: Flow(0),
            since: aim.first,
        });
        let (lanes, watch) = (lanes.collect(), (aim.local, aim.remote));
        let (steps, phase) = (VecDeque::new(), Phase::Trying);
        let mut direct = Self { aim, lanes, steps, phase, attempts: 0 };
        if direct.binds() {
            direct.note_aim(direct.aim.local);
        }
        direct.steps.push_back(Step::Watch { local: watch.0, towards: watch.1 });
        if direct.binds() {
            let on = direct.aim.local;
            direct.steps.push_back(Step::Listen { on, reader: Reader::Heir });
        }
        direct.attempt_all(Instant::START);
        direct
    }

    /// The connection that stands, once the punch is done.
    pub const fn opened(&self) -> Option<Flow> {
        match self.phase {
            Phase::Over(flow) => flow,
            _ => None,
        }
    }

    /// Gives up at this moment, if not before.
    pub fn give_up_by(&mut self, at: Instant) {
        self.aim.patience = self.aim.patience.min(at.since(self.aim.first));
    }

    /// Whether its port is its own choice, rather than the host's.
    const fn binds(&self) -> bool {
        self.aim.local.port() != 0
    }

    fn note_aim(&mut self, local: Endpoint) {
        let Aim { remote, first, .. } = self.aim;
        let (also, give_up) = (self.aim.also.clone(), self.give_up());
        self.note(Punched::Aimed { local, remote, also, first, give_up });
    }

    fn attempt_all(&mut self, now: Instant) {
        self.phase = Phase::Trying;
        for place in 0..self.lanes.len() {
            self.attempt(place, now);
        }
    }

    /// Aims the next SYN of a lane, if there is time for one.
    fn attempt(&mut self, place: usize, now: Instant) {
        let give_up = self.give_up();
        let lane = &mut self.lanes[place];
        lane.since = lane.schedule.next_after(now);
        let is_last = self.aim.tries.is_some_and(|most| most <= lane.tried);
        if is_last || give_up <= lane.since {
            return;
        }
        lane.tried += 1;
        self.attempts += 1;
        lane.flow = Flow(self.attempts);
        let (flow, at, to) = (lane.flow, lane.since, lane.remote);
        self.note(Punched::Tried { attempt: self.attempts, at });
        let from = if self.binds() { Bind::Shared(self.aim.local) } else { Bind::Kernel };
        self.steps.push_back(Step::Open { flow, from, to, at: Some(at), reader: Reader::Heir });
    }

    fn give_up(&self) -> Instant {
        self.aim.first + self.aim.patience
    }

    /// Whether the peer may be there.
    fn is_peer(&self, address: IpAddr) -> bool {
        self.lanes.iter().any(|lane| lane.remote.ip() == address)
    }

    /// Only the host knew the port.
    fn fired(&mut self, flow: Flow, stolen: Option<Duration>, local: Option<Endpoint>) {
        if let Some(local) = local.filter(|_| !self.binds()) {
            self.note_aim(local);
        }
        self.note(Punched::Fired { attempt: flow.0, stolen });
    }

    /// Sockets of the same port may be for something else, such as to ask for its external endpoint.
    fn changed(&mut self, change: Change) {
        if change.remote.ip().is_unspecified() || self.is_peer(change.remote.ip()) {
            self.note(Punched::Changed(change));
        }
    }

    fn note(&mut self, what: Punched) {
        self.steps.push_back(note(self.aim.side, what));
    }

    /// Keeps what concerns the peer, and whoever knocks in its stead; the port may have been used
    /// for something else before, such as to ask for its external endpoint.
    fn see(&mut self, at: Instant, inbound: bool, packet: Packet) {
        let concerns = match packet.segment() {
            Some(segment) => {
                self.is_peer(packet.source)
                    || self.is_peer(packet.destination)
                    || (inbound && segment.is_bare_syn() && self.binds())
            }
            None => {
                packet.icmp_error().is_some_and(|icmp| self.is_peer(icmp.quote.destination.ip()))
            }
        };
        if !concerns {
            return;
        }
        let place = Place::End(self.aim.side);
        let record = Record { at, place, inbound, probe: None, volley: None, packet };
        self.steps.push_back(Step::Note(Box::new(Fact::Seen(record))));
    }

    fn missed(&mut self, now: Instant, flow: Flow, why: Miss) {
        let place = self.lanes.iter().position(|lane| lane.flow == flow);
        match (self.phase, place) {
            (Phase::Trying, Some(place)) => {
                self.note(Punched::Missed { attempt: flow.0, why });
                self.attempt(place, now);
            }
            (Phase::Stands { flow: standing, .. }, _) if flow == standing => {
                let attempt = place.map_or(self.attempts, |_| flow.0);
                self.note(Punched::Missed { attempt, why });
                self.attempt_all(now);
            }
            _ => {}
        }
    }

    /// A second connection, between other endpoints since a NAT remapped a SYN, is left alone: the
    /// peer may have taken that one.
    fn stands(&mut self, now: Instant, flow: Flow, by: By, [local, remote]: [Endpoint; 2]) {
        self.note(Punched::Stood { by, local, remote });
        if self.phase != Phase::Trying {
            return;
        }
        self.close_all_but(Some(flow));
        let own = self.lanes.iter().find(|lane| lane.flow == flow).or(self.lanes.first());
        let took = own.map_or(Duration::ZERO, |lane| now.since(lane.since));
        let until = now + took.clamp(SHORTEST_AFTERMATH, LONGEST_AFTERMATH);
        self.phase = Phase::Stands { flow, until };
    }

    fn opened_to(&mut self, now: Instant, flow: Flow, local: Endpoint) {
        let lane = self.lanes.iter().find(|lane| lane.flow == flow);
        if let Some(remote) = lane.map(|lane| lane.remote) {
            self.stands(now, flow, By::Connect, [local, remote]);
        }
    }

    fn close_all_but(&mut self, kept: Option<Flow>) {
        let others = self.lanes.iter().filter(|lane| lane.tried > 0 && Some(lane.flow) != kept);
        self.steps.extend(others.map(|lane| Step::Close(lane.flow, How::Fin)));
    }

    fn accepted(&mut self, now: Instant, flow: Flow, ends: [Endpoint; 2]) {
        let [_, remote] = ends;
        if self.is_peer(remote.ip()) {
            return self.stands(now, flow, By::Accept, ends);
        }
        self.note(Punched::Stranger { remote });
        self.steps.push_back(Step::Close(flow, How::Reset));
    }

    fn time_is_up(&mut self, now: Instant) {
        match self.phase {
            Phase::Stands { flow, until } if until <= now => self.phase = Phase::Over(Some(flow)),
            Phase::Trying if self.give_up() <= now => {
                self.note(Punched::GaveUp);
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.close_all_but(None);
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
            (None, Phase::Trying) => Step::Wait(self.give_up()),
            (None, Phase::Stands { until, .. }) => Step::Wait(until),
            (None, Phase::Over(_)) => Step::Done,
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived(packet) => self.see(now, true, packet),
            Event::Left(packet) => self.see(now, false, packet),
            Event::Changed(change) => self.changed(change),
            Event::Unwatched(witness, why) => self.note(Punched::Unwatched { witness, why }),
            Event::Fired { flow, stolen, local } => self.fired(flow, stolen, local),
            Event::Opened { flow, local } => self.opened_to(now, flow, local),
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
    fn every_port_that_the_peer_may_have_is_aimed_at_and_the_first_that_opens_is_it() {
        let also = vec![end("203.0.113.1:42003"), end("203.0.113.1:42005")];
        let mut direct = Direct::new(Aim { also: also.clone(), ..aim() });
        let aimed = [vec![end(PEER)], also].concat();
        let steps = wanted(&mut direct);
        let opened = steps.iter().filter_map(|step| match step {
            Step::Open { flow, to, at, .. } => Some((flow.0, *to, *at)),
            _ => None,
        });
        let expected = (1..).zip(aimed).map(|(flow, to)| (flow, to, Some(FIRST)));
        assert_eq!(opened.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        // One is refused and tried again, another opens, which ends the others.
        direct.handle(FIRST + MOMENT, Event::Failed(Flow(3), Unreached::Refused));
        let again = wanted(&mut direct);
        assert!(matches!(again[..], [Step::Open { flow: Flow(4), .. }]), "{again:?}");
        direct.handle(FIRST + 2 * MOMENT, Event::Opened { flow: Flow(2), local: end(LOCAL) });
        let fin = |flow| Step::Close(Flow(flow), How::Fin);
        assert_eq!(wanted(&mut direct), [fin(1), fin(4)]);
        assert_eq!(outlasted(&mut direct), Some(Flow(2)));
    }

    #[test]
    fn an_end_whose_host_chooses_the_port_neither_binds_nor_listens_and_tells_the_port_it_had() {
        let local = Endpoint::new(end(LOCAL).ip(), 0);
        let mut direct = Direct::new(Aim { local, tries: Some(1), ..aim() });
        let watch = Step::Watch { local, towards: end(PEER) };
        let (flow, at, reader) = (Flow(1), Some(FIRST), Reader::Heir);
        let open = Step::Open { flow, from: Bind::Kernel, to: end(PEER), at, reader };
        assert_eq!(wanted(&mut direct), [watch, open]);
        let (stolen, local) = (None, Some(end(LOCAL)));
        direct.handle(FIRST, Event::Fired { flow, stolen, local });
        let noted = noted(FIRST, &mut direct);
        let is_own =
            |what: &Punched| matches!(what, Punched::Aimed { local, .. } if *local == end(LOCAL));
        assert!(noted.iter().any(is_own), "{noted:?}");
        // One SYN was to leave, so none follows.
        direct.handle(FIRST + MOMENT, Event::Failed(flow, Unreached::Refused));
        assert_eq!(wanted(&mut direct), []);
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

    fn aim() -> Aim {
        let (side, tries, seed) = (Side::A, None, 7);
        let (local, remote, also) = (end(LOCAL), end(PEER), Vec::new());
        Aim { side, local, remote, also, first: FIRST, patience: PATIENCE, tries, seed }
    }

    fn direct() -> Direct {
        Direct::new(aim())
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

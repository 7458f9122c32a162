//! Two ends agree over a stream that takes its time, their clocks apart.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::appointment::Sync;
use super::*;
use crate::engine::End;

proptest! {
    #[test]
    fn by_their_clocks_both_leave_within_the_error(
        there_us in 1_000_u64..100_000,
        back_us in 1_000_u64..100_000,
        ahead_ms in 0_u64..1_000_000,
    ) {
        let pair = Pair::new(BY_CLOCKS, [there_us, back_us], ahead_ms).run();
        let (a, b) = (pair.departure(0), pair.departure(1));
        let apart = a.since(b).max(b.since(a));
        // A path that is slower one way misleads by half the difference, and no more.
        prop_assert!(apart <= Duration::from_micros((there_us + back_us) / 2 + 1), "{apart:?}");
        let lopsided = Duration::from_micros(there_us.abs_diff(back_us) / 2 + 1);
        prop_assert!(apart <= lopsided, "{apart:?}");
    }

    #[test]
    fn by_half_a_round_trip_a_path_that_is_as_slow_both_ways_lets_both_leave_at_once(
        way_us in 1_000_u64..100_000,
        ahead_ms in 0_u64..1_000_000,
    ) {
        let role = Role::Decides(Sync::RoundTrip);
        let pair = Pair::new(role, [way_us; 2], ahead_ms).run();
        prop_assert_eq!(pair.departure(0), pair.departure(1));
    }

    #[test]
    fn in_a_trial_each_sends_one_syn_and_they_leave_as_far_apart_as_is_wanted(
        way_us in 1_000_u64..100_000,
        ahead_ms in 0_u64..1_000_000,
        skew_us in -200_000_i64..200_000,
    ) {
        let role = Role::Tries { skew_ns: skew_us * 1_000 };
        let pair = Pair::new(role, [way_us; 2], ahead_ms).run();
        let wanted = pair.departure(0).shifted(skew_us * 1_000);
        prop_assert_eq!(wanted, pair.departure(1));
        prop_assert_eq!(pair.opens, [1, 1]);
    }

    #[test]
    fn whatever_a_peer_says_nothing_panics(said in proptest::collection::vec(any_signal(), 0..12)) {
        for meet in [Meet::Listen(end(5385)), Meet::Via(end(5385), Role::Decides(Sync::Clock))] {
            let mut party = Agreed::new(appointment(meet, 7000));
            drain(&mut party, Instant::START);
            party.handle(Instant::START, joined(meet));
            for signal in &said {
                drain(&mut party, Instant::START);
                party.handle(Instant::START, Event::Read(stream_of(meet), to_line(signal)));
            }
            drain(&mut party, Instant::START);
        }
    }
}

#[test]
fn each_end_is_told_what_the_other_noted() {
    let pair = Pair::new(BY_CLOCKS, [20_000; 2], 500).run();
    for (place, side) in [(0, Side::B), (1, Side::A)] {
        let told = pair.notes[place].iter().any(
            |fact| matches!(fact, Fact::Punch { side: of, what: Punched::GaveUp } if *of == side),
        );
        assert!(told, "{:?}", pair.notes[place]);
    }
}

#[test]
fn an_end_that_parts_leaves_the_other_with_no_trouble() {
    let pair = Pair::new(Role::Parts, [20_000; 2], 500).run();
    assert_eq!((pair.departures, &pair.notes), ([None; 2], &[Vec::new(), Vec::new()]));
}

#[test]
fn whoever_listens_outlasts_a_stranger() {
    let meet = Meet::Listen(end(5385));
    let mut party = Agreed::new(appointment(meet, 7000));
    drain(&mut party, Instant::START);
    party.handle(Instant::START, joined(meet));
    drain(&mut party, Instant::START);
    party.handle(Instant::START, Event::Read(stream_of(meet), b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    let steps = drain(&mut party, Instant::START);
    assert!(matches!(steps[..], [Step::Close(_, How::Fin), Step::Wait(_)]), "{steps:?}");
}

#[test]
fn whoever_connects_to_a_stranger_says_so_and_ends() {
    let meet = Meet::Via(end(5385), Role::Decides(Sync::Clock));
    let mut party = Agreed::new(appointment(meet, 7000));
    drain(&mut party, Instant::START);
    party.handle(Instant::START, joined(meet));
    drain(&mut party, Instant::START);
    party.handle(Instant::START, Event::Ended(STREAM, End::Finished));
    let steps = drain(&mut party, Instant::START);
    assert!(matches!(steps[..], [Step::Note(_), Step::Done]), "{steps:?}");
}

#[test]
fn an_interrupted_end_waits_for_no_report() {
    let meet = Meet::Listen(end(5385));
    let mut party = Agreed::new(appointment(meet, 7000));
    drain(&mut party, Instant::START);
    party.handle(Instant::START, joined(meet));
    let go = Signal::Go { at: None, clocks: Clocks::default(), trial: None };
    for signal in
        [Signal::Hello { version: VERSION, port: 7001, external: None, prospect: None }, go]
    {
        drain(&mut party, Instant::START);
        party.handle(Instant::START, Event::Read(stream_of(meet), to_line(&signal)));
    }
    let steps = drain(&mut party, Instant::START);
    assert!(steps.iter().any(|step| matches!(step, Step::Open { .. })), "{steps:?}");
    party.handle(Instant::START, Event::Interrupted);
    assert_eq!(drain(&mut party, Instant::START).last(), Some(&Step::Done));
}

/// Two ends, the stream between them, and the true time.
struct Pair {
    parties: [Agreed; 2],
    ways: [Duration; 2],
    ahead: Duration,
    /// What is under way, by when it arrives, to whom.
    under_way: BTreeMap<(Instant, usize), (usize, Vec<u8>)>,
    sent: usize,
    /// When each wants its first SYN to leave, in true time.
    departures: [Option<Instant>; 2],
    opens: [u32; 2],
    notes: [Vec<Fact>; 2],
}

impl Pair {
    fn new(role: Role, ways_us: [u64; 2], ahead_ms: u64) -> Self {
        let meets = [Meet::Via(end(5385), role), Meet::Listen(end(5385))];
        let mut parties = [(0, 7001), (1, 7002)]
            .map(|(place, port)| Agreed::new(appointment(meets[place], port)));
        for party in &mut parties {
            drain(party, Instant::START);
        }
        let mut pair = Self {
            parties,
            ways: ways_us.map(Duration::from_micros),
            ahead: Duration::from_millis(ahead_ms),
            under_way: BTreeMap::new(),
            sent: 0,
            departures: [None; 2],
            opens: [0; 2],
            notes: [Vec::new(), Vec::new()],
        };
        for (place, meet) in meets.into_iter().enumerate() {
            let at = pair.clock(place, Instant::START);
            pair.parties[place].handle(at, joined(meet));
        }
        pair
    }

    /// Until both are done: nothing opens, so that both give up.
    fn run(mut self) -> Self {
        let mut now = Instant::START;
        loop {
            let wakes: Vec<_> =
                [0, 1].into_iter().filter_map(|place| self.poll(place, now)).collect();
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let Some(next) = wakes.iter().map(|(at, _)| *at).chain(arrival).min() else {
                return self;
            };
            now = next;
            if arrival == Some(next) {
                let (to, octets) = self.under_way.pop_first().expect("it is there").1;
                let flow = stream_of(self.parties[to].appointment.meet);
                let at = self.clock(to, now);
                self.parties[to].handle(at, Event::Read(flow, octets));
            } else {
                let (_, place) = *wakes.iter().min().expect("somebody wakes");
                let at = self.clock(place, now);
                self.parties[place].handle(at, Event::DeadlinePassed);
            }
        }
    }

    /// Does what one wants; when it wants to be woken, in true time.
    fn poll(&mut self, place: usize, now: Instant) -> Option<(Instant, usize)> {
        loop {
            let at = self.clock(place, now);
            match self.parties[place].poll(at) {
                Step::Wait(until) => {
                    let left = until.since(at);
                    return Some((now + left, place));
                }
                Step::Done => return None,
                Step::Write(_, octets) => {
                    self.sent += 1;
                    let arrival = now + self.ways[place];
                    self.under_way.insert((arrival, self.sent), (1 - place, octets));
                }
                Step::Open { at: Some(first), .. } => {
                    let ahead = self.ahead_ns(place);
                    self.departures[place].get_or_insert(first.shifted(-ahead));
                    self.opens[place] += 1;
                }
                Step::Note(fact) => self.notes[place].push(*fact),
                _ => {}
            }
        }
    }

    fn clock(&self, place: usize, now: Instant) -> Instant {
        now.shifted(self.ahead_ns(place))
    }

    /// The second end's clock is ahead.
    fn ahead_ns(&self, place: usize) -> i64 {
        i64::try_from(self.ahead.as_nanos()).expect("it fits")
            * i64::try_from(place).expect("it fits")
    }

    fn departure(&self, place: usize) -> Instant {
        self.departures[place].expect("it wants to shoot")
    }
}

const fn stream_of(meet: Meet) -> Flow {
    match meet {
        Meet::Via(..) | Meet::Over(_) => STREAM,
        Meet::Listen(_) => Flow(Flow::FIRST_ACCEPTED),
    }
}

fn joined(meet: Meet) -> Event {
    let (local, remote) = (end(5385), end(40_000));
    match meet {
        Meet::Via(..) | Meet::Over(_) => Event::Opened { flow: STREAM, local },
        Meet::Listen(_) => Event::Accepted { flow: stream_of(meet), local, remote },
    }
}

fn drain(party: &mut Agreed, now: Instant) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        steps.push(party.poll(now));
        if matches!(steps.last(), Some(Step::Wait(_) | Step::Done)) {
            return steps;
        }
    }
}

fn appointment(meet: Meet, port: u16) -> Appointment {
    let (wait, patience) = (Duration::from_secs(1000), Duration::from_secs(2));
    Appointment { meet, port, external: None, peer: None, wait, patience, seed: 1 }
}

const BY_CLOCKS: Role = Role::Decides(Sync::Clock);

fn end(port: u16) -> Endpoint {
    Endpoint::new(std::net::Ipv4Addr::new(192, 0, 2, 1).into(), port)
}

fn any_signal() -> impl Strategy<Value = Signal> {
    let instant = || any::<u64>().prop_map(Instant::from_nanos);
    let clocks =
        (any::<i64>(), any::<u64>(), any::<u64>()).prop_map(|(ahead_ns, error, trip)| Clocks {
            ahead_ns,
            error: Duration::from_nanos(error),
            round_trip: Duration::from_nanos(trip),
        });
    prop_oneof![
        (0..3_u16, any::<u16>()).prop_map(|(version, port)| Signal::Hello {
            version,
            port,
            external: None,
            prospect: None
        }),
        any::<u32>().prop_map(|number| Signal::Ping { number }),
        (0..3_u32, instant(), instant()).prop_map(|(number, received, answered)| Signal::Pong {
            number,
            received,
            answered
        }),
        (proptest::option::of(instant()), clocks, proptest::option::of(any::<u64>())).prop_map(
            |(at, clocks, trial)| {
                let trial = trial.map(Duration::from_nanos);
                Signal::Go { at, clocks, trial }
            }
        ),
        instant().prop_map(|at| Signal::Told { what: Punched::Tried { attempt: 1, at } }),
        Just(Signal::Done),
    ]
}

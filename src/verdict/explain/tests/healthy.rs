//! No opening that goes well is called a failure, whatever stacks, loss and order it has.

use proptest::prelude::*;

use super::*;
use crate::tcp::{Host, Profile, State};
use crate::wire::{Flags, Segment, Seq};

/// An opening of two hosts, and where it is watched.
#[derive(Clone, Debug)]
struct Run {
    profiles: [Profile; 2],
    /// When b opens; it listens if it does not.
    b_opens_at: Option<u64>,
    delay: u64,
    /// At a, between them, or at b.
    place: usize,
    dice: Vec<u8>,
}

fn any_run() -> impl Strategy<Value = Run> {
    let profile = || prop::sample::select(&Profile::ALL[..]);
    let opens = prop::option::of(0..400_u64);
    let dice = prop::collection::vec(any::<u8>(), 120);
    ((profile(), profile()), opens, 2..200_u64, 0..3_usize, dice).prop_map(
        |((one, other), b_opens_at, delay, place, dice)| Run {
            profiles: [one, other],
            b_opens_at,
            delay,
            place,
            dice,
        },
    )
}

/// A segment under way.
struct Flight {
    arrives_at: u64,
    to: usize,
    segment: Segment,
    /// As it is seen at the receiver's interface, if that is watched.
    shown: Option<String>,
    /// Whether it gets no farther than that.
    lost: bool,
}

/// The way between two hosts, and who watches it.
struct Way<'a> {
    run: &'a Run,
    flying: Vec<Flight>,
    seen: Vec<(u64, String)>,
    sent: usize,
}

impl Way<'_> {
    /// One in eight is lost, before or behind who watches; the others are up to nine milliseconds late.
    fn send(&mut self, from: usize, now: u64, segment: Segment, is_safe: bool) {
        let die = self.run.dice[self.sent % self.run.dice.len()];
        self.sent += 1;
        let (lost, late) = (die < 32 && !is_safe, u64::from(die % 10));
        // How far from its sender it is watched, in halves of the way.
        let far = if from == 0 { self.run.place } else { 2 - self.run.place };
        let is_seen = !lost || usize::from(die) % 3 >= far;
        let shown = is_seen.then(|| self.shown(from, far, &segment));
        let arrives_at = now + self.run.delay + late;
        let (here, there) = if far == 2 { (None, shown) } else { (shown, None) };
        self.seen.extend(here.map(|shown| (now + (self.run.delay + late) * far as u64 / 2, shown)));
        self.flying.push(Flight { arrives_at, to: 1 - from, segment, shown: there, lost });
    }

    fn shown(&self, from: usize, far: usize, segment: &Segment) -> String {
        let ends = [A, B].map(|end| end.parse().expect("an endpoint"));
        let packet = Packet::tcp(ends[from], ends[1 - from], segment.clone());
        let id = u16::try_from(self.sent).expect("few are sent");
        Packet { ttl: 64 - 5 * u8::try_from(far).expect("small"), id, ..packet }.to_string()
    }
}

/// What is seen of it, if both come to be established.
fn trace(run: &Run) -> Option<Vec<(u64, String)>> {
    let [one, other] = run.profiles;
    let mut hosts = [Host::new(one, Seq(100)), Host::new(other, Seq(300_000))];
    let mut opens = [Some(0), run.b_opens_at];
    if run.b_opens_at.is_none() {
        hosts[1].listen();
    }
    let mut way = Way { run, flying: Vec::new(), seen: Vec::new(), sent: 0 };
    let mut is_of_use = false;
    loop {
        let wakes = hosts.iter().filter_map(Host::wakes).map(|at| at.as_nanos() / 1_000_000);
        let arrivals = way.flying.iter().map(|flight| flight.arrives_at);
        let next = arrivals.chain(opens.into_iter().flatten()).chain(wakes).min();
        let Some(now) = next.filter(|now| *now < 60_000) else { break };
        let instant = Instant::from_millis(now);
        for (side, host) in hosts.iter_mut().enumerate() {
            if opens[side].take_if(|at| *at == now).is_some() {
                way.send(side, now, host.open(instant), false);
            }
            while let Some(again) = host.due(instant) {
                way.send(side, now, again, false);
            }
        }
        let (arrived, flying): (Vec<_>, Vec<_>) = std::mem::take(&mut way.flying)
            .into_iter()
            .partition(|flight| flight.arrives_at == now);
        way.flying = flying;
        for Flight { to, segment, shown, lost, .. } in arrived {
            way.seen.extend(shown.map(|shown| (now, shown)));
            // The NAT before a host that has not begun drops what it did not expect.
            let is_there = hosts[to].state() != State::Closed && !lost;
            let answers = if is_there { hosts[to].take(instant, &segment) } else { Vec::new() };
            for answer in answers {
                way.send(to, now, answer, false);
            }
        }
        if !is_of_use && hosts.iter().all(|host| host.state() == State::Established) {
            is_of_use = true;
            for (side, host) in hosts.iter().enumerate() {
                let (seq, ack) = host.numbers();
                let data = Segment { payload: vec![0; 9], ..Segment::ack(seq, ack) };
                let flags = Flags::PSH | Flags::ACK;
                way.send(side, now, Segment { flags, ..data }, true);
            }
        }
    }
    let mut seen = way.seen;
    seen.sort_by_key(|(at, _)| *at);
    is_of_use.then_some(seen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn an_opening_that_goes_well_has_no_cause_of_failure(run in any_run()) {
        let seen = trace(&run);
        prop_assume!(seen.is_some());
        let seen = and_on(seen.unwrap_or_default(), 200);
        let ends = |one: &Connection| [one.a.to_string(), one.b.to_string()].contains(&A.to_owned());
        for connection in explained(&seen).iter().filter(|one| ends(one)) {
            for found in &connection.diagnosis {
                prop_assert!(found.cause == Cause::HalfCrossed, "{found:?}:\n{seen:#?}");
            }
        }
    }
}

#[test]
fn most_of_these_openings_do_go_well() {
    let run = |b_opens_at, place| Run {
        profiles: [Profile::Linux, Profile::Bsd],
        b_opens_at,
        delay: 50,
        place,
        dice: vec![200, 231, 255],
    };
    for (place, opens) in
        [(0, None), (1, None), (2, None), (0, Some(3)), (1, Some(3)), (2, Some(3))]
    {
        let seen = trace(&run(opens, place)).expect("nothing is lost");
        let (connection, _) = first(&seen);
        assert_eq!(connection.outcome, ConnectionOutcome::Open, "{seen:#?}");
        assert_eq!(connection.opening == Opening::Crossed, opens.is_some(), "{seen:#?}");
    }
}

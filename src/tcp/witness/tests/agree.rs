//! Two hosts open a connection over a path of any delays and losses; what the witness says from
//! either end and from both is held against what the hosts did. It is right or says less, and from
//! both ends it is right.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tcp::{Host, Profile};
use crate::time::Duration;
use crate::wire::{Flags, Segment, Seq};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_witness_is_right_or_says_less(setting in any_setting()) {
        let run = Run::of(&setting);
        let open = run.hosts.each_ref().map(|host| host.state() == Established);
        let (a, b) = (Some(FAMILIES[0][0]), Some(FAMILIES[0][1]));
        let from_a = witness(&lent(&run.trace), &Vantages { a, b: None });
        let from_b = witness(&lent(&run.trace), &Vantages { a: None, b });
        let from_both = witness(&lent(&run.trace), &Vantages { a, b });
        if open == [true; 2] {
            prop_assert_eq!(from_both.opening, run.truth(), "\n{}", run);
            for (side, testimony) in [(Side::A, &from_a), (Side::B, &from_b)] {
                prop_assert!(run.allows(testimony.opening, side), "{testimony:?}\n{run}");
                prop_assert!(run.has_changes(side, &testimony.states), "{testimony:?}\n{run}");
            }
            for testimony in [from_a, from_b, from_both] {
                prop_assert_eq!(testimony.outcome, Outcome::Open, "\n{}", run);
            }
        } else if open == [false; 2] {
            prop_assert_eq!(from_both.opening, Opening::None, "\n{}", run);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_the_witness_says_early_it_never_takes_back(setting in any_setting()) {
        let run = Run::of(&setting);
        let (a, b) = (Some(FAMILIES[0][0]), Some(FAMILIES[0][1]));
        for length in 0..=run.trace.len() {
            for vantages in [Vantages { a, b: None }, Vantages { a: None, b }, Vantages { a, b }] {
                let early = witness(&lent(&run.trace[..length]), &vantages);
                let is_right = match (vantages.a, vantages.b) {
                    (Some(_), None) => run.allows(early.opening, Side::A),
                    (None, Some(_)) => run.allows(early.opening, Side::B),
                    // While one end has seen nothing, the other speaks for itself.
                    _ => {
                        early.opening == run.truth()
                            || run.allows(early.opening, Side::A)
                            || run.allows(early.opening, Side::B)
                    }
                };
                prop_assert!(is_right || matches!(early.opening, Opening::None | Opening::Unknown), "{length} {early:?}\n{run}");
                let last = witness(&lent(&run.trace), &vantages).states;
                prop_assert!(early.states.iter().all(|change| last.contains(change)), "\n{}", run);
            }
        }
    }

    #[test]
    fn a_split_handshake_is_never_taken_for_a_crossing(
        setting in any_setting(),
        acknowledges in any::<bool>(),
    ) {
        let setting = Setting { opens: [Some(0), None], ..setting };
        let run = Run::against(&setting, Some(Splitter { acknowledges, hears: false }));
        let (a, b) = (Some(FAMILIES[0][0]), Some(FAMILIES[0][1]));
        for vantages in [Vantages { a, b: None }, Vantages { a: None, b }, Vantages { a, b }] {
            let said = witness(&lent(&run.trace), &vantages).opening;
            let is_right = match said {
                Opening::SplitHandshake | Opening::None | Opening::Unknown => true,
                // It is one kind of these; a SYN of A's that is repeated may well look crossed.
                _ => said == CROSSED_BY_B || said == PERHAPS_CROSSED_TOO_BY_A,
            };
            prop_assert!(is_right, "{said:?}\n{run}");
            if vantages.b.is_some() && !matches!(said, Opening::None | Opening::Unknown) && acknowledges {
                prop_assert_eq!(said, Opening::SplitHandshake, "\n{}", run);
            }
        }
    }
}

/// A server that answers a SYN with a SYN, with or without an ACK before it, and the SYN,ACK that it
/// then gets with an ACK.
#[derive(Clone, Copy, Debug)]
struct Splitter {
    acknowledges: bool,
    /// Whether it was sent a SYN.
    hears: bool,
}

impl Splitter {
    fn take(&mut self, segment: &Segment) -> Vec<Segment> {
        let (iss, next) = (Seq(3_000_000_000), segment.seq + 1);
        if segment.is_bare_syn() {
            self.hears = true;
            let ack = self.acknowledges.then(|| Segment::ack(Seq(0), next));
            return ack.into_iter().chain([Segment::syn(iss, 1)]).collect();
        }
        let is_answered = self.hears && segment.is_syn_ack();
        is_answered.then(|| Segment::ack(iss + 1, next)).into_iter().collect()
    }
}

/// What two hosts and the path between them are like.
#[derive(Clone, Debug)]
struct Setting {
    profiles: [Profile; 2],
    /// When each connects, in milliseconds; none: it listens.
    opens: [Option<u64>; 2],
    /// Whether a filter swallows what comes to a closed host, instead of its reset.
    deaf: [bool; 2],
    /// The delays of one packet after the other, in milliseconds, over and over.
    delays: Vec<u64>,
    /// Which of the first packets are lost.
    lost: Vec<bool>,
    /// What NATs add to each side's sequence numbers.
    shifts: [u32; 2],
}

fn any_setting() -> impl Strategy<Value = Setting> {
    let profile = || prop::sample::select(&Profile::ALL[..]);
    let opens = prop_oneof![
        4 => (0..250u64, 0..250u64).prop_map(|(a, b)| [Some(a), Some(b)]),
        1 => (0..2_500u64, 0..2_500u64).prop_map(|(a, b)| [Some(a), Some(b)]),
        1 => (0..250u64).prop_map(|at| [Some(at), None]),
        1 => (0..250u64).prop_map(|at| [None, Some(at)]),
    ];
    // One delay for all leaves the order alone, many do not.
    let delays = prop_oneof![vec(1..200u64, 1..3), vec(1..2_000u64, 1..9)];
    let lost = vec(prop::bool::weighted(0.25), 0..9);
    let shifts = prop_oneof![Just([0; 2]), any::<[u32; 2]>()];
    ([profile(), profile()], opens, any::<[bool; 2]>(), delays, lost, shifts).prop_map(
        |(profiles, opens, deaf, delays, lost, shifts)| Setting {
            profiles,
            opens,
            deaf,
            delays,
            lost,
            shifts,
        },
    )
}

/// What happened.
struct Run<'a> {
    setting: &'a Setting,
    hosts: [Host; 2],
    trace: Vec<Owned>,
    /// Whether the SYN of each side arrived while the other was in SYN-SENT.
    crossed: [bool; 2],
    changes: Vec<(Side, State, State, Instant)>,
    queue: BTreeMap<(Instant, usize), (Side, Option<Segment>)>,
    sent: usize,
    /// Who stands in for b.
    splitter: Option<Splitter>,
}

impl<'a> Run<'a> {
    fn of(setting: &'a Setting) -> Self {
        Self::against(setting, None)
    }

    fn against(setting: &'a Setting, splitter: Option<Splitter>) -> Self {
        let [a, b] = setting.profiles;
        let mut run = Self {
            setting,
            hosts: [Host::new(a, Seq(1_000_000)), Host::new(b, Seq(3_000_000_000))],
            trace: Vec::new(),
            crossed: [false; 2],
            changes: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            splitter,
        };
        for side in [Side::A, Side::B] {
            match setting.opens[index(side)] {
                None => run.hosts[index(side)].listen(),
                Some(at) => run.open_at(side, Instant::from_millis(at)),
            }
        }
        run.go_on();
        run
    }

    /// An opening is a timer that runs out without a segment.
    fn open_at(&mut self, side: Side, at: Instant) {
        self.queue.insert((at, index(side)), (side, None));
    }

    fn go_on(&mut self) {
        let mut opened = [false; 2];
        while let Some(((at, order), (side, segment))) = self.queue.pop_first() {
            let before = self.hosts[index(side)].state();
            let answers = match segment {
                Some(segment) => self.arrive(side, at, &segment),
                None if order < 2 && !opened[index(side)] => {
                    opened[index(side)] = true;
                    vec![self.hosts[index(side)].open(at)]
                }
                None => self.hosts[index(side)].due(at).into_iter().collect(),
            };
            let after = self.hosts[index(side)].state();
            if before != after {
                self.changes.push((side, before, after, at));
            }
            answers.into_iter().for_each(|answer| self.send(side, at, answer));
            if let Some(wakes) = self.hosts[index(side)].wakes().filter(|wakes| *wakes > at) {
                self.queue.insert((wakes, index(side) + 2), (side, None));
            }
        }
    }

    fn arrive(&mut self, side: Side, at: Instant, segment: &Segment) -> Vec<Segment> {
        self.see(side, at, true, segment);
        if let (Side::B, Some(splitter)) = (side, &mut self.splitter) {
            return splitter.take(segment);
        }
        let host = &mut self.hosts[index(side)];
        if host.state() == Closed && self.setting.deaf[index(side)] {
            return Vec::new();
        }
        if segment.is_bare_syn() && host.state() == SynSent {
            self.crossed[index(side.opposite())] = true;
        }
        host.take(at, segment)
    }

    fn send(&mut self, side: Side, at: Instant, segment: Segment) {
        self.see(side, at, false, &segment);
        let delay = self.setting.delays[self.sent % self.setting.delays.len()];
        let is_lost = self.setting.lost.get(self.sent).copied().unwrap_or(false);
        self.sent += 1;
        if !is_lost {
            let at = at + Duration::from_millis(delay);
            let segment = self.translated(side, segment);
            self.queue.insert((at, self.sent + 4), (side.opposite(), Some(segment)));
        }
    }

    /// Each side's numbers are shifted on the way out, and back in what acknowledges them.
    fn translated(&self, from: Side, mut segment: Segment) -> Segment {
        let shift = |side| self.setting.shifts[index(side)];
        if !segment.is_reset() || segment.seq != Seq(0) {
            segment.seq = segment.seq + shift(from);
        }
        if segment.flags.contains(Flags::ACK) {
            segment.ack = segment.ack + shift(from.opposite()).wrapping_neg();
        }
        segment
    }

    fn see(&mut self, vantage: Side, at: Instant, inbound: bool, segment: &Segment) {
        let Vantage { local, remote } = FAMILIES[0][index(vantage)];
        let (from, to) = if inbound { (remote, local) } else { (local, remote) };
        let packet = Packet::tcp(from, to, segment.clone());
        self.trace.push(Owned { at, vantage, inbound, packet });
    }

    fn truth(&self) -> Opening {
        match self.crossed {
            [true, true] => Opening::Crossed,
            [true, false] => CROSSED_BY_A,
            [false, true] => CROSSED_BY_B,
            [false, false] => Opening::ThreeWay,
        }
    }

    /// Whether this is what one end may say.
    fn allows(&self, said: Opening, by: Side) -> bool {
        let truth = self.truth();
        match said {
            Opening::CrossedOrHalfCrossed { crossed_syn } => {
                truth == Opening::Crossed || truth == Opening::HalfCrossed { crossed_syn }
            }
            Opening::ThreeWayOrHalfCrossed => {
                truth == Opening::ThreeWay || truth == Opening::HalfCrossed { crossed_syn: by }
            }
            Opening::Accepted => {
                truth == Opening::ThreeWay && self.setting.opens[index(by)].is_none()
            }
            Opening::Crossed | Opening::HalfCrossed { .. } => said == truth,
            _ => false,
        }
    }

    /// Whether these are the changes that the host went through. An older Linux takes the last step
    /// later than packets show.
    fn has_changes(&self, side: Side, said: &[Transition]) -> bool {
        let done: Vec<_> = self.changes.iter().filter(|(of, ..)| *of == side).collect();
        let is_late = self.setting.profiles[index(side)] == Profile::LinuxOld;
        done.len() == said.len()
            && done.iter().zip(said).all(|((_, from, to, at), said)| {
                let is_last = said.to == Established && is_late;
                (*from, *to) == (said.from, said.to) && (*at == said.at || is_last)
            })
    }
}

impl std::fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Owned { at, vantage, inbound, packet } in &self.trace {
            let way = if *inbound { '<' } else { '>' };
            let segment = packet.segment().expect("a segment");
            writeln!(f, "{at} {vantage:?} {way} {segment}")?;
        }
        writeln!(f, "{:?}", self.changes)
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::B)
}

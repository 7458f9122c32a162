//! Counters: each port is where the one before was, and a stride further for each flow between.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::hypothesis::{ANY_PORT, Hypothesis, Next, hopeless};
use super::noise::{MOST_UNSEEN, Noise};
use super::onward::{Head, Last, Onward};
use super::ports::{DIVISIONS, Division, Ports};
use super::rule::{Counter, Rule, Stride};
use super::sums::sums_to;
use super::{Observation, Question};
use crate::time::Duration;
use crate::wire::Endpoint;

/// What counters could be behind these observations.
pub fn hypotheses(seen: &[&Observation], question: &Question) -> Vec<Hypothesis> {
    let mut found = Vec::new();
    let mut journeys: Vec<(Journey, Vec<Learned>)> = Vec::new();
    let parity = ln_parity(seen);
    for (counter, counter_share) in COUNTERS {
        let groups = groups(counter, seen);
        for (division, share) in DIVISIONS {
            for is_down in [false, true] {
                let walk = Walk { seen, counter, division: *division, is_down };
                let (journey, head) = walk.journey(&groups, question);
                let known = journeys.iter().position(|(known, _)| *known == journey);
                let known = known.unwrap_or_else(|| {
                    let learned = journey.learned(is_down, parity);
                    journeys.push((journey, learned));
                    journeys.len() - 1
                });
                let of_walk = (counter_share * share).ln();
                let learned = journeys[known].1.iter();
                let learned = learned.filter(|l| l.stride.is_down() == is_down);
                found.extend(learned.map(|learned| learned.hypothesis(counter, of_walk, head)));
            }
        }
    }
    found
}

/// Observations in the order of one counter, within one division of the ports.
struct Walk<'a> {
    seen: &'a [&'a Observation],
    counter: Counter,
    division: Division,
    is_down: bool,
}

/// The ways from each port to the next that the same counter gave.
#[derive(Clone, Debug, PartialEq)]
struct Journey {
    hops: Vec<Hop>,
    /// Ports before which the counter had not been seen.
    firsts: usize,
    /// How many neighbours changed places to put the ports into order.
    swaps: usize,
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Hop {
    /// How many places further; none if the counter is elsewhere.
    ahead: Option<u32>,
    /// How many flows of this host the counter has served, this one included.
    own: usize,
    elapsed_s: f64,
}

/// Where one port is within its part of the ports.
#[derive(Clone, Copy)]
struct Spot {
    ports: Ports,
    place: u32,
}

impl Walk<'_> {
    fn journey(&self, groups: &Groups, question: &Question) -> (Journey, Option<Head>) {
        let spots = self.seen.iter().map(|observation| {
            let ports = self.division.part(observation.external);
            Spot { ports, place: ports.place(observation.external).unwrap_or(0) }
        });
        let spots: Vec<_> = spots.collect();
        let mut journey =
            Journey { hops: Vec::new(), firsts: groups.len(), swaps: 0, last: Last::default() };
        let mut head = None;
        for (key, group) in groups {
            let (order, swaps) = self.in_order(group, &spots);
            journey.swaps += swaps;
            journey.hops.extend(order.windows(2).map(|pair| self.hop(pair[0], pair[1], &spots)));
            let asked = *key == key_of(self.counter, question.remote);
            if let Some(last) = order.last().filter(|_| asked) {
                journey.last = self.last(*last, question);
                head = Some(Head { ports: spots[*last].ports, place: spots[*last].place });
            }
        }
        (journey, head)
    }

    /// Packets that left one after the other may arrive the other way round: those that came a
    /// little behind the one before them change places with it.
    fn in_order(&self, group: &[usize], spots: &[Spot]) -> (Vec<usize>, usize) {
        let (mut order, mut swaps): (Vec<usize>, _) = (Vec::new(), 0);
        for index in group {
            order.push(*index);
            for at in (1..order.len()).rev().take(FURTHEST_BACK) {
                if !self.is_late(order[at], order[at - 1], spots) {
                    break;
                }
                order.swap(at, at - 1);
                swaps += 1;
            }
        }
        (order, swaps)
    }

    fn is_late(&self, this: usize, before: usize, spots: &[Spot]) -> bool {
        let apart = self.seen[this].at.since(self.seen[before].at);
        let behind = self.ahead(spots[this], spots[before]);
        let near = NEAR.min(spots[this].ports.size() / 4);
        apart <= REORDERING && behind.is_some_and(|behind| (1..=near).contains(&behind))
    }

    fn hop(&self, from: usize, to: usize, spots: &[Spot]) -> Hop {
        let own = if self.counter == Counter::Offset { to.abs_diff(from) } else { 1 };
        let elapsed_s = self.seen[to].at.since(self.seen[from].at).as_secs_f64();
        Hop { ahead: self.ahead(spots[from], spots[to]), own, elapsed_s }
    }

    /// How many places lie ahead of one until the other, in the counter's direction and around the
    /// end of its part.
    fn ahead(&self, from: Spot, to: Spot) -> Option<u32> {
        let size = from.ports.size();
        let (from_place, to_place) =
            if self.is_down { (to.place, from.place) } else { (from.place, to.place) };
        (from.ports == to.ports).then(|| (to_place + size - from_place) % size)
    }

    fn last(&self, last: usize, question: &Question) -> Last {
        let own = if self.counter == Counter::Offset { self.seen.len() - last } else { 1 };
        Last { own, elapsed_s: question.at.since(self.seen[last].at).as_secs_f64() }
    }
}

impl Journey {
    /// What each stride makes of it, but for those that explain less than chance.
    fn learned(&self, is_down: bool, parity: f64) -> Vec<Learned> {
        let mut steps: Vec<u32> = (1..=16).collect();
        let further = self.hops.iter().filter_map(|hop| hop.ahead).filter(|ahead| *ahead > 16);
        steps.extend(further.take(FURTHER_STEPS));
        steps.sort_unstable();
        steps.dedup();
        let sign = if is_down { -1 } else { 1 };
        let directed = |step: &u32| i32::try_from(*step).unwrap_or(i32::MAX) * sign;
        let direction = if is_down { DOWN } else { 1.0 - DOWN };
        let constant = steps.iter().map(|step| {
            (Stride::Constant(directed(step)), CONSTANT * direction * share_of_step(*step))
        });
        let kept = [2, 4].into_iter().flat_map(|step| {
            let share = PARITY * direction * share_of_step(step - 1);
            [1, -1].map(|switch| (Stride::Parity { step: directed(&step), switch }, share))
        });
        let random = [(Stride::LINUX, LINUX), (Stride::RFC_6056, RFC_6056)];
        let random = random.into_iter().filter(|_| !is_down);
        let strides = constant.chain(kept).chain(random);
        strides.filter_map(|(stride, share)| self.with(stride, share, parity)).collect()
    }

    fn with(&self, stride: Stride, share: f64, parity: f64) -> Option<Learned> {
        let mut noise = Noise::new();
        let kept = if matches!(stride, Stride::Parity { .. }) { parity } else { 0.0 };
        let mut ln_evidence = 0.0;
        let (mut foreseen, mut ways) = (0, Vec::new());
        for (index, hop) in self.hops.iter().enumerate() {
            if hopeless(ln_evidence, index) {
                return None;
            }
            ways.clear();
            hop.ways(stride, &mut ways);
            let likelihood = noise.learn(&ways, hop.elapsed_s);
            ln_evidence += likelihood.ln();
            foreseen += usize::from(likelihood > FORESEEN);
        }
        ln_evidence += share.ln() + kept + self.ln_order() - self.firsts as f64 * ANY_PORT.ln();
        let next = Rc::new(Onward::new(stride, noise, self.last));
        Some(Learned { stride, ln_evidence, foreseen, of: self.hops.len(), next })
    }

    /// How likely so many swaps are: each is as likely as the others (Mallows' model of a ranking),
    /// and how likely is learnt, from Beta's prior.
    fn ln_order(&self) -> f64 {
        let swapped = (0..self.swaps).map(|n| SWAPPED + n as f64);
        let kept = (0..self.hops.len()).map(|n| IN_ORDER + n as f64);
        let all = (0..self.swaps + self.hops.len()).map(|n| SWAPPED + IN_ORDER + n as f64);
        swapped.chain(kept).map(f64::ln).sum::<f64>() - all.map(f64::ln).sum::<f64>()
    }
}

impl Hop {
    /// For each number of flows unseen that could lie on this way: how likely it is with it.
    fn ways(&self, stride: Stride, ways: &mut Vec<(usize, f64)>) {
        let Some(ahead) = self.ahead else { return };
        let steps = |way: i64, step: u32| {
            let step = i64::from(step);
            (way > 0 && way % step == 0).then(|| usize::try_from(way / step).unwrap_or(usize::MAX))
        };
        let flows = match stride {
            Stride::Constant(step) => steps(ahead.into(), step.unsigned_abs()),
            Stride::Parity { step, switch } => {
                let switch = i64::from(ahead % 2) * i64::from(switch) * i64::from(step.signum());
                steps(i64::from(ahead) - switch, step.unsigned_abs())
            }
            Stride::Increments { most, unit } => {
                return self.random_ways(ahead, most.into(), unit.into(), ways);
            }
        };
        let unseen = flows.and_then(|flows| flows.checked_sub(self.own));
        ways.extend(unseen.filter(|unseen| *unseen <= MOST_UNSEEN).map(|unseen| (unseen, 1.0)));
    }

    fn random_ways(&self, ahead: u32, most: usize, unit: u32, ways: &mut Vec<(usize, f64)>) {
        if !ahead.is_multiple_of(unit) {
            return;
        }
        let units = usize::try_from(ahead / unit).unwrap_or(usize::MAX);
        let fewest = units.div_ceil(most).max(self.own);
        for flows in fewest..=units.min(fewest + WAYS) {
            ways.push((flows - self.own, sums_to(flows, most, units)));
        }
    }
}

/// What one stride makes of a journey.
struct Learned {
    stride: Stride,
    ln_evidence: f64,
    foreseen: usize,
    of: usize,
    next: Rc<Onward>,
}

impl Learned {
    fn hypothesis(&self, counter: Counter, ln_share: f64, head: Option<Head>) -> Hypothesis {
        Hypothesis {
            rule: Rule::Sequential { counter, stride: self.stride },
            ln_weight: self.ln_evidence + ln_share,
            foreseen: self.foreseen,
            of: self.of,
            others_per_s: Some(self.next.others_per_s()),
            next: head.map_or(Next::Anywhere, |head| Next::Onward(head, Rc::clone(&self.next))),
        }
    }
}

type Key = (Option<IpAddr>, Option<u16>);
type Groups = BTreeMap<Key, Vec<usize>>;

fn groups(counter: Counter, seen: &[&Observation]) -> Groups {
    let mut groups = Groups::new();
    for (index, observation) in seen.iter().enumerate() {
        groups.entry(key_of(counter, observation.remote)).or_default().push(index);
    }
    groups
}

fn key_of(counter: Counter, remote: Endpoint) -> Key {
    match counter {
        Counter::One => (None, None),
        Counter::Address => (Some(remote.ip()), None),
        Counter::Offset | Counter::Endpoint => (Some(remote.ip()), Some(remote.port())),
    }
}

/// How likely the parities seen are where parity is kept; half for each whose internal one is unknown.
fn ln_parity(seen: &[&Observation]) -> f64 {
    let each = seen.iter().map(|observation| match observation.internal {
        Some(internal) if internal % 2 == observation.external % 2 => 0.0,
        Some(_) => PARITY_LOST.ln(),
        None => 0.5_f64.ln(),
    });
    each.sum()
}

/// Before anything was seen: 1/2 for a step of 1, 1/6 for 2, and so on; the sum over all is 1.
fn share_of_step(step: u32) -> f64 {
    1.0 / (f64::from(step) * (f64::from(step) + 1.0))
}

/// How likely each way to share a counter is, before anything was seen.
const COUNTERS: [(Counter, f64); 4] = [
    (Counter::One, 0.55),
    (Counter::Offset, 0.1),
    (Counter::Address, 0.05),
    (Counter::Endpoint, 0.3),
];

// How likely each kind of stride is.
const CONSTANT: f64 = 0.6;
const PARITY: f64 = 0.05;
const LINUX: f64 = 0.3;
const RFC_6056: f64 = 0.05;

/// How likely a counter goes towards lower ports.
const DOWN: f64 = 0.1;

/// How many of the ways seen are tried as steps, besides those up to 16.
const FURTHER_STEPS: usize = 8;

/// As if so many packets had overtaken the one before, and so many had not.
const SWAPPED: f64 = 0.5;
const IN_ORDER: f64 = 30.0;

/// As late as a packet may be that has been overtaken, in time, in ports and in packets.
const REORDERING: Duration = Duration::from_secs(1);
const NEAR: u32 = 512;
const FURTHEST_BACK: usize = 4;

/// How often parity is not kept where it is kept as a rule.
const PARITY_LOST: f64 = 1e-3;

/// More numbers of flows than this, beyond the fewest, are not tried for one way.
const WAYS: usize = 48;

/// A port this likely was foreseen.
const FORESEEN: f64 = 1e-3;

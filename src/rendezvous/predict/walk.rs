//! Counters: each port is where the one before was, and a stride further for each flow between.

use std::rc::Rc;

use super::groups::{Groups, groups, key_of};
use super::hop::Hop;
use super::hypothesis::{ANY_PORT, FAR, Hypothesis, Next, hopeless};
use super::noise::Noise;
use super::offsets::offsets;
use super::onward::{Head, Onward};
use super::ports::{DIVISIONS, Division, Ports};
use super::rule::{Counter, Rule, Stride};
use super::{Observation, Question};
use crate::time::Duration;

/// What counters could be behind these observations, but for those whose weight is sure to be far
/// below the heaviest and below `floor`, a logarithm.
pub fn hypotheses(seen: &[&Observation], question: &Question, floor: f64) -> Vec<Hypothesis> {
    let mut found = Vec::new();
    let mut floor = floor.max(hopeless(seen.len()));
    let mut journeys: Vec<(Journey, Vec<Learned>)> = Vec::new();
    let parity = ln_parity(seen);
    for walk in walks(seen) {
        let Some((journey, head)) = walk.journey(question) else { continue };
        let known = journeys.iter().position(|(known, _)| *known == journey);
        let known = known.unwrap_or_else(|| {
            let learned = journey.learned(parity, floor);
            journeys.push((journey, learned));
            journeys.len() - 1
        });
        for learned in &journeys[known].1 {
            let hypothesis = learned.hypothesis(&walk, head);
            floor = floor.max(hypothesis.ln_weight - FAR);
            found.push(hypothesis);
        }
    }
    found
}

/// All ways to look at the ports as those of counters.
fn walks<'a>(seen: &'a [&'a Observation]) -> Vec<Walk<'a>> {
    let mut walks = Vec::new();
    for (counter, of_counter) in COUNTERS {
        let groups = Rc::new(groups(counter, seen));
        for (division, share) in DIVISIONS {
            let share = of_counter * share;
            let walk = |is_down, unit, are_alike, share: f64| {
                let (groups, ln_share) = (Rc::clone(&groups), share.ln());
                let division = *division;
                Walk { seen, counter, groups, division, is_down, unit, are_alike, ln_share }
            };
            match (counter, division) {
                // Linux before 5.12 counts by two.
                (Counter::Offset, Division::Range(..)) => {
                    walks.extend([1, 2].map(|unit| walk(false, Some(unit), true, share / 2.0)));
                }
                (Counter::Offset, _) => {}
                (Counter::Address | Counter::Endpoint, _) if groups.len() > 1 => {
                    let both = [true, false].into_iter();
                    let both = both.flat_map(|alike| [(false, alike), (true, alike)]);
                    walks.extend(both.map(|(down, alike)| walk(down, None, alike, share / 2.0)));
                }
                _ => walks.extend([false, true].map(|is_down| walk(is_down, None, true, share))),
            }
        }
    }
    walks
}

/// Observations in the order of one counter, within one division of the ports.
struct Walk<'a> {
    seen: &'a [&'a Observation],
    counter: Counter,
    groups: Rc<Groups>,
    division: Division,
    is_down: bool,
    /// The only step that is thought of, if there is only one.
    unit: Option<u32>,
    /// Whether others take ports from each counter as often as from any other. One remote may be
    /// talked to by many, such as a server, and another by nobody else, such as a peer.
    are_alike: bool,
    ln_share: f64,
}

/// The ways from each port to the next that the same counter gave.
#[derive(Clone, Debug, PartialEq)]
struct Journey {
    is_down: bool,
    unit: Option<u32>,
    hops: Vec<Hop>,
    /// From which hops on they are those of a counter that others use in their own way.
    afresh: Vec<usize>,
    /// Ports before which the counter had not been seen.
    firsts: usize,
    /// How many neighbours changed places to put the ports into order.
    swaps: usize,
    /// From the last port to the flow asked for.
    elapsed_s: f64,
}

/// Where one port is within its part of the ports.
#[derive(Clone, Copy)]
struct Spot {
    ports: Ports,
    place: u32,
}

impl Walk<'_> {
    /// The ways from port to port, and where the counter for the flow asked for is; nothing if these
    /// ports cannot be looked at so.
    fn journey(&self, question: &Question) -> Option<(Journey, Option<Head>)> {
        let spots = self.seen.iter().map(|observation| {
            let ports = self.division.part(observation.external);
            Spot { ports, place: ports.place(observation.external).unwrap_or(0) }
        });
        let spots: Vec<_> = spots.collect();
        match self.unit.filter(|_| self.counter == Counter::Offset) {
            Some(unit) => self.journey_without_offsets(spots, unit, question),
            None => Some(self.journey_of_groups(&spots, question)),
        }
    }

    fn journey_of_groups(&self, spots: &[Spot], question: &Question) -> (Journey, Option<Head>) {
        let mut journey = Journey::new(self.is_down, self.unit, self.groups.len());
        let asked = key_of(self.counter, question.remote);
        for (_, group) in self.groups.iter().filter(|(key, _)| **key != asked) {
            self.begin_counter(&mut journey);
            self.travel(group, spots, &mut journey);
        }
        // What is learnt last is what counts.
        self.begin_counter(&mut journey);
        let last =
            self.groups.get(&asked).and_then(|group| self.travel(group, spots, &mut journey));
        let head = last.map(|last| {
            journey.elapsed_s = question.at.since(self.seen[last].at).as_secs_f64();
            Head { ports: spots[last].ports, place: spots[last].place }
        });
        (journey, head)
    }

    fn begin_counter(&self, journey: &mut Journey) {
        if !self.are_alike {
            journey.afresh.push(journey.hops.len());
        }
    }

    /// One counter serves all remotes, once the offset of each is taken away.
    fn journey_without_offsets(
        &self,
        mut spots: Vec<Spot>,
        unit: u32,
        question: &Question,
    ) -> Option<(Journey, Option<Head>)> {
        let ports = spots.first()?.ports;
        if spots.iter().any(|spot| spot.ports != ports) {
            return None;
        }
        let remotes: Vec<_> = self.seen.iter().map(|seen| seen.remote).collect();
        let places: Vec<_> = spots.iter().map(|spot| spot.place).collect();
        let offsets = offsets(&places, &remotes, ports.size(), unit);
        for (spot, remote) in spots.iter_mut().zip(&remotes) {
            spot.place = (spot.place + ports.size() - offsets[remote]) % ports.size();
        }
        // As if each offset were known, at the price of one that may be any: the weight is that of
        // the likeliest offsets alone, and less than that of all.
        let mut journey = Journey::new(false, Some(unit), offsets.len());
        let all: Vec<_> = (0..spots.len()).collect();
        let last = self.travel(&all, &spots, &mut journey)?;
        journey.elapsed_s = question.at.since(self.seen[last].at).as_secs_f64();
        let offset = offsets.get(&question.remote);
        let place = offset.map(|offset| (spots[last].place + offset) % ports.size());
        Some((journey, place.map(|place| Head { ports, place })))
    }

    /// Adds the hops of one counter, and says which of its ports is the furthest.
    fn travel(&self, group: &[usize], spots: &[Spot], journey: &mut Journey) -> Option<usize> {
        let (order, swaps) = self.in_order(group, spots);
        journey.swaps += swaps;
        journey.hops.extend(order.windows(2).map(|pair| self.hop(pair[0], pair[1], spots)));
        order.last().copied()
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
        let elapsed_s = self.seen[to].at.since(self.seen[from].at).as_secs_f64();
        Hop { ahead: self.ahead(spots[from], spots[to]), elapsed_s }
    }

    /// How many places lie ahead of one until the other, in the counter's direction and around the
    /// end of its part.
    fn ahead(&self, from: Spot, to: Spot) -> Option<u32> {
        let size = from.ports.size();
        let (from_place, to_place) =
            if self.is_down { (to.place, from.place) } else { (from.place, to.place) };
        (from.ports == to.ports).then(|| (to_place + size - from_place) % size)
    }
}

impl Journey {
    fn new(is_down: bool, unit: Option<u32>, firsts: usize) -> Self {
        let (hops, afresh) = (Vec::new(), Vec::new());
        Self { is_down, unit, hops, afresh, firsts, swaps: 0, elapsed_s: 0.0 }
    }

    /// What each stride makes of it, but for those that are sure to come to less than `floor`.
    fn learned(&self, parity: f64, floor: f64) -> Vec<Learned> {
        let strides = self.unit.map_or_else(
            || self.strides(),
            |unit| vec![(Stride::Constant(directed(unit, self.is_down)), 1.0)],
        );
        let before = self.ln_order() - self.firsts as f64 * ANY_PORT.ln();
        let learned = strides.into_iter().filter_map(|(stride, share)| {
            let kept = if matches!(stride, Stride::Parity { .. }) { parity } else { 0.0 };
            self.with(stride, before + share.ln() + kept, floor)
        });
        learned.collect()
    }

    /// The strides that are thought of, with their shares before anything was seen.
    fn strides(&self) -> Vec<(Stride, f64)> {
        let mut steps: Vec<u32> = (1..=16).collect();
        let ahead = self.hops.iter().filter_map(|hop| hop.ahead);
        let ahead: Vec<_> = ahead.take(FURTHER_STEPS).collect();
        // Where others never pause, no way is one step; but all are multiples of it.
        let shared = ahead.windows(2).map(|pair| greatest_divisor(pair[0], pair[1]));
        steps.extend(ahead.iter().copied().chain(shared).filter(|step| *step > 16));
        steps.sort_unstable();
        steps.dedup();
        let direction = if self.is_down { DOWN } else { 1.0 - DOWN };
        let constant = steps.into_iter().map(|step| {
            let stride = Stride::Constant(directed(step, self.is_down));
            (stride, CONSTANT * direction * share_of_step(step))
        });
        let kept = [2, 4].into_iter().flat_map(|step| {
            let share = PARITY * direction * share_of_step(step - 1);
            let step = directed(step, self.is_down);
            [1, -1].map(|switch| (Stride::Parity { step, switch }, share))
        });
        let random = [(Stride::LINUX, LINUX), (Stride::RFC_6056, RFC_6056)];
        let random = random.into_iter().filter(|_| !self.is_down);
        constant.chain(kept).chain(random).collect()
    }

    /// What a stride makes of the hops, if it had the weight `before`, a logarithm, before them.
    fn with(&self, stride: Stride, before: f64, floor: f64) -> Option<Learned> {
        let mut noise = Noise::new();
        let (mut of_hops, mut foreseen, mut ways) = (0.0, 0, Vec::new());
        for (index, hop) in self.hops.iter().enumerate() {
            // No hop adds more than nothing.
            if before + of_hops < floor || of_hops < hopeless(index) {
                return None;
            }
            if self.afresh.contains(&index) {
                noise = Noise::new();
            }
            ways.clear();
            hop.ways(stride, &mut ways);
            let likelihood = noise.learn(&ways, hop.elapsed_s);
            of_hops += likelihood.ln();
            foreseen += usize::from(likelihood > FORESEEN);
        }
        if self.afresh.contains(&self.hops.len()) {
            noise = Noise::new();
        }
        let ln_evidence = before + of_hops;
        let next = Rc::new(Onward::new(stride, noise, self.elapsed_s));
        Some(Learned { stride, ln_evidence, foreseen, of: self.hops.len(), next })
    }

    /// How likely so many swaps are: each is as likely as the others (Mallows' model of a ranking),
    /// and how likely is learnt, from Beta's prior.
    fn ln_order(&self) -> f64 {
        let beta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
        let (swaps, hops) = (self.swaps as f64, self.hops.len() as f64);
        beta(SWAPPED + swaps, IN_ORDER + hops) - beta(SWAPPED, IN_ORDER)
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
    fn hypothesis(&self, walk: &Walk, head: Option<Head>) -> Hypothesis {
        Hypothesis {
            rule: Rule::Sequential { counter: walk.counter, stride: self.stride },
            ln_weight: self.ln_evidence + walk.ln_share,
            foreseen: self.foreseen,
            of: self.of,
            others_per_s: Some(self.next.others_per_s()),
            next: head.map_or(Next::Anywhere, |head| Next::Onward(head, Rc::clone(&self.next))),
        }
    }
}

fn directed(step: u32, is_down: bool) -> i32 {
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    if is_down { -step } else { step }
}

/// The greatest step of which both are multiples (Euclid).
fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
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
    (Counter::One, 0.5),
    (Counter::Offset, 0.1),
    (Counter::Address, 0.1),
    (Counter::Endpoint, 0.3),
];

// How likely each kind of stride is.
const CONSTANT: f64 = 0.6;
const PARITY: f64 = 0.05;
const LINUX: f64 = 0.3;
const RFC_6056: f64 = 0.05;

/// How likely a counter goes towards lower ports.
const DOWN: f64 = 0.1;

/// How many of the ways seen, and what they share, are tried as steps besides those up to 16.
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

/// A port this likely was foreseen.
const FORESEEN: f64 = 1e-3;

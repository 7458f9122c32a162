//! Volleys: unsolicited segments shot back to back with companions that are known to pass.
//!
//! A NAT that filters and a path that loses look alike. A companion that left beside a shot and
//! arrived shows that the path was alive just then; how many companions did not arrive measures the
//! loss that the silence has to be weighed against.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::patience::{Patience, review, settle};
use crate::time::{Duration, Instant};
use crate::wire::control::{ProbeId, Shot, Volley};
use crate::wire::{Endpoint, Packet, Seq};

/// A segment that volleys should carry for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The reflector's endpoint that it comes from.
    pub from: Endpoint,
    /// Where it goes.
    pub to: Endpoint,
    /// Its sequence number, if it must be the same in every volley.
    pub seq: Option<Seq>,
    /// What it acknowledges: a SYN,ACK if anything, else a bare SYN.
    pub ack: Option<Seq>,
}

/// When a volley is shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// As soon as mappings are open. A late answer to a SYN of this block is still heard.
    First,
    /// Once a NAT that holds SYNs has let go of those of the first block: what it holds at most must
    /// not be used up by all questions together.
    Second,
}

/// Which volleys of a block carry a segment: from one on, every so many-th. Repetitions take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    from: u16,
    every: u16,
}

impl Turn {
    /// Every volley.
    pub const ALWAYS: Self = Self { from: 0, every: 1 };

    /// The turn of one of so many, each of which begins `stride` volleys after the one before it.
    pub const fn of(number: u16, many: u16, stride: u16) -> Self {
        Self { from: number * stride, every: many }
    }

    const fn has(self, volley: u16) -> bool {
        volley >= self.from && (volley - self.from).is_multiple_of(self.every)
    }
}

/// What to shoot at, and with what beside it.
#[derive(Debug, Default)]
pub struct Targets {
    /// What they carry in turn.
    pub tests: Vec<(Turn, (ProbeId, Aim))>,
    /// What every volley carries in addition.
    pub companions: Vec<(ProbeId, Aim)>,
}

/// Volleys to order now.
#[derive(Debug, PartialEq, Eq)]
pub struct Wave {
    /// What they ask.
    pub block: Block,
    /// Their numbers, and the first one of their block.
    numbers: Range<u16>,
    block_starts: u16,
    gap: Duration,
}

/// Which volleys are shot when: in each block a few, and the rest if the path lost any of their
/// companions.
#[derive(Debug)]
pub struct Volleys {
    patience: Patience,
    round_trip: Duration,
    next: Next,
    /// When what is next is due; until then what was ordered is under way.
    due: Instant,
    /// How many were ordered, and when the last of them is shot.
    ordered: u16,
    ends: Instant,
    /// The first one of the block.
    block_starts: u16,
    first_block_ends: Instant,
    second_block_begins: Instant,
    /// Companions of the last wave, and those of any that have arrived, each by its number.
    companions: Vec<(ProbeId, Endpoint)>,
    heard: BTreeMap<(ProbeId, Endpoint), BTreeSet<u16>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Few(Block),
    /// As many as are left, if these few lost companions.
    Rest(Block),
    Calm,
}

impl Volleys {
    /// Volleys that begin now.
    pub fn new(now: Instant, patience: Patience, round_trip: Duration) -> Self {
        Self {
            patience,
            round_trip,
            next: Next::Few(Block::First),
            due: now,
            ordered: 0,
            ends: now,
            block_starts: 0,
            first_block_ends: now,
            second_block_begins: now + patience.second_block(),
            companions: Vec::new(),
            heard: BTreeMap::new(),
        }
    }

    /// The wave that is due, if one is.
    pub fn next(&mut self, now: Instant) -> Option<Wave> {
        while self.due <= now {
            match self.next {
                Next::Few(block) => {
                    self.next = Next::Rest(block);
                    self.block_starts = self.ordered;
                    return Some(self.wave(now, block, self.few(block)));
                }
                Next::Rest(block) => {
                    self.go_on_after(now, block);
                    if !self.is_path_good(block) {
                        let rest = self.patience.most - self.few(block);
                        return Some(self.wave(now, block, rest));
                    }
                }
                Next::Calm => return None,
            }
        }
        None
    }

    fn wave(&mut self, now: Instant, block: Block, volleys: u16) -> Wave {
        let first = self.ordered;
        let gap = self.patience.gap;
        self.ordered += volleys;
        self.ends = now + gap * u32::from(self.ordered - first);
        if block == Block::First {
            self.first_block_ends = self.ends;
        }
        self.due = self.due.max(self.ends + review(self.round_trip));
        Wave { block, numbers: first..self.ordered, block_starts: self.block_starts, gap }
    }

    fn go_on_after(&mut self, now: Instant, block: Block) {
        (self.next, self.due) = match block {
            Block::First => (Next::Few(Block::Second), self.second_block_begins.max(now)),
            Block::Second => (Next::Calm, now),
        };
    }

    const fn few(&self, block: Block) -> u16 {
        self.patience.few[block as usize]
    }

    /// Whether of the first kind of companions that passes at all, from every endpoint as many arrived
    /// as were sent. A NAT may have reasons of its own to drop some of another kind.
    fn is_path_good(&self, block: Block) -> bool {
        let sent = usize::from(self.few(block));
        let mut kinds = self.companions.chunk_by(|(one, _), (other, _)| one == other);
        let passing = kinds.find(|kind| kind.iter().any(|one| self.heard.contains_key(one)));
        let complete = |one| self.heard.get(one).is_some_and(|arrived| arrived.len() >= sent);
        passing.is_some_and(|kind| kind.iter().all(complete))
    }

    /// Takes note of what the next wave carries to prove the path alive.
    pub fn accompany(&mut self, companions: &[(ProbeId, Aim)]) {
        self.companions = companions.iter().map(|(probe, aim)| (*probe, aim.from)).collect();
        self.heard.clear();
    }

    /// Takes note of a packet that arrived for a probe.
    pub fn arrived(&mut self, probe: ProbeId, packet: &Packet) {
        if let Some((from, _)) = packet.endpoints() {
            self.heard.entry((probe, from)).or_default().insert(packet.id);
        }
    }

    /// Whether each of these companions is known to pass.
    pub fn pass(&self, companions: &[(ProbeId, Aim)]) -> bool {
        let passes = |(probe, aim): &(ProbeId, Aim)| self.heard.contains_key(&(*probe, aim.from));
        !companions.is_empty() && companions.iter().all(passes)
    }

    /// When there is something to do.
    pub fn wakes(&self) -> Instant {
        if self.next == Next::Calm { self.calm() } else { self.due }
    }

    /// Whether volleys, and listening after them, are over.
    pub fn are_over(&self, now: Instant) -> bool {
        self.next == Next::Calm && self.calm() <= now
    }

    fn calm(&self) -> Instant {
        let listen = self.patience.listen.unwrap_or_default();
        let listened = self.first_block_ends + self.round_trip + listen;
        listened.max(self.ends + settle(self.round_trip))
    }
}

impl Wave {
    /// Its shots at these targets.
    pub fn shots(&self, targets: &Targets, random: &mut Xoshiro256PlusPlus) -> Vec<Shot> {
        let shots = self.numbers.clone().flat_map(|number| {
            let tests =
                targets.tests.iter().filter(|(turn, _)| turn.has(number - self.block_starts));
            let mut all: Vec<_> =
                tests.map(|(_, test)| *test).chain(targets.companions.iter().copied()).collect();
            // In random order: a limiter that passes the first SYNs of each volley must not pass
            // every companion and no test.
            all.shuffle(random);
            let at = self.gap * u32::from(number - self.numbers.start);
            let after_ms = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
            let shot = |(probe, aim): (ProbeId, Aim)| {
                let Aim { from, to, ack, .. } = aim;
                let seq = aim.seq.unwrap_or_else(|| Seq(random.next_u32()));
                Shot { probe, volley: Volley(number), after_ms, from, to, seq, ack }
            };
            all.into_iter().map(shot).collect::<Vec<_>>()
        });
        shots.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Effort;
    use crate::wire::Segment;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    fn volleys() -> Volleys {
        Volleys::new(Instant::START, Patience::of(Effort::Default), ROUND_TRIP)
    }

    fn companion() -> (ProbeId, Aim) {
        let from = "203.0.113.10:5383".parse().expect("an endpoint");
        let to = "198.51.100.1:5000".parse().expect("an endpoint");
        (ProbeId(1), Aim { from, to, seq: None, ack: None })
    }

    /// Lets `arrived` of the companions of a wave arrive.
    fn hear(volleys: &mut Volleys, wave: &Wave, arrived: u16) {
        let (probe, aim) = companion();
        volleys.accompany(&[(probe, aim)]);
        for number in wave.numbers.clone().take(arrived.into()) {
            let syn = Segment::syn(Seq(1), u32::from(number) + 1);
            volleys.arrived(probe, &Packet::marked(aim.from, aim.to, syn));
        }
    }

    /// Every wave as it is ordered: its block, when, and how many volleys.
    fn waves(mut volleys: Volleys, lost: u16) -> Vec<(Block, Instant, u16)> {
        let mut waves = Vec::new();
        let mut now = Instant::START;
        while !volleys.are_over(now) {
            while let Some(wave) = volleys.next(now) {
                let all = u16::try_from(wave.numbers.len()).expect("few");
                hear(&mut volleys, &wave, all - lost);
                waves.push((wave.block, now, all));
            }
            assert!(volleys.wakes() > now || volleys.are_over(now), "it stands still at {now:?}");
            now = volleys.wakes();
        }
        waves
    }

    #[test]
    fn a_path_that_loses_nothing_gets_few_volleys_in_each_block() {
        let blocks: Vec<_> =
            waves(volleys(), 0).iter().map(|(block, _, all)| (*block, *all)).collect();
        let [first, second] = Patience::of(Effort::Default).few;
        assert_eq!(blocks, [(Block::First, first), (Block::Second, second)]);
    }

    #[test]
    fn a_path_that_loses_a_companion_gets_as_many_as_it_takes() {
        let waves = waves(volleys(), 1);
        let of = |wanted| {
            waves.iter().filter(move |wave| wave.0 == wanted).map(|wave| wave.2).sum::<u16>()
        };
        let most = Patience::of(Effort::Default).most;
        assert_eq!([of(Block::First), of(Block::Second)], [most, most]);
    }

    #[test]
    fn a_nat_that_holds_syns_has_let_go_when_the_second_block_begins() {
        let second = waves(volleys(), 1).into_iter().find(|wave| wave.0 == Block::Second);
        let begins = second.expect("there is a second block").1;
        assert!(begins >= Instant::START + Patience::of(Effort::Default).second_block());
    }

    #[test]
    fn who_has_a_turn_comes_first_at_its_stride_and_then_in_every_round() {
        let turn = Turn::of(3, 5, 2);
        let volleys: Vec<_> = (0..20).filter(|volley| turn.has(*volley)).collect();
        assert_eq!(volleys, [6, 11, 16]);
    }

    #[test]
    fn volleys_stay_within_what_the_plan_promises_for_them() {
        for effort in [Effort::Quick, Effort::Default, Effort::Full] {
            let patience = Patience::of(effort);
            let slow = Duration::from_secs(3);
            let mut volleys = Volleys::new(Instant::START, patience, slow);
            let mut now = Instant::START;
            while !volleys.are_over(now) {
                while volleys.next(now).is_some() {}
                now = volleys.wakes();
            }
            assert!(now <= Instant::START + patience.trying(), "{effort:?}: {now:?}");
        }
    }
}

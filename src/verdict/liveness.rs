//! When does silence count? A negative answer stands only on tries beside which the path was proven
//! alive, and states the chance that loss alone made it.
//!
//! Inward, every volley carries companions that are known to pass; a try counts if all companions
//! from its address in its volley arrived. Outward, SYNs go out at a steady beat; the longest time in
//! which none arrived is the longest outage that may have gone unnoticed, and tries closer together
//! than that count as one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::finding::{Frame, Unknown};
use super::view::{Asked, At, Sight, View};
use crate::engine::{Effort, Question};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;
use crate::wire::control::Volley;

/// What a run shows of its path.
pub struct Liveness {
    inward: BTreeMap<IpAddr, Inward>,
    outward: Outward,
    limit: f64,
}

/// The way in from one of the reflectors' addresses.
#[derive(Default)]
struct Inward {
    alive: BTreeSet<Volley>,
    /// Companions that were sent, of the kinds that pass.
    sent: u32,
    lost: u32,
    /// Bare SYNs, companions or not, that were sent where SYNs from this address are known to pass,
    /// and those of them that were lost.
    syns_sent: u32,
    syns_lost: u32,
    longest_outage: Duration,
    /// Whether only late SYNs pass.
    late: bool,
}

/// The way out.
#[derive(Default)]
struct Outward {
    sent: u32,
    lost: u32,
    longest_outage: Duration,
    /// Those that were seen at a reflector, in the order in which they left.
    seen: Vec<(Frame, Instant)>,
}

impl Liveness {
    pub fn of(view: &View<'_>) -> Self {
        let limit = if view.effort == Effort::Quick { 1e-6 } else { 1e-9 };
        Self { inward: inward(view), outward: outward(view), limit }
    }

    /// The chance that all tries from `address` in these volleys were lost, if it is small enough
    /// for their silence to count.
    pub fn silence_in(&self, address: IpAddr, volleys: &[Volley]) -> Result<f64, Unknown> {
        let inward = self.inward.get(&address).ok_or(Unknown::NoAnswer)?;
        let counted = volleys.iter().filter(|volley| inward.alive.contains(volley)).count();
        self.accept(inward.loss().powi(count(counted)))
    }

    /// The same for tries whose answer had to come back out through the NAT, by the port that they
    /// went to. A NAT may answer every try, or hold the first and answer each port once (RFC 5382
    /// REQ-4): the bound is that of the likelier.
    pub fn silence_in_and_out(
        &self,
        address: IpAddr,
        ports: &[Vec<(Volley, Instant)>],
    ) -> Result<f64, Unknown> {
        let inward = self.inward.get(&address).ok_or(Unknown::NoAnswer)?;
        let alive = |tries: &Vec<(Volley, Instant)>| {
            let alive = tries.iter().filter(|(volley, _)| inward.alive.contains(volley));
            alive.map(|(_, at)| *at).collect::<Vec<_>>()
        };
        let ports: Vec<_> = ports.iter().map(alive).filter(|tries| !tries.is_empty()).collect();
        let each_try = ports.iter().flatten().map(|at| (*at, 1)).collect();
        let each_port = ports.iter().map(|tries| (tries[0], tries.len())).collect();
        let bounds = [each_try, each_port].map(|answers| self.all_lost(inward, answers));
        self.accept(bounds[0].max(bounds[1]))
    }

    /// The chance that none of these answers came: by the moment each was first asked for, and how
    /// often it was.
    fn all_lost(&self, inward: &Inward, answers: Vec<(Instant, usize)>) -> f64 {
        let (way_in, way_out) = (inward.loss(), self.outward.loss());
        // An outage outward swallows all answers of one group, or loss inward took each try.
        let groups = groups(answers, self.outward.longest_outage);
        let lost = |tries: &usize| (way_in.powi(count(*tries)) + way_out).min(1.0);
        groups.iter().map(lost).product()
    }

    /// Whether a SYN that left right behind this one got through.
    pub fn passed_out(&self, (frame, at): (Frame, Instant)) -> bool {
        let next = self.outward.seen.partition_point(|(other, _)| *other < frame);
        self.outward.seen.get(next).is_some_and(|(_, seen)| seen.since(at) <= BESIDE)
    }

    /// The same for tries that went out, as a SYN behind each did, and would have come in again.
    pub fn silence_around(&self, tries: &[Instant]) -> Result<f64, Unknown> {
        let inward = self.inward.values().max_by_key(|inward| inward.longest_outage);
        let inward = inward.ok_or(Unknown::NoAnswer)?;
        let tries: Vec<_> = tries.iter().map(|at| (*at, 1)).collect();
        let outage = inward.longest_outage.max(self.outward.longest_outage);
        let loss = (inward.loss() + self.outward.loss()).min(1.0);
        self.accept(loss.powi(count(groups(tries, outage).len())))
    }

    /// The same for tries beside each of which another segment was sent, given how many of these
    /// arrived: each that did not makes its try count for nothing.
    pub fn silence_beside(&self, arrived: usize, sent: usize) -> Result<f64, Unknown> {
        let lost = count(sent.saturating_sub(arrived));
        let loss = share(lost.unsigned_abs(), count(sent).unsigned_abs());
        // Nothing with the same flags is known to pass.
        self.accept(loss.max(UNPROVEN_LOSS).powi(count(arrived)))
    }

    /// Until when the way out was alive.
    pub fn last_seen_out(&self) -> Option<Instant> {
        self.outward.seen.last().map(|(_, at)| *at)
    }

    fn accept(&self, bound: f64) -> Result<f64, Unknown> {
        if bound <= self.limit { Ok(bound) } else { Err(Unknown::LossyPath) }
    }
}

impl Inward {
    fn loss(&self) -> f64 {
        // Where no SYN is known to pass, all of them may have been lost.
        let of_syns = match self.syns_sent {
            0 => 1.0,
            sent => share(self.syns_lost, sent),
        };
        share(self.lost, self.sent).max(of_syns)
    }
}

impl Outward {
    fn loss(&self) -> f64 {
        share(self.lost, self.sent)
    }
}

/// Laplace's rule of succession: the share that the next one is lost with, never zero.
fn share(lost: u32, sent: u32) -> f64 {
    f64::from(lost + 1) / f64::from(sent + 2)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Tries in groups that one outage of this length could swallow: how many each group has.
fn groups(mut tries: Vec<(Instant, usize)>, outage: Duration) -> Vec<usize> {
    tries.sort_unstable();
    let mut groups = Vec::new();
    let mut first = Instant::START;
    for (at, number) in tries {
        match groups.last_mut() {
            Some(tries) if at.since(first) < outage => *tries += number,
            _ => {
                first = at;
                groups.push(number);
            }
        }
    }
    groups
}

/// A companion that was sent in a volley.
struct Sent {
    volley: Volley,
    at: Instant,
    kind: Question,
    arrived: bool,
}

fn inward(view: &View<'_>) -> BTreeMap<IpAddr, Inward> {
    let mut sent: BTreeMap<IpAddr, Vec<Sent>> = BTreeMap::new();
    for kind in [Question::CompanionSyn, Question::CompanionSynAck, Question::CompanionLateSyn] {
        for asked in view.asked(kind) {
            let arrived =
                Arrived::among(view.sights(asked.probe, At::ReachedProber).iter().copied());
            for sight in view.sights(asked.probe, At::LeftReflector) {
                let Some(volley) = sight.record.volley else { continue };
                let arrived = arrived.has(sight);
                let companion = Sent { volley, at: sight.record.at, kind, arrived };
                sent.entry(sight.from.ip()).or_default().push(companion);
            }
        }
    }
    let mut all: BTreeMap<_, _> =
        sent.into_iter().map(|(address, companions)| (address, Inward::of(companions))).collect();
    for asked in view.probes() {
        count_syns(view, asked, &mut all);
    }
    all
}

/// Counts the SYNs shot at a probe, from each endpoint of which at least one arrived. Once a
/// connection has gone on, a NAT that follows it may drop a repeated SYN for its own reasons: such
/// SYNs count only where no others pass.
fn count_syns(view: &View<'_>, asked: &Asked, all: &mut BTreeMap<IpAddr, Inward>) {
    let mut shots = view.syns(asked.probe, At::LeftReflector).peekable();
    let gone_on = match asked.question {
        Question::SimultaneousOpen => return,
        _ if shots.peek().is_none() => return,
        question => question == Question::CompanionLateSyn,
    };
    let arrived = Arrived::among(view.syns(asked.probe, At::ReachedProber));
    for shot in shots.filter(|shot| arrived.any_from(shot.from)) {
        let inward = all.entry(shot.from.ip()).or_default();
        if gone_on && !inward.late {
            continue;
        }
        inward.syns_sent += 1;
        inward.syns_lost += u32::from(!arrived.has(&shot));
    }
}

/// By what one of several repeated segments of a probe is known: whether it is a SYN,ACK, and its
/// timestamp, or if a NAT stripped that its identification.
type Mark = (bool, u32);

fn marks(sight: &Sight<'_>) -> [Mark; 2] {
    let stamp = sight.segment.options.timestamps().map(|(value, _)| value);
    let id = u32::from(sight.record.packet.id);
    let kind = sight.segment.is_syn_ack();
    [(kind, stamp.unwrap_or(id)), (kind, id)]
}

/// The segments of a probe that arrived, in the order of where from and of their marks.
struct Arrived(Vec<(Endpoint, Mark)>);

impl Arrived {
    fn among<'a>(sights: impl Iterator<Item = Sight<'a>>) -> Self {
        let all = sights.flat_map(|sight| marks(&sight).map(|mark| (sight.from, mark)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        Self(all)
    }

    fn has(&self, sent: &Sight<'_>) -> bool {
        marks(sent).iter().any(|mark| self.0.binary_search(&(sent.from, *mark)).is_ok())
    }

    fn any_from(&self, from: Endpoint) -> bool {
        let first = self.0.partition_point(|(other, _)| *other < from);
        self.0.get(first).is_some_and(|(other, _)| *other == from)
    }
}

impl Inward {
    fn of(mut companions: Vec<Sent>) -> Self {
        let passes = |kind| companions.iter().any(|sent| sent.kind == kind && sent.arrived);
        // Late SYNs stand in for SYNs that this NAT drops.
        let syns = passes(Question::CompanionSyn);
        let late = passes(Question::CompanionLateSyn) && !syns;
        let syn_acks = passes(Question::CompanionSynAck);
        companions.retain(|sent| match sent.kind {
            Question::CompanionSyn => syns,
            Question::CompanionLateSyn => late,
            _ => syn_acks,
        });
        companions.sort_unstable_by_key(|sent| sent.at);
        let mut inward = Self { late, ..Self::default() };
        let mut dead = BTreeSet::new();
        let mut last_seen = companions.first().map(|sent| sent.at);
        for Sent { volley, at, arrived, .. } in companions {
            inward.sent += 1;
            inward.alive.insert(volley);
            if arrived {
                last_seen = Some(at);
            } else {
                inward.lost += 1;
                dead.insert(volley);
                let outage = last_seen.map_or(Duration::ZERO, |last| at.since(last));
                inward.longest_outage = inward.longest_outage.max(outage);
            }
        }
        inward.alive.retain(|volley| !dead.contains(volley));
        inward
    }
}

fn outward(view: &View<'_>) -> Outward {
    let mut outward = Outward::default();
    for asked in view.asked(Question::CompanionSyn) {
        let seen = view.syns(asked.probe, At::ReachedReflector);
        let seen: BTreeSet<_> = seen.flat_map(|sight| marks(&sight)).collect();
        for beat in view.syns(asked.probe, At::LeftProber) {
            outward.sent += 1;
            if marks(&beat).iter().any(|mark| seen.contains(mark)) {
                let at = beat.record.at;
                let outage =
                    outward.seen.last().map_or(Duration::ZERO, |(_, last)| at.since(*last));
                outward.longest_outage = outward.longest_outage.max(outage);
                outward.seen.push((beat.frame, at));
            } else {
                outward.lost += 1;
            }
        }
    }
    outward
}

/// Two packets that left this close together met the same path.
const BESIDE: Duration = Duration::from_millis(10);

/// What has to be assumed where no segment with the same flags is known to pass.
const UNPROVEN_LOSS: f64 = 0.25;

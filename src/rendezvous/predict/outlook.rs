//! What all hypotheses together say, by their weights.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::density::Density;
use super::hypothesis::{ANY, ANY_PORT, FAR, Hypothesis, Internal};
use super::rule::Rule;
use super::{Belief, Observation, Question, still, walk};
use crate::nat::Mapping;
use crate::wire::Endpoint;

/// What all hypotheses together say.
pub struct Outlook {
    pub rules: Vec<Belief>,
    /// Of each port, by its number.
    pub probabilities: Vec<f64>,
}

impl Outlook {
    pub fn of(seen: &[Observation], question: &Question, internal: &Internal) -> Self {
        let mut explained: Vec<_> = MAPPINGS
            .iter()
            .filter(|(mapping, _)| !needs_no_asking(*mapping, seen, question))
            .flat_map(|(mapping, share)| {
                Bindings::of(*mapping, seen, question).explained(*share, question)
            })
            .collect();
        normalise(&mut explained);
        let mut density = Density::new();
        let mut taken: Vec<_> = seen.iter().map(|observation| observation.external).collect();
        taken.sort_unstable();
        taken.dedup();
        for Explained { weight, binding, by } in explained.iter().filter(|e| e.weight > NEGLIGIBLE)
        {
            let bound = binding.map_or(0.0, |port| {
                density.add(port, weight * HELD);
                HELD
            });
            by.next.spread(internal, &taken, weight * (1.0 - bound), &mut density);
        }
        let rules = if seen.is_empty() { Vec::new() } else { beliefs(&explained) };
        Self { rules, probabilities: whole(density.probabilities()) }
    }
}

/// A hypothesis with its weight among all, and the binding that it holds to be used again.
struct Explained {
    weight: f64,
    binding: Option<u16>,
    by: Hypothesis,
}

/// Which observations are new bindings, if bindings are used again by one class of mapping.
struct Bindings<'a> {
    fresh: Vec<&'a Observation>,
    /// Of what was seen of the others.
    ln_evidence: f64,
    /// The binding that the flow asked for would use.
    asked: Option<u16>,
}

type Key = (u16, Option<IpAddr>, Option<u16>);

impl<'a> Bindings<'a> {
    fn of(mapping: Mapping, seen: &'a [Observation], question: &Question) -> Self {
        let (mut bindings, mut fresh, mut ln_evidence) = (BTreeMap::new(), Vec::new(), 0.0);
        for observation in seen {
            let key = observation.internal.map(|port| key(mapping, port, observation.remote));
            let before = key.and_then(|key| bindings.insert(key, observation.external));
            ln_evidence += match before {
                Some(port) if port == observation.external => HELD.ln(),
                Some(_) => (1.0 - HELD).ln(),
                None => 0.0,
            };
            if before != Some(observation.external) {
                fresh.push(observation);
            }
        }
        let asked = question.internal.map(|port| key(mapping, port, question.remote));
        Self { fresh, ln_evidence, asked: asked.and_then(|key| bindings.get(&key).copied()) }
    }

    fn explained(self, share: f64, question: &Question) -> Vec<Explained> {
        let told = self.fresh.iter().any(|observation| observation.internal.is_some());
        let [keeps, counts, draws] = if told { [0.45, 0.35, 0.2] } else { [0.0, 0.65, 0.35] };
        let (kept, random) = (still::kept(&self.fresh), still::random(&self.fresh));
        let heaviest = |family: &[Hypothesis], of_family: f64| {
            let weights = family.iter().map(|by| by.ln_weight + (of_family / counts).ln());
            weights.fold(f64::NEG_INFINITY, f64::max)
        };
        let floor = heaviest(&kept, keeps).max(heaviest(&random, draws)) - FAR;
        let counters = walk::hypotheses(&self.fresh, question, floor);
        let families = [(keeps, kept), (counts, counters), (draws, random)];
        let each = families.into_iter().flat_map(|(of_family, hypotheses)| {
            hypotheses.into_iter().map(move |by| (f64::ln(of_family * share), by))
        });
        let each = each.map(|(ln_share, by)| Explained {
            weight: by.ln_weight + ln_share + self.ln_evidence,
            binding: self.asked,
            by,
        });
        let mut each: Vec<_> = each.collect();
        if !told && question.internal.is_some() {
            each.push(untold(&each));
        }
        each
    }
}

/// Where no internal port was told, all that was seen says nothing about preservation.
fn untold(others: &[Explained]) -> Explained {
    let highest = others.iter().map(|e| e.weight).fold(f64::NEG_INFINITY, f64::max);
    let highest = if highest.is_finite() { highest } else { 0.0 };
    let sum: f64 = others.iter().map(|e| (e.weight - highest).exp()).sum();
    let weight = highest + sum.max(1.0).ln() + (UNTOLD / (1.0 - UNTOLD)).ln();
    Explained { weight, binding: None, by: still::untold() }
}

/// Whether this class of mapping says the same as endpoint-independent mapping of these.
fn needs_no_asking(mapping: Mapping, seen: &[Observation], question: &Question) -> bool {
    let asked = question.internal.into_iter();
    let mut ports: Vec<_> = seen.iter().filter_map(|seen| seen.internal).chain(asked).collect();
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    mapping != Mapping::EndpointIndependent && ports.len() == all
}

fn key(mapping: Mapping, internal: u16, remote: Endpoint) -> Key {
    match mapping {
        Mapping::EndpointIndependent => (internal, None, None),
        Mapping::AddressDependent => (internal, Some(remote.ip()), None),
        Mapping::AddressAndPortDependent => (internal, Some(remote.ip()), Some(remote.port())),
    }
}

/// Makes shares of weights that are logarithms.
fn normalise(explained: &mut [Explained]) {
    let highest = explained.iter().map(|e| e.weight).fold(f64::NEG_INFINITY, f64::max);
    explained.iter_mut().for_each(|e| e.weight = (e.weight - highest).exp());
    let sum: f64 = explained.iter().map(|e| e.weight).sum();
    explained.iter_mut().for_each(|e| e.weight /= sum);
}

/// What is left over is for any port.
fn whole(mut probabilities: Vec<f64>) -> Vec<f64> {
    let left = 1.0 - probabilities.iter().sum::<f64>();
    let any = ANY.part(u16::MAX);
    let any = usize::from(any.first())..=usize::from(any.last());
    probabilities[any].iter_mut().for_each(|of_port| *of_port += left.max(0.0) / ANY_PORT);
    probabilities
}

/// The rules with their shares, the likeliest first, each with the words of its likeliest setting.
fn beliefs(explained: &[Explained]) -> Vec<Belief> {
    let mut heaviest: BTreeMap<Rule, (f64, Belief)> = BTreeMap::new();
    for Explained { weight, by, .. } in explained {
        let Hypothesis { rule, foreseen, of, others_per_s, .. } = *by;
        let this = Belief { rule, probability: 0.0, foreseen, of, others_per_s };
        let (most, belief) = heaviest.entry(rule).or_insert((*weight, this));
        let probability = belief.probability + weight;
        if weight > most {
            (*most, *belief) = (*weight, this);
        }
        belief.probability = probability;
    }
    let mut beliefs: Vec<_> = heaviest.into_values().map(|(_, belief)| belief).collect();
    beliefs.retain(|belief| belief.probability >= WORTH_TELLING);
    beliefs.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    beliefs
}

/// How likely each class of mapping is: seven in ten NATs were endpoint-independent (Guha and Francis
/// 2005), fewer of the carriers' (Richter et al. 2016).
const MAPPINGS: [(Mapping, f64); 3] = [
    (Mapping::EndpointIndependent, 0.6),
    (Mapping::AddressDependent, 0.1),
    (Mapping::AddressAndPortDependent, 0.3),
];

/// How often a binding is still there when its internal port is used again.
const HELD: f64 = 0.97;

/// How likely ports are preserved, where nothing was told.
const UNTOLD: f64 = 0.45;

/// What is less likely adds to no candidate.
const NEGLIGIBLE: f64 = 1e-5;
const WORTH_TELLING: f64 = 1e-3;

//! Where a counter goes from where it was last seen.

use std::cell::OnceCell;

use super::density::Density;
use super::hypothesis::Internal;
use super::noise::Noise;
use super::ports::Ports;
use super::rule::Stride;
use super::sums::{likely_sums, sums_to};

/// Where a counter was when it was last seen.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub ports: Ports,
    pub place: u32,
}

/// What was learnt of one way to go on.
#[derive(Clone, Debug)]
pub struct Onward {
    stride: Stride,
    noise: Noise,
    /// From the last port to the flow asked for.
    elapsed_s: f64,
    /// How likely the counter goes so many places on; worked out when it is first asked for.
    law: OnceCell<Vec<(i64, f64)>>,
}

impl Onward {
    pub fn new(stride: Stride, noise: Noise, elapsed_s: f64) -> Self {
        Self { stride, noise, elapsed_s, law: OnceCell::new() }
    }

    pub fn others_per_s(&self) -> f64 {
        self.noise.others_per_s()
    }

    /// Adds the ports that may be next, with their probabilities times `weight`.
    pub fn spread(&self, head: Head, internal: &Internal, weight: f64, onto: &mut Density) {
        let size = i64::from(head.ports.size());
        let mut add = |ahead: i64, probability: f64| {
            let place = (i64::from(head.place) + ahead).rem_euclid(size);
            onto.add(head.ports.port(u32::try_from(place).unwrap_or(0)), weight * probability);
        };
        let law = self.law.get_or_init(|| self.law());
        if let Stride::Parity { switch, .. } = self.stride {
            let last = head.ports.port(head.place);
            let (same, other) = (internal.parity(last), internal.parity(last ^ 1));
            for (ahead, probability) in law {
                add(*ahead, probability * same);
                add(ahead + i64::from(switch), probability * other);
            }
        } else {
            law.iter().for_each(|(ahead, probability)| add(*ahead, *probability));
        }
    }

    fn law(&self) -> Vec<(i64, f64)> {
        let unseen = self.noise.unseen(self.elapsed_s).into_iter().zip(1..);
        let likely = unseen.filter(|(probability, _)| *probability > NEGLIGIBLE);
        match self.stride {
            Stride::Constant(step) | Stride::Parity { step, .. } => {
                let by_flows = |(p, flows)| (i64::from(step) * signed(flows), p);
                likely.map(by_flows).collect()
            }
            Stride::Increments { most, unit } => {
                let mut by_units = Vec::new();
                for (probability, flows) in likely.filter(|(p, _)| *p > WORTH_SPREADING) {
                    let sums = likely_sums(flows, most.into());
                    by_units.resize(by_units.len().max(sums.end() + 1), 0.0);
                    for units in sums {
                        by_units[units] += probability * sums_to(flows, most.into(), units);
                    }
                }
                let ways = (0..).step_by(unit.into()).zip(by_units);
                ways.filter(|(_, probability)| *probability > NEGLIGIBLE).collect()
            }
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is less likely adds to no candidate; where each number of flows has many sums, sooner.
const NEGLIGIBLE: f64 = 1e-7;
const WORTH_SPREADING: f64 = 1e-3;

//! One way from a port to the next of the same counter.

use super::noise::MOST_UNSEEN;
use super::rule::Stride;
use super::sums::sums_to;

/// One way from a port to the next of the same counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hop {
    /// How many places further; none if the counter is elsewhere.
    pub ahead: Option<u32>,
    pub elapsed_s: f64,
}

impl Hop {
    /// For each number of flows unseen that could lie on this way: how likely it is with it.
    pub fn ways(&self, stride: Stride, ways: &mut Vec<(usize, f64)>) {
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
        let unseen = flows.and_then(|flows| flows.checked_sub(1));
        ways.extend(unseen.filter(|unseen| *unseen <= MOST_UNSEEN).map(|unseen| (unseen, 1.0)));
    }

    fn random_ways(&self, ahead: u32, most: usize, unit: u32, ways: &mut Vec<(usize, f64)>) {
        if !ahead.is_multiple_of(unit) {
            return;
        }
        let units = usize::try_from(ahead / unit).unwrap_or(usize::MAX);
        let fewest = units.div_ceil(most).max(1);
        let flows = fewest..=units.min(fewest + WAYS);
        ways.extend(flows.map(|flows| (flows - 1, sums_to(flows, most, units))));
        // The likelihoods have one peak, so the numbers that stay still follow each other.
        let peak = ways.iter().map(|(_, likelihood)| *likelihood).fold(0.0, f64::max);
        ways.retain(|(_, likelihood)| *likelihood > peak * 1e-5);
    }
}

/// More numbers of flows than this, beyond the fewest, are not tried for one way.
const WAYS: usize = 48;

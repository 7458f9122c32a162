//! How many ports a counter gives out unseen between two that are seen: to other hosts, as a Poisson
//! process of unknown rate, and to attempts of this host that nobody saw.
//!
//! Rate and loss are learnt together on a grid, which is exact for the prior that the grid is. The
//! conjugate way, a Gamma prior and a negative binomial, ends where losses and bursts begin.

use std::sync::LazyLock;

/// What is believed of rate and loss, as a weight for each point of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    weights: [[f64; LOSSES.len()]; RATES],
}

impl Noise {
    pub fn new() -> Self {
        let quiet = |rate| if rate == 0 { QUIET } else { (1.0 - QUIET) / (RATES - 1) as f64 };
        let of_rate = |rate| LOSSES.map(|(_, share)| share * quiet(rate));
        Self { weights: std::array::from_fn(of_rate) }
    }

    /// Learns from one way between two ports that were seen, so many seconds apart: for each number
    /// of unseen ports that could lie between, how likely that way is with it. The numbers follow each
    /// other. Returns how likely the way was before.
    pub fn learn(&mut self, ways: &[(usize, f64)], elapsed_s: f64) -> f64 {
        let Some((fewest, _)) = ways.first() else { return ELSEWHERE };
        let burst: f64 = ways.iter().map(|(unseen, likelihood)| burst(*unseen) * likelihood).sum();
        let start = fewest.saturating_sub(MOST_LOST);
        let mut others = vec![0.0; fewest + ways.len() - start];
        let mut total = 0.0;
        for (rate, weights) in GRID.iter().zip(&mut self.weights) {
            Others::of(rate, elapsed_s).from(start, &mut others);
            let with_lost = |lost: usize| -> f64 {
                let of_others =
                    |unseen: &usize| unseen.checked_sub(lost).map(|n| others[n - start]);
                ways.iter().filter_map(|(unseen, l)| of_others(unseen).map(|p| p * l)).sum()
            };
            let by_lost: [f64; MOST_LOST + 1] = std::array::from_fn(with_lost);
            for (weight, (loss, _)) in weights.iter_mut().zip(LOSSES) {
                let steady: f64 =
                    (0..).zip(by_lost).map(|(lost, p)| p * are_lost(loss, lost)).sum();
                let onward = (1.0 - BURST) * steady + BURST * burst;
                *weight *= ELSEWHERE + (1.0 - JUMP) * onward;
                total += *weight;
            }
        }
        self.weights.iter_mut().flatten().for_each(|weight| *weight /= total);
        total
    }

    /// For each number of ports from 0 on, how likely so many are given out unseen in that time.
    pub fn unseen(&self, elapsed_s: f64) -> Vec<f64> {
        let (mut steady, mut others) = (vec![0.0; MOST_LISTED], vec![0.0; MOST_LISTED]);
        for (rate, weights) in GRID.iter().zip(&self.weights) {
            if weights.iter().sum::<f64>() < NEGLIGIBLE {
                continue;
            }
            Others::of(rate, elapsed_s).from(0, &mut others);
            for lost in 0..=MOST_LOST {
                let these = weights.iter().zip(LOSSES);
                let share: f64 =
                    these.map(|(weight, (loss, _))| weight * are_lost(loss, lost)).sum();
                let onward = steady[lost..].iter_mut().zip(&others);
                onward.for_each(|(place, others)| *place += share * others);
            }
        }
        let onward = steady.into_iter().enumerate();
        let mixed = onward.map(|(n, steady)| (1.0 - BURST) * steady + BURST * burst(n));
        mixed.map(|p| p * (1.0 - JUMP)).collect()
    }

    /// How many ports others take in a second: as likely more as fewer.
    pub fn others_per_s(&self) -> f64 {
        let mut below = 0.0;
        let median = GRID.iter().zip(&self.weights).find(|(_, weights)| {
            below += weights.iter().sum::<f64>();
            below >= 0.5
        });
        median.filter(|(rate, _)| rate.per_s > SLOWEST).map_or(0.0, |(rate, _)| rate.per_s)
    }
}

/// How many ports others take in a certain time.
struct Others {
    mean: f64,
    ln_mean: f64,
}

impl Others {
    fn of(rate: &Rate, elapsed_s: f64) -> Self {
        let mean = rate.per_s * elapsed_s.max(SHORTEST_S);
        Self { mean, ln_mean: rate.ln + elapsed_s.max(SHORTEST_S).ln() }
    }

    /// Poisson's law from `first` on: once by its logarithm, so that neither the power nor the
    /// factorial overflows, and each other from the one before.
    fn from(&self, first: usize, law: &mut [f64]) {
        let ln_factorial = LN_FACTORIALS.get(first).copied().unwrap_or(f64::INFINITY);
        let exponent = first as f64 * self.ln_mean - self.mean - ln_factorial;
        let mut probability = if exponent > LEAST_EXPONENT { exponent.exp() } else { 0.0 };
        for (n, place) in (first + 1..).zip(law) {
            *place = probability;
            probability *= self.mean / n as f64;
            // Numbers that are nearly zero are slow to reckon with.
            probability = if probability > f64::MIN_POSITIVE { probability } else { 0.0 };
        }
    }
}

/// How likely so many attempts in a row are lost; the most stands for all beyond.
fn are_lost(loss: f64, lost: usize) -> f64 {
    let power = (0..lost).map(|_| loss).product::<f64>();
    if lost == MOST_LOST { power } else { (1.0 - loss) * power }
}

/// How likely a burst is so long: a law without a scale, whose sum is 1.
fn burst(unseen: usize) -> f64 {
    let n = unseen as f64;
    1.0 / ((n + 1.0) * (n + 2.0))
}

struct Rate {
    per_s: f64,
    ln: f64,
}

/// From none to 560 ports a second, each half as much again as the one before.
static GRID: LazyLock<[Rate; RATES]> = LazyLock::new(|| {
    std::array::from_fn(|place| {
        let per_s = if place == 0 { 1e-4 } else { SLOWEST * 1.5_f64.powi(place as i32 - 1) };
        Rate { per_s, ln: per_s.ln() }
    })
});

static LN_FACTORIALS: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..=MOST_UNSEEN).map(|n| libm::lgamma(n as f64 + 1.0)).collect());

/// More unseen ports than this are no way from one port to the next.
pub const MOST_UNSEEN: usize = 4_096;

/// How likely a port is that has nothing to do with the one before: the counter jumped, to any port.
pub const ELSEWHERE: f64 = JUMP / 64_512.0;

const RATES: usize = 24;
const SLOWEST: f64 = 0.05;

/// How likely nobody else takes ports.
const QUIET: f64 = 0.4;

/// Shares of attempts that are lost, and how likely each share is.
const LOSSES: [(f64, f64); 3] = [(0.005, 0.65), (0.08, 0.2), (0.25, 0.15)];
const MOST_LOST: usize = 3;

/// How often more than steady traffic lies between: a browser opens many connections at once.
const BURST: f64 = 0.01;

/// How often a counter goes elsewhere: a host restarts, a block is full.
const JUMP: f64 = 0.01;

/// The logarithm of what is as good as zero.
const LEAST_EXPONENT: f64 = -600.0;

/// What a clock does not tell apart.
const SHORTEST_S: f64 = 1e-4;

/// No candidate is further on than this.
const MOST_LISTED: usize = 384;
const NEGLIGIBLE: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_sum_to_one() {
        let others = Others { mean: 40.0, ln_mean: 40_f64.ln() };
        let mut steady = [0.0; 400];
        others.from(0, &mut steady);
        let steady: f64 = steady.iter().sum();
        let lost: f64 = (0..=MOST_LOST).map(|n| are_lost(0.25, n)).sum();
        let bursts: f64 = (0..1_000_000).map(burst).sum();
        for sum in [steady, lost, Noise::new().weights.iter().flatten().sum()] {
            assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
        assert!((bursts - 1.0).abs() < 1e-5, "{bursts}");
    }

    #[test]
    fn unseen_ports_are_given_out_at_the_rate_that_was_learnt() {
        let mut noise = Noise::new();
        for unseen in [12, 9, 10, 8, 11, 10, 9, 11, 10, 10] {
            noise.learn(&[(unseen, 1.0)], 1.0);
        }
        assert!((8.0..=13.0).contains(&noise.others_per_s()), "{}", noise.others_per_s());
        let likely = noise.unseen(2.0);
        let most = (0..likely.len()).max_by(|a, b| likely[*a].total_cmp(&likely[*b]));
        assert!((16..=24).contains(&most.expect("there are some")), "{most:?}");
        assert!(likely.iter().sum::<f64>() <= 1.0);
    }

    #[test]
    fn no_numbers_are_too_large_or_too_small() {
        let mut noise = Noise::new();
        for (unseen, elapsed_s) in [(MOST_UNSEEN, 0.0), (0, 1e9), (1, f64::MIN_POSITIVE)] {
            let likelihood = noise.learn(&[(unseen, 1.0)], elapsed_s);
            assert!(likelihood > 0.0 && likelihood <= 1.0, "{likelihood}");
        }
        assert!(noise.unseen(1e9).iter().all(|p| p.is_finite()));
    }
}

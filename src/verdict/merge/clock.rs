//! How far one capture's clock is ahead of another's, and how much more so each second.
//!
//! No packet takes less than no time. So one that passed both points bounds the difference of their clocks
//! from above if it went from the first to the second, and from below if it went back. All that passed
//! both bound it together; that no two clocks drift apart by more than [`MOST_DRIFT`] ties bounds of
//! different moments to each other.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::alike;
use super::point::{Here, Point};
use crate::tcp::Side;

/// How far a clock is ahead of that of the first point, at the time of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Ahead {
    /// In nanoseconds, as exactly as it is used here.
    #[serde(skip)]
    pub nanos: i128,
    /// By how many microseconds.
    pub ahead_us: f64,
    /// It is off by no more than this, as surely as no packet takes negative time.
    pub error_us: f64,
    /// How many microseconds it gains each second (parts per million).
    pub drift_ppm: f64,
    /// That is off by no more than this.
    pub drift_error_ppm: f64,
}

/// What is known of all pairs of clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    pairs: BTreeMap<(usize, usize), Bounds>,
}

impl Clocks {
    /// What the packets that passed two points tell, of all connections.
    pub fn of(groups: &[Vec<Point<'_>>]) -> Self {
        let mut clocks = Self::default();
        for points in groups {
            for (place, one) in points.iter().enumerate() {
                points[place + 1..].iter().for_each(|other| clocks.compare(one, other));
            }
        }
        clocks.pairs.values_mut().for_each(Bounds::thin_out);
        clocks
    }

    /// Learns from two points of one connection, of which `near` is nearer to the end called a.
    fn compare(&mut self, near: &Point<'_>, far: &Point<'_>) {
        let (one, other) = (near.part.capture, far.part.capture);
        if one == other {
            return;
        }
        for side in [Side::A, Side::B] {
            for (here, there) in alike::certain_pairs(near, far, side) {
                let difference = i128::from(there.own) - i128::from(here.own);
                // What a sent went from near to far.
                self.learn((one, other), here, difference, side == Side::A);
                self.learn((other, one), there, -difference, side == Side::B);
            }
        }
    }

    fn learn(&mut self, pair: (usize, usize), here: &Here, difference: i128, goes_there: bool) {
        let bounds = self.pairs.entry(pair).or_default();
        let bound = (here.own, difference);
        if goes_there { bounds.above.push(bound) } else { bounds.below.push(bound) }
    }

    /// How far the clock of a capture is ahead of that of a reference, at a moment of the latter's. A
    /// capture's own is the same for all its interfaces.
    pub fn ahead(&self, reference: usize, capture: usize, at: u64) -> Option<Ahead> {
        if reference == capture {
            let (ahead_us, error_us, drift_ppm, drift_error_ppm) = (0.0, 0.0, 0.0, 0.0);
            return Some(Ahead { nanos: 0, ahead_us, error_us, drift_ppm, drift_error_ppm });
        }
        self.pairs.get(&(reference, capture))?.ahead(at)
    }

    /// If packets went one way alone: as if the fastest of them had taken no time.
    pub fn guess(&self, reference: usize, capture: usize) -> Option<i128> {
        let bounds = self.pairs.get(&(reference, capture))?;
        let least = bounds.above.iter().map(|(_, bound)| *bound).min();
        least.or_else(|| bounds.below.iter().map(|(_, bound)| *bound).max())
    }
}

/// Bounds of how far one clock is ahead of another, each at a moment of the other's: nanoseconds both.
#[derive(Debug, Default)]
struct Bounds {
    above: Vec<(u64, i128)>,
    below: Vec<(u64, i128)>,
}

impl Bounds {
    /// Of bounds close together the tightest one is enough.
    fn thin_out(&mut self) {
        let all = self.above.iter().chain(&self.below).map(|(at, _)| *at);
        let (first, last) = (all.clone().min(), all.max());
        let Some((first, last)) = first.zip(last) else { return };
        let span = (last - first) / BUCKETS + 1;
        for (bounds, sign) in [(&mut self.above, 1), (&mut self.below, -1)] {
            let mut tightest = BTreeMap::new();
            for (at, bound) in bounds.drain(..) {
                let best = tightest.entry((at - first) / span).or_insert((at, bound));
                if bound * sign < best.1 * sign {
                    *best = (at, bound);
                }
            }
            bounds.extend(tightest.into_values());
        }
    }

    fn ahead(&self, at: u64) -> Option<Ahead> {
        let (_, base) = *self.above.first()?;
        let lines = Lines::of(self, at, base)?;
        let drifts = lines.drifts()?;
        let most = -least(drifts, |drift| -lines.above(drift));
        let low = least(drifts, |drift| lines.below(drift));
        let middle = low.midpoint(most);
        #[allow(clippy::cast_possible_truncation, reason = "hours are few nanoseconds")]
        let nanos = base + middle.round() as i128;
        #[allow(clippy::cast_precision_loss, reason = "to a microsecond for a hundred years")]
        Some(Ahead {
            nanos,
            ahead_us: nanos as f64 / 1e3,
            error_us: (most - low).max(0.0) / 2e3,
            drift_ppm: drifts[0].midpoint(drifts[1]) / 1e3,
            drift_error_ppm: (drifts[1] - drifts[0]) / 2e3,
        })
    }
}

/// The bounds as seen from one moment: seconds from it, and nanoseconds above a base.
struct Lines {
    above: Vec<(f64, f64)>,
    below: Vec<(f64, f64)>,
}

impl Lines {
    fn of(bounds: &Bounds, at: u64, base: i128) -> Option<Self> {
        #[allow(clippy::cast_precision_loss, reason = "differences are small")]
        let relative = |all: &[(u64, i128)]| {
            let one = |(when, bound): &(u64, i128)| {
                let seconds = (i128::from(*when) - i128::from(at)) as f64 / 1e9;
                (seconds, (bound - base) as f64)
            };
            all.iter().map(one).collect::<Vec<_>>()
        };
        let lines = Self { above: relative(&bounds.above), below: relative(&bounds.below) };
        (!lines.below.is_empty()).then_some(lines)
    }

    /// The most that the difference can be at that moment with that drift, in nanoseconds a second.
    fn above(&self, drift: f64) -> f64 {
        let bounds = self.above.iter().map(|(seconds, bound)| bound - drift * seconds);
        bounds.fold(f64::INFINITY, f64::min)
    }

    /// The least that it can be.
    fn below(&self, drift: f64) -> f64 {
        let bounds = self.below.iter().map(|(seconds, bound)| bound - drift * seconds);
        bounds.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The drifts that all bounds allow; none if they contradict each other, as those of a clock do that
    /// was set meanwhile.
    fn drifts(&self) -> Option<[f64; 2]> {
        // How much room a drift leaves is a concave function of it.
        let room = |drift: f64| self.above(drift) - self.below(drift);
        let best = argument([-MOST_DRIFT, MOST_DRIFT], |drift| -room(drift));
        if room(best) < 0.0 {
            return None;
        }
        let edge = |mut inside: f64, mut outside: f64| {
            if room(outside) >= 0.0 {
                return outside;
            }
            for _ in 0..HALVINGS {
                let middle = inside.midpoint(outside);
                if room(middle) >= 0.0 { inside = middle } else { outside = middle }
            }
            inside
        };
        Some([edge(best, -MOST_DRIFT), edge(best, MOST_DRIFT)])
    }
}

/// The least value of a convex function between two arguments.
fn least(between: [f64; 2], of: impl Fn(f64) -> f64) -> f64 {
    let best = argument(between, &of);
    [of(best), of(between[0]), of(between[1])].into_iter().fold(f64::INFINITY, f64::min)
}

/// Where a convex function is least, by thirds.
fn argument([mut low, mut high]: [f64; 2], of: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..HALVINGS {
        let third = (high - low) / 3.0;
        if of(low + third) <= of(high - third) { high -= third } else { low += third }
    }
    low.midpoint(high)
}

/// In nanoseconds a second: as fast as Linux and NTP slew a clock (RFC 5905 §11.3), which is more than
/// crystals are off.
const MOST_DRIFT: f64 = 500_000.0;

/// Far below a nanosecond a second.
const HALVINGS: usize = 64;

/// Bounds kept each way.
const BUCKETS: u64 = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_true_offset_and_drift_lie_within_the_error(
            ahead in -1_000_000_000_000_i64..1_000_000_000_000,
            drift_ppm in -300.0..300.0_f64,
            exchanges in proptest::collection::vec((0_u64..600_000, 1_u64..80_000, any::<bool>()), 2..60),
            asked_ms in 0_u64..600_000,
        ) {
            let mut bounds = Bounds::default();
            let start = 1_700_000_000_000_000_000_u64;
            let truth = |at: u64| i128::from(ahead) + (drift_ppm * 1e3 * (at - start) as f64 / 1e9) as i128;
            for (at_ms, took_us, goes_there) in exchanges {
                let at = start + at_ms * 1_000_000;
                let took = i128::from(took_us) * 1_000;
                match goes_there {
                    true => bounds.above.push((at, truth(at) + took)),
                    false => bounds.below.push((at, truth(at) - took)),
                }
            }
            bounds.thin_out();
            let at = start + asked_ms * 1_000_000;
            if let Some(found) = bounds.ahead(at) {
                // A nanosecond each for what is rounded.
                let off = (found.nanos - truth(at)).unsigned_abs() as f64 / 1e3;
                prop_assert!(off <= found.error_us + 0.01, "{off} {found:?}");
                prop_assert!((found.drift_ppm - drift_ppm).abs() <= found.drift_error_ppm + 0.01, "{found:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_is_not_compared() {
        let bounds = Bounds {
            above: vec![(0, 1_000_000), (1_000_000_000, 9_000_000_000)],
            below: vec![(0, 0), (1_000_000_000, 8_999_000_000)],
        };
        assert_eq!(bounds.ahead(0), None);
    }

    #[test]
    fn packets_of_one_way_alone_bound_one_side_alone() {
        let bounds = Bounds { above: vec![(0, 1_000_000)], below: Vec::new() };
        assert_eq!(bounds.ahead(0), None);
    }

    #[test]
    fn one_exchange_is_known_to_half_of_its_round_trip() {
        let second = 1_000_000_000;
        let bounds = Bounds { above: vec![(second, 5_000_000)], below: vec![(second, 3_000_000)] };
        let found = bounds.ahead(second).expect("bounded");
        assert_eq!((found.nanos, found.error_us.round()), (4_000_000, 1_000.0));
        assert!(found.drift_error_ppm > 499.0, "nothing is known of the drift");
    }
}

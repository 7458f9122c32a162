//! By how much two departures may differ so that their SYNs cross: found by trying.

use std::collections::VecDeque;

use crate::time::Duration;

/// The search for both edges of the crossing window.
///
/// Skews are nanoseconds by which b leaves after a. What is learnt from is the skew that departures
/// really had, not the one that was asked for.
#[derive(Clone, Debug)]
pub struct Sweep {
    resolution_ns: u64,
    /// Skews to try before any edge is closed in on: they show the whole range.
    overview: VecDeque<i64>,
    tried: Vec<(i64, bool)>,
    left: u32,
    /// What was last asked for.
    aimed: i64,
    /// By how much departures last differed from that.
    astray: i64,
}

/// Where the window ends on one side: both are distances from no skew at all, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// The widest skew that crossed.
    pub inside: Option<u64>,
    /// The narrowest that did not. On a path whose delay varies it may be narrower than
    /// [`Edge::inside`].
    pub outside: Option<u64>,
}

impl Sweep {
    /// A search around a window of about this half-width.
    pub fn new(expected: Duration) -> Self {
        let expected_ns = expected.as_nanos().max(1) as u64;
        let skew = |(tenths, sign): (u64, i64)| sign * signed(expected_ns / 10 * tenths);
        let overview = OVERVIEW.into_iter().flat_map(|tenths| [(tenths, 1), (tenths, -1)]);
        let overview = [0].into_iter().chain(overview.map(skew)).collect();
        let resolution_ns = (expected_ns / RESOLUTION).max(FINEST_NS);
        Self { resolution_ns, overview, tried: Vec::new(), left: MOST_TRIALS, aimed: 0, astray: 0 }
    }

    /// The skew to try next; none once both edges are known well enough, or after so many trials that
    /// they never will be.
    pub fn next_skew(&mut self) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        self.aimed = self.overview.pop_front().or_else(|| self.within_an_edge())?;
        Some(self.aimed.saturating_sub(self.astray))
    }

    /// Learns what came of a skew.
    pub fn take(&mut self, skew_ns: i64, crossed: bool) {
        self.astray = skew_ns.saturating_sub(self.aimed.saturating_sub(self.astray));
        self.tried.push((skew_ns, crossed));
    }

    /// Where it ends if b leaves later.
    pub fn above(&self) -> Edge {
        self.edge(|skew| skew)
    }

    /// Where it ends if a leaves later.
    pub fn below(&self) -> Edge {
        self.edge(|skew| -skew)
    }

    /// The skew that halves the wider edge.
    fn within_an_edge(&self) -> Option<i64> {
        let edges = [(self.above(), 1), (self.below(), -1)].into_iter();
        let open = edges.filter_map(|(edge, sign)| Some((self.gap(edge)?, sign)));
        let ((_, between), sign) = open.max()?;
        Some(sign * signed(between))
    }

    fn edge(&self, outwards: impl Fn(i64) -> i64) -> Edge {
        let tried = self.tried.iter().map(|(skew, crossed)| (outwards(*skew), *crossed));
        let tried = tried.filter_map(|(skew, crossed)| Some((u64::try_from(skew).ok()?, crossed)));
        let of = |wanted| {
            let tried = tried.clone();
            tried.filter(move |(_, crossed)| *crossed == wanted).map(|(skew, _)| skew)
        };
        Edge { inside: of(true).max(), outside: of(false).min() }
    }

    /// How wide an edge still is, and the skew that halves it; none if it is narrow enough.
    fn gap(&self, edge: Edge) -> Option<(u64, u64)> {
        let inside = edge.inside.unwrap_or(0);
        let Some(outside) = edge.outside else { return Some((u64::MAX, inside.max(1) * 2)) };
        let gap = outside.checked_sub(inside)?;
        (gap > self.resolution_ns).then_some((gap, inside + gap / 2))
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// In tenths of the expected window.
const OVERVIEW: [u64; 4] = [5, 9, 11, 15];

/// Parts of the expected window.
const RESOLUTION: u64 = 100;

/// Finer than this no host lets a SYN leave.
const FINEST_NS: u64 = 20_000;

/// More than both edges take where the delay is steady.
const MOST_TRIALS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Duration = Duration::from_millis(20);

    #[test]
    fn both_edges_of_a_steady_window_are_found_to_a_hundredth() {
        for (above, below) in [(20.0, 20.0), (20.3, 19.1), (26.0, 9.5), (70.0, 3.0)] {
            let [above, below] = [above, below].map(|ms: f64| (ms * 1e6) as i64);
            let (sweep, trials) = swept(|skew| (-below < skew && skew < above, skew));
            for (edge, truth) in [(sweep.above(), above), (sweep.below(), below)] {
                let (inside, outside) = (edge.inside.unwrap(), edge.outside.unwrap());
                assert!((inside..=outside).contains(&(truth as u64)), "{edge:?} holds {truth}");
                assert!(outside - inside <= 200_000, "{edge:?}");
            }
            assert!(trials < MOST_TRIALS, "{trials} trials");
        }
    }

    #[test]
    fn what_counts_is_the_skew_that_departures_had() {
        let early = 3_000_000;
        let (sweep, _) = swept(|skew| ((skew + early).abs() < 20_000_000, skew + early));
        let edge = sweep.above();
        let (inside, outside) = (edge.inside.unwrap(), edge.outside.unwrap());
        assert!((inside..=outside).contains(&20_000_000), "{edge:?}");
        assert!(outside - inside <= 200_000, "{edge:?}");
    }

    #[test]
    fn a_window_that_is_not_there_or_has_no_end_ends_the_search() {
        let (never, _) = swept(|skew| (false, skew));
        assert_eq!([never.above().inside, never.below().inside], [None, None]);
        let (always, trials) = swept(|skew| (true, skew));
        assert_eq!((always.above().outside, trials), (None, MOST_TRIALS));
    }

    #[test]
    fn an_edge_that_wavers_is_left_as_it_is() {
        let mut sweep = Sweep::new(EXPECTED);
        for (skew, crossed) in [(19_000_000, false), (21_000_000, true)] {
            sweep.take(skew, crossed);
        }
        assert_eq!(sweep.gap(sweep.above()), None);
    }

    /// A search in a world that says of a skew whether it crosses, and what skew it really was.
    fn swept(world: impl Fn(i64) -> (bool, i64)) -> (Sweep, u32) {
        let mut sweep = Sweep::new(EXPECTED);
        let mut trials = 0;
        while let Some(skew) = sweep.next_skew() {
            trials += 1;
            let (crossed, real) = world(skew);
            sweep.take(real, crossed);
        }
        (sweep, trials)
    }
}

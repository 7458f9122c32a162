//! Punches with different skews → the crossing window that they show, beside the one that their
//! packets' delays predict.
//!
//! Two SYNs cross if each leaves before the other arrives. If b leaves later, by less than a packet
//! takes from a to b; if a does, by less than one takes from b to a.

use schemars::JsonSchema;
use serde::Serialize;

use super::punch::PunchVerdict;
use crate::punch::{Edge, Sweep};
use crate::tcp::{Opening, Outcome, Side};

/// What a sweep of skews answers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WindowVerdict {
    /// The window by the one-way delays of the packets, in microseconds; none if they were not seen
    /// at both ends.
    pub predicted: Option<PredictedWindow>,
    /// Where it ended if b left later.
    pub above: MeasuredEdge,
    /// Where it ended if a left later.
    pub below: MeasuredEdge,
    /// Whether both ends of it lie within 5 % or 1 ms of the prediction; none without either.
    pub agree: Option<bool>,
    /// What was tried, in order.
    pub trials: Vec<WindowTrial>,
    /// Punches that taught nothing: a SYN was not seen leaving, or how it opened was not seen.
    pub discarded: u32,
}

/// The crossing window that delays predict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PredictedWindow {
    /// By how much b may leave after a: the median time of a SYN from a to b, in microseconds.
    pub above_us: f64,
    /// By how much a may leave after b: the same the other way.
    pub below_us: f64,
}

/// Where the window ended on one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MeasuredEdge {
    /// The widest skew that crossed, in microseconds.
    pub inside_us: Option<f64>,
    /// The narrowest that did not.
    pub outside_us: Option<f64>,
}

/// One punch with a skew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WindowTrial {
    /// By how much b's SYN left after a's, in microseconds, as seen leaving. An end that accepted the
    /// other's before its own was due let none leave: then it is when that was due that counts.
    pub skew_us: f64,
    /// What that opened.
    #[serde(flatten)]
    pub opening: Opening,
    /// What came of it.
    pub outcome: Outcome,
    /// How long a SYN from a to b was under way, in microseconds, if it came.
    pub a_to_b_us: Option<f64>,
    /// The same the other way.
    pub b_to_a_us: Option<f64>,
}

impl WindowTrial {
    /// What a punch teaches, if it was seen well enough.
    pub fn of(verdict: &PunchVerdict) -> Option<Self> {
        let (opening, outcome, timing) = (verdict.opening, verdict.outcome, verdict.timing);
        let crossing_is_known = outcome != Outcome::Open || !is_vague(opening);
        let skew_us = timing.skew_us.or_else(|| due(verdict)).filter(|_| crossing_is_known)?;
        let (a_to_b_us, b_to_a_us) = (timing.a_to_b_us, timing.b_to_a_us);
        Some(Self { skew_us, opening, outcome, a_to_b_us, b_to_a_us })
    }

    /// Whether both SYNs crossed.
    pub fn crossed(&self) -> bool {
        self.opening == Opening::Crossed
    }

    /// The skew in nanoseconds.
    pub fn skew_ns(&self) -> i64 {
        // A skew is seconds at most: far from what an i64 holds.
        (self.skew_us * 1e3).round() as i64
    }
}

/// The skew where one end accepted before its own SYN was due.
fn due(verdict: &PunchVerdict) -> Option<f64> {
    let left = |side| {
        let mut attempts = verdict.attempts.iter();
        let attempt = attempts.find(|attempt| attempt.side == side && attempt.number == 1)?;
        Some(attempt.at_us + attempt.error_us.unwrap_or(0.0))
    };
    let is_accepted = verdict.opening == Opening::ThreeWay;
    Some(left(Side::B)? - left(Side::A)?).filter(|_| is_accepted)
}

/// Whether it may have been a crossing, or not.
const fn is_vague(opening: Opening) -> bool {
    matches!(
        opening,
        Opening::Unknown
            | Opening::None
            | Opening::CrossedOrHalfCrossed { .. }
            | Opening::ThreeWayOrHalfCrossed
    )
}

/// Judges what was tried; `sweep` has learnt from the same trials.
pub fn judge_window(trials: Vec<WindowTrial>, discarded: u32, sweep: &Sweep) -> WindowVerdict {
    let median_of = |of: fn(&WindowTrial) -> Option<f64>| median(trials.iter().filter_map(of));
    let predicted = median_of(|trial| trial.a_to_b_us)
        .zip(median_of(|trial| trial.b_to_a_us))
        .map(|(above_us, below_us)| PredictedWindow { above_us, below_us });
    let [above, below] = [sweep.above(), sweep.below()].map(MeasuredEdge::from);
    let agree = predicted.and_then(|predicted| {
        Some(above.holds(predicted.above_us)? && below.holds(predicted.below_us)?)
    });
    WindowVerdict { predicted, above, below, agree, trials, discarded }
}

impl MeasuredEdge {
    /// Whether a predicted end lies between these two, or not far off.
    fn holds(self, predicted_us: f64) -> Option<bool> {
        let tolerance = (predicted_us * TOLERANCE).max(TOLERANCE_US);
        let (low, high) = self.inside_us.zip(self.outside_us)?;
        let (low, high) = (low.min(high), low.max(high));
        Some((low - tolerance..=high + tolerance).contains(&predicted_us))
    }
}

impl From<Edge> for MeasuredEdge {
    fn from(edge: Edge) -> Self {
        let micros = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e3);
        Self { inside_us: micros(edge.inside), outside_us: micros(edge.outside) }
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

const TOLERANCE: f64 = 0.05;
const TOLERANCE_US: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_window_that_the_delays_predict_agrees_and_another_does_not() {
        for (window_ms, agree) in [(20.0, true), (20.9, true), (21.2, false), (10.0, false)] {
            let verdict = swept(window_ms);
            assert_eq!(verdict.agree, Some(agree), "{window_ms} ms: {verdict:?}");
            let predicted = PredictedWindow { above_us: 20_000.0, below_us: 20_000.0 };
            assert_eq!(verdict.predicted, Some(predicted));
        }
    }

    #[test]
    fn without_an_end_nothing_agrees_or_disagrees() {
        assert_eq!(swept(f64::INFINITY).agree, None);
    }

    /// A sweep over a path of 20 ms each way with a window of so many milliseconds.
    fn swept(window_ms: f64) -> WindowVerdict {
        let mut sweep = Sweep::new(Duration::from_millis(20));
        let mut trials = Vec::new();
        while let Some(skew) = sweep.next_skew() {
            let skew_us = skew as f64 / 1e3;
            let crossed = skew_us.abs() < window_ms * 1e3;
            let half = Opening::HalfCrossed { crossed_syn: Side::A };
            let trial = WindowTrial {
                skew_us,
                opening: if crossed { Opening::Crossed } else { half },
                outcome: Outcome::Open,
                a_to_b_us: Some(20_000.0),
                b_to_a_us: crossed.then_some(20_000.0),
            };
            sweep.take(trial.skew_ns(), trial.crossed());
            trials.push(trial);
        }
        judge_window(trials, 0, &sweep)
    }
}

//! Crossing windows between hosts of the lab.

use super::super::failure::Failure;
use super::super::screen::Progress;
use super::Trials;
use crate::lab::{self, Meeting, Pair, PairPlan, Timing};
use crate::nat::Nat;
use crate::os::signals::Signals;
use crate::os::{self, privilege};
use crate::punch::Sweep;
use crate::report::Window;
use crate::sim::Weather;
use crate::time::Duration;
use crate::verdict::{WindowVerdict, judge_punch};

/// One window for each pair.
///
/// # Errors
/// When the lab cannot be built.
pub fn windows(
    pairs: &[[Option<Nat>; 2]],
    delay: Duration,
    seed: u64,
    progress: Progress,
) -> Result<Vec<Window>, Failure> {
    if !privilege::is_root() {
        privilege::become_root_in_user_namespace()?;
    }
    // Blocked by the thread that makes all others.
    let signals = Signals::block()?;
    let window = |[a, b]: &[Option<Nat>; 2]| {
        let (name_a, name_b) = (Window::name(a.as_ref()), Window::name(b.as_ref()));
        progress.say(&format!("building a lab with A={name_a} and B={name_b}"));
        let weather = Weather { delay, ..Weather::default() };
        let plan = PairPlan { a: a.clone(), b: b.clone(), weather, seed };
        let verdict = lab::with_pair(&plan, |pair| sweep(pair, &plan, &signals, progress))?;
        let delay_ms = Some(delay.as_secs_f64() * 1e3);
        Ok(Window { a: name_a, b: name_b, delay_ms, verdict })
    };
    pairs.iter().map(window).collect()
}

/// Punches with one skew after another until both edges of the window are known.
fn sweep(
    pair: &Pair,
    plan: &PairPlan,
    signals: &Signals,
    progress: Progress,
) -> os::Result<WindowVerdict> {
    let delay = plan.weather.delay;
    let (mut sweep, mut trials) = (Sweep::new(delay), Trials::default());
    let mut ports = Meeting::PORTS;
    while let Some(skew) = sweep.next_skew() {
        let late = Duration::from_nanos(skew.unsigned_abs());
        let patience = late + 2 * delay + AFTERWARDS;
        let meeting = Meeting { timing: Timing::Skewed(skew), patience, tries: Some(1), ports };
        progress.say(&format!("departures {:.2} ms apart", skew as f64 / 1e6));
        let met = lab::punch(pair, plan, meeting, signals, &mut |_| {})?;
        if !trials.take(&judge_punch(&met.run), &mut sweep) {
            break;
        }
        ports = ports.map(|port| port + 2);
    }
    Ok(trials.judged(&sweep))
}

/// From the last SYN's arrival on: for an answer to be seen.
const AFTERWARDS: Duration = Duration::from_millis(100);

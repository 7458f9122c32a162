//! The kernel's clocks, and the way from a capture's time stamps to the run's.

use std::time::Duration;

use nix::{
    sys::prctl,
    time::{ClockId, clock_gettime},
};

use super::{Error, Result};

/// Time since boot by the clock that never jumps (`CLOCK_MONOTONIC`).
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Time since 1970-01-01 UTC (`CLOCK_REALTIME`). It may jump.
pub fn realtime() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Lets the calling thread's timed waits end within a nanosecond of what was
/// asked rather than the default 50 µs.
///
/// # Errors
/// Only if the kernel lacks `PR_SET_TIMERSLACK`.
pub fn sharpen_timers() -> Result<()> {
    prctl::set_timerslack(1).map_err(|e| Error::kernel("sharpen the timers of", "this thread", e))
}

/// The relation between the two clocks, to place captured packets on the
/// monotonic timeline.
///
/// The kernel slews both clocks alike, so their distance only changes when
/// somebody sets the time. Keeping the first measured distance keeps packets
/// in their captured order; a set clock is noticed and followed.
#[derive(Debug, Clone)]
pub struct Timeline {
    ahead: Duration,
}

impl Timeline {
    /// Measures the distance between the clocks now.
    pub fn new() -> Self {
        Self { ahead: realtime_ahead() }
    }

    /// The monotonic time of a packet captured at `captured` (realtime).
    /// Never later than now. A packet captured before the time was set and
    /// converted afterwards is off by the jump.
    pub fn monotonic_of(&mut self, captured: Duration) -> Duration {
        let ahead = realtime_ahead();
        if ahead.abs_diff(self.ahead) > JUMP {
            self.ahead = ahead;
        }
        captured.saturating_sub(self.ahead).min(monotonic())
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

/// By how much the realtime clock is ahead of the monotonic one: the reading
/// of the tightest of a few attempts, as a thread may be put off between two.
fn realtime_ahead() -> Duration {
    let attempt = || {
        let before = monotonic();
        let real = realtime();
        let after = monotonic();
        let middle = before.saturating_add(after) / 2;
        (after.saturating_sub(before), real.saturating_sub(middle))
    };
    let tightest = (0..3).map(|_| attempt()).min();
    tightest.expect("three attempts have a smallest").1
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock).expect("Linux always has this clock");
    Duration::from(time)
}

/// A larger change of distance than this means that the time was set: far
/// above any reading error, far below what matters to a verdict.
const JUMP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_time_lands_on_the_monotonic_timeline_in_order() {
        let mut timeline = Timeline::new();
        let before = monotonic();
        let captured = realtime();
        let next = captured + Duration::from_nanos(1);
        let first = timeline.monotonic_of(captured);
        let second = timeline.monotonic_of(next);
        assert!(first.abs_diff(before) < Duration::from_millis(1));
        assert_eq!(second - first, Duration::from_nanos(1));
    }

    #[test]
    fn a_time_stamp_from_the_future_is_now_at_the_latest() {
        let late = realtime() + Duration::from_secs(3600);
        assert!(Timeline::new().monotonic_of(late) <= monotonic());
    }
}

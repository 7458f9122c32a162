//! Time as a value that is handed in: nothing in the modules that decide ever asks a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
pub use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of a run, in nanoseconds since the run began.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Instant {
    nanos: u64,
}

impl Instant {
    /// When the run began.
    pub const START: Self = Self { nanos: 0 };

    /// The moment `nanos` nanoseconds after the run began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// The moment `millis` milliseconds after the run began.
    pub const fn from_millis(millis: u64) -> Self {
        Self { nanos: millis * 1_000_000 }
    }

    /// Nanoseconds since the run began.
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// The time since the run began.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// This moment on a clock whose zero lies `offset_ns` nanoseconds before ours; moments before
    /// our start become the start.
    pub const fn shifted(self, offset_ns: i64) -> Self {
        Self { nanos: self.nanos.saturating_add_signed(offset_ns) }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: self.nanos.saturating_add(nanos) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: self.nanos.saturating_sub(nanos) }
    }
}

/// Seconds with six decimals, as traces show time.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.nanos / 1_000_000_000, self.nanos / 1_000 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_as_seconds() {
        assert_eq!(Instant::from_millis(1_050).to_string(), "1.050000");
    }

    #[test]
    fn time_before_the_start_is_the_start() {
        assert_eq!(Instant::from_millis(5) - Duration::from_secs(1), Instant::START);
        assert_eq!(Instant::from_millis(5).shifted(-9_000_000), Instant::START);
    }
}

//! What came of meetings by a code.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Meetings of two ends, each with as many attempts as it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Meetings {
    /// How often they met.
    pub trials: u32,
    /// How often a connection opened over which both ends heard each other.
    pub opened: u32,
    /// How often that was to be expected of one meeting: the sum of the chances that were told before each
    /// of its attempts, on average. Whether another attempt is made rests on the earlier ones alone, so
    /// where the chances are right the sums and the openings differ by chance alone; a sum may exceed 1.
    /// None if some chances were not known.
    pub foreseen: Option<f64>,
    /// How many attempts a meeting took, on average.
    pub attempts: f64,
}

impl Meetings {
    /// Counts one meeting: the chances of its attempts, and whether the last opened.
    pub fn take(&mut self, chances: &[Option<f64>], opened: bool) {
        let before = f64::from(self.trials);
        let mean = |old: f64, new: f64| (old * before + new) / (before + 1.0);
        let count = u32::try_from(chances.len()).unwrap_or(u32::MAX);
        let sum: Option<f64> = chances.iter().copied().sum();
        let known = if self.trials == 0 { Some(0.0) } else { self.foreseen };
        self.foreseen = known.zip(sum).map(|(known, sum)| mean(known, sum));
        self.attempts = mean(self.attempts, f64::from(count));
        self.trials += 1;
        self.opened += u32::from(opened);
    }
}

/// In words.
impl fmt::Display for Meetings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.opened, self.trials)?;
        self.foreseen.map_or(Ok(()), |foreseen| write!(f, ", foreseen {:.0} %", foreseen * 100.0))
    }
}

//! How a stack repeats its SYN, which names it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::time::{Duration, Instant};

/// A stack, as its repetitions tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// 1, 2, 4, 8 … seconds apart, for longer than Windows goes on (RFC 6298 §5.5).
    Doubling,
    /// One second apart four times, then doubled: Linux since 6.5.
    Linux,
    /// One second apart five times, then doubled: macOS and iOS.
    Xnu,
    /// 3, 6, 12 seconds apart: before RFC 6298.
    Classic,
}

impl Stack {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Doubling => "Linux before 6.5, Windows, or another that doubles from 1 s",
            Self::Linux => "Linux since 6.5",
            Self::Xnu => "macOS or iOS",
            Self::Classic => "a stack that starts at 3 s, before RFC 6298",
        }
    }

    /// Which stack repeats a SYN at these moments, if enough of them are there to tell.
    pub fn of(moments: &[Instant]) -> Option<Self> {
        let gaps: Vec<_> = moments.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        let schedules = [
            (Self::Linux, [1, 1, 1, 1, 2, 4, 8, 16, 32]),
            (Self::Xnu, [1, 1, 1, 1, 1, 2, 4, 8, 16]),
            (Self::Doubling, [1, 2, 4, 8, 16, 32, 64, 128, 256]),
            (Self::Classic, [3, 6, 12, 24, 48, 96, 192, 384, 768]),
        ];
        let mut fitting = schedules.iter().filter(|(_, schedule)| fits(&gaps, schedule));
        let (stack, _) = fitting.next()?;
        // Both start alike.
        let is_one = fitting.next().is_none();
        (is_one && gaps.len() >= LEAST_GAPS).then_some(*stack)
    }
}

fn fits(gaps: &[Duration], schedule: &[u64]) -> bool {
    gaps.len() <= schedule.len()
        && gaps.iter().zip(schedule).all(|(gap, seconds)| {
            gap.as_secs_f64() / (*seconds as f64) > 0.9
                && gap.as_secs_f64() < *seconds as f64 * 1.15 + 0.1
        })
}

/// One gap of a second is everybody's.
const LEAST_GAPS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_name_the_stack() {
        let moments = |gaps: &[u64]| {
            let mut at = 0;
            let later = gaps.iter().map(|gap| {
                at += gap * 1_000 + 24;
                Instant::from_millis(at)
            });
            [Instant::START].into_iter().chain(later.collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(Stack::of(&moments(&[1, 1, 1, 1, 2, 4])), Some(Stack::Linux));
        assert_eq!(Stack::of(&moments(&[1, 1, 1, 1, 1, 2])), Some(Stack::Xnu));
        assert_eq!(Stack::of(&moments(&[1, 2, 4])), Some(Stack::Doubling));
        assert_eq!(Stack::of(&moments(&[3, 6])), Some(Stack::Classic));
        assert_eq!(Stack::of(&moments(&[1, 1, 1])), None);
        assert_eq!(Stack::of(&moments(&[1])), None);
        assert_eq!(Stack::of(&moments(&[5, 1])), None);
    }
}

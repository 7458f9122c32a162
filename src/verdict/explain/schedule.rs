//! How a stack repeats its SYN, and in what order it has its options, which name it.

use schemars::JsonSchema;
use serde::Serialize;

use super::case::Case;
use super::silence::longest_row;
use crate::tcp::Side;
use crate::time::{Duration, Instant};
use crate::wire::{Options, TcpOption};

/// A stack, as its repetitions and options tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// One second apart five times, then doubled, with the options of Linux: since 6.5.
    Linux,
    /// The same pace with the options of macOS and iOS (`tcp_syn_backoff` of XNU).
    Xnu,
    /// The same pace with the options of FreeBSD (its own `tcp_syn_backoff`).
    FreeBsd,
    /// Doubled from one second, with the options of Windows.
    Windows,
    /// One second apart five times, then doubled, with options that tell no more: one of the first three.
    OneSecond,
    /// 1, 2, 4 … seconds apart (RFC 6298 §5.5); or the end of what is `one-second`, whose first SYNs were
    /// not captured.
    Doubling,
    /// 3, 6, 12 seconds apart: before RFC 6298.
    Classic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Steady,
    Doubling,
    Classic,
}

impl Stack {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux since 6.5",
            Self::Xnu => "macOS or iOS",
            Self::FreeBsd => "FreeBSD",
            Self::Windows => "Windows",
            Self::OneSecond => "Linux since 6.5, macOS, iOS or FreeBSD",
            Self::Doubling => "one that doubles from 1 s, such as Linux before 6.5",
            Self::Classic => "a stack that starts at 3 s, before RFC 6298",
        }
    }

    /// Which stack is at the end called a, if its SYNs are enough to tell.
    pub fn of(case: &Case<'_>) -> Option<Self> {
        let moments = longest_row(case);
        let first = *moments.first()?;
        let (_, syn) = case.bare_syns(Side::A).find(|(seen, _)| seen.at == first)?;
        Self::by(&moments, &kinds(&syn.options))
    }

    fn by(moments: &[Instant], options: &[u8]) -> Option<Self> {
        Some(match (Pace::of(moments)?, options) {
            (Pace::Steady, LINUX) => Self::Linux,
            (Pace::Steady, XNU) => Self::Xnu,
            (Pace::Steady, FREE_BSD) => Self::FreeBsd,
            (Pace::Steady, _) => Self::OneSecond,
            (Pace::Doubling, WINDOWS) => Self::Windows,
            (Pace::Doubling, _) => Self::Doubling,
            (Pace::Classic, _) => Self::Classic,
        })
    }
}

impl Pace {
    fn of(moments: &[Instant]) -> Option<Self> {
        let gaps: Vec<_> = moments.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        let schedules: [(_, _, &[u64]); 3] = [
            (Self::Steady, 2, &[1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64]),
            // Two gaps alike may be those of a steady one, of which a SYN was not captured.
            (Self::Doubling, 3, &[1, 2, 4, 8, 16, 32, 64]),
            (Self::Classic, 2, &[3, 6, 12, 24, 48]),
        ];
        let mut fitting = schedules
            .iter()
            .filter(|(_, least, schedule)| gaps.len() >= *least && fits(&gaps, schedule));
        fitting.next().map(|(pace, ..)| *pace)
    }
}

fn fits(gaps: &[Duration], schedule: &[u64]) -> bool {
    gaps.len() <= schedule.len()
        && gaps.iter().zip(schedule).all(|(gap, seconds)| {
            gap.as_secs_f64() / (*seconds as f64) > 0.9
                && gap.as_secs_f64() < *seconds as f64 * 1.15 + 0.1
        })
}

/// The kinds of the options, in order; what follows the end of the list is padding.
fn kinds(options: &Options) -> Vec<u8> {
    let kind = |option| match option {
        TcpOption::Nop => 1,
        TcpOption::MaximumSegmentSize(_) => 2,
        TcpOption::WindowScale(_) => 3,
        TcpOption::SackPermitted => 4,
        TcpOption::Timestamps { .. } => 8,
        TcpOption::Other { kind, .. } => kind,
    };
    options.iter().map(kind).collect()
}

/// MSS, SACK-permitted, timestamps, window scale (`tcp_options_write`).
const LINUX: &[u8] = &[2, 4, 8, 1, 3];

/// MSS, window scale, timestamps, SACK-permitted, end (`tcp_output` of XNU).
const XNU: &[u8] = &[2, 1, 3, 1, 1, 8, 4];

/// MSS, window scale, SACK-permitted, timestamps (`tcp_addoptions`).
const FREE_BSD: &[u8] = &[2, 1, 3, 4, 8];

/// MSS, window scale, SACK-permitted.
const WINDOWS: &[u8] = &[2, 1, 3, 1, 1, 4];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_and_options_name_the_stack() {
        let moments = |gaps: &[u64]| {
            let mut at = 0;
            let later = gaps.iter().map(|gap| {
                at += gap * 1_000 + 24;
                Instant::from_millis(at)
            });
            [Instant::START].into_iter().chain(later.collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let by = |gaps: &[u64], options| Stack::by(&moments(gaps), options);
        assert_eq!(by(&[1, 1, 1, 1, 1, 2], LINUX), Some(Stack::Linux));
        assert_eq!(by(&[1, 1, 1, 1, 1, 2], XNU), Some(Stack::Xnu));
        assert_eq!(by(&[1, 1, 1], FREE_BSD), Some(Stack::FreeBsd));
        assert_eq!(by(&[1, 1, 1], &[]), Some(Stack::OneSecond));
        assert_eq!(by(&[1, 2, 4, 8], WINDOWS), Some(Stack::Windows));
        assert_eq!(by(&[1, 2, 4], LINUX), Some(Stack::Doubling));
        assert_eq!(by(&[3, 6], &[]), Some(Stack::Classic));
        assert_eq!(by(&[1, 2], LINUX), None);
        assert_eq!(by(&[1], LINUX), None);
        assert_eq!(by(&[5, 1], LINUX), None);
        // Linux 6.18 was seen to repeat so; one gap fewer is nobody's.
        assert_eq!(by(&[1, 1, 1, 1, 2, 4], LINUX), None);
    }
}

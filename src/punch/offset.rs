//! How far another clock is ahead of ours, from questions and answers (as NTP does, RFC 5905 §8).
//!
//! An answer left the other end after the question had come there and before it came back here. So
//! each exchange bounds the offset from both sides, as surely as packets take no negative time; the
//! bounds of all exchanges together are the narrowest, and the shortest round trip counts most.

use super::signal::Clocks;
use crate::time::{Duration, Instant};

/// What the exchanges so far allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    least_ns: i64,
    most_ns: i64,
    round_trip: Duration,
}

/// One exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the question left, on our clock.
    pub asked: Instant,
    /// When it came there, on theirs.
    pub received: Instant,
    /// When the answer left there, on theirs.
    pub answered: Instant,
    /// When it came here, on ours.
    pub heard: Instant,
}

impl Offset {
    /// Nothing is known yet.
    pub const UNKNOWN: Self =
        Self { least_ns: i64::MIN / 2, most_ns: i64::MAX / 2, round_trip: Duration::MAX };

    /// With one exchange more.
    #[must_use]
    pub fn with(self, exchange: &Exchange) -> Self {
        let Exchange { asked, received, answered, heard } = *exchange;
        let least_ns = self.least_ns.max(difference(answered, heard));
        let most_ns = self.most_ns.min(difference(received, asked));
        let there = answered.since(received);
        let round_trip = self.round_trip.min(heard.since(asked).saturating_sub(there));
        Self { least_ns, most_ns, round_trip }
    }

    /// The middle of what is allowed, and how far it is to its ends. Clocks that drift apart may leave
    /// nothing: then the ends are as far off as they contradict each other.
    pub fn clocks(self) -> Clocks {
        let ahead_ns = self.least_ns.midpoint(self.most_ns);
        let error = Duration::from_nanos(self.most_ns.abs_diff(self.least_ns).div_ceil(2));
        Clocks { ahead_ns, error, round_trip: self.round_trip }
    }
}

fn difference(one: Instant, other: Instant) -> i64 {
    let nanos = |at: Instant| i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
    nanos(one).saturating_sub(nanos(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_true_offset_lies_within_the_error(
            ahead_us in -1_000_000_i64..1_000_000,
            ways in proptest::collection::vec((1_u64..80_000, 1_u64..80_000, 0_u64..500), 1..20),
        ) {
            let mut offset = Offset::UNKNOWN;
            let mut now = Instant::from_millis(5_000);
            let mut shortest = u64::MAX;
            for (there_us, back_us, thought_us) in ways {
                let on_theirs = |at: Instant| at.shifted(ahead_us * 1_000);
                let asked = now;
                let received = asked + Duration::from_micros(there_us);
                let answered = received + Duration::from_micros(thought_us);
                let heard = answered + Duration::from_micros(back_us);
                let (received, answered) = (on_theirs(received), on_theirs(answered));
                offset = offset.with(&Exchange { asked, received, answered, heard });
                shortest = shortest.min(there_us + back_us);
                now = heard;
            }
            let clocks = offset.clocks();
            let off = clocks.ahead_ns.abs_diff(ahead_us * 1_000);
            prop_assert!(Duration::from_nanos(off) <= clocks.error, "{clocks:?}");
            prop_assert_eq!(clocks.round_trip, Duration::from_micros(shortest));
            prop_assert!(clocks.error <= Duration::from_micros(shortest.div_ceil(2)));
        }
    }
}

//! What became of each side's bare SYN, and the names of openings that follow.

use super::{Opening, Side};

/// What became of one side's bare SYN at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It arrived while that one was in SYN-SENT: it crossed.
    InSynSent,
    /// It did not: none was sent, or it was lost, or it came in another state.
    Missed,
    /// Not to be seen from here.
    Unknown,
}

impl Arrival {
    /// This, or the other where this is unknown.
    pub const fn or(self, other: Self) -> Self {
        if matches!(self, Self::Unknown) { other } else { self }
    }

    fn agrees_with(self, other: Self) -> bool {
        self == other || self == Self::Unknown || other == Self::Unknown
    }
}

/// The name of what became of the bare SYN of `side`, and of the other one, in a connection that was
/// opened.
pub const fn named(side: Side, outbound: Arrival, inbound: Arrival) -> Opening {
    use Arrival::{InSynSent, Missed, Unknown};
    let other = side.opposite();
    match (outbound, inbound) {
        (InSynSent, InSynSent) => Opening::Crossed,
        (InSynSent, Missed) => Opening::HalfCrossed { crossed_syn: side },
        (Missed, InSynSent) => Opening::HalfCrossed { crossed_syn: other },
        (InSynSent, Unknown) => Opening::CrossedOrHalfCrossed { crossed_syn: side },
        (Unknown, InSynSent) => Opening::CrossedOrHalfCrossed { crossed_syn: other },
        (Missed, Missed) => Opening::ThreeWay,
        (Unknown, Missed) | (Missed, Unknown) => Opening::ThreeWayOrHalfCrossed,
        // A SYN that came in and went unanswered, and nothing that answers ours: a gap in the trace.
        (Unknown, Unknown) => Opening::Unknown,
    }
}

impl Opening {
    /// Whether two witnesses of one connection may both be right.
    pub fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            // One of the two SYNs missed.
            (Self::ThreeWayOrHalfCrossed, Self::Crossed) => false,
            (Self::Crossed, Self::ThreeWayOrHalfCrossed) => false,
            // States do not show who answered what: a split handshake looks like a crossing there.
            (Self::SplitHandshake, _) | (_, Self::SplitHandshake) => true,
            _ => match (self.arrivals(), other.arrivals()) {
                (Some([a, b]), Some([c, d])) => a.agrees_with(c) && b.agrees_with(d),
                _ => self == other,
            },
        }
    }

    /// What two witnesses that agree know together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::ThreeWayOrHalfCrossed, known) | (known, Self::ThreeWayOrHalfCrossed) => {
                known.with_one_missed()
            }
            // Who listened is more than that it were three ways.
            (Self::Accepted, _) | (_, Self::Accepted) => Self::Accepted,
            _ => match (self.arrivals(), other.arrivals()) {
                (Some([a, b]), Some([c, d])) => named(Side::A, a.or(c), b.or(d)),
                (Some(_), None) => other,
                (None, _) => self,
            },
        }
    }

    const fn with_one_missed(self) -> Self {
        match self {
            Self::CrossedOrHalfCrossed { crossed_syn } => Self::HalfCrossed { crossed_syn },
            known => known,
        }
    }

    /// What became of the SYN of a, and of that of b, where the name says so.
    const fn arrivals(self) -> Option<[Arrival; 2]> {
        use Arrival::{InSynSent, Missed, Unknown};
        Some(match self {
            Self::Crossed => [InSynSent, InSynSent],
            Self::HalfCrossed { crossed_syn: Side::A } => [InSynSent, Missed],
            Self::HalfCrossed { crossed_syn: Side::B } => [Missed, InSynSent],
            Self::CrossedOrHalfCrossed { crossed_syn: Side::A } => [InSynSent, Unknown],
            Self::CrossedOrHalfCrossed { crossed_syn: Side::B } => [Unknown, InSynSent],
            Self::ThreeWay | Self::Accepted => [Missed, Missed],
            // One of the two missed; which one is not in the name.
            Self::ThreeWayOrHalfCrossed | Self::Unknown => [Unknown, Unknown],
            Self::SelfConnect | Self::SplitHandshake | Self::None => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROSSED_BY_A: Opening = Opening::HalfCrossed { crossed_syn: Side::A };
    const EITHER: Opening = Opening::ThreeWayOrHalfCrossed;
    const AT_LEAST_A: Opening = Opening::CrossedOrHalfCrossed { crossed_syn: Side::A };
    const AT_LEAST_B: Opening = Opening::CrossedOrHalfCrossed { crossed_syn: Side::B };

    #[test]
    fn witnesses_of_one_syn_each_agree_on_a_crossing() {
        assert!(AT_LEAST_A.agrees_with(AT_LEAST_B));
        assert_eq!(AT_LEAST_A.and(AT_LEAST_B), Opening::Crossed);
    }

    #[test]
    fn who_saw_more_is_believed() {
        assert_eq!(AT_LEAST_A.and(CROSSED_BY_A), CROSSED_BY_A);
        assert_eq!(Opening::Crossed.and(AT_LEAST_B), Opening::Crossed);
        assert_eq!(Opening::Accepted.and(Opening::ThreeWay), Opening::Accepted);
        assert_eq!(EITHER.and(EITHER), EITHER);
        assert_eq!(AT_LEAST_A.and(EITHER), CROSSED_BY_A);
        assert_eq!(EITHER.and(Opening::ThreeWay), Opening::ThreeWay);
    }

    #[test]
    fn a_crossing_and_three_ways_contradict_each_other() {
        assert!(!Opening::Crossed.agrees_with(Opening::ThreeWay));
        assert!(!CROSSED_BY_A.agrees_with(AT_LEAST_B));
        assert!(!EITHER.agrees_with(Opening::Crossed));
        assert!(!Opening::None.agrees_with(Opening::Crossed));
    }
}

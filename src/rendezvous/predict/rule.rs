//! The rules by which a NAT or a host's stack chooses ports, in words.

use std::fmt;

use super::ports::Ports;
use crate::nat::PortAssignment;

/// A rule by which ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The internal port, plus an offset that is zero as a rule (RFC 4787 §4.2.1).
    Preservation {
        /// External minus internal port.
        offset: i32,
    },
    /// Where a counter stands.
    Sequential {
        /// Which flows share the counter.
        counter: Counter,
        /// How it goes on.
        stride: Stride,
    },
    /// Any of a set, each as likely as another (RFC 6056 algorithms 1 and 2).
    Random {
        /// The set.
        ports: Ports,
        /// Whether it is even or odd as the internal one (RFC 4787 §4.2.2).
        parity: bool,
    },
}

/// Which flows share a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// All.
    One,
    /// All, and each remote endpoint adds an offset of its own (RFC 6056 §3.3.3, algorithm 3).
    Offset,
    /// Those towards one remote address.
    Address,
    /// Those towards one remote endpoint (RFC 6056 §3.3.4, algorithm 4).
    Endpoint,
}

/// How a counter goes on from one flow to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stride {
    /// By a fixed step, perhaps downwards.
    Constant(i32),
    /// The same, with the parity of the internal port (RFC 4787 §4.2.2): by so much more where the
    /// parity changes.
    Parity {
        /// The step, even.
        step: i32,
        /// What is added where the parity changes: 1 or −1.
        switch: i32,
    },
    /// By a multiple of `unit`, from one to `most` times, each as likely as another (RFC 6056 §3.3.5,
    /// algorithm 5).
    Increments {
        /// How many units at most.
        most: u16,
        /// What the increments are multiples of.
        unit: u16,
    },
}

impl Rule {
    /// The rule in the coarser words of a verdict.
    pub const fn assignment(self) -> PortAssignment {
        match self {
            Self::Preservation { .. } => PortAssignment::Preservation,
            Self::Sequential { .. } => PortAssignment::Sequential,
            Self::Random { .. } => PortAssignment::Random,
        }
    }
}

impl Stride {
    /// Linux since 5.12 for `connect(2)`, `__inet_hash_connect`: even ports, 2 to 16 further.
    pub const LINUX: Self = Self::Increments { most: 8, unit: 2 };

    /// RFC 6056 §3.3.5's trade-off between reuse and obscurity, N = 500.
    pub const RFC_6056: Self = Self::Increments { most: 500, unit: 1 };

    /// Whether it goes towards lower ports.
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Constant(step) | Self::Parity { step, .. } if step < 0)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preservation { offset: 0 } => f.write_str("preservation"),
            Self::Preservation { offset } => write!(f, "preservation with an offset of {offset:+}"),
            Self::Sequential { counter, stride } => write!(f, "sequential {stride}{counter}"),
            Self::Random { ports, parity: true } => write!(f, "random in {ports}, parity kept"),
            Self::Random { ports, parity: false } => write!(f, "random in {ports}"),
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "",
            Self::Offset => ", from an offset for each remote endpoint",
            Self::Address => ", for each remote address by itself",
            Self::Endpoint => ", for each remote endpoint by itself",
        })
    }
}

impl fmt::Display for Stride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(step) => write!(f, "{step:+}"),
            Self::Parity { step, switch } => write!(f, "{step:+}, parity kept by {switch:+}"),
            Self::Increments { most, unit } => {
                write!(f, "by random steps of +{unit} to +{}", u32::from(*most) * u32::from(*unit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_in_the_words_of_the_glossary() {
        let sequential = |counter, stride| Rule::Sequential { counter, stride }.to_string();
        assert_eq!(Rule::Preservation { offset: 0 }.to_string(), "preservation");
        assert_eq!(sequential(Counter::One, Stride::Constant(-1)), "sequential -1");
        assert_eq!(
            sequential(Counter::Endpoint, Stride::LINUX),
            "sequential by random steps of +2 to +16, for each remote endpoint by itself"
        );
        let ports = Ports::range(1_024, 65_535);
        assert_eq!(Rule::Random { ports, parity: false }.to_string(), "random in 1024-65535");
    }
}

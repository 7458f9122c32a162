//! Everything that a modelled NAT can be told to do.

use std::fmt;
use std::ops::RangeInclusive;

use super::words::{CrossingSegment, Filtering, Hairpinning, Mapping};
use crate::time::Duration;

/// A NAT's behaviour towards TCP. [`Knobs`] describe one; only those that can exist become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour(Knobs);

/// A description of a behaviour, possible or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Which flows of one internal endpoint share an external endpoint (RFC 5382 REQ-1).
    pub mapping: Mapping,
    /// From whom a binding lets segments in after an outbound SYN (REQ-3).
    pub filtering: Filtering,
    /// The same once one of the binding's connections is established.
    pub filtering_established: Filtering,
    /// How external ports are chosen (REQ-7).
    pub ports: Assignment,
    /// How they are chosen when the one to be preserved is taken.
    pub on_clash: Fallback,
    /// From which range they are chosen.
    pub range: RangeInclusive<u16>,
    /// Whether a chosen port is even or odd as the internal one (RFC 4787 §4.2.2).
    pub parity: bool,
    /// How one internal host's bindings spread over several external addresses (RFC 4787 REQ-2).
    pub pooling: Pooling,
    /// What it does with packets from inside to its own external endpoints (REQ-8).
    pub hairpinning: Hairpinning,
    /// What meets an unsolicited SYN (REQ-4).
    pub unsolicited: Unsolicited,
    /// The segment of a simultaneous open that it blocks, if any (REQ-2a).
    pub blocks: Option<CrossingSegment>,
    /// Whether it replaces the initial sequence numbers of internal hosts.
    pub rewrites_isn: bool,
    /// Whether it strips every TCP option but the segment size.
    pub strips_options: bool,
    /// How long it keeps idle sessions (REQ-5, RFC 7857 §2.1).
    pub timeouts: IdleTimeouts,
}

/// How external ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// The internal port, while it is free.
    Preservation(Sharing),
    /// The last one given out plus this step.
    Sequential(i32),
    /// Any that is free.
    Random,
    /// The internal port, free or not.
    Overloading,
}

/// When a port counts as free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// While no binding has it.
    Exclusive,
    /// While no binding has it towards that remote (RFC 7857 §3, port overlapping).
    Overlapping,
    /// The same, but a port that this internal endpoint already has is taken first.
    OverlappingReuse,
}

/// How a port is chosen when the one to be preserved is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Any that is free.
    Random,
    /// The next that is free, by this step from the last one chosen so.
    Sequential(i32),
}

/// How bindings spread over several external addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// One internal address, one external address.
    Paired,
    /// A binding takes any.
    Arbitrary,
}

/// What meets an unsolicited SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsolicited {
    /// The answer.
    pub answer: Answer,
    /// How long after the SYN it goes out.
    pub after: Duration,
    /// Whether the SYN is held meanwhile, and dropped when an outbound SYN for the same connection
    /// comes (REQ-4); how many at most. Beyond that the answer goes out at once.
    pub holds: Option<u16>,
}

/// An answer to an unsolicited SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None.
    Silence,
    /// `<CTL=RST,ACK>`, as from a closed port.
    Reset,
    /// ICMP destination unreachable with this code.
    Unreachable(u8),
}

/// How long idle sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeouts {
    /// Until both sides have sent a SYN.
    pub partially_open: Duration,
    /// While the connection stands.
    pub established: Duration,
    /// Once it is closing or was reset.
    pub closing: Duration,
    /// Whether a repeated SYN starts the first of these afresh.
    pub syn_refreshes: bool,
}

/// Why a description is no behaviour that can exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// Overloading keeps the internal port towards every remote, so its mapping cannot depend on
    /// the remote.
    OverloadingIsEndpointIndependent,
    /// Overlapping ports differ by the remote, so the mapping cannot be independent of it
    /// (RFC 7857 §3).
    OverlappingIsEndpointDependent,
    /// A step of zero, or of the whole range, never leaves a port that is taken.
    NoStep,
    /// With parity kept, an odd step would skip every second port, and the model promises the step.
    OddStepWithParity,
    /// Fewer than 256 ports to choose from.
    NarrowRange,
    /// SYNs are held for no time at all, or for an answer that never comes.
    HoldsForNothing,
}

impl Behaviour {
    /// The knobs that it was made from.
    pub const fn knobs(&self) -> &Knobs {
        &self.0
    }
}

impl TryFrom<Knobs> for Behaviour {
    type Error = Impossible;

    fn try_from(knobs: Knobs) -> Result<Self, Impossible> {
        match knobs.impossible() {
            Some(why) => Err(why),
            None => Ok(Self(knobs)),
        }
    }
}

impl Knobs {
    /// A NAT that meets every requirement of RFC 5382, with address-dependent filtering.
    pub fn rfc5382() -> Self {
        Self {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
            filtering_established: Filtering::AddressDependent,
            ports: Assignment::Preservation(Sharing::Exclusive),
            on_clash: Fallback::Random,
            range: 1024..=65535,
            parity: false,
            pooling: Pooling::Paired,
            hairpinning: Hairpinning::ExternalSource,
            unsolicited: Unsolicited {
                answer: Answer::Unreachable(3),
                after: HOLD,
                holds: Some(HELD_AT_MOST),
            },
            blocks: None,
            rewrites_isn: false,
            strips_options: false,
            timeouts: IdleTimeouts::RFC_5382,
        }
    }

    fn impossible(&self) -> Option<Impossible> {
        let independent = self.mapping == Mapping::EndpointIndependent;
        let overlaps = matches!(
            self.ports,
            Assignment::Preservation(Sharing::Overlapping | Sharing::OverlappingReuse)
        );
        let steps = [self.ports.step(), self.on_clash.step()];
        let holds = self.unsolicited.holds.is_some();
        let pointless =
            self.unsolicited.after.is_zero() || self.unsolicited.answer == Answer::Silence;
        if self.ports == Assignment::Overloading && !independent {
            Some(Impossible::OverloadingIsEndpointIndependent)
        } else if overlaps && independent {
            Some(Impossible::OverlappingIsEndpointDependent)
        } else if steps.into_iter().flatten().any(|step| self.stands_still(step)) {
            Some(Impossible::NoStep)
        } else if self.parity && steps.iter().flatten().any(|step| step % 2 != 0) {
            Some(Impossible::OddStepWithParity)
        } else if self.range.len() < NARROWEST_RANGE {
            Some(Impossible::NarrowRange)
        } else if holds && pointless {
            Some(Impossible::HoldsForNothing)
        } else {
            None
        }
    }

    fn stands_still(&self, step: i32) -> bool {
        usize::try_from(step.unsigned_abs()).is_ok_and(|step| step % self.range.len().max(1) == 0)
    }
}

impl Assignment {
    const fn step(self) -> Option<i32> {
        match self {
            Self::Sequential(step) => Some(step),
            _ => None,
        }
    }
}

impl Fallback {
    const fn step(self) -> Option<i32> {
        match self {
            Self::Sequential(step) => Some(step),
            Self::Random => None,
        }
    }
}

impl Unsolicited {
    /// Silence for ever.
    pub const DROPPED: Self = Self::at_once(Answer::Silence);

    /// This answer, at once.
    pub const fn at_once(answer: Answer) -> Self {
        Self { answer, after: Duration::ZERO, holds: None }
    }
}

impl IdleTimeouts {
    /// The shortest that RFC 5382 REQ-5 allows.
    pub const RFC_5382: Self = Self {
        partially_open: Duration::from_secs(240),
        established: Duration::from_secs(7_440),
        closing: Duration::from_secs(240),
        syn_refreshes: true,
    };

    /// Linux netfilter's defaults; a repeated SYN does not renew its 120 s.
    pub const NETFILTER: Self = Self {
        partially_open: Duration::from_secs(120),
        established: Duration::from_secs(432_000),
        closing: Duration::from_secs(120),
        syn_refreshes: false,
    };
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverloadingIsEndpointIndependent => {
                "port overloading keeps the internal port towards every remote, so the mapping \
                 must be endpoint-independent (mapping=eim)"
            }
            Self::OverlappingIsEndpointDependent => {
                "overlapping ports differ by the remote (RFC 7857 section 3), so the mapping \
                 cannot be endpoint-independent"
            }
            Self::NoStep => {
                "a step of zero, or of the whole range, never leaves a port that is taken"
            }
            Self::OddStepWithParity => "with parity kept, the step must be even",
            Self::NarrowRange => "a range needs at least 256 ports",
            Self::HoldsForNothing => {
                "a SYN can only be held for an answer that comes later (unsolicited=icmp@6s)"
            }
        })
    }
}

impl std::error::Error for Impossible {}

/// RFC 5382 REQ-4: no answer for at least six seconds.
pub const HOLD: Duration = Duration::from_secs(6);

/// What Jool holds at most (`maximum-simultaneous-opens`).
pub const HELD_AT_MOST: u16 = 10;

const NARROWEST_RANGE: usize = 256;

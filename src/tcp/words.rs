//! The vocabulary of opening: states, the ways in which a connection opens, and how it ends.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the two ends of a connection.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The one called a.
    A,
    /// The one called b.
    B,
}

impl Side {
    /// The other one.
    pub const fn opposite(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The states of a connection (RFC 9293 §3.3.2).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum State {
    /// No connection.
    #[serde(rename = "CLOSED")]
    Closed,
    /// Waits for a SYN.
    #[serde(rename = "LISTEN")]
    Listen,
    /// Has sent a SYN and waits for one.
    #[serde(rename = "SYN-SENT")]
    SynSent,
    /// Has sent and received a SYN and waits for the acknowledgement of its own.
    #[serde(rename = "SYN-RECEIVED")]
    SynReceived,
    /// Open.
    #[serde(rename = "ESTABLISHED")]
    Established,
    /// Has sent a FIN.
    #[serde(rename = "FIN-WAIT-1")]
    FinWait1,
    /// Has sent a FIN that was acknowledged.
    #[serde(rename = "FIN-WAIT-2")]
    FinWait2,
    /// Has received a FIN.
    #[serde(rename = "CLOSE-WAIT")]
    CloseWait,
    /// Has sent and received a FIN, and waits for the acknowledgement of its own.
    #[serde(rename = "CLOSING")]
    Closing,
    /// The same, having received its FIN first.
    #[serde(rename = "LAST-ACK")]
    LastAck,
    /// Waits until nothing of the connection can be under way any more.
    #[serde(rename = "TIME-WAIT")]
    TimeWait,
}

/// With the RFC's hyphens.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        })
    }
}

/// How a connection was opened. A bare SYN is said to cross when it arrives at the other side while
/// that one is in SYN-SENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "opening", rename_all = "kebab-case")]
pub enum Opening {
    /// Both bare SYNs crossed: the simultaneous open (RFC 9293 §3.5 figure 7).
    Crossed,
    /// One bare SYN crossed, the other did not: it was lost, blocked, or came too early or too late.
    HalfCrossed {
        /// The side whose bare SYN crossed.
        crossed_syn: Side,
    },
    /// One bare SYN crossed; what became of the other is not to be seen from here: it may be
    /// [`Opening::Crossed`] with its last SYN,ACK lost, or [`Opening::HalfCrossed`].
    CrossedOrHalfCrossed {
        /// The side whose bare SYN crossed for certain.
        crossed_syn: Side,
    },
    /// One side connected, the other listened, and both were seen (RFC 9293 §3.5 figure 6).
    ThreeWay,
    /// A SYN was answered by a SYN,ACK, which a listener sends, and so does a host in SYN-SENT whose
    /// own SYN never came through: all that the completing end alone can know.
    ThreeWayOrHalfCrossed,
    /// The side that was seen listened, and was connected to (RFC 9293 §3.5 figure 6).
    Accepted,
    /// Both endpoints are the same (RFC 9293 appendix A.2).
    SelfConnect,
    /// A side that had received the other's bare SYN answered it with a bare SYN of its own, which
    /// no rule of RFC 9293 §3.10.7 does. Where that is not proven, it is one kind of half-crossing.
    SplitHandshake,
    /// It opened, and how was not seen.
    Unknown,
    /// It was not seen to open.
    None,
}

/// What came of an attempt to open a connection, as far as packets show.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A side that was seen became established.
    Open,
    /// A reset answered the SYN (RFC 9293 §3.10.7.1).
    Refused,
    /// A reset came after that, but before any data (RFC 9293 §3.10.7.4).
    Reset,
    /// Nothing came that would have opened or ended it, while the trace lasted.
    TimedOut,
    /// An ICMP error came about the SYN, and it did not open (RFC 9293 §3.9.2.2).
    Failed,
}

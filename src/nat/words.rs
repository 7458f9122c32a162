//! The vocabulary of NAT behaviour: RFC 4787 §4–6 and RFC 5382, in the RFCs' words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which flows of one internal endpoint share an external endpoint (RFC 4787 §4.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// All of them.
    EndpointIndependent,
    /// Those towards one remote address.
    AddressDependent,
    /// Those towards one remote address and port.
    AddressAndPortDependent,
}

/// From whom a binding lets segments in (RFC 4787 §5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// From everybody.
    EndpointIndependent,
    /// From addresses that the internal endpoint has sent to.
    AddressDependent,
    /// From endpoints that the internal endpoint has sent to.
    AddressAndPortDependent,
}

/// How external ports are chosen (RFC 4787 §4.2, RFC 5382 §7.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PortAssignment {
    /// The internal port, while it is free.
    Preservation,
    /// The last one given out plus a fixed step.
    Sequential,
    /// Any.
    Random,
    /// The internal port, even if two internal hosts then share one towards one remote.
    Overloading,
}

/// What a NAT does with a packet from inside to one of its own external endpoints (RFC 4787 §6).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Hairpinning {
    /// It does not come back in.
    Unsupported,
    /// It comes back in, still from the internal endpoint.
    InternalSource,
    /// It comes back in, from the sender's external endpoint.
    ExternalSource,
}

/// What meets an unsolicited inbound SYN (RFC 5382 §4.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum UnsolicitedSyn {
    /// Silence.
    Dropped,
    /// A TCP reset.
    Reset,
    /// An ICMP error.
    IcmpError,
}

/// The segments of a simultaneous open that follow the first SYN out (RFC 9293 §3.5, figure 7), as
/// seen from inside, in the order in which they pass a NAT.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CrossingSegment {
    /// The peer's SYN.
    SynIn,
    /// Our SYN,ACK.
    SynAckOut,
    /// The peer's SYN,ACK.
    SynAckIn,
}

/// Whether a simultaneous open passes (RFC 5382 REQ-2a).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SimultaneousOpen {
    /// All four segments pass.
    Supported,
    /// One of them does not.
    Blocked,
}

//! What a prober and its reflector say to each other: one JSON object a line, over TCP.
//!
//! The prober asks the reflector to expect SYNs and to shoot crafted segments; the reflector reports
//! every segment of a probe exactly as it saw it. Packets travel as their line of text.

use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Endpoint, Packet, Seq};
use crate::time::Instant;

/// The version that both ends must speak; raised by every change that an older peer would misread.
pub const VERSION: u16 = 1;

/// The longest line that is read; a longer one is nonsense and ends the connection.
pub const LONGEST_LINE: usize = 256 * 1024;

/// A probe's number within a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProbeId(pub u16);

/// A volley's number within a run. Segments of one volley leave back to back, so whatever the path
/// did to one it is likely to have done to its neighbours.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Volley(pub u16);

/// One message on the control connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Message {
    /// Prober: the first message.
    Hello {
        /// The version that it speaks.
        version: u16,
    },
    /// Reflector: the answer to `Hello`.
    Welcome {
        /// The version that it speaks.
        version: u16,
        /// Whence the control connection came, as the reflector saw it.
        observed: Endpoint,
        /// Where it takes probes: two ports of one address, then two of the other if it has one.
        endpoints: Vec<Endpoint>,
        /// Its clock as it sent this.
        now: Instant,
    },
    /// Prober: SYNs that will come.
    Expect {
        /// In addition to those named before.
        expectations: Vec<Expectation>,
    },
    /// Reflector: it expects them.
    Expecting,
    /// Prober: crafted segments to send.
    Shoot {
        /// In any order; each says when.
        shots: Vec<Shot>,
    },
    /// Reflector: a segment or ICMP error of a probe arrived.
    Saw {
        /// The probe that it belongs to.
        probe: ProbeId,
        /// When, on the reflector's clock.
        at: Instant,
        /// The packet as it arrived.
        packet: PacketText,
    },
    /// Reflector: a segment for a probe was seen leaving its interface.
    Sent {
        /// The probe that it belongs to.
        probe: ProbeId,
        /// The volley that it belongs to; none for an answer.
        volley: Option<Volley>,
        /// When, on the reflector's clock.
        at: Instant,
        /// The packet as it left.
        packet: PacketText,
    },
    /// Prober: no more requests; the reports so far are wanted.
    Finish,
    /// Reflector: everything up to `Finish` has been reported.
    Finished,
    /// Reflector: it won't.
    Refused {
        /// Why not.
        why: Refusal,
    },
}

/// Why a reflector refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The prober speaks another version.
    Version,
    /// It serves as many probers as it can.
    Busy,
    /// The request goes beyond what one prober may ask for.
    TooMuch,
    /// A shot's target has not shown that it wants to be shot at.
    UnprovenTarget,
    /// A shot's source is none of the reflector's probe endpoints.
    ForeignSource,
    /// The message makes no sense here.
    OutOfTurn,
}

/// A SYN that will come, and what to do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The probe that sends it.
    pub probe: ProbeId,
    /// The reflector's endpoint that it is sent to.
    pub on: Endpoint,
    /// Its initial sequence number, unless the NAT rewrites it.
    pub isn: Seq,
    /// Its TSval, unless the NAT strips or rewrites it.
    pub timestamp: u32,
    /// Its source port, if the NAT keeps it.
    pub port: u16,
    /// What to answer.
    pub answer: Answer,
}

/// What a reflector answers to the segments of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing, to anything.
    Nothing,
    /// SYN,ACK to a SYN: the ordinary opening.
    SynAck,
    /// SYN,ACK to a SYN,ACK: the second half of a simultaneous open (RFC 9293 §3.5), whose first
    /// SYN is shot.
    Cross,
}

/// A crafted segment to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// The probe that it belongs to.
    pub probe: ProbeId,
    /// The volley that it belongs to.
    pub volley: Volley,
    /// When to send it, in milliseconds after the request arrived.
    pub after_ms: u32,
    /// One of the reflector's endpoints.
    pub from: Endpoint,
    /// The mapping, or unmapped external endpoint, to send it to.
    pub to: Endpoint,
    /// Its initial sequence number.
    pub seq: Seq,
    /// What it acknowledges: a SYN,ACK if anything, else a bare SYN.
    pub ack: Option<Seq>,
}

/// A packet that travels as its line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketText(pub Packet);

impl Serialize for PacketText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PacketText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        Packet::from_str(&line).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The line that carries `message`, its end included.
pub fn to_line(message: &Message) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("a message has string keys alone");
    line.push(b'\n');
    line
}

/// The message that a line carries.
///
/// # Errors
/// Says what is wrong and at which column.
pub fn from_line(line: &[u8]) -> Result<Message, String> {
    let read = serde_json::from_slice(line).map_err(|error| error.to_string());
    read.or_else(|error| strange_greeting(line).ok_or(error))
}

/// The greeting of another version, of which nothing but the version can be read.
fn strange_greeting(line: &[u8]) -> Option<Message> {
    #[derive(Deserialize)]
    #[serde(tag = "message", rename_all = "kebab-case")]
    enum Greeting {
        Hello { version: u16 },
        Welcome { version: u16 },
    }
    let nowhere = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let (observed, endpoints, now) = (nowhere, Vec::new(), Instant::START);
    match serde_json::from_slice(line).ok()? {
        Greeting::Hello { version: VERSION } | Greeting::Welcome { version: VERSION } => None,
        Greeting::Hello { version } => Some(Message::Hello { version }),
        Greeting::Welcome { version } => {
            Some(Message::Welcome { version, observed, endpoints, now })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::any_packet;

    proptest! {
        #[test]
        fn a_report_survives_the_line(packet in any_packet(), at in any::<u64>(), probe in any::<u16>()) {
            let mut packet = packet;
            if let Some(segment) = packet.segment_mut() {
                segment.payload.fill(0);
            }
            let at = Instant::from_nanos(at);
            let message = Message::Saw { probe: ProbeId(probe), at, packet: PacketText(packet) };
            prop_assert_eq!(from_line(&to_line(&message)), Ok(message));
        }

        #[test]
        fn arbitrary_lines_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_line(&line);
        }
    }
}

//! What a packet has on the far side of a middlebox that it did not have on the near one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::point::Here;
use crate::wire::{Body, Endpoint, Flags, Packet, Segment, TcpOption};

/// A field that was changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Which one.
    pub field: Field,
    /// What it was; empty where it was not there.
    pub from: String,
    /// What it has become; empty where it is gone.
    pub to: String,
}

/// A field that middleboxes change. The TTL is none: every router takes something off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// Address and port of the sender, as a NAT changes them.
    Source,
    /// Those of the receiver.
    Destination,
    /// The sequence number of a SYN.
    InitialSequenceNumber,
    /// TSval (RFC 7323 §3).
    TimeStamp,
    /// TSecr (RFC 7323 §3).
    TimeStampEcho,
    /// The maximum segment size option (RFC 9293 §3.7.1).
    MaximumSegmentSize,
    /// The window scale option (RFC 7323 §2).
    WindowScale,
    /// The SACK-permitted option (RFC 2018 §2).
    SackPermitted,
    /// An option of another kind.
    OtherOption,
    /// The window.
    Window,
    /// IP identification (RFC 6864).
    Identification,
    /// The don't-fragment bit.
    DontFragment,
    /// Type of service or traffic class.
    TrafficClass,
    /// The TTL, where it has grown.
    Ttl,
}

impl Field {
    /// Whether a change of it is what a NAT is for, or harmless: nothing that keeps a connection from opening.
    pub const fn is_usual(self) -> bool {
        matches!(
            self,
            Self::Source
                | Self::Destination
                | Self::MaximumSegmentSize
                | Self::Identification
                | Self::DontFragment
                | Self::TrafficClass
        )
    }
}

/// What differs between a packet at one point and the same one at the next.
pub fn changes(near: &Here, far: &Here) -> Vec<Change> {
    let (one, other) = (&near.packet, &far.packet);
    let mut changes = Vec::new();
    let mut compare = |field, from: String, to: String| {
        if from != to {
            changes.push(Change { field, from, to });
        }
    };
    let ends = |packet: &Packet| packet.endpoints().map(|(from, to)| [from, to].map(text));
    if let Some(([source, destination], [new_source, new_destination])) = ends(one).zip(ends(other))
    {
        compare(Field::Source, source, new_source);
        compare(Field::Destination, destination, new_destination);
    }
    // A version that has no such field has not changed it.
    if one.source.is_ipv4() && other.source.is_ipv4() {
        compare(Field::Identification, one.id.to_string(), other.id.to_string());
        let fragments = |packet: &Packet| u8::from(packet.dont_fragment).to_string();
        compare(Field::DontFragment, fragments(one), fragments(other));
    }
    compare(Field::TrafficClass, one.traffic_class.to_string(), other.traffic_class.to_string());
    if other.ttl > one.ttl {
        compare(Field::Ttl, one.ttl.to_string(), other.ttl.to_string());
    }
    if let (Body::Tcp(one), Body::Tcp(other)) = (&one.body, &other.body) {
        in_segments(one, other, near.is_whole && far.is_whole, compare);
    }
    changes
}

/// Options that a capture has cut off were not taken out on the way.
fn in_segments(
    one: &Segment,
    other: &Segment,
    has_options: bool,
    mut compare: impl FnMut(Field, String, String),
) {
    if one.flags.contains(Flags::SYN) {
        compare(Field::InitialSequenceNumber, one.seq.to_string(), other.seq.to_string());
    }
    compare(Field::Window, one.window.to_string(), other.window.to_string());
    if !has_options {
        return;
    }
    let (before, after) = (fields(one), fields(other));
    let has_stamp = |fields: &BTreeMap<_, String>| fields.contains_key(&(Field::TimeStamp, 0));
    let is_taken_out = has_stamp(&before) != has_stamp(&after);
    let mut all: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    // An option that is gone is one change, not two.
    for (field, kind) in
        all.into_iter().filter(|(field, _)| *field != Field::TimeStampEcho || !is_taken_out)
    {
        let value =
            |fields: &BTreeMap<_, String>| fields.get(&(field, kind)).cloned().unwrap_or_default();
        compare(field, value(&before), value(&after));
    }
}

/// The options, each as a field; others by their kind.
fn fields(segment: &Segment) -> BTreeMap<(Field, u8), String> {
    let mut fields = BTreeMap::new();
    let mut put = |field, kind, value| fields.insert((field, kind), value);
    for option in segment.options.iter() {
        match option {
            TcpOption::Nop => {}
            TcpOption::MaximumSegmentSize(size) => {
                put(Field::MaximumSegmentSize, 0, size.to_string());
            }
            TcpOption::WindowScale(shift) => {
                put(Field::WindowScale, 0, shift.to_string());
            }
            TcpOption::SackPermitted => {
                put(Field::SackPermitted, 0, "permitted".to_owned());
            }
            TcpOption::Timestamps { value, echo } => {
                put(Field::TimeStamp, 0, value.to_string());
                put(Field::TimeStampEcho, 0, echo.to_string());
            }
            TcpOption::Other { kind, length } => {
                put(Field::OtherOption, kind, format!("kind {kind}, {length} octets"));
            }
        }
    }
    fields
}

fn text(end: Endpoint) -> String {
    end.to_string()
}

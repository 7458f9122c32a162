//! Bytes ↔ packets, one packet ↔ one line of text, and the control messages between a prober and
//! its reflector.
//!
//! A [`Packet`] is an IPv4 or IPv6 packet that carries a TCP [`Segment`] with any flags and options
//! (RFC 9293 §3.1) or an ICMP error with the packet it quotes (RFC 792, RFC 4443).

mod codec;
pub mod control;
pub mod glance;
mod icmp;
mod lax;
pub mod link;
mod offers;
mod printable;
mod segment;
pub mod stun;
mod text;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use codec::{DecodeError, Layer, decode, encode, ipv4_checksums_hold};
pub use icmp::{Icmp, Quote};
pub use lax::{decode_lax, options_as_captured};
pub use offers::Offers;
pub use printable::printable;
pub use segment::{Flags, Options, Segment, Seq, TcpOption};
pub use text::ParseError;

/// An address and a port: `192.0.2.1:443` or `[2001:db8::1]:443`.
pub type Endpoint = SocketAddr;

/// An IP packet with the header fields that a middlebox may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it says that it comes from.
    pub source: IpAddr,
    /// Where it is to go; of the same family as `source`.
    pub destination: IpAddr,
    /// Time to live (IPv4) or hop limit (IPv6).
    pub ttl: u8,
    /// Identification (IPv4, RFC 6864); zero in IPv6.
    pub id: u16,
    /// The don't-fragment bit; always set in IPv6, which has none.
    pub dont_fragment: bool,
    /// Type of service (IPv4) or traffic class (IPv6), ECN bits included.
    pub traffic_class: u8,
    /// What it carries.
    pub body: Body,
}

/// What a packet carries; shared, since a packet on the wire is the same in every record and report
/// of it, and whoever translates it makes its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A TCP segment.
    Tcp(Arc<Segment>),
    /// An ICMP error.
    Icmp(Arc<Icmp>),
}

impl Packet {
    /// A packet of our own making: TTL 64, don't fragment, identification zero.
    ///
    /// Both endpoints must be of one family.
    pub fn tcp(source: Endpoint, destination: Endpoint, mut segment: Segment) -> Self {
        segment.source_port = source.port();
        segment.destination_port = destination.port();
        Self::new(source.ip(), destination.ip(), Body::Tcp(Arc::new(segment)))
    }

    /// A SYN or SYN,ACK of our making whose identification repeats the low half of its TSval: one
    /// more mark to know it by, should a NAT rewrite the others. It is never zero, since kernels
    /// replace a zero.
    pub fn marked(source: Endpoint, destination: Endpoint, segment: Segment) -> Self {
        let stamp = segment.options.timestamps().map_or(0, |(value, _)| value);
        Self { id: identification(stamp), ..Self::tcp(source, destination, segment) }
    }

    /// An ICMP error from `source` to `destination`, TTL 64.
    pub fn icmp(source: IpAddr, destination: IpAddr, icmp: Icmp) -> Self {
        Self::new(source, destination, Body::Icmp(Arc::new(icmp)))
    }

    fn new(source: IpAddr, destination: IpAddr, body: Body) -> Self {
        Self { source, destination, ttl: 64, id: 0, dont_fragment: true, traffic_class: 0, body }
    }

    /// The TCP segment, if it carries one.
    pub fn segment(&self) -> Option<&Segment> {
        match &self.body {
            Body::Tcp(segment) => Some(segment),
            Body::Icmp(_) => None,
        }
    }

    /// The TCP segment, if it carries one, to change it.
    pub fn segment_mut(&mut self) -> Option<&mut Segment> {
        match &mut self.body {
            Body::Tcp(segment) => Some(Arc::make_mut(segment)),
            Body::Icmp(_) => None,
        }
    }

    /// The ICMP error, if it carries one.
    pub fn icmp_error(&self) -> Option<&Icmp> {
        match &self.body {
            Body::Icmp(icmp) => Some(icmp),
            Body::Tcp(_) => None,
        }
    }

    /// The ICMP error, if it carries one, to change it.
    pub fn icmp_error_mut(&mut self) -> Option<&mut Icmp> {
        match &mut self.body {
            Body::Icmp(icmp) => Some(Arc::make_mut(icmp)),
            Body::Tcp(_) => None,
        }
    }

    /// Whence and whither of a TCP segment.
    pub fn endpoints(&self) -> Option<(Endpoint, Endpoint)> {
        let segment = self.segment()?;
        Some((
            Endpoint::new(self.source, segment.source_port),
            Endpoint::new(self.destination, segment.destination_port),
        ))
    }

    /// The endpoint of this packet's receiver: a segment's destination, or for an ICMP error the
    /// source of the packet that it quotes (RFC 792: the error goes to whoever sent that).
    pub fn receiver(&self) -> Endpoint {
        match &self.body {
            Body::Tcp(segment) => Endpoint::new(self.destination, segment.destination_port),
            Body::Icmp(icmp) => icmp.quote.source,
        }
    }
}

/// The identification of a packet whose TSval is `stamp`.
pub const fn identification(stamp: u32) -> u16 {
    match (stamp & 0xffff) as u16 {
        0 => 0x8000,
        low => low,
    }
}

/// Packets at random, for property tests of whatever reads or writes them.
#[cfg(test)]
pub(crate) mod testing {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Any packet that can be represented, of either family.
    pub fn any_packet() -> impl Strategy<Value = Packet> {
        (any_endpoints(), any_body(), any::<(u8, u16, bool, u8)>()).prop_map(build)
    }

    type Header = (u8, u16, bool, u8);

    fn build(parts: ((Endpoint, Endpoint), Body, Header)) -> Packet {
        let ((source, destination), body, (ttl, id, dont_fragment, traffic_class)) = parts;
        let mut packet = match body {
            Body::Tcp(segment) => Packet::tcp(source, destination, segment.as_ref().clone()),
            Body::Icmp(icmp) => {
                let quote = Quote { source: destination, destination: source, ..icmp.quote };
                Packet::icmp(source.ip(), destination.ip(), Icmp { quote, ..*icmp })
            }
        };
        (packet.ttl, packet.traffic_class) = (ttl, traffic_class);
        if source.is_ipv4() {
            (packet.id, packet.dont_fragment) = (id, dont_fragment);
        }
        packet
    }

    fn any_endpoints() -> impl Strategy<Value = (Endpoint, Endpoint)> {
        let v4 = any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| {
            (Endpoint::from((Ipv4Addr::from(a), p)), Endpoint::from((Ipv4Addr::from(b), q)))
        });
        let v6 = any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| {
            (Endpoint::from((Ipv6Addr::from(a), p)), Endpoint::from((Ipv6Addr::from(b), q)))
        });
        prop_oneof![v4, v6]
    }

    fn any_body() -> impl Strategy<Value = Body> {
        prop_oneof![
            4 => any_segment().prop_map(|segment| Body::Tcp(segment.into())),
            1 => any_icmp().prop_map(|icmp| Body::Icmp(icmp.into())),
        ]
    }

    fn any_segment() -> impl Strategy<Value = Segment> {
        let options = vec(any::<[u8; 4]>(), 0..=10);
        let fields = any::<(u32, u32, u16, u16, u16)>();
        (fields, options, vec(any::<u8>(), 0..32)).prop_map(|(fields, options, payload)| {
            let (seq, ack, flags, window, urgent) = fields;
            let options = Options::from_octets(options.as_flattened()).expect("whole words");
            let (seq, ack, flags) = (Seq(seq), Seq(ack), Flags::from_bits(flags));
            Segment { seq, ack, flags, window, urgent, options, payload, ..Segment::default() }
        })
    }

    fn any_icmp() -> impl Strategy<Value = Icmp> {
        let kinds = prop::sample::select(vec![1u8, 2, 3, 4, 5, 11, 12]);
        let nowhere = Endpoint::from(([0, 0, 0, 0], 0));
        (kinds, any::<(u8, u32, u8)>()).prop_map(move |(kind, (code, seq, ttl))| {
            let quote = Quote { source: nowhere, destination: nowhere, seq: Seq(seq), ttl };
            Icmp { kind, code, quote }
        })
    }
}

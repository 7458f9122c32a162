//! Bytes ↔ packets.
//!
//! Decoding takes what a NAT may have mangled: wrong checksums and trailing link padding pass,
//! since what a middlebox did is evidence. Fragments, IPv6 extension headers and what is neither
//! TCP nor an ICMP error that quotes TCP are refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpDscp, IpEcn, IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv6Header,
    TcpHeader, TcpHeaderSlice, checksum,
};

use super::{Body, Endpoint, Flags, Icmp, Options, Packet, Quote, Segment, Seq};

/// Where in a packet decoding failed, what it needed there and what it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The layer that could not be read.
    pub layer: Layer,
    /// Octets from the start of the packet to the start of that layer.
    pub offset: usize,
    /// What that layer needed.
    pub needed: &'static str,
    /// The octets that there were from `offset` on.
    pub got: usize,
}

/// The layers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Layer {
    Ip,
    Tcp,
    Icmp,
    QuotedIp,
    QuotedTcp,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, offset, needed, got } = self;
        write!(f, "{layer:?} at octet {offset}: needed {needed}, got {got} octets")
    }
}

impl std::error::Error for DecodeError {}

/// Reads an IP packet; octets behind its stated length are ignored.
pub fn decode(octets: &[u8]) -> Result<Packet, DecodeError> {
    let ip = Ip::read(octets, 0, Layer::Ip)?;
    let payload = &octets[ip.header..ip.end.min(octets.len())];
    let body = match ip.protocol {
        IpNumber::TCP => Body::Tcp(decode_segment(payload, ip.header)?.into()),
        IpNumber::ICMP | IpNumber::IPV6_ICMP => Body::Icmp(decode_icmp(payload, ip.header)?.into()),
        _ => return Err(error(Layer::Ip, 0, "TCP or ICMP inside", octets)),
    };
    Ok(Packet {
        source: ip.source,
        destination: ip.destination,
        ttl: ip.ttl,
        id: ip.id,
        dont_fragment: ip.dont_fragment,
        traffic_class: ip.traffic_class,
        body,
    })
}

/// The octets of a packet, with lengths and checksums right.
///
/// # Panics
/// If the addresses are of two families, or the payload does not fit an IP packet: no packet that
/// was decoded or built by [`Packet::tcp`] from endpoints of one family is such.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut octets = Vec::with_capacity(128);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let transport = encode_body_v4(&packet.body, source, destination);
            octets.extend(ipv4_header(packet, source, destination, transport.len()).to_bytes());
            octets.extend(transport);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let transport = encode_body_v6(&packet.body, source, destination);
            octets.extend(ipv6_header(packet, source, destination, transport.len()).to_bytes());
            octets.extend(transport);
        }
        _ => panic!("a packet's two addresses are of one family"),
    }
    octets
}

/// The fields of either IP header that a [`Packet`] keeps.
struct Ip {
    header: usize,
    end: usize,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    ttl: u8,
    id: u16,
    dont_fragment: bool,
    traffic_class: u8,
}

impl Ip {
    fn read(octets: &[u8], offset: usize, layer: Layer) -> Result<Self, DecodeError> {
        match octets.first().map(|first| first >> 4) {
            Some(4) => Self::read_v4(octets, offset, layer),
            Some(6) => Self::read_v6(octets, offset, layer),
            _ => Err(error(layer, offset, "an IPv4 or IPv6 header", octets)),
        }
    }

    fn read_v4(octets: &[u8], offset: usize, layer: Layer) -> Result<Self, DecodeError> {
        let header = Ipv4HeaderSlice::from_slice(octets)
            .map_err(|_| error(layer, offset, "a whole IPv4 header", octets))?;
        if header.is_fragmenting_payload() {
            return Err(error(layer, offset, "a packet that is not a fragment", octets));
        }
        let length = header.slice().len();
        Ok(Self {
            header: length,
            end: usize::from(header.total_len()).max(length),
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: header.protocol(),
            ttl: header.ttl(),
            id: header.identification(),
            dont_fragment: header.dont_fragment(),
            traffic_class: (header.dcp().value() << 2) | header.ecn().value(),
        })
    }

    fn read_v6(octets: &[u8], offset: usize, layer: Layer) -> Result<Self, DecodeError> {
        let (header, _) = Ipv6Header::from_slice(octets)
            .map_err(|_| error(layer, offset, "a whole IPv6 header", octets))?;
        Ok(Self {
            header: Ipv6Header::LEN,
            end: Ipv6Header::LEN + usize::from(header.payload_length),
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: header.next_header,
            ttl: header.hop_limit,
            id: 0,
            dont_fragment: true,
            traffic_class: header.traffic_class,
        })
    }
}

fn decode_segment(octets: &[u8], offset: usize) -> Result<Segment, DecodeError> {
    let header = TcpHeaderSlice::from_slice(octets)
        .map_err(|_| error(Layer::Tcp, offset, "a whole TCP header", octets))?;
    let options = Options::from_octets(header.options())
        .expect("the data offset counts in words of four octets, at most ten of them options");
    // Twelve bits follow the data offset; the upper three are reserved (RFC 9293 §3.1).
    let flags = u16::from_be_bytes([header.slice()[12], header.slice()[13]]);
    Ok(Segment {
        source_port: header.source_port(),
        destination_port: header.destination_port(),
        seq: Seq(header.sequence_number()),
        ack: Seq(header.acknowledgment_number()),
        flags: Flags::from_bits(flags),
        window: header.window_size(),
        urgent: header.urgent_pointer(),
        options,
        payload: octets[header.slice().len()..].to_vec(),
    })
}

fn decode_icmp(octets: &[u8], offset: usize) -> Result<Icmp, DecodeError> {
    let quoted = octets
        .get(ICMP_HEADER..)
        .ok_or_else(|| error(Layer::Icmp, offset, "an ICMP header of eight octets", octets))?;
    if !QUOTING_TYPES.contains(&octets[0]) {
        return Err(error(Layer::Icmp, offset, "an error that quotes a packet", octets));
    }
    let quote = decode_quote(quoted, offset + ICMP_HEADER)?;
    Ok(Icmp { kind: octets[0], code: octets[1], quote })
}

fn decode_quote(octets: &[u8], offset: usize) -> Result<Quote, DecodeError> {
    let ip = Ip::read(octets, offset, Layer::QuotedIp)?;
    let needed = "eight octets of TCP";
    if ip.protocol != IpNumber::TCP {
        return Err(error(Layer::QuotedIp, offset, needed, octets));
    }
    let behind = octets.get(ip.header..).unwrap_or_default();
    let tcp: [u8; 8] = behind
        .get(..8)
        .and_then(|eight| eight.try_into().ok())
        .ok_or_else(|| error(Layer::QuotedTcp, offset + ip.header, needed, behind))?;
    let [a, b, c, d, e, f, g, h] = tcp;
    Ok(Quote {
        source: Endpoint::new(ip.source, u16::from_be_bytes([a, b])),
        destination: Endpoint::new(ip.destination, u16::from_be_bytes([c, d])),
        seq: Seq(u32::from_be_bytes([e, f, g, h])),
        ttl: ip.ttl,
    })
}

const fn error(layer: Layer, offset: usize, needed: &'static str, octets: &[u8]) -> DecodeError {
    DecodeError { layer, offset, needed, got: octets.len() }
}

fn ipv4_header(packet: &Packet, source: Ipv4Addr, to: Ipv4Addr, payload: usize) -> Ipv4Header {
    let protocol = match packet.body {
        Body::Tcp(_) => IpNumber::TCP,
        Body::Icmp(_) => IpNumber::ICMP,
    };
    let length = u16::try_from(payload).expect("a payload fits an IP packet");
    let mut header = Ipv4Header::new(length, packet.ttl, protocol, source.octets(), to.octets())
        .expect("a payload fits an IP packet");
    header.identification = packet.id;
    header.dont_fragment = packet.dont_fragment;
    header.dscp = IpDscp::try_new(packet.traffic_class >> 2).expect("six bits are left");
    header.ecn = IpEcn::try_new(packet.traffic_class & 3).expect("two bits are left");
    header.header_checksum = header.calc_header_checksum();
    header
}

fn ipv6_header(packet: &Packet, source: Ipv6Addr, to: Ipv6Addr, payload: usize) -> Ipv6Header {
    let next_header = match packet.body {
        Body::Tcp(_) => IpNumber::TCP,
        Body::Icmp(_) => IpNumber::IPV6_ICMP,
    };
    Ipv6Header {
        traffic_class: packet.traffic_class,
        payload_length: u16::try_from(payload).expect("a payload fits an IP packet"),
        next_header,
        hop_limit: packet.ttl,
        source: source.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    }
}

fn encode_body_v4(body: &Body, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    match body {
        Body::Tcp(segment) => {
            let mut header = tcp_header(segment);
            header.checksum = header
                .calc_checksum_ipv4_raw(source.octets(), destination.octets(), &segment.payload)
                .expect("a payload fits an IP packet");
            [&header.to_bytes()[..], &segment.payload].concat()
        }
        Body::Icmp(icmp) => {
            let quote = encode_quote(&icmp.quote);
            let sum =
                Icmpv4Type::Unknown { type_u8: icmp.kind, code_u8: icmp.code, bytes5to8: [0; 4] }
                    .calc_checksum(&quote);
            encode_icmp(icmp, sum, &quote)
        }
    }
}

fn encode_body_v6(body: &Body, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    match body {
        Body::Tcp(segment) => {
            let mut header = tcp_header(segment);
            header.checksum = header
                .calc_checksum_ipv6_raw(source.octets(), destination.octets(), &segment.payload)
                .expect("a payload fits an IP packet");
            [&header.to_bytes()[..], &segment.payload].concat()
        }
        Body::Icmp(icmp) => {
            let quote = encode_quote(&icmp.quote);
            let sum =
                Icmpv6Type::Unknown { type_u8: icmp.kind, code_u8: icmp.code, bytes5to8: [0; 4] }
                    .calc_checksum(source.octets(), destination.octets(), &quote)
                    .expect("a quote fits an IP packet");
            encode_icmp(icmp, sum, &quote)
        }
    }
}

fn encode_icmp(icmp: &Icmp, sum: u16, quote: &[u8]) -> Vec<u8> {
    let [high, low] = sum.to_be_bytes();
    [&[icmp.kind, icmp.code, high, low, 0, 0, 0, 0], quote].concat()
}

fn encode_quote(quote: &Quote) -> Vec<u8> {
    let mut tcp = [0; 8];
    tcp[..2].copy_from_slice(&quote.source.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&quote.destination.port().to_be_bytes());
    tcp[4..].copy_from_slice(&quote.seq.0.to_be_bytes());
    // The quoted length is that of the packet sent, not of the part that is quoted (RFC 792).
    let body = Body::Tcp(Segment::default().into());
    let mut packet = Packet::tcp(quote.source, quote.destination, Segment::default());
    (packet.ttl, packet.body) = (quote.ttl, body);
    match (quote.source.ip(), quote.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4_header(&packet, source, destination, TcpHeader::MIN_LEN);
            [&header.to_bytes()[..], &tcp].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6_header(&packet, source, destination, TcpHeader::MIN_LEN);
            [&header.to_bytes()[..], &tcp].concat()
        }
        _ => panic!("a quoted packet's two addresses are of one family"),
    }
}

fn tcp_header(segment: &Segment) -> TcpHeader {
    let flag = |flag| segment.flags.contains(flag);
    let mut header = TcpHeader::new(
        segment.source_port,
        segment.destination_port,
        segment.seq.0,
        segment.window,
    );
    header.acknowledgment_number = segment.ack.0;
    header.urgent_pointer = segment.urgent;
    header.ns = flag(Flags::NS);
    header.fin = flag(Flags::FIN);
    header.syn = flag(Flags::SYN);
    header.rst = flag(Flags::RST);
    header.psh = flag(Flags::PSH);
    header.ack = flag(Flags::ACK);
    header.urg = flag(Flags::URG);
    header.ece = flag(Flags::ECE);
    header.cwr = flag(Flags::CWR);
    header
        .set_options_raw(segment.options.octets())
        .expect("an options area is at most 40 octets long");
    header
}

/// RFC 792: type, code, checksum and four octets that no error about TCP needs here.
const ICMP_HEADER: usize = 8;

/// Types that quote a packet: unreachable, source quench, redirect, time exceeded and parameter
/// problem in IPv4 (3, 4, 5, 11, 12), and ICMPv6's four errors (1 to 4).
const QUOTING_TYPES: [u8; 7] = [1, 2, 3, 4, 5, 11, 12];

/// Whether the checksums of an IPv4 packet's header and of its TCP segment are right, as a
/// receiver would check them.
pub fn ipv4_checksums_hold(octets: &[u8]) -> bool {
    let Ok(header) = Ipv4HeaderSlice::from_slice(octets) else { return false };
    let sum_of = |octets: &[u8]| checksum::Sum16BitWords::new().add_slice(octets).ones_complement();
    let length = header.slice().len();
    let Some(payload) = octets.get(length..usize::from(header.total_len())) else { return false };
    let transport = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let sum = checksum::Sum16BitWords::new()
        .add_4bytes(header.source())
        .add_4bytes(header.destination())
        .add_2bytes([0, header.protocol().0])
        .add_2bytes(transport)
        .add_slice(payload)
        .ones_complement();
    sum_of(header.slice()) == 0 && (header.protocol() != IpNumber::TCP || sum == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::any_packet;

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(packet in any_packet()) {
            prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }

        #[test]
        fn checksums_are_right(packet in any_packet()) {
            let octets = encode(&packet);
            prop_assert!(packet.source.is_ipv6() || ipv4_checksums_hold(&octets));
        }

        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&octets);
        }

        #[test]
        fn a_packet_cut_short_never_panics(packet in any_packet(), keep in 0usize..120) {
            let octets = encode(&packet);
            let _ = decode(&octets[..keep.min(octets.len())]);
        }

        #[test]
        fn a_flipped_octet_never_panics(packet in any_packet(), at in any::<usize>(), to in any::<u8>()) {
            let mut octets = encode(&packet);
            let at = at % octets.len();
            octets[at] = to;
            let _ = decode(&octets);
        }
    }

    #[test]
    fn an_error_says_where() {
        let octets = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
        let error = decode(&octets).expect_err("no TCP header follows");
        assert_eq!(error.to_string(), "Tcp at octet 20: needed a whole TCP header, got 0 octets");
    }
}

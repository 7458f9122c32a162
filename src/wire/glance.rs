//! What of a packet tells whether it matters to an opening, read in a few instructions: most packets
//! of a capture do not.

use std::net::{IpAddr, Ipv6Addr};

use super::Endpoint;

/// A packet at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// A TCP segment.
    Tcp(Segment),
    /// An ICMP message of either family.
    Icmp,
    /// A fragment that is not the first: it has no ports.
    Fragment,
    /// Another protocol.
    Other,
    /// The headers are cut short or make no sense.
    Cut,
}

/// A TCP segment at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it came from.
    pub source: End,
    /// Where it went to.
    pub destination: End,
    /// The low eight flag bits.
    pub flags: u8,
    /// Where in the packet the TCP header starts, in octets.
    pub tcp: usize,
}

impl Segment {
    /// How many octets of the packet are headers, at least up to the flags.
    #[inline]
    pub fn headers(&self, packet: &[u8]) -> usize {
        self.tcp + (usize::from(packet[self.tcp + 12] >> 4) * 4).max(20)
    }
}

/// An address, IPv4 as IPv6 maps it (RFC 4291 §2.5.5.2), and a port. In words: a number of 128 bits would
/// need more room, and a copy of a shorter field waits until that has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    high: u64,
    low: u64,
    port: u64,
}

/// The flags of a TCP segment and the [`hash`] of its ends, if it is one of by far the most: behind an
/// IPv4 header without options, and no fragment.
#[inline]
pub fn quick(packet: &[u8]) -> Option<(u8, u64)> {
    let header: &[u8; 34] = packet.first_chunk()?;
    let is_usual = header[0] == 0x45 && header[9] == TCP && header[6] & 0x1f == 0 && header[7] == 0;
    if !is_usual {
        return None;
    }
    let end = |address, port| End::v4(four(header, address), two(header, port));
    Some((header[33], hash(end(12, 20), end(16, 22))))
}

/// Looks at an IP packet.
pub fn glance(packet: &[u8]) -> Glance {
    match packet.first() {
        Some(first) if first >> 4 == 4 => glance_v4(packet),
        Some(first) if first >> 4 == 6 => glance_v6(packet),
        _ => Glance::Cut,
    }
}

/// The time to live, or hop limit, of a packet of which that much is there.
pub fn ttl(packet: &[u8]) -> u8 {
    let place = if packet.first().is_some_and(|first| first >> 4 == 4) { 8 } else { 7 };
    packet.get(place).copied().unwrap_or_default()
}

fn glance_v4(packet: &[u8]) -> Glance {
    let header = usize::from(packet[0] & 0x0f) * 4;
    if packet.len() < header.max(20) || header < 20 {
        return Glance::Cut;
    }
    if packet[6] & 0x1f != 0 || packet[7] != 0 {
        return Glance::Fragment;
    }
    match packet[9] {
        ICMP => Glance::Icmp,
        TCP if packet.len() >= header + FLAGS_END => Glance::Tcp(Segment {
            source: End::v4(four(packet, 12), two(packet, header)),
            destination: End::v4(four(packet, 16), two(packet, header + 2)),
            flags: packet[header + 13],
            tcp: header,
        }),
        TCP => Glance::Cut,
        _ => Glance::Other,
    }
}

fn glance_v6(packet: &[u8]) -> Glance {
    let Some(behind) = behind_extensions(packet) else { return Glance::Cut };
    match behind {
        Behind::Fragment => Glance::Fragment,
        Behind::Header { protocol: ICMPV6, .. } => Glance::Icmp,
        Behind::Header { protocol: TCP, at } if packet.len() >= at + FLAGS_END => {
            Glance::Tcp(Segment {
                source: End::v6(sixteen(packet, 8), two(packet, at)),
                destination: End::v6(sixteen(packet, 24), two(packet, at + 2)),
                flags: packet[at + 13],
                tcp: at,
            })
        }
        Behind::Header { protocol: TCP, .. } => Glance::Cut,
        Behind::Header { .. } => Glance::Other,
    }
}

/// What stands behind the extension headers of an IPv6 packet.
pub(super) enum Behind {
    /// A header of this protocol, so many octets from the start.
    Header { protocol: u8, at: usize },
    /// A fragment that is not the first.
    Fragment,
}

/// RFC 8200 §4: each extension header names the next one, and its own length.
pub(super) fn behind_extensions(packet: &[u8]) -> Option<Behind> {
    let (mut protocol, mut at) = (*packet.get(6)?, 40);
    for _ in 0..MOST_EXTENSIONS {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY => {
                8 + 8 * usize::from(*packet.get(at + 1)?)
            }
            // RFC 4302 §2.2: in words of four octets, less two.
            AUTHENTICATION => 8 + 4 * usize::from(*packet.get(at + 1)?),
            FRAGMENT if two_of(packet, at + 2)? >> 3 != 0 => return Some(Behind::Fragment),
            FRAGMENT => 8,
            _ => return Some(Behind::Header { protocol, at }),
        };
        (protocol, at) = (*packet.get(at)?, at + length);
    }
    None
}

impl End {
    #[inline]
    const fn v4(address: u32, port: u16) -> Self {
        Self { high: 0, low: MAPPED | address as u64, port: port as u64 }
    }

    const fn v6(address: u128, port: u16) -> Self {
        Self { high: (address >> 64) as u64, low: address as u64, port: port as u64 }
    }

    /// The same address, whatever the port.
    pub const fn host(self) -> Self {
        Self { port: 0, ..self }
    }

    /// The same address with the port of another.
    pub const fn with_port_of(self, other: Self) -> Self {
        Self { port: other.port, ..self }
    }

    /// Its port.
    pub const fn port(self) -> u16 {
        self.port as u16
    }

    /// Whether both have one port.
    pub const fn has_port_of(self, other: Self) -> bool {
        self.port == other.port
    }

    /// As the rest of the program has it.
    pub fn endpoint(self) -> Endpoint {
        let address = Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low));
        let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
        Endpoint::new(address, self.port as u16)
    }

    #[inline]
    const fn word(self) -> u64 {
        self.high ^ self.low ^ self.port << 48 ^ SEED
    }
}

impl From<Endpoint> for End {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint.ip() {
            IpAddr::V4(address) => Self::v4(address.to_bits(), endpoint.port()),
            IpAddr::V6(address) => Self::v6(address.to_bits(), endpoint.port()),
        }
    }
}

/// The same number for the same ends, whichever way a segment goes; it is for no one to guess which ends
/// share one, but neither is it secret. Both halves of a product have something of every bit of both factors,
/// and the sum has it where one of them is zero.
#[inline]
pub const fn hash(one: End, other: End) -> u64 {
    let (one, other) = (one.word(), other.word());
    let product = one as u128 * other as u128;
    product as u64 ^ (product >> 64) as u64 ^ one.wrapping_add(other).wrapping_mul(SEED)
}

#[inline]
const fn two(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn two_of(octets: &[u8], at: usize) -> Option<u16> {
    (octets.len() >= at + 2).then(|| two(octets, at))
}

#[inline]
const fn four(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

fn sixteen(octets: &[u8], at: usize) -> u128 {
    (0..16).fold(0, |number, place| number << 8 | u128::from(octets[at + place]))
}

/// FIN among the flag bits.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;

const MAPPED: u64 = 0xffff << 32;

/// Digits of the golden ratio, as good as any.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// Up to and with the flags of a TCP header.
const FLAGS_END: usize = 14;

/// RFC 8200 §4.1 names six, one of them twice.
const MOST_EXTENSIONS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::any_packet;
    use crate::wire::{Body, encode};

    #[test]
    fn no_end_makes_all_its_connections_alike() {
        let nothing = End::v6(u128::from(SEED), 0);
        assert_eq!(nothing.word(), 0);
        let hashes = [1, 2].map(|address| hash(nothing, End::v4(address, 80)));
        assert_ne!(hashes[0], hashes[1]);
    }

    proptest! {
        #[test]
        fn a_glance_sees_what_a_reader_reads(packet in any_packet()) {
            let seen = glance(&encode(&packet));
            match &packet.body {
                Body::Tcp(segment) => {
                    let Glance::Tcp(seen) = seen else { panic!("{seen:?}") };
                    let (source, destination) = packet.endpoints().expect("a segment");
                    prop_assert_eq!(seen.source.endpoint().port(), source.port());
                    // IPv4 that IPv6 maps reads back as IPv4: no host sends such addresses.
                    prop_assert_eq!(End::from(seen.destination.endpoint()), End::from(destination));
                    prop_assert_eq!(u16::from(seen.flags), segment.flags.bits() & 0xff);
                    let number = hash(seen.source, seen.destination);
                    prop_assert_eq!(number, hash(seen.destination, seen.source));
                    if let Some(quick) = quick(&encode(&packet)) {
                        prop_assert_eq!(quick, (seen.flags, number));
                    }
                }
                Body::Icmp(_) => prop_assert_eq!(seen, Glance::Icmp),
            }
        }

        #[test]
        fn arbitrary_octets_never_panic(octets in vec(any::<u8>(), 0..120)) {
            let _ = glance(&octets);
        }
    }
}

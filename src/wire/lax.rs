//! Bytes → packet, of a capture that may have kept the first octets alone.

use super::codec::{DecodeError, Layer, decode};
use super::glance::{Glance, Segment as Seen, glance};
use super::{Flags, Options, Packet, Segment, Seq};

/// Reads an IP packet as far as it was captured: IPv6 extension headers are passed over, a first
/// fragment is taken for the whole, options that were cut off are missing, and so are fields of the
/// TCP header behind the flags. A payload is as long as the packet says, and octets of it that were
/// not captured are zero; `whole` is how long the packet was, for those that do not say.
///
/// # Errors
/// If it is neither a TCP segment, up to its flags, nor an ICMP error that quotes one.
pub fn decode_lax(octets: &[u8], whole: usize) -> Result<Packet, DecodeError> {
    match glance(octets) {
        Glance::Tcp(seen) => Ok(segment(octets, seen, whole)),
        _ => decode(octets),
    }
    .map_err(|error| match error.layer {
        // There may be extension headers in front of it.
        Layer::Ip => DecodeError { needed: "TCP, or an ICMP error that quotes it", ..error },
        _ => error,
    })
}

fn segment(octets: &[u8], seen: Seen, whole: usize) -> Packet {
    let tcp = &octets[seen.tcp..];
    let header = (usize::from(tcp[12] >> 4) * 4).max(20);
    let end = declared_end(octets).unwrap_or(whole);
    let payload = end.saturating_sub(seen.tcp + header).min(LONGEST);
    let captured = tcp.get(header..).unwrap_or_default();
    let mut octets_of_payload = captured[..captured.len().min(payload)].to_vec();
    octets_of_payload.resize(payload, 0);
    let segment = Segment {
        seq: Seq(four(tcp, 4)),
        ack: Seq(four(tcp, 8)),
        flags: Flags::from_bits(u16::from_be_bytes([tcp[12], tcp[13]])),
        window: two(tcp, 14),
        urgent: two(tcp, 18),
        options: Options::from_octets(options_as_captured(tcp)).unwrap_or_default(),
        payload: octets_of_payload,
        ..Segment::default()
    };
    let packet = Packet::tcp(seen.source.endpoint(), seen.destination.endpoint(), segment);
    match octets[0] >> 4 {
        4 => Packet {
            ttl: octets[8],
            id: two(octets, 4),
            dont_fragment: octets[6] & 0x40 != 0,
            traffic_class: octets[1],
            ..packet
        },
        _ => Packet { ttl: octets[7], traffic_class: (two(octets, 0) >> 4 & 0xff) as u8, ..packet },
    }
}

/// The options of what begins with a TCP header, up to its flags at least: the words that were captured
/// of them.
pub fn options_as_captured(tcp: &[u8]) -> &[u8] {
    let header = usize::from(tcp[12] >> 4) * 4;
    let options = tcp.get(20..header.min(tcp.len())).unwrap_or_default();
    &options[..options.len() / 4 * 4]
}

/// Where the packet says that it ends; none where it leaves that to the interface.
fn declared_end(octets: &[u8]) -> Option<usize> {
    let (length, before) = match octets[0] >> 4 {
        4 => (two(octets, 2), 0),
        _ => (two(octets, 4), 40),
    };
    (length != 0).then_some(before + usize::from(length))
}

fn two(octets: &[u8], at: usize) -> u16 {
    octets.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

fn four(octets: &[u8], at: usize) -> u32 {
    u32::from(two(octets, at)) << 16 | u32::from(two(octets, at + 2))
}

/// More is no packet, whatever the capture says (segmentation offload joins up to this much).
const LONGEST: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::any_packet;
    use crate::wire::{Body, encode};

    proptest! {
        #[test]
        fn what_is_whole_reads_as_it_is(packet in any_packet()) {
            let octets = encode(&packet);
            prop_assert_eq!(decode_lax(&octets, octets.len()), Ok(packet));
        }

        #[test]
        fn a_cut_segment_keeps_its_numbers_and_its_length(packet in any_packet(), kept in 34usize..120) {
            let octets = encode(&packet);
            let kept = kept.min(octets.len());
            let read = decode_lax(&octets[..kept], octets.len());
            if let (Body::Tcp(whole), Ok(Body::Tcp(read))) = (&packet.body, read.map(|read| read.body)) {
                prop_assert_eq!((whole.seq, whole.ack, whole.flags), (read.seq, read.ack, read.flags));
                prop_assert_eq!(whole.payload.len(), read.payload.len());
            }
        }

        #[test]
        fn arbitrary_octets_never_panic(octets in vec(any::<u8>(), 0..200), whole in 0usize..70_000) {
            let _ = decode_lax(&octets, whole);
        }
    }

    #[test]
    fn extension_headers_and_a_first_fragment_are_passed_over() {
        let packet: Packet =
            "[2001:db8::1]:1000 > [2001:db8::2]:2000 S 7:7(0) win 65535 ttl 64 id 0"
                .parse()
                .expect("a line");
        let plain = encode(&packet);
        // Hop-by-hop options of eight octets, then a fragment header with offset zero.
        let extensions = [[44, 0, 1, 4, 0, 0, 0, 0], [6, 0, 0, 1, 0, 0, 0, 9]].concat();
        let mut octets = [&plain[..40], &extensions, &plain[40..]].concat();
        octets[5] += 16;
        octets[6] = 0;
        assert_eq!(decode_lax(&octets, octets.len()), Ok(packet));
    }
}

//! From a captured frame to the IP packet in it.

/// Link layers as pcap numbers them
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkType {
    /// Four bytes of address family, in either byte order.
    Loopback,
    Ethernet,
    /// The IP packet itself.
    Ip,
    /// Linux "cooked" capture.
    Cooked,
    /// Linux "cooked" capture, version 2.
    Cooked2,
}

impl LinkType {
    pub(super) fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// The IP packet in a frame, without padding; `None` when there is none.
    pub(super) fn ip_packet(self, frame: &[u8]) -> Option<&[u8]> {
        let packet = match self {
            Self::Loopback => frame.get(4..)?,
            Self::Ethernet => behind_ether_type(frame, 12)?,
            Self::Ip => frame,
            Self::Cooked => behind_ether_type(frame, 14)?,
            Self::Cooked2 => {
                let ether_type = number(frame, 0)?;
                is_ip(ether_type).then_some(frame.get(20..)?)?
            }
        };
        without_padding(packet)
    }
}

/// The IP packet behind an EtherType at `offset`, and behind VLAN tags (IEEE
/// 802.1Q), each of which puts four bytes before the real EtherType.
fn behind_ether_type(frame: &[u8], offset: usize) -> Option<&[u8]> {
    match number(frame, offset)? {
        VLAN | VLAN_OUTER => behind_ether_type(frame, offset + 4),
        ether_type if is_ip(ether_type) => frame.get(offset + 2..),
        _ => None,
    }
}

/// An IP packet says how long it is; a short Ethernet frame is filled up.
fn without_padding(packet: &[u8]) -> Option<&[u8]> {
    let length = match packet.first()? >> 4 {
        // RFC 791 §3.1. Zero: longer than 64 kB, or left to the interface.
        4 => usize::from(number(packet, 2)?),
        // RFC 8200 §3: without the fixed header.
        6 => 40 + usize::from(number(packet, 4)?),
        _ => return None,
    };
    let whole = packet.len();
    Some(&packet[..if length == 0 { whole } else { length.min(whole) }])
}

fn number(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair = bytes.get(offset..offset + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

fn is_ip(ether_type: u16) -> bool {
    matches!(ether_type, 0x0800 | 0x86dd)
}

const VLAN: u16 = 0x8100;
const VLAN_OUTER: u16 = 0x88a8;

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];

    #[test]
    fn every_link_layer_is_taken_off() {
        let ethernet = [&[0; 12][..], &[8, 0]].concat();
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat();
        let twice = [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat();
        let cooked = [&[0; 14][..], &[8, 0]].concat();
        let cooked2 = [&[8, 0][..], &[0; 18]].concat();
        for (number, header) in [
            (1, ethernet),
            (1, tagged),
            (1, twice),
            (12, vec![]),
            (101, vec![]),
            (0, vec![2, 0, 0, 0]),
            (108, vec![0, 0, 0, 2]),
            (113, cooked),
            (276, cooked2),
        ] {
            let frame = [&header[..], &PACKET].concat();
            let link = LinkType::from_number(number).unwrap();
            assert_eq!(link.ip_packet(&frame), Some(&PACKET[..]), "link type {number}");
        }
    }

    #[test]
    fn padding_goes_and_other_protocols_are_no_packet() {
        let padded = [&[0; 12][..], &[8, 0], &PACKET, &[0; 26]].concat();
        let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
        assert_eq!(LinkType::Ethernet.ip_packet(&padded), Some(&PACKET[..]));
        assert_eq!(LinkType::Ethernet.ip_packet(&arp), None);
    }

    #[test]
    fn no_cut_frame_makes_it_panic() {
        let whole = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &PACKET].concat();
        for length in 0..whole.len() {
            for number in [0, 1, 12, 113, 276] {
                let link = LinkType::from_number(number).unwrap();
                let _ = link.ip_packet(&whole[..length]);
            }
        }
    }
}

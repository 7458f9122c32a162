//! From a captured frame to the IP packet in it.

/// Link layers as pcap numbers them (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Four octets of address family, in either byte order.
    Loopback,
    /// Ethernet, with VLAN tags and PPPoE or without.
    Ethernet,
    /// A PPPoE session without the Ethernet around it.
    Pppoe,
    /// The IP packet itself.
    Ip,
    /// Linux "cooked" capture.
    Cooked,
    /// Linux "cooked" capture, version 2.
    Cooked2,
}

impl LinkType {
    /// The link layer of that number, if it is known here.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            51 => Some(Self::Pppoe),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// Whether the frame came in, where the link layer says so.
    pub fn inbound(self, frame: &[u8]) -> Option<bool> {
        let kind = match self {
            Self::Cooked => number(frame, 0)?,
            Self::Cooked2 => u16::from(*frame.get(10)?),
            _ => return None,
        };
        match kind {
            TO_US => Some(true),
            FROM_US => Some(false),
            // Broadcast, multicast, or between others.
            _ => None,
        }
    }

    /// The IP packet in a frame, with whatever pads it; `None` where there is none.
    #[inline]
    pub fn ip_packet(self, frame: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Loopback => behind_family(frame),
            Self::Ethernet => behind_ether_type(frame, 12),
            Self::Pppoe => behind_pppoe(frame),
            Self::Ip => Some(frame),
            Self::Cooked => behind_ether_type(frame, 14),
            Self::Cooked2 => {
                let ether_type = number(frame, 0)?;
                if is_ip(ether_type) { frame.get(20..) } else { None }
            }
        }
    }
}

impl LinkType {
    /// Whether the packet in a frame is behind a header that is not taken off here.
    pub fn is_wrapped(self, frame: &[u8]) -> bool {
        let ether_type = match self {
            Self::Ethernet => ether_type(frame, 12),
            Self::Cooked => ether_type(frame, 14),
            Self::Cooked2 => number(frame, 0),
            Self::Loopback | Self::Pppoe | Self::Ip => None,
        };
        ether_type.is_some_and(|ether_type| WRAPPERS.contains(&ether_type))
    }
}

/// The EtherType behind VLAN tags.
fn ether_type(frame: &[u8], offset: usize) -> Option<u16> {
    match number(frame, offset)? {
        VLAN | VLAN_OUTER | VLAN_OUTER_OLD => ether_type(frame, offset + 4),
        ether_type => Some(ether_type),
    }
}

/// An IP packet without what fills up a short Ethernet frame: the packet says how long it is.
pub fn without_padding(packet: &[u8]) -> Option<&[u8]> {
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

/// The IP packet behind an EtherType at `offset`. Of nearly all frames it is there.
#[inline]
fn behind_ether_type(frame: &[u8], offset: usize) -> Option<&[u8]> {
    if number(frame, offset).is_some_and(is_ip) {
        frame.get(offset + 2..)
    } else {
        behind_tags(frame, offset)
    }
}

/// The same behind VLAN tags (IEEE 802.1Q), each of which puts four octets before the real EtherType.
#[cold]
fn behind_tags(frame: &[u8], offset: usize) -> Option<&[u8]> {
    match number(frame, offset)? {
        VLAN | VLAN_OUTER | VLAN_OUTER_OLD => behind_ether_type(frame, offset + 4),
        PPPOE_SESSION => behind_pppoe(frame.get(offset + 2..)?),
        _ => None,
    }
}

/// RFC 2516 §4: version and type, code, session, length; then the protocol of PPP.
fn behind_pppoe(session: &[u8]) -> Option<&[u8]> {
    let protocol = number(session, 6)?;
    matches!(protocol, PPP_IPV4 | PPP_IPV6).then(|| session.get(8..))?
}

/// The family is in the byte order of the host that captured: small either way. IPv6 has another
/// number on each system, none of which is that of IPv4.
fn behind_family(frame: &[u8]) -> Option<&[u8]> {
    let [a, b, c, d, ..] = *frame else { return None };
    let family = match [a, b, c, d] {
        [0, 0, 0, family] | [family, 0, 0, 0] => family,
        _ => return None,
    };
    let packet = &frame[4..];
    let version = packet.first()? >> 4;
    let fits = match version {
        4 => family == 2,
        6 => matches!(family, 10 | 24 | 28 | 30),
        _ => false,
    };
    fits.then_some(packet)
}

#[inline]
fn number(octets: &[u8], offset: usize) -> Option<u16> {
    let pair = octets.get(offset..offset + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[inline]
const fn is_ip(ether_type: u16) -> bool {
    matches!(ether_type, 0x0800 | 0x86dd)
}

const VLAN: u16 = 0x8100;
const VLAN_OUTER: u16 = 0x88a8;
/// Before IEEE 802.1ad gave it a number, vendors took this one.
const VLAN_OUTER_OLD: u16 = 0x9100;
const PPPOE_SESSION: u16 = 0x8864;
/// MPLS, with one receiver and with several (RFC 5332 §3), MACsec, a provider's backbone bridge (IEEE
/// 802.1ah), and service function chains (RFC 8300 §3).
const WRAPPERS: [u16; 5] = [0x8847, 0x8848, 0x88e5, 0x88e7, 0x894f];
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// `PACKET_HOST` and `PACKET_OUTGOING` of Linux's packet sockets.
const TO_US: u16 = 0;
const FROM_US: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];

    #[test]
    fn every_link_layer_is_taken_off() {
        let ethernet = |rest: &[u8]| [&[0; 12][..], rest].concat();
        let session = [0x11, 0, 0, 7, 0, 22, 0, 0x21];
        for (number, header) in [
            (1, ethernet(&[8, 0])),
            (1, ethernet(&[0x81, 0, 0, 5, 8, 0])),
            (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
            (1, [&ethernet(&[0x88, 0x64])[..], &session].concat()),
            (51, session.to_vec()),
            (12, vec![]),
            (101, vec![]),
            (0, vec![2, 0, 0, 0]),
            (108, vec![0, 0, 0, 2]),
            (113, [&[0; 14][..], &[8, 0]].concat()),
            (276, [&[8, 0][..], &[0; 18]].concat()),
        ] {
            let frame = [&header[..], &PACKET].concat();
            let link = LinkType::from_number(number).expect("a number that is known");
            assert_eq!(link.ip_packet(&frame), Some(&PACKET[..]), "link type {number}");
        }
    }

    #[test]
    fn what_is_no_ip_packet_is_none() {
        let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
        assert_eq!(LinkType::Ethernet.ip_packet(&arp), None);
        let family_of_ipv6 = [&[30, 0, 0, 0][..], &PACKET].concat();
        assert_eq!(LinkType::Loopback.ip_packet(&family_of_ipv6), None);
        let link_control = [0x11, 0, 0, 7, 0, 22, 0xc0, 0x21, 1, 1];
        assert_eq!(LinkType::Pppoe.ip_packet(&link_control), None);
    }

    #[test]
    fn what_stands_behind_another_header_is_known_to() {
        let labelled = [&[0; 12][..], &[0x88, 0x47, 0, 0, 0x11, 64], &PACKET].concat();
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 5, 0x88, 0x47, 0, 0, 0x11, 64], &PACKET].concat();
        for frame in [&labelled, &tagged] {
            assert_eq!(LinkType::Ethernet.ip_packet(frame), None);
            assert!(LinkType::Ethernet.is_wrapped(frame));
        }
        assert!(!LinkType::Ethernet.is_wrapped(&[&[0; 12][..], &[8, 6], &[0; 28]].concat()));
    }

    #[test]
    fn a_cooked_frame_says_which_way_it_went() {
        let (came, left) = ([0; 16], [&[0, 4][..], &[0; 14]].concat());
        assert_eq!(LinkType::Cooked.inbound(&came), Some(true));
        assert_eq!(LinkType::Cooked.inbound(&left), Some(false));
        let left = [&[8, 0][..], &[0; 8], &[4], &[0; 9]].concat();
        assert_eq!(LinkType::Cooked2.inbound(&left), Some(false));
        assert_eq!(LinkType::Ethernet.inbound(&came), None);
    }

    #[test]
    fn padding_goes() {
        let padded = [&PACKET[..], &[0; 26]].concat();
        assert_eq!(without_padding(&padded), Some(&PACKET[..]));
    }

    #[test]
    fn no_cut_frame_makes_it_panic() {
        let whole = [&[0; 12][..], &[0x81, 0, 0, 5, 0x88, 0x64, 0x11, 0, 0, 7, 0, 22, 0, 0x21]];
        let whole = [&whole.concat()[..], &PACKET].concat();
        for length in 0..whole.len() {
            for number in [0, 1, 12, 51, 113, 276] {
                let link = LinkType::from_number(number).expect("a number that is known");
                let cut = &whole[..length];
                let _ = (link.ip_packet(cut), link.inbound(cut), link.is_wrapped(cut));
            }
        }
    }
}

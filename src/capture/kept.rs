//! A packet as it is kept while its opening is under way.

use smallvec::SmallVec;

use super::frames::Frame;
use crate::wire::glance::{self, ACK, FIN, Glance, RST, SYN, Segment};
use crate::wire::{self, DecodeError, Icmp, Offers, Packet, Seq, options_as_captured};

/// A packet of an opening: its headers, as they were captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its number in the capture, from 1.
    pub frame: u64,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// Whether it came in where it was captured, if that is known.
    pub inbound: Option<bool>,
    /// Whether it is from the end called a; of an ICMP error, whether it is about a packet to that end.
    pub from_a: bool,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) payload: u32,
    /// Zero for an ICMP error.
    pub(super) flags: u8,
    headers: SmallVec<[u8; USUAL_HEADERS]>,
}

impl Kept {
    /// Becomes a segment of a frame, as if it were from a.
    #[inline]
    pub(super) fn put_segment(&mut self, frame: &Frame<'_>, packet: &[u8], seen: Segment) {
        let word = |at: usize| {
            let at = seen.tcp + at;
            u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
        };
        let end = seen.headers(packet);
        let kept = packet.len().min(end).min(LONGEST_HEADERS);
        self.frame = frame.number;
        self.at = frame.at;
        self.inbound = frame.direction();
        self.from_a = true;
        self.seq = word(4);
        self.ack = word(8);
        self.payload = payload(packet, end, length(frame, packet));
        self.flags = seen.flags;
        self.headers = match packet.first_chunk() {
            // As many octets each time are copied in an instruction or two; what is too much stays unseen.
            Some(octets) if kept <= USUAL_HEADERS => SmallVec::from_buf_and_len(*octets, kept),
            _ => SmallVec::from_slice(&packet[..kept]),
        };
    }

    /// An ICMP error in a frame, as if it were about a packet to a.
    pub(super) fn icmp(frame: &Frame<'_>, packet: &[u8], icmp: &Icmp) -> Self {
        let kept = packet.len().min(LONGEST_QUOTE);
        Self {
            frame: frame.number,
            at: frame.at,
            inbound: frame.direction(),
            from_a: true,
            seq: icmp.quote.seq.0,
            ack: 0,
            payload: 0,
            flags: 0,
            headers: SmallVec::from_slice(&packet[..kept]),
        }
    }

    /// The packet. Payload that was not kept is zeros.
    ///
    /// # Errors
    /// Never, for what was kept by an [`super::Openings`].
    pub fn packet(&self) -> Result<Packet, DecodeError> {
        wire::decode_lax(&self.headers, self.headers.len() + self.payload as usize)
    }

    /// The packet that an ICMP error quotes, if that is quoted up to the end of its TCP header.
    pub fn quoted(&self) -> Option<Packet> {
        let octets = &self.headers;
        let at = match octets.first()? >> 4 {
            4 => usize::from(octets[0] & 0x0f) * 4,
            _ => IPV6_HEADER,
        };
        let quoted = octets.get(at + ICMP_HEADER..).filter(|_| self.is_icmp())?;
        let inner = match quoted.first()? >> 4 {
            4 => usize::from(quoted[0] & 0x0f) * 4,
            _ => IPV6_HEADER,
        };
        let words = usize::from(quoted.get(inner + 12)? >> 4);
        quoted.get(..inner + words * 4)?;
        wire::decode_lax(quoted, quoted.len()).ok()
    }

    /// Leaves nothing but what needs no room.
    #[inline]
    pub(super) fn take(&mut self) -> Self {
        Self { headers: std::mem::take(&mut self.headers), ..*self }
    }

    pub(super) const fn number(&self) -> Seq {
        Seq(self.seq)
    }

    pub(super) const fn is_bare_syn(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    pub(super) const fn is_syn_ack(&self) -> bool {
        self.flags & (SYN | ACK) == SYN | ACK
    }

    /// Whether it is an ICMP error.
    pub const fn is_icmp(&self) -> bool {
        self.flags == 0
    }

    /// Whether all of its headers were captured.
    pub fn is_whole(&self) -> bool {
        match glance::glance(&self.headers) {
            Glance::Tcp(seen) => seen.headers(&self.headers) <= self.headers.len(),
            _ => false,
        }
    }

    /// Its time to live, or hop limit.
    pub fn ttl(&self) -> u8 {
        glance::ttl(&self.headers)
    }

    /// Whether it announces a window of zero.
    pub(super) fn is_shut(&self) -> bool {
        self.tcp().get(14..16).is_some_and(|window| window == [0, 0])
    }

    /// What it offers or takes up, if it is a SYN or a SYN,ACK; what was cut off is nothing odd.
    pub(super) fn offers(&self) -> Offers {
        let Glance::Tcp(seen) = glance::glance(&self.headers) else { return Offers::default() };
        let offers = Offers::read(options_as_captured(&self.headers[seen.tcp..]));
        let is_whole = seen.headers(&self.headers) <= self.headers.len();
        Offers { is_odd: offers.is_odd && is_whole, ..offers }
    }

    /// Its TCP header.
    fn tcp(&self) -> &[u8] {
        match glance::glance(&self.headers) {
            Glance::Tcp(seen) => &self.headers[seen.tcp..],
            _ => &[],
        }
    }

    /// Whether it is one that no opening sends.
    pub(super) const fn is_of_use(&self) -> bool {
        self.flags & (SYN | RST) == 0 && (self.payload > 0 || self.flags & FIN != 0)
    }
}

/// How long the packet of a frame was on the wire.
pub(super) fn length(frame: &Frame<'_>, packet: &[u8]) -> usize {
    frame.length.saturating_sub(frame.octets.len() - packet.len())
}

/// How many octets follow the TCP header, by the packet's own word.
fn payload(packet: &[u8], end: usize, whole: usize) -> u32 {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let declared = match packet[0] >> 4 {
        4 => word(2),
        _ if word(4) == 0 => 0,
        _ => 40 + word(4),
    };
    let declared = if declared == 0 { whole } else { declared };
    u32::try_from(declared.saturating_sub(end)).unwrap_or(u32::MAX)
}

/// RFC 792, RFC 4443 §2.1: what stands before the quoted packet; and before that without extensions.
const ICMP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;

/// IPv4 without options, and the TCP options that common stacks open with.
const USUAL_HEADERS: usize = 64;

/// Of an ICMP error: both headers, and what it quotes with options of both kinds.
const LONGEST_QUOTE: usize = 192;

/// Both headers with their options, and what an ICMP error quotes; IPv6 extension headers beside.
pub(super) const LONGEST_HEADERS: usize = 256;

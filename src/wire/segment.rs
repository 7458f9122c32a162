//! The TCP segment (RFC 9293 §3.1): header fields, flags, options, sequence numbers.

use std::fmt;
use std::ops::{Add, BitOr, Sub};

use serde::{Deserialize, Serialize};

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The first octet's number; of a SYN, the initial sequence number.
    pub seq: Seq,
    /// The next octet expected; sent even without ACK, since every header field is evidence.
    pub ack: Seq,
    /// All nine flag bits that are in use.
    pub flags: Flags,
    /// The window field as sent, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The options exactly as they stand in the header.
    pub options: Options,
    /// Payload octets.
    pub payload: Vec<u8>,
}

impl Segment {
    /// `<SEQ=seq><CTL=SYN>` with the usual options and `timestamp` as its TSval.
    pub fn syn(seq: Seq, timestamp: u32) -> Self {
        let options = Options::opening(timestamp, 0);
        Self { seq, flags: Flags::SYN, window: WINDOW, options, ..Self::default() }
    }

    /// `<SEQ=seq><ACK=ack><CTL=SYN,ACK>` with the usual options.
    pub fn syn_ack(seq: Seq, ack: Seq, timestamp: u32, echo: u32) -> Self {
        let options = Options::opening(timestamp, echo);
        let flags = Flags::SYN | Flags::ACK;
        Self { seq, ack, flags, window: WINDOW, options, ..Self::default() }
    }

    /// `<SEQ=seq><ACK=ack><CTL=ACK>`.
    pub fn ack(seq: Seq, ack: Seq) -> Self {
        Self { seq, ack, flags: Flags::ACK, window: WINDOW, ..Self::default() }
    }

    /// The reset that a closed port answers to this segment with (RFC 9293 §3.10.7.1).
    pub fn reset_in_answer(&self) -> Self {
        if self.flags.contains(Flags::ACK) {
            return Self { seq: self.ack, flags: Flags::RST, ..Self::default() };
        }
        let ack = self.seq + self.length();
        Self { ack, flags: Flags::RST | Flags::ACK, ..Self::default() }
    }

    /// SEG.LEN: payload octets, plus one each for SYN and FIN (RFC 9293 §3.4).
    pub fn length(&self) -> u32 {
        let payload = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        payload
            + u32::from(self.flags.contains(Flags::SYN))
            + u32::from(self.flags.contains(Flags::FIN))
    }

    /// A SYN without ACK: an opening of its sender's own.
    pub fn is_bare_syn(&self) -> bool {
        self.flags.contains(Flags::SYN) && !self.flags.contains(Flags::ACK)
    }

    /// A SYN,ACK.
    pub fn is_syn_ack(&self) -> bool {
        self.flags.contains(Flags::SYN | Flags::ACK)
    }

    /// Whether it carries a SACK option (RFC 2018 §3, kind 5).
    pub fn has_sack(&self) -> bool {
        self.options.iter().any(|option| matches!(option, TcpOption::Other { kind: 5, .. }))
    }

    /// A reset.
    pub fn is_reset(&self) -> bool {
        self.flags.contains(Flags::RST)
    }
}

/// A sequence number. The order that it derives serves as a key alone: on the wire 2³² − 1 comes
/// before 0 (RFC 9293 §3.4).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u32);

impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }
}

impl Sub for Seq {
    type Output = u32;

    /// How far this number lies after `earlier`, modulo 2³².
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl From<u32> for Seq {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The flag bits of a segment (RFC 9293 §3.1, RFC 3168 for the two of congestion notification,
/// RFC 3540 for the nonce).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(u16);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgement field counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo.
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x080);
    /// Nonce sum.
    pub const NS: Self = Self(0x100);

    /// Every flag with the letter that traces show it by, in packetdrill's order.
    pub const LETTERS: [(Self, char); 9] = [
        (Self::FIN, 'F'),
        (Self::SYN, 'S'),
        (Self::RST, 'R'),
        (Self::PSH, 'P'),
        (Self::URG, 'U'),
        (Self::ECE, 'E'),
        (Self::CWR, 'W'),
        (Self::NS, 'N'),
        (Self::ACK, '.'),
    ];

    /// The flags of the low nine bits of `bits`.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// The nine bits as they stand in the header.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `S.` for SYN,ACK; `-` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("-");
        }
        let set = Self::LETTERS.iter().filter(|(flag, _)| self.contains(*flag));
        set.map(|(_, letter)| letter).try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// The options area of a segment, kept as the octets that it is: order and padding are evidence.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    octets: OptionOctets,
    length: u8,
}

/// RFC 9293 §3.1: the data offset leaves at most 40 octets of options.
const LONGEST_OPTIONS: usize = 40;
type OptionOctets = [[u8; 8]; LONGEST_OPTIONS / 8];

/// One option, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// Kind 1: padding.
    Nop,
    /// Kind 2 (RFC 9293 §3.7.1).
    MaximumSegmentSize(u16),
    /// Kind 3 (RFC 7323 §2).
    WindowScale(u8),
    /// Kind 4 (RFC 2018 §2).
    SackPermitted,
    /// Kind 8 (RFC 7323 §3).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The peer's clock, echoed.
        echo: u32,
    },
    /// Any other kind, with the length that it claims.
    Other {
        /// Its kind.
        kind: u8,
        /// Its length in octets, kind and length included.
        length: u8,
    },
}

impl Options {
    /// The options that a common stack opens with, `value` and `echo` as its timestamps.
    pub fn opening(value: u32, echo: u32) -> Self {
        let mut octets = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7];
        octets[8..12].copy_from_slice(&value.to_be_bytes());
        octets[12..16].copy_from_slice(&echo.to_be_bytes());
        Self::from_octets(&octets).expect("20 octets are a multiple of four and fit")
    }

    /// These octets as an options area; `None` unless a multiple of four, at most 40.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        if octets.len() > LONGEST_OPTIONS || !octets.len().is_multiple_of(4) {
            return None;
        }
        let mut options = Self { length: u8::try_from(octets.len()).ok()?, ..Self::default() };
        options.octets.as_flattened_mut()[..octets.len()].copy_from_slice(octets);
        Some(options)
    }

    /// The octets as they stand in the header.
    pub fn octets(&self) -> &[u8] {
        &self.octets.as_flattened()[..usize::from(self.length)]
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The options in order, up to the end-of-list mark or the first one that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = TcpOption> {
        let mut rest = self.octets();
        std::iter::from_fn(move || {
            let (option, after) = read_option(rest)?;
            rest = after;
            Some(option)
        })
    }

    /// The timestamps option, if there is one: value and echo.
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        self.iter().find_map(|option| match option {
            TcpOption::Timestamps { value, echo } => Some((value, echo)),
            _ => None,
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub(super) fn read_option(octets: &[u8]) -> Option<(TcpOption, &[u8])> {
    match octets {
        [] | [0, ..] => None,
        [1, rest @ ..] => Some((TcpOption::Nop, rest)),
        [kind, length, ..] => {
            let whole = octets.get(..usize::from(*length)).filter(|_| *length >= 2)?;
            Some((known_option(*kind, whole), &octets[whole.len()..]))
        }
        [_] => None,
    }
}

fn known_option(kind: u8, whole: &[u8]) -> TcpOption {
    match *whole {
        [2, 4, high, low] => TcpOption::MaximumSegmentSize(u16::from_be_bytes([high, low])),
        [3, 3, shift] => TcpOption::WindowScale(shift),
        [4, 2] => TcpOption::SackPermitted,
        [8, 10, a, b, c, d, e, f, g, h] => TcpOption::Timestamps {
            value: u32::from_be_bytes([a, b, c, d]),
            echo: u32::from_be_bytes([e, f, g, h]),
        },
        _ => TcpOption::Other { kind, length: u8::try_from(whole.len()).unwrap_or(u8::MAX) },
    }
}

/// What a host that has 64 KiB to spare announces.
const WINDOW: u16 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(Seq(u32::MAX) + 2, Seq(1));
        assert_eq!(Seq(1) - Seq(u32::MAX), 2);
    }

    #[test]
    fn a_closed_port_answers_a_syn_with_a_reset_that_acknowledges_it() {
        let reset = Segment::syn(Seq(7), 0).reset_in_answer();
        assert_eq!((reset.seq, reset.ack, reset.flags), (Seq(0), Seq(8), Flags::RST | Flags::ACK));
    }

    #[test]
    fn opening_options_read_back() {
        let options = Options::opening(9, 8);
        assert_eq!(options.timestamps(), Some((9, 8)));
        assert_eq!(options.iter().count(), 5);
    }

    #[test]
    fn a_malformed_option_ends_the_list() {
        let options = Options::from_octets(&[1, 8, 60, 0]).expect("four octets");
        assert_eq!(options.iter().collect::<Vec<_>>(), [TcpOption::Nop]);
    }

    #[test]
    fn flags_show_as_letters() {
        assert_eq!((Flags::SYN | Flags::ACK).to_string(), "S.");
        assert_eq!(Flags::default().to_string(), "-");
    }
}

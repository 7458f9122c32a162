//! pcap: one header, then frames of one link layer.

use pcap_parser::nom;
use pcap_parser::{LegacyPcapBlock, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header};

use super::{FlawKind, Frame, LONGEST_FRAME, Next, broken};

/// What the header of a file says.
#[derive(Debug)]
pub struct Classic {
    big_endian: bool,
    /// Nanoseconds in a unit of the fraction of a second.
    unit: u64,
    link: i32,
}

impl Classic {
    /// Reads the header; none if it is not all there.
    pub fn start(octets: &[u8]) -> Result<Option<(Self, usize)>, FlawKind> {
        match parse_pcap_header(octets) {
            Ok((rest, header)) => {
                let unit = if header.is_nanosecond_precision() { 1 } else { 1_000 };
                // The upper half tells of a frame check sequence.
                let link = header.network.0 & 0xffff;
                let classic = Self { big_endian: header.is_bigendian(), unit, link };
                Ok(Some((classic, octets.len() - rest.len())))
            }
            Err(nom::Err::Incomplete(_)) => Ok(None),
            Err(_) => Err(FlawKind::NotACapture),
        }
    }

    /// Whether these are the first octets of a header.
    pub fn is_begun(octets: &[u8]) -> bool {
        octets.len() < HEADER && MAGICS.iter().any(|magic| octets.starts_with(magic))
    }

    #[inline]
    pub fn next<'a>(&self, octets: &'a [u8]) -> (Next<'a>, usize) {
        if let Some(claimed) = self.claimed(octets).filter(|claimed| *claimed > LONGEST_FRAME) {
            return broken(FlawKind::TooLong(claimed));
        }
        let parse = if self.big_endian { parse_pcap_frame_be } else { parse_pcap_frame };
        match parse(octets) {
            Ok((rest, block)) => (Next::Frame(self.frame(&block)), octets.len() - rest.len()),
            Err(nom::Err::Incomplete(_)) => (Next::More, 0),
            Err(_) => broken(FlawKind::BadBlock),
        }
    }

    #[inline]
    fn claimed(&self, octets: &[u8]) -> Option<u32> {
        let length = octets.get(8..12)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) })
    }

    #[inline]
    fn frame<'a>(&self, block: &LegacyPcapBlock<'a>) -> Frame<'a> {
        let at = u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec) * self.unit;
        Frame {
            number: 0,
            at,
            is_timed: true,
            interface: 0,
            link: self.link,
            inbound: None,
            octets: block.data,
            length: (block.origlen as usize).max(block.data.len()),
        }
    }
}

/// How long a file's header is, and how it begins: in two byte orders, for microseconds and nanoseconds.
const HEADER: usize = 24;
const MAGICS: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

//! pcap: one header, then frames of one link layer.

use pcap_parser::{nom, parse_pcap_header};

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

    /// The number of the link layer of all frames.
    pub const fn link(&self) -> i32 {
        self.link
    }

    /// Whether these are the first octets of a header.
    pub fn is_begun(octets: &[u8]) -> bool {
        octets.len() < HEADER && MAGICS.iter().any(|magic| octets.starts_with(magic))
    }

    #[inline]
    pub fn next<'a>(&self, octets: &'a [u8]) -> (Next<'a>, usize) {
        match (self.whole(octets), self.claimed(octets)) {
            (Some((frame, length)), _) => (Next::Frame(frame), length),
            (None, Some(claimed)) if claimed > LONGEST_FRAME => broken(FlawKind::TooLong(claimed)),
            (None, _) => (Next::More, 0),
        }
    }

    /// The frame that stands next, if all of it is there, and how many octets it takes. Its header is four
    /// words: seconds, their fraction, how many octets were kept, and of how many.
    #[inline]
    pub fn whole<'a>(&self, octets: &'a [u8]) -> Option<(Frame<'a>, usize)> {
        let (header, rest) = octets.split_first_chunk::<FRAME_HEADER>()?;
        let word =
            |at: usize| self.word([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let kept = word(8);
        let octets = rest.get(..kept as usize).filter(|_| kept <= LONGEST_FRAME)?;
        let frame = Frame {
            number: 0,
            at: u64::from(word(0)) * 1_000_000_000 + u64::from(word(4)) * self.unit,
            is_timed: true,
            interface: 0,
            link: self.link,
            inbound: None,
            octets,
            length: (word(12) as usize).max(octets.len()),
        };
        Some((frame, FRAME_HEADER + octets.len()))
    }

    /// How many octets the frame that stands next claims to have.
    fn claimed(&self, octets: &[u8]) -> Option<u32> {
        Some(self.word(octets.get(8..12)?.try_into().ok()?))
    }

    #[inline]
    const fn word(&self, octets: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
    }
}

/// How long a file's header is, and how it begins: in two byte orders, for microseconds and nanoseconds.
const HEADER: usize = 24;
const FRAME_HEADER: usize = 16;
const MAGICS: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

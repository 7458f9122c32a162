//! The octets of anybody's capture → its frames, one after the other, however long the file is.
//!
//! pcap in both byte orders, in microseconds and nanoseconds (draft-ietf-opsawg-pcap); pcapng with any
//! number of sections and interfaces (draft-ietf-opsawg-pcapng). The caller hands in the octets that it
//! has, and is told how many were used.

mod classic;
mod sections;

use std::{fmt, io};

use classic::Classic;
use sections::Sections;

use crate::wire::link::LinkType;

/// A reader of frames, between two of them.
#[derive(Debug, Default)]
pub struct Frames {
    format: Option<Format>,
    /// Octets that were used.
    offset: u64,
    /// Frames that were read.
    count: u64,
}

#[derive(Debug)]
enum Format {
    Classic(Classic),
    Sections(Sections),
}

/// A frame as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number in the file, from 1, as Wireshark counts.
    pub number: u64,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// Whether the file says when; else that is the time of the frame before, or zero.
    pub is_timed: bool,
    /// On which interface of the file, over all its sections, from 0.
    pub interface: u32,
    /// The number of its link layer.
    pub link: i32,
    /// Whether it came in, if the file says so.
    pub inbound: Option<bool>,
    /// What was kept of it.
    pub octets: &'a [u8],
    /// How long it was.
    pub length: usize,
}

/// Frames that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many octets they take.
    pub used: usize,
    /// How many there are.
    pub frames: u64,
    /// How many octets they had on the wire.
    pub octets: u64,
    /// The earliest time of one, and the latest, in nanoseconds since 1970; of none, the other way round.
    pub first: u64,
    pub last: u64,
}

impl Default for Run {
    fn default() -> Self {
        Self { used: 0, frames: 0, octets: 0, first: u64::MAX, last: 0 }
    }
}

/// What stands next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A frame whose interface was not described: of what link layer it is, nobody knows.
    Nameless,
    /// Something else, of so many octets, of which more may follow than were handed in.
    Other(u64),
    /// More octets are needed than were handed in.
    More,
    /// Nothing behind this can be read.
    Broken(Flaw),
}

/// Where a file is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Octets from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: FlawKind,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// It has no octets.
    Empty,
    /// It is no capture.
    NotACapture,
    /// It ends inside its header, after so many octets.
    HeaderCut(usize),
    /// It is the format of kernel patches of the 1990s, or another dialect.
    Dialect,
    /// It ends inside a frame.
    CutShort,
    /// A frame claims more octets than any frame has.
    TooLong(u32),
    /// A block's lengths contradict each other.
    BadBlock,
    /// More interfaces are described than any file has.
    TooManyInterfaces,
    /// Behind the packed capture stands something that is not packed.
    NotPacked,
    /// Its octets cannot be had, or not be unpacked.
    Unreadable(io::ErrorKind),
}

impl Frames {
    /// What stands next at the start of these octets, and how many of them it takes.
    #[inline]
    pub fn next<'a>(&mut self, octets: &'a [u8]) -> (Next<'a>, usize) {
        let (mut next, used) = match &mut self.format {
            Some(Format::Classic(classic)) => classic.next(octets),
            Some(Format::Sections(sections)) => sections.next(octets),
            None => self.start(octets),
        };
        match &mut next {
            Next::Frame(frame) => {
                self.count += 1;
                frame.number = self.count;
            }
            Next::Nameless => self.count += 1,
            Next::Broken(flaw) => flaw.offset = self.offset,
            Next::Other(_) | Next::More => {}
        }
        self.offset += match next {
            Next::Other(length) => length,
            _ => used as u64,
        };
        (next, used)
    }

    /// Takes the frames that stand at the start of these octets, as long as each is whole and nothing else
    /// stands between, and sums them up. Of a long capture these are nearly all; what stops it,
    /// [`Frames::next`] tells.
    #[inline]
    pub fn run<'a>(&mut self, octets: &'a [u8], mut take: impl FnMut(Frame<'a>)) -> Run {
        let mut run = Run::default();
        let Some(Format::Classic(classic)) = &self.format else { return run };
        while let Some((frame, length)) = classic.whole(&octets[run.used..]) {
            run.used += length;
            run.frames += 1;
            run.octets += frame.length as u64;
            run.first = run.first.min(frame.at);
            run.last = run.last.max(frame.at);
            take(Frame { number: self.count + run.frames, ..frame });
        }
        self.offset += run.used as u64;
        self.count += run.frames;
        run
    }

    /// Whether the file is of a format that may have several interfaces.
    pub const fn has_interfaces(&self) -> bool {
        matches!(self.format, Some(Format::Sections(_)))
    }

    /// The number of the link layer of all frames, if the file has one for all of them.
    pub const fn link(&self) -> Option<i32> {
        match &self.format {
            Some(Format::Classic(classic)) => Some(classic.link()),
            _ => None,
        }
    }

    /// What is wrong with a file that ends while more octets are needed; none if it ends where it may.
    pub fn end(&self, left: &[u8]) -> Option<Flaw> {
        let what = match (&self.format, left) {
            (None, []) => FlawKind::Empty,
            (None, _) if Classic::is_begun(left) => FlawKind::HeaderCut(left.len()),
            (None, _) => FlawKind::NotACapture,
            (Some(_), []) => return None,
            (Some(Format::Sections(_)), _) if self.is_at_start() => FlawKind::HeaderCut(left.len()),
            (Some(_), _) => FlawKind::CutShort,
        };
        Some(Flaw { offset: self.offset, what })
    }

    /// What is wrong with a file of which no more octets can be had.
    pub const fn fail(&self, what: FlawKind) -> Flaw {
        Flaw { offset: self.offset, what }
    }

    /// Whether nothing has been read, not even a header.
    pub const fn is_at_start(&self) -> bool {
        self.offset == 0
    }

    /// The names of the interfaces, in order, where the file has names.
    pub fn interfaces(&self) -> &[String] {
        match &self.format {
            Some(Format::Sections(sections)) => sections.names(),
            _ => &[],
        }
    }

    fn start<'a>(&mut self, octets: &'a [u8]) -> (Next<'a>, usize) {
        let Some(magic) = octets.get(..4) else { return (Next::More, 0) };
        match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                self.format = Some(Format::Sections(Sections::default()));
                (Next::Other(0), 0)
            }
            [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => broken(FlawKind::Dialect),
            _ => match Classic::start(octets) {
                Ok(Some((classic, used))) => {
                    self.format = Some(Format::Classic(classic));
                    (Next::Other(used as u64), used)
                }
                Ok(None) => (Next::More, 0),
                Err(what) => broken(what),
            },
        }
    }
}

fn broken<'a>(what: FlawKind) -> (Next<'a>, usize) {
    (Next::Broken(Flaw { offset: 0, what }), 0)
}

impl Frame<'_> {
    /// Its link layer, if it is known here.
    #[inline]
    pub const fn link_type(&self) -> Option<LinkType> {
        LinkType::from_number(self.link)
    }

    /// Whether it came in, as the file or the link layer says.
    pub fn direction(&self) -> Option<bool> {
        self.inbound.or_else(|| self.link_type()?.inbound(self.octets))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octet {}: {}", self.offset, self.what)
    }
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NotACapture => f.write_str("this is neither pcap nor pcapng"),
            Self::HeaderCut(length) => {
                write!(f, "the header of the capture is cut short at octet {length}")
            }
            Self::Dialect => f.write_str("this dialect of pcap is not known"),
            Self::CutShort => f.write_str("the file ends inside a frame"),
            Self::TooLong(length) => write!(f, "a frame claims to have {length} octets"),
            Self::BadBlock => f.write_str("a block's lengths or options make no sense"),
            Self::TooManyInterfaces => f.write_str("too many interfaces are described"),
            Self::NotPacked => f.write_str("what stands behind the packed capture is not packed"),
            Self::Unreadable(io::ErrorKind::UnexpectedEof) => {
                f.write_str("the packed file is cut short")
            }
            Self::Unreadable(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                f.write_str("what follows cannot be unpacked")
            }
            Self::Unreadable(why) => write!(f, "what follows cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Flaw {}

/// libpcap's own limit for a frame, and then some for USB's.
const LONGEST_FRAME: u32 = 1 << 20;

#[cfg(test)]
mod tests;

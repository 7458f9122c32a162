//! The octets of a file, piece by piece, and unpacked if they are packed.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use flate2::bufread::GzDecoder;
use nix::sys::stat::{SFlag, fstat};

use super::{Error, Result};

/// Octets that come piece by piece.
pub struct Octets {
    what: String,
    source: Source,
    /// Whether they come as they come into being: through a pipe, not out of a file.
    is_live: bool,
    /// Room for what is left of one piece, and behind it the next.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Octets {
    /// Those of a file, or of stdin without one.
    ///
    /// # Errors
    /// If it cannot be opened, or not read at all.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let what = path.map_or("stdin".to_owned(), |path| path.display().to_string());
        let (source, is_live): (Box<dyn Read + Send>, _) = match path {
            Some(path) => {
                let hint = "check the path, and that you may read the file";
                let failed = |why| Error::kernel("open", &what, why).with_hint(hint);
                let file = File::open(path).map_err(failed)?;
                match file.metadata() {
                    // As far as it is by now: one that grows as fast as it is read would have no end.
                    Ok(about) if about.is_file() && about.len() > 0 => {
                        (Box::new(file.take(about.len())), false)
                    }
                    _ => {
                        let is_live = is_live(&file);
                        (Box::new(file), is_live)
                    }
                }
            }
            None => (Box::new(io::stdin()), is_live(io::stdin())),
        };
        let source = unpacked(source).map_err(|why| unreadable(&what, why))?;
        Ok(Self { what, source, is_live, buffer: vec![0; ROOM + PIECE], from: ROOM, to: ROOM })
    }

    /// What is at hand.
    pub fn at_hand(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// So many of those at hand are used up.
    pub fn used(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
    }

    /// Whether the last piece was all there is by now: more has yet to come into being.
    pub fn is_scarce(&self) -> bool {
        self.is_live && self.to < self.buffer.len()
    }

    /// Whether something that is not packed stood behind what was: it is left out.
    pub const fn has_rubbish(&self) -> bool {
        matches!(&self.source, Source::Packed(members) if members.has_rubbish)
    }

    /// Puts the next piece behind what is left, which is at most [`ROOM`]; whether there was one. A pipe
    /// gives what it has.
    ///
    /// # Errors
    /// If the source cannot be read, or cannot be unpacked.
    pub fn more(&mut self) -> Result<bool> {
        let left = (self.to - self.from).min(ROOM);
        self.buffer.copy_within(self.from..self.from + left, ROOM - left);
        (self.from, self.to) = (ROOM - left, ROOM);
        loop {
            match self.source.read(&mut self.buffer[ROOM..]) {
                Ok(length) => {
                    self.to += length;
                    return Ok(length > 0);
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(unreadable(&self.what, why)),
            }
        }
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Octets").field("what", &self.what).finish_non_exhaustive()
    }
}

fn unreadable(what: &str, why: io::Error) -> Error {
    let hint = "copy the file again; gzip -t tells whether a packed one is whole";
    Error::kernel("read", what, why).with_hint(hint)
}

/// Of a file all octets are there, or as good as.
fn is_live(source: impl AsFd) -> bool {
    let kind = |mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT;
    !fstat(source).is_ok_and(|found| kind(found.st_mode) == SFlag::S_IFREG)
}

/// Where octets come from.
enum Source {
    Plain(Box<dyn Read + Send>),
    Packed(Box<Members>),
}

impl Read for Source {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(room),
            Self::Packed(members) => members.read(room),
        }
    }
}

/// Members of a gzip file, one after the other (RFC 1952 §2.2).
struct Members {
    /// The one under way; none once all is read.
    member: Option<GzDecoder<BufReader<Box<dyn Read + Send>>>>,
    has_rubbish: bool,
}

impl Read for Members {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let length = member.read(room)?;
            if length > 0 {
                return Ok(length);
            }
            // Left as it is if this fails, so that it is tried again.
            let behind = member.get_mut().fill_buf()?;
            let is_member = behind.iter().zip(&MAGIC).all(|(found, magic)| found == magic);
            self.has_rubbish = !is_member;
            let goes_on = is_member && !behind.is_empty();
            let spent = self.member.take().filter(|_| goes_on);
            self.member = spent.map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// The octets behind gzip's magic number unpacked, others as they are.
fn unpacked(mut source: Box<dyn Read + Send>) -> io::Result<Source> {
    let mut magic = Vec::with_capacity(MAGIC.len());
    source.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    let is_packed = magic == MAGIC;
    let whole: Box<dyn Read + Send> = Box::new(io::Cursor::new(magic).chain(source));
    if !is_packed {
        return Ok(Source::Plain(whole));
    }
    let member = Some(GzDecoder::new(BufReader::with_capacity(PIECE, whole)));
    Ok(Source::Packed(Box::new(Members { member, has_rubbish: false })))
}

/// How gzip begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What is left of a piece is less than the longest frame.
pub const ROOM: usize = (1 << 20) + (1 << 12);

/// Small enough for a core's own cache.
const PIECE: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn packed_or_not_the_octets_are_the_same() {
        let whole: Vec<u8> = (0..700_000_u32).map(|number| (number >> 3) as u8).collect();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&whole).expect("a vector takes all");
        let packed = packer.finish().expect("a vector takes all");
        for octets in [&whole, &packed] {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(octets).expect("room");
            let mut source = Octets::open(Some(file.path())).expect("it is there");
            let mut read: Vec<u8> = Vec::new();
            loop {
                let more = source.more().expect("readable");
                // Some are left over each time.
                let count = source.at_hand().len().saturating_sub(if more { 1_000 } else { 0 });
                read.extend(&source.at_hand()[..count]);
                source.used(count);
                if !more {
                    break;
                }
            }
            assert!(read == whole);
        }
    }
}

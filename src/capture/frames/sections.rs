//! pcapng: sections, each with interfaces of its own.

use pcap_parser::nom;
use pcap_parser::pcapng::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption,
    SimplePacketBlock, parse_block_be, parse_block_le, parse_option_be, parse_option_le,
};

use super::super::write::{FLAGS, INBOUND, OUTBOUND};
use super::{FlawKind, Frame, LONGEST_FRAME, Next, broken};

/// What has been read of a file, as far as frames need it.
#[derive(Debug, Default)]
pub struct Sections {
    big_endian: bool,
    /// Those of the section under way.
    interfaces: Vec<Interface>,
    /// Those of the sections before it.
    earlier: usize,
    names: Vec<String>,
    /// The time of the last frame that had one.
    last: u64,
}

#[derive(Debug)]
struct Interface {
    link: i32,
    units_per_second: u128,
    offset_seconds: i64,
    snapshot: u32,
}

impl Sections {
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn next<'a>(&mut self, octets: &'a [u8]) -> (Next<'a>, usize) {
        let Some(head) = self.head(octets) else { return (Next::More, 0) };
        if head.length < 12 || head.length % 4 != 0 {
            return broken(FlawKind::BadBlock);
        }
        if head.length > LONGEST_FRAME {
            // A long block that is no frame, such as one of secrets, need not be in memory.
            return match head.kind {
                SECTION | INTERFACE | OLD | SIMPLE | ENHANCED => {
                    broken(FlawKind::TooLong(head.length))
                }
                _ => (Next::Other(head.length.into()), 0),
            };
        }
        let length = head.length as usize;
        if octets.len() < length {
            return (Next::More, 0);
        }
        (self.block(&octets[..length]), length)
    }

    /// Type and length of the block that starts here.
    fn head(&mut self, octets: &[u8]) -> Option<Head> {
        if octets.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            // The byte order may change with each section.
            self.big_endian = octets.get(8..12)? == [0x1a, 0x2b, 0x3c, 0x4d];
        }
        Some(Head { kind: self.word(octets, 0)?, length: self.word(octets, 4)? })
    }

    /// Four octets in the byte order of the section.
    fn word(&self, octets: &[u8], at: usize) -> Option<u32> {
        let four = octets.get(at..at + 4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }

    /// Two of them.
    fn half(&self, octets: &[u8], at: usize) -> Option<u16> {
        let two = octets.get(at..at + 2)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }

    fn block<'a>(&mut self, octets: &'a [u8]) -> Next<'a> {
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        let length = octets.len() as u64;
        match parse(octets) {
            Ok((_, Block::SectionHeader(_))) => {
                self.earlier += self.interfaces.len();
                self.interfaces.clear();
                Next::Other(length)
            }
            Ok((_, Block::InterfaceDescription(_))) if self.names.len() >= MOST_INTERFACES => {
                broken(FlawKind::TooManyInterfaces).0
            }
            Ok((_, Block::InterfaceDescription(block))) => {
                let name = block.if_name().and_then(Result::ok).unwrap_or_default();
                self.names.push(name.chars().take(LONGEST_NAME).collect());
                self.interfaces.push(Interface::read(&block, self.big_endian));
                Next::Other(length)
            }
            Ok((_, Block::EnhancedPacket(block))) => self.enhanced(&block),
            Ok((_, Block::SimplePacket(block))) => self.simple(&block),
            Ok((_, Block::Unknown(block))) if self.word(octets, 0) == Some(OLD) => {
                self.old(block.data).unwrap_or(broken(FlawKind::BadBlock).0)
            }
            Ok(_) => Next::Other(length),
            Err(nom::Err::Incomplete(_) | nom::Err::Error(_) | nom::Err::Failure(_)) => {
                broken(FlawKind::BadBlock).0
            }
        }
    }

    fn enhanced<'a>(&mut self, block: &EnhancedPacketBlock<'a>) -> Next<'a> {
        let kept = (block.caplen as usize).min(block.data.len());
        let stamp = (block.ts_high, block.ts_low);
        let inbound = inbound(&block.options, self.big_endian);
        self.frame(block.if_id as usize, Some(stamp), &block.data[..kept], block.origlen, inbound)
    }

    /// What came before the enhanced block, with a shorter number of the interface and a count of drops
    /// (appendix A of the draft). None if its lengths make no sense.
    fn old<'a>(&mut self, data: &'a [u8]) -> Option<Next<'a>> {
        let word = |at: usize| self.word(data, at);
        let number = self.half(data, 0)?;
        let (stamp, kept, whole) = ((word(4)?, word(8)?), word(12)? as usize, word(16)?);
        let octets = data.get(20..20 + kept)?;
        let mut rest = data.get(20 + kept.next_multiple_of(4)..).unwrap_or_default();
        let mut options = Vec::new();
        let parse = if self.big_endian { parse_option_be::<()> } else { parse_option_le };
        while let Ok((behind, option)) = parse(rest) {
            options.push(option);
            rest = behind;
        }
        let inbound = inbound(&options, self.big_endian);
        Some(self.frame(number.into(), Some(stamp), octets, whole, inbound))
    }

    /// A packet of the first interface, of which nothing is told but its length.
    fn simple<'a>(&mut self, block: &SimplePacketBlock<'a>) -> Next<'a> {
        let snapshot = self.interfaces.first().map_or(0, |interface| interface.snapshot);
        let snapshot = if snapshot == 0 { u32::MAX } else { snapshot };
        let kept = (block.origlen.min(snapshot) as usize).min(block.data.len());
        self.frame(0, None, &block.data[..kept], block.origlen, None)
    }

    fn frame<'a>(
        &mut self,
        number: usize,
        stamp: Option<(u32, u32)>,
        octets: &'a [u8],
        whole: u32,
        inbound: Option<bool>,
    ) -> Next<'a> {
        let Some(interface) = self.interfaces.get(number) else { return Next::Nameless };
        let link = interface.link;
        if let Some((high, low)) = stamp {
            self.last = interface.nanos(high, low);
        }
        Next::Frame(Frame {
            number: 0,
            at: self.last,
            is_timed: stamp.is_some(),
            interface: self.overall(number),
            link,
            inbound,
            octets,
            length: (whole as usize).max(octets.len()),
        })
    }

    fn overall(&self, number: usize) -> u32 {
        u32::try_from(self.earlier + number).unwrap_or(u32::MAX)
    }
}

struct Head {
    kind: u32,
    length: u32,
}

impl Interface {
    fn read(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        let offset = block.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|option| option.as_bytes().ok()?.try_into().ok());
        let read = if big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
        Self {
            link: block.linktype.0,
            units_per_second: units_per_second(block.if_tsresol),
            offset_seconds: offset.map_or(0, read),
            snapshot: block.snaplen,
        }
    }

    fn nanos(&self, high: u32, low: u32) -> u64 {
        let units = u128::from(high) << 32 | u128::from(low);
        let nanos = units.saturating_mul(1_000_000_000) / self.units_per_second;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        nanos.saturating_add_signed(self.offset_seconds.saturating_mul(1_000_000_000))
    }
}

/// `if_tsresol`: a negative power of ten, or with the upper bit of two.
fn units_per_second(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(u128::MAX)
}

fn inbound(options: &[PcapNGOption<'_>], big_endian: bool) -> Option<bool> {
    let flags = options.iter().find(|option| option.code == FLAGS)?;
    let flags: [u8; 4] = flags.as_bytes().ok()?.try_into().ok()?;
    let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    match read(flags) & 3 {
        INBOUND => Some(true),
        OUTBOUND => Some(false),
        _ => None,
    }
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

/// No machine has nearly as many; each is remembered to the end of the file.
const MOST_INTERFACES: usize = 1 << 14;

/// Windows' names are the longest, with some 50 characters.
const LONGEST_NAME: usize = 128;

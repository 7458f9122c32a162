//! The octets of a pcapng file → a run.

use pcap_parser::nom;
use pcap_parser::pcapng::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption,
    SectionHeaderBlock, parse_block_be, parse_block_le,
};
use pcap_parser::{Linktype, PcapError};

use super::write::{FLAGS, INBOUND, OUTBOUND};
use super::{Error, Evidence, Problem, facts, label};
use crate::engine::{Place, Record};
use crate::time::Instant;
use crate::wire;

/// The run that a pcapng file holds, as [`write`](super::write()) put it there.
///
/// Frames that were taken out since, blocks of other kinds and comments of other people do no harm.
///
/// # Errors
/// If it is no such file; says where and why.
pub fn read(octets: &[u8]) -> Result<Evidence, Error> {
    if let Some(problem) = foreign(octets) {
        return Err(Error { offset: 0, problem });
    }
    let mut reader: Option<Reader> = None;
    let mut rest = octets;
    while !rest.is_empty() {
        let offset = octets.len() - rest.len();
        let big_endian = reader.as_ref().is_some_and(|reader| reader.big_endian);
        let (after, block) =
            next_block(rest, big_endian).map_err(|problem| Error { offset, problem })?;
        take(&mut reader, block).map_err(|problem| Error { offset, problem })?;
        rest = after;
    }
    reader.map(|reader| reader.evidence).ok_or(Error { offset: 0, problem: Problem::NotPcapng })
}

/// What the file is instead, if its first octets are not those of a pcapng file.
fn foreign(octets: &[u8]) -> Option<Problem> {
    match octets {
        [] => Some(Problem::Empty),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => None,
        [0xa1, 0xb2, 0xc3, 0xd4, ..] | [0xd4, 0xc3, 0xb2, 0xa1, ..] => Some(Problem::ClassicPcap),
        // The same with nanoseconds.
        [0xa1, 0xb2, 0x3c, 0x4d, ..] | [0x4d, 0x3c, 0xb2, 0xa1, ..] => Some(Problem::ClassicPcap),
        // gzip, zstandard, LZ4, xz.
        [0x1f, 0x8b, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [0x04, 0x22, 0x4d, 0x18, ..]
        | [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(Problem::Compressed),
        _ => Some(Problem::NotPcapng),
    }
}

fn next_block(octets: &[u8], big_endian: bool) -> Result<(&[u8], Block<'_>), Problem> {
    let parse = if big_endian { parse_block_be } else { parse_block_le };
    match parse(octets) {
        Ok((rest, block)) if rest.len() < octets.len() => Ok((rest, block)),
        Err(nom::Err::Incomplete(_)) => Err(Problem::CutShort),
        Err(nom::Err::Error(PcapError::Incomplete(_))) => Err(Problem::CutShort),
        Ok(_) | Err(_) => Err(Problem::BadBlock),
    }
}

fn take(reader: &mut Option<Reader>, block: Block<'_>) -> Result<(), Problem> {
    match (reader, block) {
        (none @ None, Block::SectionHeader(header)) => *none = Some(Reader::start(&header)?),
        (None, _) => return Err(Problem::NotPcapng),
        (Some(_), Block::SectionHeader(_)) => return Err(Problem::SecondSection),
        (Some(reader), Block::InterfaceDescription(description)) => {
            reader.interfaces.push(Interface::read(&description));
        }
        (Some(reader), Block::EnhancedPacket(packet)) => {
            let record = reader.record(&packet)?;
            reader.evidence.run.trace.push(record);
        }
        // Name resolution, statistics and blocks of other makers say nothing of a run.
        (Some(_), _) => {}
    }
    Ok(())
}

/// What has been read of a section.
struct Reader {
    big_endian: bool,
    /// An interface that is of no use is an error only once a frame names it.
    interfaces: Vec<Result<Interface, Problem>>,
    evidence: Evidence,
}

impl Reader {
    fn start(header: &SectionHeaderBlock<'_>) -> Result<Self, Problem> {
        let evidence = facts::from_comments(comments(&header.options))?;
        Ok(Self { big_endian: header.big_endian(), interfaces: Vec::new(), evidence })
    }

    fn record(&self, block: &EnhancedPacketBlock<'_>) -> Result<Record, Problem> {
        let frame = self.evidence.run.trace.len() + 1;
        let number = usize::try_from(block.if_id).unwrap_or(usize::MAX);
        let interface =
            self.interfaces.get(number).ok_or(Problem::UnknownInterface(block.if_id))?;
        let interface = interface.as_ref().map_err(Clone::clone)?;
        let inbound = self.inbound(block).ok_or(Problem::NoDirection { frame })?;
        let (probe, volley) =
            comments(&block.options).find_map(label::to_cause).unwrap_or_default();
        let captured = usize::try_from(block.caplen).unwrap_or(usize::MAX).min(block.data.len());
        let packet = wire::decode(&block.data[..captured])
            .map_err(|why| Problem::BadPacket { frame, why })?;
        let at = self.moment(interface.nanos(block.ts_high, block.ts_low));
        Ok(Record { at, place: interface.place, inbound, probe, volley, packet })
    }

    fn inbound(&self, block: &EnhancedPacketBlock<'_>) -> Option<bool> {
        let flags = block.options.iter().find(|option| option.code == FLAGS)?;
        let flags: [u8; 4] = flags.as_bytes().ok()?.try_into().ok()?;
        let to_flags = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        match to_flags(flags) & 3 {
            INBOUND => Some(true),
            OUTBOUND => Some(false),
            _ => None,
        }
    }

    /// A moment of the run, given nanoseconds since 1970; no later than a file of ours can tell.
    fn moment(&self, nanos: u128) -> Instant {
        let since = nanos.min(u64::MAX.into()).saturating_sub(self.evidence.started.as_nanos());
        Instant::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// An interface that stands for a place.
#[derive(Clone)]
struct Interface {
    place: Place,
    units_per_second: u64,
    offset_seconds: i64,
}

impl Interface {
    fn read(block: &InterfaceDescriptionBlock<'_>) -> Result<Self, Problem> {
        let name = block.if_name().and_then(Result::ok).unwrap_or_default();
        let place =
            label::to_place(name).ok_or_else(|| Problem::ForeignInterface(name.to_owned()))?;
        if block.linktype != Linktype::RAW {
            return Err(Problem::LinkType(block.linktype.0));
        }
        let units_per_second =
            block.ts_resolution().filter(|units| *units > 0).ok_or(Problem::BadBlock)?;
        Ok(Self { place, units_per_second, offset_seconds: block.ts_offset() })
    }

    /// Nanoseconds since 1970 of a timestamp in this interface's units.
    fn nanos(&self, high: u32, low: u32) -> u128 {
        let units = u128::from(high) << 32 | u128::from(low);
        let nanos = units * NANOS_PER_SECOND / u128::from(self.units_per_second);
        let offset = u128::from(self.offset_seconds.unsigned_abs()) * NANOS_PER_SECOND;
        if self.offset_seconds < 0 { nanos.saturating_sub(offset) } else { nanos + offset }
    }
}

fn comments<'a>(options: &'a [PcapNGOption<'a>]) -> impl Iterator<Item = &'a str> {
    let comments = options.iter().filter(|option| option.code == OptionCode::Comment);
    comments.filter_map(|option| option.as_str().ok())
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

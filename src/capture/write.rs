//! A run → the octets of a pcapng file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pcap_parser::pcapng::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption, SectionHeaderBlock,
};
use pcap_parser::{Linktype, ToVec};

use super::{Evidence, facts, label};
use crate::engine::{Place, Record, Run};
use crate::wire;

/// The octets of a pcapng file that holds the run.
///
/// `note` may add prose to the comment of the frame with that place in the trace, from 0.
pub fn write(evidence: &Evidence, note: &dyn Fn(usize) -> Option<String>) -> Vec<u8> {
    let interfaces = interfaces(&evidence.run);
    let mut octets = section_header(evidence);
    octets.extend(interfaces.keys().flat_map(|place| interface(*place)));
    for (index, record) in evidence.run.trace.iter().enumerate() {
        let started = u64::try_from(evidence.started.as_nanos()).unwrap_or(u64::MAX);
        let at = started.saturating_add(record.at.as_nanos());
        octets.extend(frame(record, interfaces[&record.place], at, note(index)));
    }
    octets
}

/// The places of a run in their order, with the numbers of their interfaces. A file needs one, be it
/// that of a prober who saw nothing.
fn interfaces(run: &Run) -> BTreeMap<Place, u32> {
    let mut interfaces: BTreeMap<_, _> = run.trace.iter().map(|record| (record.place, 0)).collect();
    if !interfaces.keys().any(|place| matches!(place, Place::End(_))) {
        interfaces.insert(Place::Prober, 0);
    }
    interfaces.values_mut().zip(0..).for_each(|(number, next)| *number = next);
    interfaces
}

fn section_header(evidence: &Evidence) -> Vec<u8> {
    let comments = facts::to_comments(evidence);
    let mut options: Vec<_> =
        comments.iter().map(|text| option(OptionCode::Comment, text.as_bytes())).collect();
    options.push(option(OptionCode::ShbUserAppl, APPLICATION.as_bytes()));
    octets_of(SectionHeaderBlock {
        block_type: 0,
        block_len1: 0,
        bom: 0,
        major_version: 1,
        minor_version: 0,
        section_len: LENGTH_NOT_SAID,
        options,
        block_len2: 0,
    })
}

fn interface(place: Place) -> Vec<u8> {
    let name = label::of_place(place);
    octets_of(InterfaceDescriptionBlock {
        block_type: 0,
        block_len1: 0,
        linktype: Linktype::RAW,
        reserved: 0,
        snaplen: UNLIMITED,
        options: vec![option(OptionCode::IfName, name.as_bytes())],
        block_len2: 0,
        if_tsresol: NANOSECONDS,
        if_tsoffset: 0,
    })
}

fn frame(record: &Record, if_id: u32, at: u64, prose: Option<String>) -> Vec<u8> {
    let data = wire::encode(&record.packet);
    let length = u32::try_from(data.len()).expect("a packet has at most 64 KiB");
    let comment = label::of_record(record, prose);
    let direction: u32 = if record.inbound { INBOUND } else { OUTBOUND };
    let flags = direction.to_le_bytes();
    let comment = comment.as_deref().map(|text| option(OptionCode::Comment, text.as_bytes()));
    let options = comment.into_iter().chain([option(FLAGS, &flags)]).collect();
    octets_of(EnhancedPacketBlock {
        block_type: 0,
        block_len1: 0,
        if_id,
        ts_high: u32::try_from(at >> 32).expect("32 bits are left"),
        ts_low: u32::try_from(at & u64::from(u32::MAX)).expect("32 bits are left"),
        caplen: length,
        origlen: length,
        data: &data,
        options,
        block_len2: 0,
    })
}

pub fn option(code: OptionCode, value: &[u8]) -> PcapNGOption<'_> {
    let len = u16::try_from(value.len()).expect("comments are kept short of an option's 64 KiB");
    PcapNGOption { code, len, value: Cow::Borrowed(value) }
}

/// Fills in type, lengths and padding.
pub fn octets_of(mut block: impl ToVec) -> Vec<u8> {
    block.to_vec().expect("a vector takes all that is written to it")
}

/// `epb_flags` (draft-ietf-opsawg-pcapng §4.3.1).
pub const FLAGS: OptionCode = OptionCode(2);

/// Bits 0 and 1 of `epb_flags`: the packet arrived.
pub const INBOUND: u32 = 1;

/// Bits 0 and 1 of `epb_flags`: the packet left.
pub const OUTBOUND: u32 = 2;

/// `if_tsresol`: a negative power of ten.
pub const NANOSECONDS: u8 = 9;

/// A section length of −1.
pub const LENGTH_NOT_SAID: i64 = -1;

/// A snapshot length of 0.
const UNLIMITED: u32 = 0;

pub const APPLICATION: &str = concat!("tso-probe ", env!("CARGO_PKG_VERSION"));

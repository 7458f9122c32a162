//! A capture again, as pcapng, with comments at some of its frames.

use std::collections::BTreeMap;

use pcap_parser::pcapng::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, SectionHeaderBlock,
};
use pcap_parser::{Linktype, PcapNGOption};

use super::frames::{Frame, Frames, Next};
use super::label;
use super::write::{self, FLAGS, INBOUND, OUTBOUND};

/// Writes a capture again.
#[derive(Debug, Default)]
pub struct Annotator {
    frames: Frames,
    /// The interfaces of the capture, with the numbers that they have in the copy.
    interfaces: BTreeMap<(u32, i32), u32>,
    has_begun: bool,
}

impl Annotator {
    /// Reads what it can of these octets, and puts the frames into `copy`, each with its comment. How many
    /// octets are used up, as for [`Screen::read`](super::Screen::read); whether more can be read.
    pub fn read(
        &mut self,
        octets: &[u8],
        comments: &BTreeMap<u64, String>,
        copy: &mut Vec<u8>,
    ) -> (u64, bool) {
        if !std::mem::replace(&mut self.has_begun, true) {
            copy.extend(section_header());
        }
        let mut used = 0;
        while let Some(rest) = octets.get(used..) {
            match self.frames.next(rest) {
                (Next::Frame(frame), length) => {
                    let names = self.frames.interfaces();
                    let name = names.get(frame.interface as usize).map_or("", String::as_str);
                    let id = interface(&mut self.interfaces, &frame, name, copy);
                    copy.extend(enhanced(&frame, id, comments.get(&frame.number)));
                    used += length;
                }
                // Without its link layer nobody could read it in the copy either.
                (Next::Nameless, length) => used += length,
                (Next::Other(length), _) => {
                    used = used.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
                }
                (Next::More, _) => break,
                (Next::Broken(_), _) => return (used as u64, false),
            }
        }
        (used as u64, true)
    }
}

/// The number of the frame's interface in the copy, which is described there if this is its first frame.
fn interface(
    all: &mut BTreeMap<(u32, i32), u32>,
    frame: &Frame<'_>,
    name: &str,
    copy: &mut Vec<u8>,
) -> u32 {
    let next = u32::try_from(all.len()).expect("interfaces are few");
    *all.entry((frame.interface, frame.link)).or_insert_with(|| {
        let name = write::option(OptionCode::IfName, name.as_bytes());
        copy.extend(write::octets_of(InterfaceDescriptionBlock {
            block_type: 0,
            block_len1: 0,
            linktype: Linktype(frame.link),
            reserved: 0,
            snaplen: 0,
            options: if name.value.is_empty() { Vec::new() } else { vec![name] },
            block_len2: 0,
            if_tsresol: write::NANOSECONDS,
            if_tsoffset: 0,
        }));
        next
    })
}

fn section_header() -> Vec<u8> {
    write::octets_of(SectionHeaderBlock {
        block_type: 0,
        block_len1: 0,
        bom: 0,
        major_version: 1,
        minor_version: 0,
        section_len: write::LENGTH_NOT_SAID,
        options: vec![write::option(OptionCode::ShbUserAppl, write::APPLICATION.as_bytes())],
        block_len2: 0,
    })
}

fn enhanced(frame: &Frame<'_>, if_id: u32, comment: Option<&String>) -> Vec<u8> {
    let direction = frame.inbound.map(|inbound| if inbound { INBOUND } else { OUTBOUND });
    let flags = direction.map(u32::to_le_bytes);
    let comment = comment.map(|text| label::split(text).0);
    let options: [Option<PcapNGOption<'_>>; 2] = [
        comment.map(|text| write::option(OptionCode::Comment, text.as_bytes())),
        flags.as_ref().map(|flags| write::option(FLAGS, flags)),
    ];
    write::octets_of(EnhancedPacketBlock {
        block_type: 0,
        block_len1: 0,
        if_id,
        ts_high: u32::try_from(frame.at >> 32).expect("32 bits are left"),
        ts_low: u32::try_from(frame.at & u64::from(u32::MAX)).expect("32 bits are left"),
        caplen: u32::try_from(frame.octets.len()).expect("frames are short"),
        origlen: u32::try_from(frame.length).unwrap_or(u32::MAX),
        data: frame.octets,
        options: options.into_iter().flatten().collect(),
        block_len2: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_the_same_frames_and_the_comments() {
        let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        capture.extend([0, 0, 1, 0, 101, 0, 0, 0]);
        capture.extend([3, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3]);
        capture.extend([4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5]);
        let comments = BTreeMap::from([(2, "the second".to_owned())]);
        let mut copy = Vec::new();
        let (used, goes_on) = Annotator::default().read(&capture, &comments, &mut copy);
        assert_eq!((used as usize, goes_on), (capture.len(), true));
        let mut reader = Frames::default();
        let (mut from, mut frames) = (0, Vec::new());
        loop {
            let (next, used) = reader.next(&copy[from..]);
            match next {
                Next::Frame(frame) => frames.push((frame.at, frame.octets.to_vec(), frame.length)),
                Next::More => break,
                Next::Other(_) | Next::Nameless => {}
                Next::Broken(flaw) => panic!("{flaw}"),
            }
            from += used;
        }
        let expected = [(3_000_007_000, vec![1, 2, 3], 9), (4_000_000_000, vec![5], 1)];
        assert_eq!(frames, expected);
        assert!(copy.windows(10).any(|window| window == b"the second"));
    }
}

//! What a capture holds, beside its connections.

use schemars::JsonSchema;
use serde::Serialize;

use super::counted;
use crate::capture::Surveyed;
use crate::time::Duration;
use crate::verdict::Span;
use crate::wire::link::LinkType;

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaptureAccount {
    /// The file, or `-` for stdin.
    pub file: String,
    /// How many frames were read.
    pub packets: u64,
    /// How many octets these had on the wire.
    pub bytes: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// Of each link layer, how many frames.
    pub link_type: Vec<LinkAccount>,
    /// The earliest time of a frame, in seconds since 1970.
    pub first_s: Option<f64>,
    /// The latest one.
    pub last_s: Option<f64>,
    /// Where nothing more could be read, and why.
    pub truncated: Option<Truncated>,
    /// Fragments that are not the first, which were passed over.
    pub fragments: u64,
    /// Packets whose headers are cut short, make no sense or are more than are followed, which were passed
    /// over.
    pub cut: u64,
    /// Frames whose packet stands behind a header that is not taken off (MPLS, MACsec), which were passed
    /// over.
    pub wrapped: u64,
    /// Frames of which the file does not say when they were captured: taken for as late as the one before.
    pub untimed: u64,
    /// Frames whose interface the file does not describe, which were passed over.
    pub nameless: u64,
    /// Resets and ICMP errors of connections whose opening is not in the capture.
    pub strays: u64,
    /// Openings that were given up, since too many were under way.
    pub unfinished: u64,
}

/// The frames of one link layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LinkAccount {
    /// Its number (<https://www.tcpdump.org/linktypes.html>).
    pub number: i32,
    /// How many frames had it.
    pub packets: u64,
    /// Whether it is known, and its frames were read.
    pub read: bool,
}

/// Where a capture cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Truncated {
    /// Octets from the start of the file, unpacked.
    pub at_octet: u64,
    /// Why.
    pub because: String,
}

impl CaptureAccount {
    /// The account of a capture in that file.
    ///
    /// `strays` and `unfinished` are those of the [`Openings`](crate::capture::Openings) in it.
    pub fn new(file: String, surveyed: &Surveyed, strays: u64, unfinished: u64) -> Self {
        let links = surveyed.links.iter().map(|(number, packets)| LinkAccount {
            number: *number,
            packets: *packets,
            read: LinkType::from_number(*number).is_some(),
        });
        Self {
            file,
            packets: surveyed.frames,
            bytes: surveyed.octets,
            segments: surveyed.segments,
            link_type: links.collect(),
            first_s: surveyed.first.map(seconds),
            last_s: surveyed.last.map(seconds),
            truncated: surveyed
                .flaw
                .as_ref()
                .map(|flaw| Truncated { at_octet: flaw.offset, because: flaw.what.to_string() }),
            fragments: surveyed.fragments,
            cut: surveyed.cut,
            wrapped: surveyed.wrapped,
            untimed: surveyed.untimed,
            nameless: surveyed.nameless,
            strays,
            unfinished,
        }
    }

    /// Between which moments it was made, if it has any frame.
    pub fn span(&self) -> Option<Span> {
        let nanos = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0)).as_nanos();
        let (first, last) = self.first_s.zip(self.last_s)?;
        let [first, last] = [first, last].map(|at| u64::try_from(nanos(at)).unwrap_or(u64::MAX));
        Some(Span { first, last })
    }

    /// What is to be said aloud: each a warning.
    pub fn warnings(&self) -> Vec<String> {
        let file = &self.file;
        let unread = self.link_type.iter().filter(|link| !link.read).map(|link| {
            let frames = counted(link.packets, "frame");
            format!("{file}: {frames} of link type {} skipped: that is not known here", link.number)
        });
        let truncated = self.truncated.iter().map(|flaw| {
            format!("{file}: nothing behind octet {} was read: {}", flaw.at_octet, flaw.because)
        });
        unread.chain(self.oddities()).chain(truncated).collect()
    }

    /// What of the frames could not be read, or is not known, each a warning.
    fn oddities(&self) -> impl Iterator<Item = String> {
        let all = [
            (
                self.cut,
                "packet",
                "skipped: the headers are cut short, make no sense or are too many",
            ),
            (self.wrapped, "frame", "skipped: the packet is behind MPLS, MACsec or the like"),
            (self.nameless, "frame", "skipped: the file does not describe the interface"),
            (self.untimed, "frame", "without a time: taken for as late as the frame before"),
        ];
        let all = all.into_iter().filter(|(count, ..)| *count > 0);
        all.map(|(count, what, why)| format!("{}: {} {why}", self.file, counted(count, what)))
    }

    /// In a sentence.
    pub fn text(&self) -> String {
        let span = self.first_s.zip(self.last_s).map_or(0.0, |(first, last)| last - first);
        let mut text = format!(
            "{}: {}, {} of them TCP, over {span:.1} s",
            self.file,
            counted(self.packets, "packet"),
            self.segments
        );
        let passed = [(self.fragments, "fragment", ""), (self.cut, "packet", " cut short")];
        for (count, what, how) in passed.into_iter().filter(|(count, ..)| *count > 0) {
            text.push_str(&format!("; {}{how} passed over", counted(count, what)));
        }
        text + "."
    }
}

#[allow(clippy::cast_precision_loss, reason = "to a microsecond, which is what captures have")]
fn seconds(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1e6
}

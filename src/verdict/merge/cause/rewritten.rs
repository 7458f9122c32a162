//! What was changed on the way beside the endpoints.

use std::collections::BTreeMap;

use super::{Findings, MergedCause, SIDES, name, places};
use crate::verdict::explain::{Confidence, OpeningCause};
use crate::verdict::merge::change::{Change, Field};

/// Fields of SYNs that are not for a NAT to change: each with its first change.
pub fn rewritten(findings: &Findings<'_>) -> Option<MergedCause> {
    let mut all = BTreeMap::new();
    for side in SIDES {
        let syns = findings.bare_syns(side).chain(findings.syn_acks(side));
        for pair in syns.flat_map(|syn| syn.passed.windows(2)) {
            for change in pair[1].changes.iter().filter(|change| !change.field.is_usual()) {
                let between = [pair[0].point, pair[1].point];
                let frames = [findings.frame(&pair[0]), findings.frame(&pair[1])];
                all.entry((change.field, side)).or_insert((change.clone(), between, frames));
            }
        }
    }
    let first = all.values().next()?.1;
    let is_one_place = all.values().all(|(_, between, _)| places(*between) == places(first));
    let said = all.iter().map(|((field, side), (change, between, _))| {
        format!("{} of {} {} {}", word(*field), name(*side), became(change), findings.gap(*between))
    });
    Some(MergedCause {
        cause: OpeningCause::Rewritten,
        side: None,
        between: is_one_place.then_some(places(first)),
        confidence: Confidence::Certain,
        because: said.collect::<Vec<_>>().join("; "),
        frames: all.values().flat_map(|(.., frames)| frames.iter().copied()).collect(),
        advice: "numbers that are rewritten spoil what relies on the peer's (a spoofed SYN,ACK, a raw prober), \
                 and options that are taken out slow the connection down; the rest works"
            .to_owned(),
    })
}

fn became(Change { from, to, .. }: &Change) -> String {
    match (from.is_empty(), to.is_empty()) {
        (true, _) => format!("was put in ({to})"),
        (_, true) => format!("was taken out ({from})"),
        _ => format!("became {to}, having been {from},"),
    }
}

const fn word(field: Field) -> &'static str {
    match field {
        Field::Source => "the source",
        Field::Destination => "the destination",
        Field::InitialSequenceNumber => "the initial sequence number",
        Field::TimeStamp => "the time stamp",
        Field::TimeStampEcho => "the echoed time stamp",
        Field::MaximumSegmentSize => "the maximum segment size",
        Field::WindowScale => "the window scale",
        Field::SackPermitted => "SACK-permitted",
        Field::OtherOption => "an option",
        Field::Window => "the window",
        Field::Identification => "the IP identification",
        Field::DontFragment => "the don't-fragment bit",
        Field::TrafficClass => "the traffic class",
        Field::Ttl => "the TTL",
    }
}

/// One end speaks IPv6 and the other IPv4.
pub fn other_family(findings: &Findings<'_>) -> Option<MergedCause> {
    let (first, last) = (findings.points.first()?, findings.points.last()?);
    let frames = [first, last].map(|point| {
        let frame = point.packets.first().map_or(0, |here| here.frame);
        super::FrameOf { capture: point.part.capture, frame }
    });
    (first.a.is_ipv4() != last.a.is_ipv4()).then(|| MergedCause {
        cause: OpeningCause::Nat64,
        side: None,
        between: None,
        confidence: Confidence::Certain,
        because: format!(
            "one side has {} and {}, the other {} and {}: a NAT64 is between them (RFC 6146)",
            first.a, first.b, last.a, last.b
        ),
        frames: frames.to_vec(),
        advice: "a NAT64 maps like any other NAT; have the end behind it learn its external endpoint over IPv4"
            .to_owned(),
    })
}

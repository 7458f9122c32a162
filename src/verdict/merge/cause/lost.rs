//! Packets that left an end and died on their way.

use super::{Findings, MergedCause, SIDES, name, places};
use crate::tcp::{Opening, Side};
use crate::time::Duration;
use crate::verdict::explain::{Confidence, OpeningCause, sure};
use crate::verdict::merge::PacketFate;
use crate::verdict::merge::carry::Carriage;

/// Each SYN of an end died, and all at one place.
pub fn syn_lost(findings: &Findings<'_>) -> Option<MergedCause> {
    let lost: Vec<_> = SIDES
        .into_iter()
        .filter_map(|side| {
            let syns: Vec<_> = findings.bare_syns(side).collect();
            Some((side, syns.len(), place(findings, &syns)?, syns))
        })
        .collect();
    let answers = |side: Side| findings.syn_acks(side).count();
    let said = lost.iter().map(|(side, count, between, _)| {
        let answers = match answers(*side) {
            0 => String::new(),
            count => format!(", and {} SYN,ACK{},", count, if count == 1 { "" } else { "s" }),
        };
        format!("{} of {}{answers} died {}", syns(*count), name(*side), findings.gap(*between))
    });
    let because = said.collect::<Vec<_>>().join("; ");
    let (side, count, between, _) = lost.first()?;
    let one = (lost.len() == 1).then_some(*side);
    let is_one_place = lost.iter().all(|(.., other, _)| places(*other) == places(*between));
    let is_filtered = *count + answers(*side) >= LEAST_FILTERED;
    let is_alone = *count + answers(*side) == 1;
    let why = match (is_filtered, is_alone) {
        (true, _) => ": so many are not lost by accident",
        (false, true) => ": or else the capture there has missed it",
        (false, false) => ": whether by accident or by a filter, so few do not tell",
    };
    let frames = lost.iter().flat_map(|(.., syns)| syns.iter().copied());
    Some(MergedCause {
        cause: OpeningCause::SynLost,
        side: one,
        between: is_one_place.then_some(places(*between)),
        confidence: sure(!is_alone),
        because: because + why,
        frames: frames.flat_map(|syn| findings.frames_of(syn)).collect(),
        advice: "see what is there: a NAT that maps the sender elsewhere, or filters by who was sent to before \
                 (RFC 5382 REQ-3), and a firewall both drop such SYNs; `tso-probe classify` behind it tells \
                 which"
            .to_owned(),
    })
}

/// Whether it was seen behind the place where others died.
fn is_beyond(syn: &Carriage<'_>, [_, behind]: [usize; 2], side: Side) -> bool {
    let last = syn.last().point;
    if side == Side::A { last >= behind } else { last <= behind }
}

fn syns(count: usize) -> String {
    match count {
        1 => "the only SYN".to_owned(),
        2 => "both SYNs".to_owned(),
        count => format!("all {count} SYNs"),
    }
}

/// Where all of these died, if they did and at one place; of some it may not be known.
fn place(findings: &Findings<'_>, all: &[&Carriage<'_>]) -> Option<[usize; 2]> {
    let mut known = all.iter().filter(|one| one.fate != PacketFate::Unknown);
    let first = findings.died_between(known.next()?)?;
    known.all(|one| findings.died_between(one) == Some(first)).then_some(first)
}

/// A SYN,ACK was sent, and none arrived.
pub fn syn_ack_lost(findings: &Findings<'_>) -> Option<MergedCause> {
    let (side, answers, between) = SIDES.into_iter().find_map(|side| {
        let answers: Vec<_> = findings.syn_acks(side).collect();
        let between = place(findings, &answers)?;
        // Where its SYNs die as well, or may have, it is no matter of SYN,ACKs.
        let mut syns = findings.bare_syns(side).peekable();
        let passes = syns.peek().is_none() || syns.any(Carriage::has_arrived);
        let is_behind = || findings.bare_syns(side).any(|syn| is_beyond(syn, between, side));
        (passes || is_behind()).then_some((side, answers, between))
    })?;
    let has_crossed = findings.bare_syns(side).any(Carriage::has_arrived)
        && findings.bare_syns(side.opposite()).any(Carriage::has_arrived);
    let met = if has_crossed { "the SYNs crossed; " } else { "" };
    let count = answers.len();
    Some(MergedCause {
        cause: OpeningCause::SynAckLost,
        side: Some(side),
        between: Some(places(between)),
        // A capture may have missed one.
        confidence: sure(count > 1),
        because: format!(
            "{met}{} sent {count} SYN,ACK{}, and {} died {}",
            name(side),
            if count == 1 { "" } else { "s" },
            if count == 1 { "it" } else { "all" },
            findings.gap(between)
        ),
        frames: answers.iter().flat_map(|answer| findings.frames_of(answer)).collect(),
        advice: "what is there lets the SYN pass and not the SYN,ACK (RFC 5382 REQ-2a): `tso-probe classify` \
                 behind it tells which way, as simultaneous_open"
            .to_owned(),
    })
}

/// The ACK of three died, and the SYN,ACK was sent again.
pub fn ack_lost(findings: &Findings<'_>) -> Option<MergedCause> {
    SIDES.into_iter().find_map(|side| {
        let acks: Vec<_> = findings.segments(side).filter(|one| is_last_ack(findings, one)).collect();
        let between = place(findings, &acks)?;
        let is_again = findings.syn_acks(side.opposite()).count() > 1;
        (is_again && acks.len() > 1).then(|| MergedCause {
            cause: OpeningCause::AckLost,
            side: Some(side),
            between: Some(places(between)),
            confidence: Confidence::Certain,
            because: format!(
                "{} acknowledged the SYN,ACK {} times, and each time it died {}",
                name(side),
                acks.len(),
                findings.gap(between)
            ),
            frames: acks.iter().flat_map(|ack| findings.frames_of(ack)).collect(),
            advice: "what is there passes the SYN and not what follows: one that sees one direction alone \
                     (asymmetric routes) does that"
                .to_owned(),
        })
    })
}

fn is_last_ack(findings: &Findings<'_>, carriage: &Carriage<'_>) -> bool {
    let point = carriage.passed[0].point;
    let Some(ack) = carriage.segment().filter(|one| !one.is_reset() && !one.is_bare_syn()) else {
        return false;
    };
    let mut answers = findings.syn_acks(carriage.from.opposite());
    !ack.is_syn_ack()
        && answers.any(|answer| {
            let here = answer.at(point).and_then(|here| here.segment());
            here.is_some_and(|syn_ack| ack.ack == syn_ack.seq + 1)
        })
}

/// It opened by one of the two SYNs: what became of the other.
pub fn half_crossed(findings: &Findings<'_>) -> Option<MergedCause> {
    let Opening::HalfCrossed { crossed_syn } = findings.opening else { return None };
    let other = crossed_syn.opposite();
    let syns: Vec<_> = findings.bare_syns(other).collect();
    let between = place(findings, &syns);
    let how = match between {
        Some(between) => format!("died {}", findings.gap(between)),
        None => came_late(findings, other).unwrap_or_else(|| "did not arrive in time".to_owned()),
    };
    Some(MergedCause {
        cause: OpeningCause::HalfCrossed,
        side: Some(other),
        between: between.map(places),
        confidence: Confidence::Certain,
        because: format!(
            "it opened by the SYN of {} alone; that of {} {how}",
            name(crossed_syn),
            name(other)
        ),
        frames: syns.iter().flat_map(|syn| findings.frames_of(syn)).collect(),
        advice:
            "it works; where timing is tight, a NAT drops what comes first, or the SYN was late"
                .to_owned(),
    })
}

/// By how much a SYN came after its receiver had been answered, on that one's clock.
fn came_late(findings: &Findings<'_>, of: Side) -> Option<String> {
    let receiver = of.opposite();
    let end = findings.end(receiver);
    let came = findings.bare_syns(of).find_map(|syn| syn.at(end))?;
    let answered = findings.syn_acks(of).find_map(|answer| answer.at(end))?;
    let late = came.own.checked_sub(answered.own)?;
    let late = Duration::from_nanos(late).as_secs_f64() * 1e3;
    Some(format!("came {late:.3} ms after its SYN,ACK"))
}

/// So many that are all dropped at one place were not lost by accident.
const LEAST_FILTERED: usize = 4;

//! The same end, seen from another external endpoint than was aimed at, or than before.

use super::{Findings, FrameOf, MergedCause, SIDES, name};
use crate::capture::Opening;
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::explain::{Confidence, OpeningCause};
use crate::verdict::merge::Part;
use crate::verdict::merge::point::Point;
use crate::wire::Endpoint;

/// An end's SYNs came to the other one from another port of that address than the other aimed at.
pub fn other_port(findings: &Findings<'_>) -> Option<MergedCause> {
    SIDES.into_iter().find_map(|side| {
        let point = &findings.points[findings.end(side.opposite())];
        let syn = findings.bare_syns(side).find(|syn| syn.at(findings.end(side.opposite())).is_some())?;
        let [came_from, receiver] = ends(point, side);
        let aim = others(findings, point).find(|other| {
            let Opening { a, b, .. } = &other.opening;
            let is_aim = *a == receiver && b.ip() == came_from.ip() && b.port() != came_from.port();
            is_aim && are_near(other, point.part)
        })?;
        let aimed_at = aim.opening.b;
        let delta = i32::from(came_from.port()) - i32::from(aimed_at.port());
        let mut frames = findings.frames_of(syn);
        frames.extend(first_frame(aim));
        Some(MergedCause {
            cause: OpeningCause::OtherPort,
            side: Some(side),
            between: None,
            confidence: Confidence::Certain,
            because: format!(
                "{} aimed at {aimed_at}, and the SYN of {} came from {came_from}, {delta:+} away: the NAT in \
                 front of {1} maps each destination to a port of its own",
                name(side.opposite()),
                name(side)
            ),
            frames,
            advice: "have the port foreseen and more than one tried: `tso-probe punch --rendezvous`; \
                     `tso-probe ports` behind that NAT shows its rule"
                .to_owned(),
        })
    })
}

/// An end's SYNs came from one external endpoint, and later from another.
pub fn remapped(findings: &Findings<'_>) -> Option<MergedCause> {
    let point = findings.points.iter().find(|point| !point.later.is_empty())?;
    let other = point.later[0];
    let is_own = |end: Endpoint| end == other.opening.a || end == other.opening.b;
    let side = if is_own(point.a) { Side::B } else { Side::A };
    let [before, receiver] = ends(point, side);
    let Opening { a, b, .. } = &other.opening;
    let after = if *a == receiver { *b } else { *a };
    let first = other.opening.packets.first()?;
    let last = point.part.opening.packets.last()?;
    let gap = Duration::from_nanos(first.at.checked_sub(last.at)?).as_secs_f64();
    let capture = point.part.capture;
    let again = match point.later.len() {
        0 | 1 => String::new(),
        2 => ", and once more".to_owned(),
        times => format!(", and {} times more", times - 1),
    };
    Some(MergedCause {
        cause: OpeningCause::MappingExpired,
        side: Some(side),
        between: None,
        confidence: Confidence::Certain,
        because: format!(
            "{} was {before} outside, and {after} after {gap:.1} s without a packet{again}: its NAT had given \
             the mapping up",
            name(side)
        ),
        frames: [last, first].map(|kept| FrameOf { capture, frame: kept.frame }).to_vec(),
        advice: "send more often than that, and learn the external endpoint anew before a punch: RFC 5382 \
                 REQ-5 asks for four minutes while a connection opens"
            .to_owned(),
    })
}

/// An end and the other one, as that point has them.
const fn ends(point: &Point<'_>, side: Side) -> [Endpoint; 2] {
    match side {
        Side::A => [point.a, point.b],
        Side::B => [point.b, point.a],
    }
}

/// What else was opened where that point is.
fn others<'a>(findings: &Findings<'a>, point: &Point<'a>) -> impl Iterator<Item = &'a Part> {
    let (capture, interface, number) =
        (point.part.capture, point.part.opening.interface, point.part.number);
    findings.parts.iter().filter(move |part| {
        (part.capture, part.opening.interface) == (capture, interface) && part.number != number
    })
}

fn first_frame(part: &Part) -> Option<FrameOf> {
    let kept = part.opening.packets.first()?;
    Some(FrameOf { capture: part.capture, frame: kept.frame })
}

fn are_near(one: &Part, other: &Part) -> bool {
    let times = |part: &Part| {
        let all = || part.opening.packets.iter().map(|kept| kept.at);
        (all().min().unwrap_or_default(), all().max().unwrap_or_default())
    };
    let ((from, to), (since, until)) = (times(one), times(other));
    from <= until.saturating_add(APART) && since <= to.saturating_add(APART)
}

/// Two halves of one punch begin as close together as its ends' clocks and patience allow: in nanoseconds.
const APART: u64 = 30_000_000_000;

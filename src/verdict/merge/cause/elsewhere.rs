//! The same end, seen from another external endpoint than was aimed at, or than before.

use super::{Findings, FrameOf, MergedCause, SIDES, name};
use crate::capture::Opening;
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::explain::{Confidence, OpeningCause};
use crate::verdict::merge::Part;
use crate::verdict::merge::point::Point;
use crate::wire::{Endpoint, Seq};

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

/// An end's SYNs with one number came from one external endpoint, and later from another.
pub fn remapped(findings: &Findings<'_>) -> Option<MergedCause> {
    SIDES.into_iter().find_map(|side| {
        let far = &findings.points[findings.end(side.opposite())];
        let near = &findings.points[findings.end(side)];
        let [before, receiver] = ends(far, side);
        let numbers: Vec<_> = near.sent(side).filter_map(|here| here.segment()).map(|one| one.seq).collect();
        let later = others(findings, far).find(|other| {
            let Opening { a, b, .. } = &other.opening;
            let is_it = *b == receiver && *a != before;
            is_it && other.opening.packets.iter().any(|kept| numbers.contains(&Seq(kept.seq())) && kept.from_a)
        })?;
        let after = later.opening.a;
        let last = far.sent(side).map(|here| here.own).max()?;
        let first = later.opening.packets.iter().map(|kept| kept.at).min()?;
        let gap = Duration::from_nanos(first.checked_sub(last)?).as_secs_f64();
        let mut frames: Vec<FrameOf> = far
            .sent(side)
            .last()
            .map(|here| FrameOf { capture: far.part.capture, frame: here.frame })
            .into_iter()
            .collect();
        frames.extend(first_frame(later));
        Some(MergedCause {
            cause: OpeningCause::MappingExpired,
            side: Some(side),
            between: None,
            confidence: Confidence::Certain,
            because: format!(
                "{} was {before} outside, and {after} after {gap:.1} s without a packet: its NAT had given the \
                 mapping up",
                name(side)
            ),
            frames,
            advice: "send more often than that, and learn the external endpoint anew before a punch: RFC 5382 \
                     REQ-5 asks for four minutes while a connection opens"
                .to_owned(),
        })
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

//! Two SYNs that met, or just missed each other.

use super::case::{Case, Seen, name};
use super::cause::{Confidence, Diagnosed, OpeningCause, frames};
use crate::tcp::{Post, Side};
use crate::time::Duration;
use crate::wire::{Flags, Segment, Seq};

const SIDES: [Side; 2] = [Side::A, Side::B];

/// Both ends sent a SYN, and a reset answered one of them: it arrived when that end had not begun, or
/// had been refused already.
pub fn missed_window(case: &Case<'_>) -> Option<Diagnosed> {
    let (refused, syn, reset) = SIDES.into_iter().find_map(|side| refused(case, side))?;
    let other = refused.opposite();
    let mut theirs = case.bare_syns(other);
    let (their_syn, _) = theirs.next()?;
    let because = format!(
        "both sent a SYN, and they did not meet: that of {} was reset{}",
        name(refused),
        by_how_much(case, refused, syn, reset, their_syn).unwrap_or_default()
    );
    Some(Diagnosed {
        cause: OpeningCause::MissedWindow,
        side: Some(refused),
        confidence: Confidence::Certain,
        because,
        frames: vec![syn.frame, their_syn.frame, reset.frame],
        advice: "start both ends on one clock, closer together than the one-way delay: `tso-probe \
                 punch` agrees on an instant and says how well it was met"
            .to_owned(),
    })
}

/// The first SYN of that end that was reset, with its reset.
fn refused<'a>(case: &'a Case<'_>, side: Side) -> Option<(Side, &'a Seen, &'a Seen)> {
    let mut syns = case.bare_syns(side);
    syns.find_map(|(seen, syn)| {
        let mut resets = case.resets(side.opposite());
        // RFC 9293 §3.10.7.1: that of a host, or box, which knows of no connection.
        let is_its = |reset: &Segment| reset.ack == syn.seq + syn.length() && reset.seq == Seq(0);
        let (reset, _) = resets.find(|(_, reset)| is_its(reset))?;
        Some((side, seen, reset))
    })
}

/// At the end whose SYN was reset the round trip is known; half of it is the one-way delay.
fn by_how_much(
    case: &Case<'_>,
    refused: Side,
    syn: &Seen,
    reset: &Seen,
    theirs: &Seen,
) -> Option<String> {
    if case.post != Post::At(refused) {
        return None;
    }
    let round_trip = reset.at.since(syn.at);
    // Ours arrived half a round trip after it left; theirs left as long before it came.
    let late = theirs.at.since(syn.at + round_trip);
    let other = name(refused.opposite());
    if late > Duration::ZERO {
        return Some(format!(
            ". It reached {other} {} before {other} sent its own (taking half of the round trip, {}, \
             for the one-way delay)",
            in_ms(late),
            in_ms(round_trip)
        ));
    }
    let early = syn.at.since(theirs.at);
    (early > Duration::ZERO).then(|| {
        format!(
            ". It left {} after the SYN of {other} had come, which was refused here",
            in_ms(early)
        )
    })
}

fn in_ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// SYN,ACK after SYN,ACK, and nothing shows that one arrived.
pub fn syn_ack_lost(case: &Case<'_>) -> Option<Diagnosed> {
    if SIDES.into_iter().any(|side| case.resets(side).next().is_some()) {
        return None;
    }
    // What came to the interface of its receiver is not lost.
    let arrives = |side: &Side| case.post == Post::At(side.opposite());
    let mut answers =
        SIDES.into_iter().filter(|side| keeps_answering(case, *side)).collect::<Vec<_>>();
    answers.retain(|side| !arrives(side));
    let has_crossed = SIDES.into_iter().all(|side| case.bare_syns(side).next().is_some());
    let met = if has_crossed { "the SYNs crossed; " } else { "" };
    let (side, because) = match answers[..] {
        [_, _] => (None, format!("{met}both sent SYN,ACK after SYN,ACK, and neither took one")),
        [side] => {
            let (sender, other) = (name(side), name(side.opposite()));
            (Some(side), format!("{met}{sender} sent SYN,ACK after SYN,ACK, and {other} took none"))
        }
        _ => return None,
    };
    let syn_acks = answers.iter().flat_map(|side| case.syn_acks(*side)).map(|(seen, _)| seen);
    Some(Diagnosed {
        cause: OpeningCause::SynAckLost,
        side,
        confidence: Confidence::Certain,
        because,
        frames: frames(syn_acks),
        advice: "a NAT or firewall on the way, or at the other end, drops a SYN,ACK that goes out \
                 (RFC 5382 REQ-2a): `tso-probe classify` at either end tells which, as \
                 simultaneous_open"
            .to_owned(),
    })
}

/// Whether that end had to send its SYN,ACK again, and no segment acknowledges it.
pub fn keeps_answering(case: &Case<'_>, side: Side) -> bool {
    let Some((first, syn_ack)) = case.syn_acks(side).min_by_key(|(seen, _)| seen.at) else {
        return false;
    };
    let is_again = case.syn_acks(side).any(|(again, _)| again.at > first.at + FIRST_TIMEOUT);
    let mut others = case.sent(side.opposite());
    let is_taken = others.any(|(_, segment)| {
        !segment.is_reset() && segment.flags.contains(Flags::ACK) && segment.ack == syn_ack.seq + 1
    });
    // A SYN,ACK that crosses another acknowledges the SYN alone.
    let is_taken = is_taken && case.syn_acks(side.opposite()).next().is_none();
    is_again && !is_taken
}

/// The SYN,ACK is repeated although it was acknowledged.
pub fn ack_lost(case: &Case<'_>) -> Option<Diagnosed> {
    SIDES.into_iter().find_map(|side| {
        let (first, syn_ack) = case.syn_acks(side).next()?;
        let is_ack = |segment: &Segment| {
            !segment.is_syn_ack() && !segment.is_bare_syn() && segment.ack == syn_ack.seq + 1
        };
        let (ack, _) = case.sent(side.opposite()).find(|(_, segment)| is_ack(segment))?;
        let again: Vec<_> = case
            .syn_acks(side)
            .filter(|(seen, again)| again.seq == syn_ack.seq && seen.at > ack.at + FIRST_TIMEOUT)
            .map(|(seen, _)| seen)
            .collect();
        let frames = [vec![first.frame, ack.frame], frames(again.iter().copied())].concat();
        (again.len() > 1).then(|| Diagnosed {
            cause: OpeningCause::AckLost,
            side: Some(side.opposite()),
            confidence: Confidence::Certain,
            because: format!(
                "{} acknowledged the SYN,ACK, and {} repeated it {} times: the acknowledgement does \
                 not arrive",
                name(side.opposite()),
                name(side),
                again.len()
            ),
            frames,
            advice: "a firewall on the way passes the SYN and not what follows: one that sees one \
                     direction alone (asymmetric routes) does that"
                .to_owned(),
        })
    })
}

/// Half of a crossing: it opened, by one of the two SYNs.
pub fn half_crossed(case: &Case<'_>, crossed: Side) -> Diagnosed {
    let other = crossed.opposite();
    Diagnosed {
        cause: OpeningCause::HalfCrossed,
        side: Some(other),
        confidence: Confidence::Certain,
        because: format!(
            "it opened by the SYN of {} alone; that of {} did not arrive in time, or not at all",
            name(crossed),
            name(other)
        ),
        frames: frames(case.bare_syns(other).map(|(seen, _)| seen)),
        advice:
            "it works; where timing is tight, the NAT before that end drops what comes first, or \
                 the SYN was late"
                .to_owned(),
    }
}

/// What follows sooner than a host repeats anything was sent before the answer came.
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);

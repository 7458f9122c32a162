//! Two SYNs that met, or just missed each other.

use super::case::{Case, Seen};
use super::cause::{Confidence, Diagnosed, OpeningCause, frames};
use super::refusal::{CLOSE, sure};
use crate::tcp::{Post, Side};
use crate::time::Duration;
use crate::wire::{Flags, Segment, Seq};

const SIDES: [Side; 2] = [Side::A, Side::B];

/// Both ends sent a SYN, and one of them arrived when the other end had not begun: its host reset it, and
/// sent its own SYN afterwards.
pub fn missed_window(case: &Case<'_>) -> Option<Diagnosed> {
    let Missed { refused, syn, reset, theirs } =
        SIDES.into_iter().find_map(|side| missed(case, side))?;
    let because = case.tell(format_args!(
        "both sent a SYN, and they did not meet: that of {} was reset{}",
        case.name(refused),
        by_how_much(case, refused, syn, reset, theirs).unwrap_or_default()
    ));
    let is_in_order = reset.at <= theirs.at;
    let is_as_far = !case.is_nearer(theirs.packet.ttl, reset.packet.ttl);
    Some(Diagnosed {
        cause: OpeningCause::MissedWindow,
        side: Some(refused),
        confidence: sure(is_in_order && is_as_far),
        because,
        frames: vec![syn.frame, theirs.frame, reset.frame],
        advice: "start both ends on one clock, closer together than the one-way delay: `tso-probe \
                 punch` agrees on an instant and says how well it was met"
            .to_owned(),
    })
}

/// A SYN that was reset, its reset, and the first SYN of the end that reset it.
struct Missed<'a> {
    refused: Side,
    syn: &'a Seen,
    reset: &'a Seen,
    theirs: &'a Seen,
}

/// The first SYN of that end that the other's host reset before it sent its own. A host that has sent one
/// answers with a SYN,ACK.
fn missed<'a>(case: &'a Case<'_>, refused: Side) -> Option<Missed<'a>> {
    let other = refused.opposite();
    let (theirs, _) = case.bare_syns(other).next()?;
    let (syn, reset) = self::refused(case, refused)?;
    let is_its_hosts = !case.is_nearer(reset.packet.ttl, theirs.packet.ttl);
    let has_begun_after = reset.at <= theirs.at + CLOSE && syn.at <= theirs.at + CLOSE;
    // Who answers has met the SYN.
    let has_met = case.syn_acks(refused).any(|(seen, _)| seen.at <= reset.at);
    let is_missed = is_its_hosts && has_begun_after && !has_met;
    is_missed.then_some(Missed { refused, syn, reset, theirs })
}

/// The first SYN of that end that was reset, with its reset.
pub fn refused<'a>(case: &'a Case<'_>, side: Side) -> Option<(&'a Seen, &'a Seen)> {
    let mut syns = case.bare_syns(side);
    syns.find_map(|(seen, syn)| {
        let mut resets = case.resets(side.opposite());
        // RFC 9293 §3.10.7.1: that of a host, or box, which knows of no connection.
        let is_its = |reset: &Segment| reset.ack == syn.seq + syn.length() && reset.seq == Seq(0);
        let (reset, _) = resets.find(|(_, reset)| is_its(reset))?;
        Some((seen, reset))
    })
}

fn by_how_much(
    case: &Case<'_>,
    refused: Side,
    syn: &Seen,
    reset: &Seen,
    theirs: &Seen,
) -> Option<String> {
    let other = case.name(refused.opposite());
    match case.post {
        Post::At(side) if side == refused => seen_from_here(other, syn, reset, theirs),
        Post::At(_) => seen_from_there(other, syn, theirs),
        Post::Between => None,
    }
}

/// At the end whose SYN was reset the round trip is known; half of it is the one-way delay.
fn seen_from_here(other: &str, syn: &Seen, reset: &Seen, theirs: &Seen) -> Option<String> {
    let round_trip = reset.at.since(syn.at);
    // Ours arrived half a round trip after it left; theirs left as long before it came.
    let late = theirs.at.since(syn.at + round_trip);
    (late > Duration::ZERO).then(|| {
        format!(
            ". It reached {other} {} before {other} sent its own (taking half of the round trip, {}, \
             for the one-way delay)",
            in_ms(late),
            in_ms(round_trip)
        )
    })
}

/// At the other end it is seen when the SYN came, and when that end's own left.
fn seen_from_there(other: &str, syn: &Seen, theirs: &Seen) -> Option<String> {
    let late = theirs.at.since(syn.at);
    (late > Duration::ZERO)
        .then(|| format!(". It came to {other} {} before {other} sent its own", in_ms(late)))
}

/// In milliseconds, for people.
pub fn in_ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// SYN,ACK after SYN,ACK, and nothing shows that one arrived.
pub fn syn_ack_lost(case: &Case<'_>) -> Option<Diagnosed> {
    if SIDES.into_iter().any(|side| case.resets(side).next().is_some()) {
        return None;
    }
    let mut answers =
        SIDES.into_iter().filter(|side| keeps_answering(case, *side)).collect::<Vec<_>>();
    // What came to the interface of its receiver is not lost.
    answers.retain(|side| case.is_away_from(side.opposite()));
    let has_crossed = SIDES.into_iter().all(|side| case.bare_syns(side).next().is_some());
    let met = if has_crossed { "the SYNs crossed; " } else { "" };
    let (side, because) = match answers[..] {
        [_, _] => (None, format!("{met}both sent SYN,ACK after SYN,ACK, and neither took one")),
        [side] => {
            let (sender, other) = (case.name(side), case.name(side.opposite()));
            (Some(side), format!("{met}{sender} sent SYN,ACK after SYN,ACK, and {other} took none"))
        }
        _ => return None,
    };
    let is_sure = answers.iter().all(|side| answers.len() > 1 || asks_again(case, *side));
    let or_else = if is_sure {
        ""
    } else {
        ", or its acknowledgements died before they came here, which looks the same"
    };
    let syn_acks = answers.iter().flat_map(|side| case.syn_acks(*side)).map(|(seen, _)| seen);
    Some(Diagnosed {
        cause: OpeningCause::SynAckLost,
        side,
        confidence: sure(is_sure),
        because: because + or_else,
        frames: frames(syn_acks),
        advice: "a NAT or firewall on the way, or at the other end, drops a SYN,ACK that goes out \
                 (RFC 5382 REQ-2a): `tso-probe classify` at either end tells which, as \
                 simultaneous_open"
            .to_owned(),
    })
}

/// Whether that end had to send its SYN,ACK again and again, and no segment acknowledges it. The capture
/// may have lost acknowledgements, but not as many, nor SYNs that were never sent.
fn keeps_answering(case: &Case<'_>, side: Side) -> bool {
    let other = side.opposite();
    let Some((first, syn_ack)) = case.syn_acks(side).min_by_key(|(seen, _)| seen.at) else {
        return false;
    };
    let again =
        case.syn_acks(side).filter(|(again, _)| again.at > first.at + FIRST_TIMEOUT).count();
    let is_taken = case.sent(other).any(|(_, segment)| {
        !segment.is_reset() && segment.flags.contains(Flags::ACK) && segment.ack == syn_ack.seq + 1
    });
    // A SYN,ACK that crosses another acknowledges the SYN alone.
    let is_taken = is_taken && case.syn_acks(other).next().is_none();
    let enough = if asks_again(case, side) { ENOUGH_WITH_SYNS } else { ENOUGH };
    again >= enough && !is_taken
}

/// Whether the SYN that this end answered is sent again: its sender has taken no answer.
fn asks_again(case: &Case<'_>, side: Side) -> bool {
    let Some((first, syn_ack)) = case.syn_acks(side).min_by_key(|(seen, _)| seen.at) else {
        return false;
    };
    case.bare_syns(side.opposite())
        .any(|(seen, syn)| syn.seq + 1 == syn_ack.ack && seen.at > first.at + FIRST_TIMEOUT)
}

/// The SYN,ACK is repeated although it was acknowledged.
pub fn ack_lost(case: &Case<'_>) -> Option<Diagnosed> {
    SIDES.into_iter().find_map(|side| {
        let (first, syn_ack) = case.syn_acks(side).next()?;
        let is_ack = |segment: &Segment| {
            let is_plain = !segment.flags.contains(Flags::SYN) && !segment.is_reset();
            is_plain && segment.ack == syn_ack.seq + 1
        };
        let (ack, _) = case.sent(side.opposite()).find(|(_, segment)| is_ack(segment))?;
        let again: Vec<_> = case
            .syn_acks(side)
            .filter(|(seen, again)| again.seq == syn_ack.seq && seen.at > ack.at + FIRST_TIMEOUT)
            .map(|(seen, _)| seen)
            .collect();
        // Whoever sends anything but SYN,ACKs may have taken one of the acknowledgements.
        let goes_on = case
            .sent(side)
            .any(|(_, segment)| !segment.flags.contains(Flags::SYN) && !segment.is_reset());
        let frames = [vec![first.frame, ack.frame], frames(again.iter().copied())].concat();
        (again.len() > 1 && !goes_on).then(|| not_acknowledged(case, side, again.len(), frames))
    })
}

/// What the end that repeats its SYN,ACK so often is said to suffer: where it is, the acknowledgements come
/// in; elsewhere they may be lost after.
fn not_acknowledged(case: &Case<'_>, side: Side, again: usize, frames: Vec<u64>) -> Diagnosed {
    let (name, other) = (case.name(side), case.name(side.opposite()));
    let repeated =
        format!("{other} acknowledged the SYN,ACK, and {name} repeated it {again} times");
    let full = "its listener has too many waiting to be accepted (Linux drops the acknowledgement then), or \
                its own packet filter drops what follows the SYN";
    if case.post == Post::At(side) {
        return Diagnosed {
            cause: OpeningCause::Unknown,
            side: Some(side),
            confidence: Confidence::Likely,
            because: case.tell(format_args!(
                "{repeated}, though the acknowledgement came to its interface: {full}, or it was captured \
                 before the last router, and lost there"
            )),
            frames,
            advice: "see whether the listener accepts (ss -ltn shows its queue), and what the firewall of \
                     that host does (nft list ruleset)"
                .to_owned(),
        };
    }
    Diagnosed {
        cause: OpeningCause::AckLost,
        side: Some(side.opposite()),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{repeated}: the acknowledgement does not arrive, or {name} does not take it, which looks the \
             same: {full}"
        )),
        frames,
        advice: "a firewall on the way that passes the SYN and not what follows sees one direction alone \
                 (asymmetric routes); at that host, ss -ltn shows whether the queue of the listener is full"
            .to_owned(),
    }
}

/// Half of a crossing: it opened, by one of the two SYNs.
pub fn half_crossed(case: &Case<'_>, crossed: Side) -> Diagnosed {
    let other = crossed.opposite();
    Diagnosed {
        cause: OpeningCause::HalfCrossed,
        side: Some(other),
        confidence: Confidence::Certain,
        because: case.tell(format_args!(
            "it opened by the SYN of {} alone; that of {} did not arrive in time, or not at all",
            case.name(crossed),
            case.name(other)
        )),
        frames: frames(case.bare_syns(other).map(|(seen, _)| seen)),
        advice:
            "it works; where timing is tight, the NAT before that end drops what comes first, or \
                 the SYN was late"
                .to_owned(),
    }
}

/// What follows sooner than a host repeats anything was sent before the answer came.
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);

/// So many repetitions of a SYN,ACK are not all acknowledged by packets that the capture has lost.
const ENOUGH: usize = 3;

/// If the SYN is repeated as well, these are.
const ENOUGH_WITH_SYNS: usize = 2;

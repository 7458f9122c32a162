//! What shows that a connection opened, or was reset once it had, though the capture lacks what a
//! [`witness`](crate::tcp::onlooker) needs to see: its SYN, most of the time, since captures begin late.

use super::case::{Case, Seen};
use crate::tcp::{Opening, Outcome, Side, Testimony};
use crate::wire::{Flags, Segment, Seq};

/// What was concluded from the segments after the SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The end that is known to have become established; none if it may be a box that spoke for it.
    pub open: Option<Side>,
    /// Whether a reset followed before any data.
    pub is_reset: bool,
}

/// The same testimony, or a better one where it knows of no opening and later segments prove it.
pub fn proven(case: &Case<'_>, testimony: Testimony) -> (Testimony, Option<Proof>) {
    let knows = matches!(testimony.outcome, Outcome::Open | Outcome::Reset);
    let Some(proof) = proof(case).filter(|_| !knows) else { return (testimony, None) };
    let opening = match (testimony.opening, proof.open) {
        (Opening::None, Some(_)) => Opening::Unknown,
        (opening, _) => opening,
    };
    let outcome = if proof.is_reset { Outcome::Reset } else { Outcome::Open };
    (Testimony { opening, outcome, ..testimony }, Some(proof))
}

fn proof(case: &Case<'_>) -> Option<Proof> {
    // What one sends to oneself has no two ends.
    if case.end(Side::A) == case.end(Side::B) {
        return None;
    }
    let (mut open, mut reset) = (None, None);
    for seen in &case.packets {
        let Some(segment) = seen.segment() else { continue };
        if reset.is_some() && begins_anew(case, seen, segment) {
            (open, reset) = (None, None);
        }
        if segment.is_reset() {
            if is_abort(case, seen, segment) || open.is_some() && is_next(case, seen, segment) {
                reset = reset.or(Some(Proof { open, is_reset: true }));
            }
            continue;
        }
        // What was on its way when it was reset shows nothing more.
        if reset.is_none() && open.is_none() && shows_open(case, seen, segment) {
            open = Some(seen.from);
        }
        // A reset after data ends what was of use.
        if reset.is_none() && open.is_some() && is_of_use(segment) {
            break;
        }
    }
    reset.or(open.map(|side| Proof { open: Some(side), is_reset: false }))
}

/// Whether it begins another attempt, as far as that was captured: a SYN or SYN,ACK with a number of its own.
fn begins_anew(case: &Case<'_>, seen: &Seen, segment: &Segment) -> bool {
    let is_same = |(earlier, sent): (&Seen, &Segment)| {
        earlier.frame < seen.frame && sent.flags.contains(Flags::SYN) && sent.seq == segment.seq
    };
    segment.flags.contains(Flags::SYN) && !case.sent(seen.from).any(is_same)
}

/// Whether only an established end sends that: data behind its SYN; or the numbers that follow a SYN,ACK,
/// unless it sent a SYN or SYN,ACK as well, when it may be a challenge (RFC 5961 §4.2).
fn shows_open(case: &Case<'_>, seen: &Seen, segment: &Segment) -> bool {
    let is_later = segment.flags.contains(Flags::ACK) && !segment.flags.contains(Flags::SYN);
    let is_syn = |syn: &Segment| syn.flags.contains(Flags::SYN);
    let mut syns = case.sent(seen.from).filter(|(_, syn)| is_syn(syn)).peekable();
    if syns.peek().is_some() {
        let is_behind = syns.any(|(_, syn)| is_near(segment.seq, syn.seq + 1));
        return is_later && is_behind && is_of_use(segment);
    }
    let mut syn_acks = case.syn_acks(seen.from.opposite());
    is_later
        && syn_acks.any(|(_, syn_ack)| {
            is_near(segment.seq, syn_ack.ack) && is_near(segment.ack, syn_ack.seq + 1)
        })
}

/// Whether a reset has the number that comes next after the SYNs (RFC 9293 §3.10.7.4, first).
fn is_next(case: &Case<'_>, seen: &Seen, reset: &Segment) -> bool {
    let is_own =
        |(_, sent): (&Seen, &Segment)| sent.flags.contains(Flags::SYN) && reset.seq == sent.seq + 1;
    case.sent(seen.from).any(is_own)
        || case.syn_acks(seen.from.opposite()).any(|(_, syn_ack)| reset.seq == syn_ack.ack)
}

/// Whether a reset acknowledges a SYN,ACK: a host that knows of no connection sends none with an ACK in
/// answer to that (RFC 9293 §3.10.7.1), one that had taken it and gives up does.
pub fn is_abort(case: &Case<'_>, seen: &Seen, reset: &Segment) -> bool {
    let is_of =
        |(_, syn_ack): (&Seen, &Segment)| syn_ack.ack == reset.seq && reset.ack == syn_ack.seq + 1;
    reset.flags.contains(Flags::ACK) && case.syn_acks(seen.from.opposite()).any(is_of)
}

/// Whether a SYN,ACK that answers a SYN which was not captured was reset by a host that knows of no
/// connection.
pub fn is_answer_reset(case: &Case<'_>) -> bool {
    [Side::A, Side::B].into_iter().any(|side| {
        let has_begun = case.bare_syns(side).next().is_some();
        let is_answer = |reset: &Segment| {
            let mut answers = case.syn_acks(side.opposite());
            !reset.flags.contains(Flags::ACK) && answers.any(|(_, one)| one.ack == reset.seq)
        };
        !has_begun && case.resets(side).any(|(_, reset)| is_answer(reset))
    })
}

fn is_of_use(segment: &Segment) -> bool {
    !segment.payload.is_empty() || segment.flags.contains(Flags::FIN)
}

/// Whether a number is at that one or little behind.
fn is_near(number: Seq, first: Seq) -> bool {
    number - first <= WINDOW
}

/// The window before scaling (RFC 7323 §2.2): what begins a connection is within.
const WINDOW: u32 = 65_535;

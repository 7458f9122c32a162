//! Only so many SYNs are let through.

use super::case::Case;
use super::cause::{Confidence, Diagnosed, OpeningCause, frames};
use super::silence::{LEAST_TRIES, longest_row, unanswered};
use crate::tcp::Side;
use crate::wire::{Icmp, Seq};

/// The first SYNs are answered, and those that follow are not.
pub fn syn_rate_limit(case: &Case<'_>) -> Option<Diagnosed> {
    within(case).or_else(|| across(case))
}

/// Between two endpoints: attempt after attempt was refused, the last one met silence.
fn within(case: &Case<'_>) -> Option<Diagnosed> {
    let row = longest_row(case);
    let begin = *row.first().filter(|_| row.len() >= LEAST_TRIES)?;
    let (_, last) = case.bare_syns(Side::A).find(|(seen, _)| seen.at == begin)?;
    // Whatever came later may answer it.
    if case.packets.iter().any(|seen| seen.from == Side::B && seen.at > begin) {
        return None;
    }
    let mut refused: Vec<Seq> = Vec::new();
    for (seen, syn) in case.bare_syns(Side::A).filter(|(seen, _)| seen.at < begin) {
        let is_answered = case.resets(Side::B).any(|(_, reset)| reset.ack == syn.seq + 1);
        if is_answered && syn.seq != last.seq && !refused.contains(&syn.seq) && seen.at < begin {
            refused.push(syn.seq);
        }
    }
    if refused.len() < LEAST_ANSWERED_WITHIN {
        return None;
    }
    let because = case.tell(format_args!(
        "the first {} attempts were refused at once, and the next one met silence, {} SYNs long",
        refused.len(),
        row.len()
    ));
    let late = case.bare_syns(Side::A).map(|(seen, _)| seen).filter(|seen| seen.at >= begin);
    Some(found(because, frames(late)))
}

/// From one address to one endpoint: the first openings were answered, those that were begun soon after
/// them were not.
fn across(case: &Case<'_>) -> Option<Diagnosed> {
    let burst = case.opening.burst?;
    let is_row = burst.answered >= LEAST_ANSWERED
        && burst.answered == burst.last_answered
        && burst.place > burst.last_answered
        && burst.begun - burst.last_answered >= LEAST_LEFT;
    let prohibited = case.errors(Side::A).any(|(_, icmp)| is_prohibited(icmp));
    if !is_row || !prohibited && unanswered(case).is_none() {
        return None;
    }
    let how =
        if prohibited { "with an ICMP error, administratively prohibited" } else { "by nothing" };
    let because = case.tell(format_args!(
        "of {} openings towards {} within seconds the first {} were answered by that end, the {} that \
         followed {how}",
        burst.begun,
        case.opening.b,
        burst.answered,
        burst.begun - burst.last_answered
    ));
    Some(found(because, frames(case.packets.iter())))
}

fn found(because: String, frames: Vec<u64>) -> Diagnosed {
    Diagnosed {
        cause: OpeningCause::SynRateLimit,
        side: Some(Side::B),
        confidence: Confidence::Likely,
        because,
        frames,
        advice: "a limit on SYNs is on the way or at that end (flood protection, or a quota of a carrier's \
                 NAT, RFC 6888 REQ-4): send fewer, further apart, and wait before the next try"
            .to_owned(),
    }
}

/// RFC 1812 §5.2.7.1, RFC 4443 §3.1; RFC 5508 REQ-8 has a NAT refuse for want of resources so.
const fn is_prohibited(icmp: &Icmp) -> bool {
    match icmp.quote.source.is_ipv4() {
        true => matches!((icmp.kind, icmp.code), (3, 9 | 10 | 13)),
        false => matches!((icmp.kind, icmp.code), (1, 1)),
    }
}

/// One that is refused may have found a port closed which then was filtered.
const LEAST_ANSWERED_WITHIN: usize = 2;
const LEAST_ANSWERED: u32 = 3;

/// One that is not answered may have been lost.
const LEAST_LEFT: u32 = 2;

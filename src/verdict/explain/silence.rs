//! SYNs that nothing answered, and answers that nobody took.

use super::case::{Case, Seen, hops};
use super::cause::{Confidence, Diagnosed, OpeningCause, frames};
use super::refusal::sure;
use super::schedule::Stack;
use crate::tcp::{Post, Side};
use crate::time::{Duration, Instant};
use crate::wire::{Segment, Seq};

/// SYN after SYN with one number, at the pace of a host that waits for an answer.
pub fn no_answer(case: &Case<'_>) -> Option<Diagnosed> {
    let tries = unanswered(case)?;
    let lasted = tries.last()?.since(*tries.first()?);
    let stack =
        Stack::of(case).map_or(String::new(), |stack| format!(", at the pace of {}", stack.name()));
    // Whoever answers others is heard here; else the capture may have one direction alone.
    let hears = case.hearsay(Side::B).ttl.is_some();
    let unless = if hears {
        ""
    } else {
        "; nothing else from there is in the capture: one that has one direction alone looks the same"
    };
    let because = case.tell(format_args!(
        "{} SYNs left for {} in {:.1} s{stack}, and nothing came back, not even a reset{unless}",
        case.bare_syns(Side::A).count(),
        case.opening.b,
        lasted.as_secs_f64()
    ));
    Some(Diagnosed {
        cause: OpeningCause::NoAnswer,
        side: Some(Side::B),
        confidence: sure(case.post == Post::At(Side::A) && case.is_overdue() && hears),
        because,
        frames: frames(case.packets.iter()),
        advice: "that end was not there, or its NAT drops what it did not expect or maps it elsewhere: \
                 have it check its external endpoint with `tso-probe stun` from that very port, and its \
                 mapping with `tso-probe classify`"
            .to_owned(),
    })
}

/// The SYNs came in where b is, and it neither answered nor reset them.
pub fn local_firewall(case: &Case<'_>) -> Option<Diagnosed> {
    let came_in = case.opening.packets.iter().all(|kept| kept.inbound == Some(true));
    // Who else sends with a fresh TTL from that address is that host; a router would have taken one off.
    let is_here = case.hearsay(Side::B).ttl.is_some_and(|ttl| hops(ttl) == 0);
    let tries = if came_in && is_here { unanswered(case)? } else { return None };
    Some(Diagnosed {
        cause: OpeningCause::LocalFirewall,
        side: Some(Side::B),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} SYNs came in at the interface of the host of b, and it neither answered nor reset them, \
             as it would reset what comes to a closed port: its own packet filter drops them, or its \
             listener has too many waiting",
            tries.len()
        )),
        frames: frames(case.packets.iter()),
        advice:
            "see what the firewall of that host does with them (nft list ruleset), and whether its \
                 listener accepts (ss -ltn shows the queue)"
                .to_owned(),
    })
}

/// When a sent its SYN, if often enough, and nothing else was captured.
pub fn unanswered(case: &Case<'_>) -> Option<Vec<Instant>> {
    // Anything else that a sends answers what the capture has lost.
    let is_bare_syn = |seen: &Seen| seen.segment().is_some_and(Segment::is_bare_syn);
    let is_one_way = case.packets.iter().all(|seen| seen.from == Side::A && is_bare_syn(seen));
    let tries = longest_row(case);
    (is_one_way && tries.len() >= LEAST_TRIES).then_some(tries)
}

/// The moments of a's SYNs with the number that it used most, if they are as far apart as a host that
/// had no answer repeats them; one that was refused tries again sooner (Windows after half a second).
pub fn longest_row(case: &Case<'_>) -> Vec<Instant> {
    let mut rows: Vec<(Seq, Vec<Instant>)> = Vec::new();
    for (seen, syn) in case.bare_syns(Side::A) {
        match rows.iter_mut().find(|(number, _)| *number == syn.seq) {
            Some((_, row)) => row.push(seen.at),
            None => rows.push((syn.seq, vec![seen.at])),
        }
    }
    let longest = rows.into_iter().map(|(_, row)| row).max_by_key(Vec::len).unwrap_or_default();
    let is_patient = longest.windows(2).all(|pair| pair[1].since(pair[0]) > LEAST_PATIENCE);
    if is_patient { longest } else { Vec::new() }
}

/// The SYN,ACK arrived here, and the SYN or the SYN,ACK was sent again.
pub fn syn_ack_ignored(case: &Case<'_>) -> Option<Diagnosed> {
    if case.post != Post::At(Side::A) {
        return None;
    }
    let (answer, syn_ack) = case.syn_acks(Side::B).next()?;
    let later: Vec<_> = case
        .bare_syns(Side::A)
        .filter(|(seen, syn)| seen.at > answer.at + LEAST_PATIENCE && syn.seq + 1 == syn_ack.ack)
        .map(|(seen, _)| seen)
        .collect();
    let has_taken = case.sent(Side::A).any(|(_, segment)| segment.ack == syn_ack.seq + 1);
    (!later.is_empty() && !has_taken).then(|| Diagnosed {
        cause: OpeningCause::SynAckIgnored,
        side: Some(Side::A),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} answered with a SYN,ACK, which came this far, and {} went on sending its SYN: its own \
             packet filter, or another's on this network, eats it",
            case.name(Side::B),
            case.name(Side::A)
        )),
        frames: [vec![answer.frame], frames(later.into_iter())].concat(),
        advice:
            "see what the firewall of that host does with it (nft list ruleset): a rule that drops \
                 state invalid, or reverse-path filtering, does this"
                .to_owned(),
    })
}

/// An answer may be missing from the capture; those to three repetitions are not all missing by accident.
pub const LEAST_TRIES: usize = 4;

/// RFC 6298 §2.1 has a second; clocks of captures and coarse timers take something off.
const LEAST_PATIENCE: Duration = Duration::from_millis(900);

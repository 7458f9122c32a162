//! Resets and ICMP errors: who refused, and what.

mod answer;

use answer::Refusal;

use super::case::{Case, away, hops};
use super::cause::{Confidence, Diagnosed, OpeningCause, frames};
use super::crossing::refused;
use crate::tcp::Side;
use crate::time::Duration;
use crate::verdict::punch::icmp_meaning;
use crate::wire::{Flags, Icmp, Seq};

const SIDES: [Side; 2] = [Side::A, Side::B];

/// RFC 9293 §3.10.7.1: a host that knows of no connection answers what has an ACK with a reset that has
/// that number, and no ACK. Towards a SYN,ACK that answers its own SYN a kernel does that which did not send
/// the SYN, or whose socket has been closed since.
pub fn local_reset(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, syn_ack, reset) = SIDES.into_iter().find_map(|side| {
        let numbers: Vec<_> = case.bare_syns(side).map(|(_, syn)| syn.seq + 1).collect();
        let answers = case.syn_acks(side.opposite()).filter(|(_, sa)| numbers.contains(&sa.ack));
        let mut pairs = answers.filter_map(|(seen, syn_ack)| {
            let mut resets = case.resets(side);
            let (reset, _) = resets.find(|(reset, segment)| {
                let is_bare = !segment.flags.contains(Flags::ACK);
                let is_answer =
                    is_bare && segment.seq == syn_ack.ack && seen.at <= reset.at + CLOSE;
                is_answer && !case.is_injected(side, reset)
            })?;
            Some((side, seen, reset))
        });
        pairs.next()
    })?;
    // An acknowledgement before it would be that of a connection which was then aborted.
    let has_answered = case.sent(side).any(|(_, segment)| {
        let is_plain = !segment.is_reset() && !segment.flags.contains(Flags::SYN);
        is_plain && segment.flags.contains(Flags::ACK)
    });
    // One from a box ends what the host knew.
    let was_ended = case
        .resets(side.opposite())
        .any(|(end, _)| end.at <= reset.at + CLOSE && case.is_injected(side.opposite(), end));
    (!has_answered && !was_ended).then(|| Diagnosed {
        cause: OpeningCause::LocalReset,
        side: Some(side),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} sent a SYN, and reset the SYN,ACK that answered it: {CLOSED}",
            case.name(side)
        )),
        frames: vec![syn_ack.frame, reset.frame],
        advice: KEEP_OPEN.to_owned(),
    })
}

/// An end that had sent a SYN, and whose host resets the other's as one that knows of none. What ended its
/// own may be missing from the capture, hence no more than what it may have been.
pub fn reset_though_begun(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, own, syn, reset) = SIDES.into_iter().find_map(|side| {
        let (syn, reset) = refused(case, side.opposite())?;
        let (own, _) = case.bare_syns(side).next()?;
        // Once its own SYN is reset or given up, a host knows of none any more.
        let was_ended = case.resets(side.opposite()).any(|(end, _)| end.at <= reset.at + CLOSE)
            || case.errors(side).any(|(end, _)| end.at <= reset.at + CLOSE);
        let has_begun = own.at + CLOSE < reset.at;
        let is_its = !case.is_injected(side, reset);
        (has_begun && is_its && !was_ended).then_some((side, own, syn, reset))
    })?;
    let (name, other) = (case.name(side), case.name(side.opposite()));
    Some(Diagnosed {
        cause: OpeningCause::Unknown,
        side: Some(side),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{name} sent a SYN, and reset that of {other} as a host does that knows of none: {CLOSED}; or the \
             capture has lost the reset that refused the SYN of {name}"
        )),
        frames: vec![own.frame, syn.frame, reset.frame],
        advice: KEEP_OPEN.to_owned(),
    })
}

/// RFC 9293 §3.10.7.3, first: an ACK of another number than that of the SYN is reset with that number;
/// Linux sends its SYN again at once.
pub fn wrong_ack(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, strange, reset) = SIDES.into_iter().find_map(|side| {
        let numbers: Vec<_> = case.bare_syns(side).map(|(_, syn)| syn.seq).collect();
        let first = case.bare_syns(side).next()?.0.at;
        let is_foreign = |ack: Seq| numbers.iter().all(|seq| ack - *seq > MOST_ON_A_SYN);
        let mut strange = case.sent(side.opposite()).filter(|(seen, segment)| {
            let has_ack = segment.flags.contains(Flags::ACK) && !segment.is_reset();
            has_ack && is_foreign(segment.ack) && first <= seen.at + CLOSE
        });
        strange.find_map(|(seen, segment)| {
            let (reset, _) = case.resets(side).find(|(_, reset)| reset.seq == segment.ack)?;
            Some((side, seen, reset))
        })
    })?;
    let other = case.name(side.opposite());
    Some(Diagnosed {
        cause: OpeningCause::WrongAck,
        side: Some(side.opposite()),
        confidence: Confidence::Certain,
        because: case.tell(format_args!(
            "a segment from {other} acknowledged a number that no SYN of {} has; {0} reset it",
            case.name(side)
        )),
        frames: vec![strange.frame, reset.frame],
        advice: "an earlier connection between these endpoints is not over at that end, or a box \
                 answers in its place: take another local port, or wait until it is forgotten"
            .to_owned(),
    })
}

/// A reset that ends what had crossed: with the number that is expected then.
pub fn after_crossing(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, reset) = SIDES.into_iter().find_map(|side| {
        let expected = numbers_met(case, side);
        let mut resets = case.resets(side);
        let (reset, _) = resets.find(|(_, reset)| expected.contains(&reset.seq))?;
        (!case.is_injected(side, reset)).then_some((side, reset))
    })?;
    Some(Diagnosed {
        cause: OpeningCause::ResetAfterCrossing,
        side: Some(side),
        confidence: Confidence::Certain,
        because: case
            .tell(format_args!("the SYNs had met when {} reset the connection", case.name(side))),
        frames: vec![reset.frame],
        advice:
            "the program at that end gave up, or closed its socket too soon: look at its timeouts"
                .to_owned(),
    })
}

/// The numbers that a segment of that end has once its bare SYN and one of the other's have met: both were
/// seen, or the other's SYN,ACK with the number of its bare SYN.
fn numbers_met(case: &Case<'_>, side: Side) -> Vec<Seq> {
    let other = side.opposite();
    let has_met = case.bare_syns(other).next().is_some();
    let own = case.bare_syns(side).filter(|_| has_met).map(|(_, syn)| syn.seq + 1);
    let met = case
        .syn_acks(other)
        .filter(|(_, syn_ack)| case.bare_syns(other).any(|(_, syn)| syn.seq == syn_ack.seq));
    own.chain(met.map(|(_, syn_ack)| syn_ack.ack)).collect()
}

/// What an ICMP error says, and who says it.
pub fn icmp_error(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, seen, icmp) = SIDES.into_iter().find_map(|side| {
        let numbers: Vec<_> = case.bare_syns(side).map(|(_, syn)| syn.seq).collect();
        let mut errors = case.errors(side);
        let (seen, icmp) =
            errors.find(|(_, icmp)| is_fatal(icmp) && numbers.contains(&icmp.quote.seq))?;
        Some((side, seen, icmp))
    })?;
    let by = seen.packet.source;
    let whose = if by == case.end(side.opposite()).ip() {
        format!("{}'s own address, or its NAT's", case.name(side.opposite()))
    } else {
        "a router or firewall on the way".to_owned()
    };
    let because = case.tell(format_args!(
        "{by} ({whose}) answered the SYN of {} with an ICMP error, {}/{}{}",
        case.name(side),
        icmp.kind,
        icmp.code,
        icmp_meaning(by, icmp.kind, icmp.code)
    ));
    Some(Diagnosed {
        cause: OpeningCause::IcmpError,
        side: Some(side.opposite()),
        confidence: Confidence::Certain,
        because,
        frames: frames(case.errors(side).map(|(seen, _)| seen)),
        advice: icmp_advice(case, side, icmp),
    })
}

fn icmp_advice(case: &Case<'_>, side: Side, icmp: &Icmp) -> String {
    let ran_out = matches!(
        (icmp.quote.source.is_ipv4(), icmp.kind, icmp.code),
        (true, 11, 0) | (false, 3, 0)
    );
    let mut syns = case.bare_syns(side).filter(|_| ran_out);
    syns.find(|(_, syn)| syn.seq == icmp.quote.seq).map_or_else(
        || {
            "ask whoever runs that address; a NAT that answers a SYN which it did not expect within six \
             seconds breaks RFC 5382 REQ-4, and `tso-probe classify` behind it shows it"
                .to_owned()
        },
        |(syn, _)| {
            format!(
                "the TTL of the SYN, {} where it was captured, did not last: have {} send it with a larger \
                 one; if that was large enough, packets go round in a loop there",
                syn.packet.ttl,
                case.name(side)
            )
        },
    )
}

/// Whether it says that the segment was given up: what was too large may be sent again in parts, and a
/// redirect went on.
pub const fn is_fatal(icmp: &Icmp) -> bool {
    match (icmp.quote.source.is_ipv4(), icmp.kind) {
        (true, 3) => icmp.code != 4,
        (true, kind) => matches!(kind, 11 | 12),
        (false, kind) => matches!(kind, 1 | 3 | 4),
    }
}

pub fn middlebox_reset(case: &Case<'_>) -> Option<Diagnosed> {
    Refusal::all(case).find_map(|refusal| nearer_reset(case, &refusal))
}

/// A reset from nearer than the SYN or SYN,ACK of its sender, whatever it answers.
pub fn injected(case: &Case<'_>) -> Option<Diagnosed> {
    let mut all = SIDES.into_iter().flat_map(|side| case.resets(side));
    let (reset, segment) = all.find(|(reset, _)| case.is_injected(reset.from, reset))?;
    let (name, ttl) = (case.name(reset.from), reset.packet.ttl);
    Some(Diagnosed {
        cause: OpeningCause::MiddleboxReset,
        side: Some(reset.from),
        confidence: Confidence::Certain,
        because: case.tell(format_args!(
            "a reset came in the name of {name} from {} (TTL {ttl}, IP ID {}, window {}), nearer than what {name} \
             itself sent in this connection",
            away(ttl),
            reset.packet.id,
            segment.window
        )),
        frames: vec![reset.frame],
        advice: "a NAT or firewall before that host resets what it did not expect, or what it is told to: \
                 capture on both sides of it, or let it drop instead"
            .to_owned(),
    })
}

fn nearer_reset(case: &Case<'_>, refusal: &Refusal<'_>) -> Option<Diagnosed> {
    let (box_ttl, host_ttl) = (refusal.reset.packet.ttl, refusal.host?);
    let (box_hops, host_hops) = (hops(box_ttl), hops(host_ttl));
    // One from farther away than the host may be the host's, and what was heard of it a proxy's.
    let is_nearer = case.is_nearer(box_ttl, host_ttl);
    let is_early = box_hops == host_hops && refusal.is_early();
    if !is_nearer && !is_early {
        return None;
    }
    let name = case.name(refusal.by);
    let whence = if is_early {
        format!(
            "the reset came as if from {}, as what {name} itself sends, but too soon",
            away(box_ttl)
        )
    } else {
        format!(
            "the reset came from {} (TTL {box_ttl}), what {name} itself sent from {host_hops} (TTL {host_ttl})",
            away(box_ttl)
        )
    };
    Some(Diagnosed {
        cause: OpeningCause::MiddleboxReset,
        side: Some(refusal.by),
        confidence: sure(is_nearer && refusal.is_own),
        because: case.tell(format_args!("{whence}: {}", refusal.marks())),
        frames: vec![refusal.reset.frame],
        advice:
            "a NAT or firewall before that host resets what it did not expect (RFC 5382 REQ-4): \
                 have both ends send within the crossing window, or let that box drop instead"
                .to_owned(),
    })
}

pub fn closed_port(case: &Case<'_>) -> Option<Diagnosed> {
    let refusal = Refusal::of(case)?;
    let same = refusal.host.is_some_and(|host| hops(host) == hops(refusal.reset.packet.ttl));
    (same && refusal.is_canned()).then(|| Diagnosed {
        cause: OpeningCause::ClosedPort,
        side: Some(refusal.by),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} answered the SYN with a reset, from as far away as its other packets: nothing listens \
             or opens at {}",
            case.name(refusal.by),
            case.end(refusal.by)
        )),
        frames: vec![refusal.reset.frame],
        advice: "start the program there, or have both ends open at the same moment from the ports \
                 that the other aims at"
            .to_owned(),
    })
}

/// A reset of which no more is known than that it answered the SYN.
pub fn reset(case: &Case<'_>) -> Option<Diagnosed> {
    let refusal = Refusal::of(case)?;
    let looks = if refusal.is_canned() { ", as a host sends it for a closed port" } else { "" };
    let ttl = refusal.reset.packet.ttl;
    Some(Diagnosed {
        cause: OpeningCause::Reset,
        side: Some(refusal.by),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "a reset that acknowledges the SYN came{looks}, from {} (TTL {ttl}; {}); no other packet \
             from there tells whether the host or a box before it sent it",
            away(ttl),
            refusal.marks()
        )),
        frames: vec![refusal.reset.frame],
        advice: "see whether a program runs at that port; if it does, a NAT or firewall before it \
                 resets: capture there as well"
            .to_owned(),
    })
}

pub const fn sure(is_certain: bool) -> Confidence {
    if is_certain { Confidence::Certain } else { Confidence::Likely }
}

/// What is so close together may have been put out of order by the capture.
pub const CLOSE: Duration = Duration::from_millis(10);

/// Whose host resets what answers its SYN.
const CLOSED: &str = "its socket had been closed by then (a connect that was given up, or has lost against \
                      another), or its TCP knows nothing of the SYN (a prober with a raw socket)";

const KEEP_OPEN: &str = "see whether the program there gave up: wait longer before the socket is closed; a \
                         prober with raw sockets has to keep its kernel from answering, by a packet filter \
                         that drops resets from its port";

/// A SYN and the data that it may carry.
const MOST_ON_A_SYN: u32 = 1_500;

//! The other end's SYN came, between other endpoints than was expected.

use std::net::{IpAddr, Ipv4Addr};

use super::case::{Case, away, hops};
use super::cause::{Confidence, Diagnosed, OpeningCause};
use super::silence::unanswered;
use crate::capture::Call;
use crate::tcp::Side;
use crate::time::Duration;
use crate::wire::Endpoint;

/// A SYN of the other end's that went past this opening.
struct Past {
    /// The end that aimed at the wrong endpoint.
    side: Side,
    /// What it aimed at, and what it should have aimed at.
    aimed_at: Endpoint,
    came_from: Endpoint,
    frame: u64,
}

/// Calls of other connections that belong to this opening's ends: one that came to the end that opens
/// here, or one of the end that was aimed at and aimed elsewhere itself.
fn past<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Past> + 'a {
    let (a, b) = (case.opening.a, case.opening.b);
    let near = case.opening.related.iter().filter(|call| is_near(case, call));
    near.filter_map(move |call: &Call| {
        let Call { from, to, frame, .. } = *call;
        match () {
            // a aims at b, and a SYN comes to a from elsewhere.
            () if to == a && from != b => {
                Some(Past { side: Side::A, aimed_at: b, came_from: from, frame })
            }
            // b has aimed elsewhere than at a, whose SYN this is.
            () if from == b && to != a => {
                Some(Past { side: Side::B, aimed_at: to, came_from: a, frame })
            }
            () => None,
        }
    })
}

/// The same address, another port: the NAT in front of the other end maps each destination elsewhere.
pub fn other_port(case: &Case<'_>) -> Option<Diagnosed> {
    let is_other = |past: &Past| past.came_from.ip() == past.aimed_at.ip();
    let Past { side, aimed_at, came_from, frame } = past(case).find(is_other)?;
    let delta = i32::from(came_from.port()) - i32::from(aimed_at.port());
    let rule = match delta.unsigned_abs() {
        1..=SMALL_STEP => "ports are given out in order: the next ones can be foreseen",
        _ => "ports are drawn at random, or others took those between",
    };
    Some(Diagnosed {
        cause: OpeningCause::OtherPort,
        side: Some(side.opposite()),
        // A host of many ports, such as a prober's, may call from another one on purpose.
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} aimed at {aimed_at}, and the SYN from there came from port {}, {delta:+} away: the NAT \
             maps each destination to a port of its own ({rule})",
            case.name(side),
            came_from.port()
        )),
        frames: [case.packets.first().map(|seen| seen.frame), Some(frame)]
            .into_iter()
            .flatten()
            .collect(),
        advice: "have the port foreseen and more than one tried: `tso-probe punch --rendezvous`; \
                 `tso-probe ports` behind that NAT shows its rule"
            .to_owned(),
    })
}

/// Another address, of the kind that stays inside: a NAT turned the packet around without translating
/// its source.
pub fn internal_source(case: &Case<'_>) -> Option<Diagnosed> {
    let is_internal = |past: &Past| {
        let (came, aimed) = (past.came_from.ip(), past.aimed_at.ip());
        came != aimed && is_private(past.came_from) && !is_private(past.aimed_at)
    };
    // Whoever aims outwards from inside, and is called from inside.
    let mut inside =
        past(case).filter(|past| is_private(case.end(past.side)) && past.side == Side::A);
    let Past { side, aimed_at, came_from, frame } = inside.find(is_internal)?;
    // Any internal host may call; that it calls the very port which punches, from this moment on, is
    // no accident, but no proof.
    Some(Diagnosed {
        cause: OpeningCause::HairpinInternalSource,
        side: Some(side),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "{} aimed at {aimed_at}, and a SYN came from {came_from}, an internal endpoint: both ends \
             are behind one NAT, which turns packets around with their internal source (RFC 5382 \
             REQ-8a)",
            case.name(side)
        )),
        frames: vec![frame],
        advice: format!("aim at {came_from} as well: peers behind one NAT reach each other inside"),
    })
}

/// Another internal end aims at the same address as this one, each at the port that the other has: both
/// are behind one NAT, and neither SYN is turned around.
pub fn hairpin_unsupported(case: &Case<'_>) -> Option<Diagnosed> {
    let (a, b) = (case.opening.a, case.opening.b);
    let is_cross_aimed = |call: &&Call| {
        let ports = (call.from.port(), call.to.port()) == (b.port(), a.port());
        let is_inside = is_private(call.from) && call.from.ip() != a.ip();
        ports && is_inside && call.to.ip() == b.ip() && is_near(case, call)
    };
    let call = case.opening.related.iter().find(is_cross_aimed)?;
    // Towards a port that all have, such as a server's, all aim alike.
    let is_outward = is_private(a) && !is_private(b) && a.port() != b.port();
    let tries = unanswered(case).filter(|_| is_outward)?;
    Some(Diagnosed {
        cause: OpeningCause::HairpinUnsupported,
        side: Some(Side::A),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "a aims at {b}, and {} at {}: each at the other's port of one external address; {} SYNs of a \
             went there, and none came back to either: the NAT does not turn packets around (RFC 5382 REQ-8)",
            call.from,
            call.to,
            tries.len()
        )),
        frames: [case.packets.first().map(|seen| seen.frame), Some(call.frame)]
            .into_iter()
            .flatten()
            .collect(),
        advice: format!(
            "aim at {} as well: peers behind one NAT reach each other inside",
            call.from
        ),
    })
}

/// The mapping of an end went away while it was needed.
pub fn mapping_expired(case: &Case<'_>) -> Option<Diagnosed> {
    moved(case).or_else(|| forgotten(case))
}

/// One SYN, by its number, goes on from another port of the same address.
fn moved(case: &Case<'_>) -> Option<Diagnosed> {
    let (a, b) = (case.opening.a, case.opening.b);
    let is_same = |call: &&Call| {
        let is_a = call.to == b && call.from.ip() == a.ip() && call.from != a;
        is_a && case.bare_syns(Side::A).any(|(_, syn)| syn.seq == call.seq) && is_near(case, call)
    };
    // Scanners send one number from many ports at once; a host repeats it after a while.
    let is_apart = |call: &&Call| {
        let gap = FIRST_TIMEOUT.as_nanos() as u64;
        call.at > case.last.saturating_add(gap) || case.first > call.at.saturating_add(gap)
    };
    let call = case.opening.related.iter().filter(is_apart).find(is_same)?;
    let (_, first) = case.bare_syns(Side::A).next().map(|(seen, _)| (seen.at, seen.frame))?;
    let (before, after) = if call.at < case.first { (call.from, a) } else { (a, call.from) };
    let apart = Duration::from_nanos(call.at.abs_diff(case.first));
    Some(Diagnosed {
        cause: OpeningCause::MappingExpired,
        side: Some(Side::A),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "the SYN with the number {} came from {before}, and {:.1} s after it had first come from there \
             from {after}: its NAT had forgotten the mapping, and made another",
            call.seq,
            apart.as_secs_f64()
        )),
        frames: vec![first.min(call.frame), first.max(call.frame)],
        advice: "have the punch done before the mapping expires, which repeated SYNs need not renew, or \
                 begin anew: `tso-probe classify` shows how long that NAT keeps one"
            .to_owned(),
    })
}

/// b's endpoint was in use towards a, long ago; a's SYN to it is now reset by somebody nearer.
fn forgotten(case: &Case<'_>) -> Option<Diagnosed> {
    let (a, b) = (case.opening.a, case.opening.b);
    let silence = |call: &Call| Duration::from_nanos(case.first.saturating_sub(call.at));
    let is_earlier = |call: &&Call| (call.from, call.to) == (b, a) && silence(call) >= SHORTEST;
    let call = case.opening.related.iter().find(is_earlier)?;
    let host = case.hearsay(Side::B).ttl?;
    let numbers: Vec<_> = case.bare_syns(Side::A).map(|(_, syn)| syn.seq + 1).collect();
    let (reset, _) = case.resets(Side::B).find(|(_, reset)| numbers.contains(&reset.ack))?;
    let is_nearer = case.is_nearer(reset.packet.ttl, host);
    (is_nearer && case.bare_syns(Side::B).next().is_none()).then(|| Diagnosed {
        cause: OpeningCause::MappingExpired,
        side: Some(Side::B),
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "a SYN had come from {b} {:.0} s before; now one to it is reset from {}, and that SYN \
             came from {}: the NAT no longer knows whose that port was",
            silence(call).as_secs_f64(),
            away(reset.packet.ttl),
            hops(host)
        )),
        frames: vec![call.frame, reset.frame],
        advice:
            "keep the mapping in use, or learn the external endpoint anew right before the punch: \
                 `tso-probe classify` shows how long that NAT keeps one"
                .to_owned(),
    })
}

/// RFC 6052 §2.1: behind 64:ff9b::/96 are IPv4 hosts.
pub fn nat64(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, host) = [Side::B, Side::A]
        .into_iter()
        .find_map(|side| Some((side, translated(case.end(side))?)))?;
    Some(Diagnosed {
        cause: OpeningCause::Nat64,
        side: Some(side),
        confidence: Confidence::Certain,
        because: case.tell(format_args!(
            "{} is the IPv4 host {host} behind a NAT64 (RFC 6146): it never sees the address of {}, but one \
             of the NAT64",
            case.name(side),
            case.name(side.opposite())
        )),
        frames: case.packets.iter().map(|seen| seen.frame).collect(),
        advice: "the peer has to aim at the IPv4 endpoint that the NAT64 gives: learn it from an IPv4 server \
                 through the same prefix (`tso-probe stun`), and have the peer open as well, since a NAT64 \
                 lets nothing in that was not asked for"
            .to_owned(),
    })
}

fn translated(end: Endpoint) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = end.ip() else { return None };
    let [prefix @ .., a, b, c, d] = address.octets();
    (prefix == WELL_KNOWN).then(|| Ipv4Addr::new(a, b, c, d))
}

fn is_near(case: &Case<'_>, call: &Call) -> bool {
    let apart = APART.as_nanos() as u64;
    (case.first.saturating_sub(apart)..=case.last.saturating_add(apart)).contains(&call.at)
}

/// RFC 1918, RFC 6598, RFC 4193.
fn is_private(end: Endpoint) -> bool {
    match end.ip() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Two halves of one punch begin as close together as its ends' clocks and patience allow.
const APART: Duration = Duration::from_secs(30);

/// Further apart, the step is no rule.
const SMALL_STEP: u32 = 64;

/// RFC 6298 §2.1 has a second before anything is repeated, and clocks take something off.
const FIRST_TIMEOUT: Duration = Duration::from_millis(900);

/// The shortest time for which a NAT in common use keeps what is opening: that of netfilter for SYN-RECEIVED.
const SHORTEST: Duration = Duration::from_secs(60);

/// 64:ff9b::/96.
const WELL_KNOWN: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

//! The other end's SYN came, between other endpoints than was expected.

use super::case::{Case, name};
use super::cause::{Confidence, Diagnosed, OpeningCause};
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
    let until = case.last.saturating_add(APART.as_nanos() as u64);
    let since = case.first.saturating_sub(APART.as_nanos() as u64);
    let near = case.opening.related.iter().filter(move |call| (since..=until).contains(&call.at));
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
        because: format!(
            "{} aimed at {aimed_at}, and the SYN from there came from port {}, {delta:+} away: the NAT \
             maps each destination to a port of its own ({rule})",
            name(side),
            came_from.port()
        ),
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
        because: format!(
            "{} aimed at {aimed_at}, and a SYN came from {came_from}, an internal endpoint: both ends \
             are behind one NAT, which turns packets around with their internal source (RFC 5382 \
             REQ-8a)",
            name(side)
        ),
        frames: vec![frame],
        advice: format!("aim at {came_from} as well: peers behind one NAT reach each other inside"),
    })
}

/// RFC 1918, RFC 6598, RFC 4193.
fn is_private(end: Endpoint) -> bool {
    match end.ip() {
        std::net::IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        std::net::IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Two halves of one punch begin as close together as its ends' clocks and patience allow.
const APART: Duration = Duration::from_secs(30);

/// Further apart, the step is no rule.
const SMALL_STEP: u32 = 64;

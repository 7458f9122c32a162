//! Somebody on the way who answers in place of the host.

use super::case::{Case, Seen, away, hops};
use super::cause::{Confidence, Diagnosed, OpeningCause};
use super::refusal::sure;
use crate::tcp::{Post, Side};
use crate::wire::Segment;

const SIDES: [Side; 2] = [Side::A, Side::B];

/// A SYN proxy, such as netfilter's, answers the SYN by itself, with a cookie for a number and no window,
/// and opens towards the host once the last ACK has come; from then on the host itself is heard.
pub fn syn_proxy(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, answer, syn_ack) = answers(case).next()?;
    let is_shut = syn_ack.window == 0;
    let mut sent = case.sent(side);
    let host = sent.find(|(seen, _)| case.is_nearer(answer.packet.ttl, seen.packet.ttl));
    // One hop may be the router that captures, of whose copies some are missing.
    let is_far = |seen: &Seen| hops(seen.packet.ttl) > hops(answer.packet.ttl) + 1;
    let host = host.filter(|(seen, _)| is_shut || is_far(seen));
    let mut sent = case.sent(side);
    let update = sent.find(|(seen, segment)| {
        is_shut && !segment.is_reset() && segment.window > 0 && seen.at >= answer.at
    });
    let (later, _) = host.or(update)?;
    let window = if is_shut { " and announces no window" } else { "" };
    let because = if host.is_some() {
        format!(
            "the SYN,ACK comes from {} (TTL {}){window}, what {} sends in the same connection \
             from {} (TTL {}): somebody before it answered the SYN",
            away(answer.packet.ttl),
            answer.packet.ttl,
            case.name(side),
            hops(later.packet.ttl),
            later.packet.ttl
        )
    } else {
        format!("the SYN,ACK of {} announces no window, and the next segment one", case.name(side))
    };
    Some(Diagnosed {
        cause: OpeningCause::SynProxy,
        side: Some(side),
        confidence: sure(is_shut && host.is_some()),
        because,
        frames: vec![answer.frame, later.frame],
        advice: "a SYN proxy or firewall with SYN cookies is before that host: the SYN,ACK proves nothing \
                 of it, and simultaneous open through it fails; where it guards a flood alone, see what set \
                 it off"
            .to_owned(),
    })
}

/// What answers at this port is nearer than the host that has the address.
pub fn transparent_proxy(case: &Case<'_>) -> Option<Diagnosed> {
    let (side, answer, _) = answers(case).next()?;
    let here = hops(answer.packet.ttl);
    let is_one = case.sent(side).all(|(seen, _)| hops(seen.packet.ttl) == here);
    let elsewhere = case.hearsay(side).ttl_elsewhere.filter(|_| is_one)?;
    (case.is_nearer(answer.packet.ttl, elsewhere) && case.post != Post::At(side)).then(|| Diagnosed {
        cause: OpeningCause::TransparentProxy,
        side: Some(side),
        // A NAT may answer at one port by itself, and forward another.
        confidence: Confidence::Likely,
        because: case.tell(format_args!(
            "what {} sends from port {} comes from {} (TTL {}), what its address sends from \
             other ports from {} (TTL {elsewhere}): somebody nearer answers at this port, a transparent \
             proxy, or the address is that of a NAT which forwards the others",
            case.name(side),
            case.end(side).port(),
            away(answer.packet.ttl),
            answer.packet.ttl,
            hops(elsewhere)
        )),
        frames: vec![answer.frame],
        advice: "that a connection opens here proves nothing of the host; a punch needs a port that the \
                 proxy leaves alone"
            .to_owned(),
    })
}

/// The SYN,ACKs of ends that sent no SYN of their own.
fn answers<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (Side, &'a Seen, &'a Segment)> {
    let passive = SIDES.into_iter().filter(|side| case.bare_syns(*side).next().is_none());
    passive.filter_map(|side| {
        let (seen, segment) = case.syn_acks(side).min_by_key(|(seen, _)| hops(seen.packet.ttl))?;
        Some((side, seen, segment))
    })
}

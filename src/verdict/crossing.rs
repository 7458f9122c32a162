//! Whether a simultaneous open passed, and which of its segments did not (RFC 5382 REQ-2a).

use super::finding::{BlockedAt, Finding, Frame, Proof, Unknown};
use super::liveness::Liveness;
use super::view::{Asked, At, REPETITIONS, Sight, View, is_repeated};
use crate::engine::Question;
use crate::nat::{CrossingSegment, SimultaneousOpen};
use crate::wire::Endpoint;

type Passes = Finding<SimultaneousOpen, BlockedAt>;

/// Whether all four segments passed, in every repetition.
pub fn simultaneous_open(view: &View<'_>, liveness: &Liveness) -> Result<Passes, Unknown> {
    let asked = view.asked(Question::SimultaneousOpen);
    let opens: Vec<_> = asked.filter_map(|asked| Open::of(view, asked)).collect();
    if opens.len() < REPETITIONS {
        return Err(view.no_answer());
    }
    let blocked: Vec<_> = opens.iter().map(Open::blocked_at).collect();
    match blocked[0] {
        _ if blocked.iter().any(|segment| *segment != blocked[0]) => Err(Unknown::Contradicted),
        None => Ok(supported(&opens)),
        Some(segment) => stopped(view, liveness, &opens, segment),
    }
}

/// One simultaneous open, as far as it came.
struct Open<'a> {
    /// SYNs shot at it, those that arrived, our SYN,ACKs out, those that arrived, the reflector's
    /// SYN,ACKs in, those that arrived.
    syns_in: [Vec<Sight<'a>>; 2],
    syn_acks_out: [Vec<Sight<'a>>; 2],
    syn_acks_in: [Vec<Sight<'a>>; 2],
    /// SYNs beside our SYN,ACKs, those that arrived, and the SYN,ACKs to those that arrived here.
    beside: [usize; 3],
}

impl<'a> Open<'a> {
    fn of(view: &View<'a>, asked: &Asked) -> Option<Self> {
        let [crossing, beside] = asked.internal[..] else { return None };
        let remote = view.remotes?.contacted;
        let here = |sight: &Sight<'_>| sight.from == crossing || sight.to == crossing;
        let external = view.external(asked, crossing, remote).ok()??.0;
        let outside = |sight: &Sight<'_>| sight.from == external || sight.to == external;
        let all = |at, syn: bool| -> Vec<Sight<'a>> {
            let prober = matches!(at, At::LeftProber | At::ReachedProber);
            let of_kind = view.sights(asked.probe, at).iter().copied().filter(|sight| {
                if syn { sight.segment.is_bare_syn() } else { sight.segment.is_syn_ack() }
            });
            of_kind.filter(|sight| if prober { here(sight) } else { outside(sight) }).collect()
        };
        Some(Self {
            syns_in: [all(At::LeftReflector, true), all(At::ReachedProber, true)],
            syn_acks_out: [all(At::LeftProber, false), all(At::ReachedReflector, false)],
            syn_acks_in: [all(At::LeftReflector, false), all(At::ReachedProber, false)],
            beside: beside_of(view, asked, beside, &all(At::LeftProber, false)),
        })
        .filter(|open| !open.syns_in[0].is_empty())
    }

    fn blocked_at(&self) -> Option<CrossingSegment> {
        if self.syns_in[1].is_empty() {
            Some(CrossingSegment::SynIn)
        } else if self.syn_acks_out[1].is_empty() {
            Some(CrossingSegment::SynAckOut)
        } else if self.syn_acks_in[1].is_empty() {
            Some(CrossingSegment::SynAckIn)
        } else {
            None
        }
    }

    fn shown(&self) -> impl Iterator<Item = Frame> {
        let seen = [&self.syns_in[1], &self.syn_acks_out[1], &self.syn_acks_in[1]];
        seen.into_iter().flatten().map(|sight| sight.frame)
    }
}

/// Of the SYNs that went out right beside a SYN,ACK: how many there were, how many arrived, and how
/// many of their answers came back.
fn beside_of(
    view: &View<'_>,
    asked: &Asked,
    beside: Endpoint,
    syn_acks: &[Sight<'_>],
) -> [usize; 3] {
    let close = |sight: &Sight<'_>| {
        syn_acks.iter().any(|own| {
            let apart =
                sight.record.at.since(own.record.at).max(own.record.at.since(sight.record.at));
            apart <= BESIDE
        })
    };
    let left = view.syns(asked.probe, At::LeftProber);
    let left: Vec<_> = left.filter(|sight| sight.from == beside && close(sight)).collect();
    let reached: Vec<_> = view.syns(asked.probe, At::ReachedReflector).collect();
    let arrived = |sight: &&Sight<'_>| reached.iter().any(|seen| is_repeated(seen, sight));
    let answers = view.sights(asked.probe, At::ReachedProber);
    let answered = |sight: &&Sight<'_>| {
        let stamp = sight.segment.options.timestamps().map(|(value, _)| value);
        answers.iter().any(|seen| {
            let echo = seen.segment.options.timestamps().map(|(_, echo)| echo);
            // A NAT may strip timestamps; the answer repeats the identification too.
            let same_id = seen.record.packet.id == sight.record.packet.id;
            seen.to == beside && (same_id || (echo.is_some() && echo == stamp))
        })
    };
    [left.len(), left.iter().filter(arrived).count(), left.iter().filter(answered).count()]
}

fn supported(opens: &[Open<'_>]) -> Passes {
    let mut evidence: Vec<_> = opens.iter().flat_map(Open::shown).collect();
    evidence.sort_unstable();
    Finding::shown(SimultaneousOpen::Supported, evidence)
}

fn stopped(
    view: &View<'_>,
    liveness: &Liveness,
    opens: &[Open<'_>],
    segment: CrossingSegment,
) -> Result<Passes, Unknown> {
    let beside = |place: usize| opens.iter().map(|open| open.beside[place]).sum::<usize>();
    let tried = |open: &Open<'_>| match segment {
        CrossingSegment::SynIn => open.syns_in[0].iter().map(|sight| sight.frame).collect(),
        CrossingSegment::SynAckOut => open.syn_acks_out[0].iter().map(|s| s.frame).collect(),
        CrossingSegment::SynAckIn => {
            open.syn_acks_in[0].iter().map(|s| s.frame).collect::<Vec<_>>()
        }
    };
    let error_bound = match segment {
        CrossingSegment::SynIn => {
            let shots = opens.iter().flat_map(|open| &open.syns_in[0]);
            let volleys: Vec<_> = shots.filter_map(|sight| sight.record.volley).collect();
            let from = view.remotes.ok_or_else(|| view.no_answer())?.contacted;
            liveness.silence_in(from.ip(), &volleys)?
        }
        // What did not arrive at a reflector is known only once it has reported everything.
        _ if !view.complete => return Err(view.no_answer()),
        CrossingSegment::SynAckOut => liveness.silence_beside(beside(1), beside(0))?,
        CrossingSegment::SynAckIn => {
            let sent: usize = opens.iter().map(|open| open.syn_acks_in[0].len()).sum();
            liveness.silence_beside(beside(2).min(sent), beside(1))?
        }
    };
    let mut evidence: Vec<_> = opens.iter().flat_map(tried).collect();
    evidence.sort_unstable();
    let details = BlockedAt { blocked_at: Some(segment) };
    let proof = Proof { evidence, error_bound };
    Ok(Finding::Known { value: SimultaneousOpen::Blocked, details, proof })
}

/// Two packets that left this close together met the same path.
const BESIDE: crate::time::Duration = crate::time::Duration::from_millis(10);

//! Whether SYNs to our own external endpoints came back in, and from where (RFC 5382 REQ-8).

use super::finding::{Finding, Findings, Frame, NoDetails, Proof, Unknown};
use super::liveness::Liveness;
use super::view::{Asked, At, REPETITIONS, Sight, View, is_same};
use crate::engine::{Question, Remotes};
use crate::nat::{CrossingSegment, Filtering, Hairpinning, Mapping, PortAssignment};
use crate::time::Instant;
use crate::wire::Endpoint;

/// Whether hairpinning works. Silence counts only where the other findings say that a knock would
/// have found its way: at an endpoint that is the same for all, open to all, preserved or predicted.
pub fn hairpinning(
    view: &View<'_>,
    liveness: &Liveness,
    findings: &Findings,
    external_addresses: usize,
) -> Result<Finding<Hairpinning>, Unknown> {
    if view.remotes.is_none() {
        return Err(view.no_answer());
    }
    let all = view.asked(Question::Hairpinning).chain(view.asked(Question::HairpinningPredicted));
    let knocked: Vec<_> = all.map(|asked| Knocks::of(view, asked)).collect();
    let back: Vec<_> = knocked.iter().filter(|knocks| !knocks.back.is_empty()).collect();
    let forms = || back.iter().flat_map(|knocks| &knocks.back);
    if let Some((form, _)) = forms().next() {
        if forms().any(|(other, _)| other != form) {
            return Err(Unknown::Contradicted);
        }
        // A SYN of ours that comes back is no chance: one shows what many do.
        let mut evidence: Vec<_> = forms().map(|(_, frame)| *frame).collect();
        evidence.sort_unstable();
        return Ok(Finding::shown(*form, evidence));
    }
    if external_addresses > 1 {
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    if view.probes().any(|asked| is_refused(view, asked)) {
        return Err(Unknown::NoAnswer);
    }
    let way = way(findings)?;
    unless_crossing_is_blocked(findings)?;
    let fit: Vec<_> = knocked.iter().filter(|knocks| knocks.fits(way)).collect();
    if fit.len() < REPETITIONS {
        return Err(view.no_answer());
    }
    let tries: Vec<_> = fit.iter().flat_map(|knocks| knocks.tries(liveness)).collect();
    let error_bound = liveness.silence_around(&tries)?;
    let mut evidence: Vec<_> =
        fit.iter().flat_map(|knocks| &knocks.sent).map(|(.., frame)| *frame).collect();
    evidence.sort_unstable();
    let proof = Proof { evidence, error_bound };
    Ok(Finding::Known { value: Hairpinning::Unsupported, details: NoDetails {}, proof })
}

/// Whether a probe's SYNs left again and again and none came out of the NAT: one that has no port left
/// to give drops knocks as well.
fn is_refused(view: &View<'_>, asked: &Asked) -> bool {
    let left = view.syns(asked.probe, At::LeftProber).filter(|syn| view.is_reflector(syn.to.ip()));
    left.count() >= REPETITIONS && view.syns(asked.probe, At::ReachedReflector).next().is_none()
}

/// Behind a filter a SYN that comes back in crosses the one that opened the filter: where crossing
/// SYNs do not pass, silence says nothing of hairpinning.
fn unless_crossing_is_blocked(findings: &Findings) -> Result<(), Unknown> {
    if findings.filtering.after_syn.value() == Some(&Filtering::EndpointIndependent) {
        return Ok(());
    }
    let open = &findings.simultaneous_open;
    match open.details() {
        Some(at) if at.blocked_at == Some(CrossingSegment::SynIn) => {
            Err(Unknown::HiddenByOtherBehaviour)
        }
        Some(_) => Ok(()),
        None => Err(open.why().unwrap_or(Unknown::NoAnswer)),
    }
}

/// How a knock finds its way to an external endpoint of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A reflector has shown the endpoint.
    Shown,
    /// The port is the internal one.
    Preserved,
    /// The port is the next in sequence.
    Predicted,
}

fn way(findings: &Findings) -> Result<Way, Unknown> {
    let unknown = |why: Option<Unknown>| Err(why.unwrap_or(Unknown::NoAnswer));
    let filtering = &findings.filtering.after_syn;
    let Some(assignment) = findings.port_assignment.value() else {
        return unknown(findings.port_assignment.why());
    };
    if *assignment == PortAssignment::Preservation {
        return Ok(Way::Preserved);
    }
    match (findings.mapping.value(), filtering.value()) {
        (None, _) => unknown(findings.mapping.why()),
        (Some(Mapping::EndpointIndependent), _) => Ok(Way::Shown),
        (_, Some(Filtering::EndpointIndependent)) => Ok(Way::Shown),
        _ if *assignment == PortAssignment::Sequential => Ok(Way::Predicted),
        (_, None) => unknown(filtering.why()),
        _ => Err(Unknown::HiddenByOtherBehaviour),
    }
}

/// The knocks of one probe.
struct Knocks {
    way: Option<Way>,
    sent: Vec<(Instant, Endpoint, Frame)>,
    /// Those that came back, and in which form.
    back: Vec<(Hairpinning, Frame)>,
}

impl Knocks {
    fn of(view: &View<'_>, asked: &Asked) -> Self {
        let Some(remotes) = view.remotes else {
            return Self { way: None, sent: Vec::new(), back: Vec::new() };
        };
        let left = view.sights(asked.probe, At::LeftProber).iter();
        let knocks: Vec<_> = left.filter(|sight| !view.is_reflector(sight.to.ip())).collect();
        let syns = knocks.iter().filter(|sight| sight.segment.is_bare_syn());
        let sent = syns.map(|sight| (sight.record.at, sight.from, sight.frame)).collect();
        // A router answers what knocks at itself with segments of its own.
        let ours = |sight: &Sight<'_>| {
            let one = |knock: &&Sight<'_>| {
                knock.segment.flags == sight.segment.flags && is_same(knock, sight)
            };
            knocks.iter().any(one)
        };
        let reached = view.sights(asked.probe, At::ReachedProber).iter();
        let reached = reached.filter(|sight| !view.is_reflector(sight.from.ip()) && ours(sight));
        let back = reached.map(|sight| {
            let internal = asked.internal.contains(&sight.from);
            let form =
                if internal { Hairpinning::InternalSource } else { Hairpinning::ExternalSource };
            (form, sight.frame)
        });
        Self { way: way_of(view, asked, remotes), sent, back: back.collect() }
    }

    /// When a knock went out that nothing but the NAT can have kept from coming back: one from the
    /// other end had gone out before and opened the filter.
    fn tries(&self, liveness: &Liveness) -> impl Iterator<Item = Instant> {
        let passed = self.sent.iter().filter(|(at, _, frame)| liveness.passed_out((*frame, *at)));
        let passed: Vec<_> = passed.map(|(at, from, _)| (*at, *from)).collect();
        let opened = passed.clone();
        let is_try = move |(at, from): &(Instant, Endpoint)| {
            opened.iter().any(|(before, other)| before < at && other != from)
        };
        passed.into_iter().filter(is_try).map(|(at, _)| at)
    }

    /// Whether this probe's knocks were on their way; where ports are preserved, so is what a
    /// reflector has shown.
    fn fits(&self, way: Way) -> bool {
        !self.sent.is_empty() && self.way == Some(way)
    }
}

/// How a probe chose where to knock.
fn way_of(view: &View<'_>, asked: &Asked, remotes: Remotes) -> Option<Way> {
    if asked.question == Question::HairpinningPredicted {
        return untouched(view, asked, remotes).then_some(Way::Predicted);
    }
    let contacted = view.syns(asked.probe, At::ReachedReflector).next().is_some();
    Some(if contacted { Way::Shown } else { Way::Preserved })
}

/// Whether the NAT's ports went on by one step only while we knocked: the knocks took none.
fn untouched(view: &View<'_>, asked: &Asked, remotes: Remotes) -> bool {
    let [first, second, _, _, after] = asked.internal[..] else { return false };
    let port = |internal| {
        let external = view.external(asked, internal, remotes.contacted).ok().flatten();
        external.map(|(external, _)| external.port())
    };
    match (port(first), port(second), port(after)) {
        (Some(first), Some(second), Some(after)) => {
            second.wrapping_sub(first) == after.wrapping_sub(second)
        }
        _ => false,
    }
}

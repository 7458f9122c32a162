//! Filtering: whose SYNs got in (RFC 4787 §5), after an outbound SYN and once established.

use super::finding::{Finding, Frame, Proof, Unknown};
use super::liveness::Liveness;
use super::view::{Asked, At, REPETITIONS, View};
use crate::engine::Question;
use crate::nat::Filtering;
use crate::wire::Endpoint;
use crate::wire::control::Volley;

/// Whether the SYNs of a stranger got in.
#[derive(Clone, Debug)]
pub struct Reach {
    pub got_in: bool,
    pub proof: Proof,
}

/// Who is let in, among those that the internal endpoint has not contacted.
pub fn filtering(
    view: &View<'_>,
    liveness: &Liveness,
    question: Question,
) -> Result<Finding<Filtering>, Unknown> {
    let remotes = view.remotes.ok_or_else(|| view.no_answer())?;
    let port = reach(view, liveness, question, remotes.other_port)?;
    let Some(other_address) = remotes.other_address else {
        // Whoever keeps out another port of the address contacted keeps out everybody.
        return match port.got_in {
            true => Err(Unknown::NeedsSecondAddress),
            false => Ok(known(Filtering::AddressAndPortDependent, [port.proof].into())),
        };
    };
    let address = reach(view, liveness, question, other_address)?;
    let class = match (port.got_in, address.got_in) {
        (true, true) => Filtering::EndpointIndependent,
        (true, false) => Filtering::AddressDependent,
        (false, false) => Filtering::AddressAndPortDependent,
        (false, true) => return Err(Unknown::Contradicted),
    };
    Ok(known(class, vec![port.proof, address.proof]))
}

fn known(value: Filtering, proofs: Vec<Proof>) -> Finding<Filtering> {
    let details = super::finding::NoDetails {};
    Finding::Known { value, details, proof: Proof::of_all(proofs) }
}

/// Whether SYNs from this stranger got in.
pub fn reach(
    view: &View<'_>,
    liveness: &Liveness,
    question: Question,
    from: Endpoint,
) -> Result<Reach, Unknown> {
    let knocks: Vec<_> = view.asked(question).map(|asked| Knocks::of(view, asked, from)).collect();
    let tried: Vec<_> = knocks.iter().filter(|knocks| !knocks.sent.is_empty()).collect();
    if tried.len() < REPETITIONS {
        return Err(view.no_answer());
    }
    let open = tried.iter().filter(|knocks| !knocks.arrived.is_empty()).count();
    if open == tried.len() {
        let evidence = tried.iter().flat_map(|knocks| knocks.arrived.clone()).collect();
        return Ok(Reach { got_in: true, proof: Proof { evidence, error_bound: 0.0 } });
    }
    let sent: Vec<_> = tried.iter().flat_map(|knocks| knocks.sent.clone()).collect();
    let volleys: Vec<_> = sent.iter().map(|(volley, _)| *volley).collect();
    let silence = liveness.silence_in(from.ip(), &volleys);
    if open > 0 {
        // Where the path is good, a stranger that gets in here and not there is a contradiction.
        return Err(silence.err().unwrap_or(Unknown::Contradicted));
    }
    let evidence = sent.iter().map(|(_, frame)| *frame).collect();
    Ok(Reach { got_in: false, proof: Proof { evidence, error_bound: silence? } })
}

/// A stranger's SYNs to one mapping.
struct Knocks {
    sent: Vec<(Volley, Frame)>,
    arrived: Vec<Frame>,
}

impl Knocks {
    fn of(view: &View<'_>, asked: &Asked, from: Endpoint) -> Self {
        let left = view.syns(asked.probe, At::LeftReflector).filter(|sight| sight.from == from);
        let sent = left.filter_map(|sight| Some((sight.record.volley?, sight.frame))).collect();
        let reached = view.syns(asked.probe, At::ReachedProber).filter(|sight| sight.from == from);
        Self { sent, arrived: reached.map(|sight| sight.frame).collect() }
    }
}

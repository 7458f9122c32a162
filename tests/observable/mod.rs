//! What of a behaviour can be observed, from the definitions of RFC 4787, RFC 5382 and RFC 7857
//! alone: nothing here knows how the classifier works. Whatever one behaviour hides of another has
//! its line in `docs/hidden.md`; the line's name stands at the branch.

use tso_probe::nat::{
    Answer, Assignment, CrossingSegment, Fallback, Filtering, HOLD, Hairpinning, Knobs, Mapping,
    Pooling, PortAssignment, Sharing, Unsolicited, UnsolicitedSyn,
};
use tso_probe::time::Duration;
use tso_probe::verdict::{Finding, Findings, Unknown};

/// From where, and how long, a NAT is observed.
#[derive(Clone, Copy, Debug)]
pub struct Vantage {
    /// Whether reflectors have two addresses between them.
    pub second_address: bool,
    /// Whether a second internal host takes part.
    pub second_internal: bool,
    /// Whether answers are waited for that come only after seconds.
    pub patient: bool,
}

/// Findings without their evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    pub mapping: Result<Mapping, Unknown>,
    pub on_port_clash: Result<Clash, Unknown>,
    pub filtering: Result<Filtering, Unknown>,
    pub filtering_established: Result<Filtering, Unknown>,
    pub port_assignment: Result<(PortAssignment, Option<i32>), Unknown>,
    pub unmapped_port: Result<Met, Unknown>,
    pub filtered_port: Result<Met, Unknown>,
    /// The segment that is blocked, if one is.
    pub simultaneous_open: Result<Option<CrossingSegment>, Unknown>,
    pub hairpinning: Result<Hairpinning, Unknown>,
}

/// What two hosts that want one port meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clash {
    pub mapping: Mapping,
    pub port_assignment: PortAssignment,
    pub overlapping: bool,
    pub order_counts: bool,
}

/// What met an unsolicited SYN: the answer, an ICMP error's code, and after how many milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Met {
    pub value: UnsolicitedSyn,
    pub icmp: Option<String>,
    pub after_ms: Option<u64>,
}

/// What NATs in a row show together, as one.
pub struct Together {
    pub knobs: Knobs,
    /// What meets a SYN of a stranger that they do not let in.
    pub filtered: Unsolicited,
    /// Whether any SYN of a stranger is answered with an ICMP error.
    pub errors: bool,
    /// How the inner one of two chooses a port where two hosts want one, if the outer one never sees
    /// them clash.
    pub settles: Option<Fallback>,
}

impl Together {
    pub fn alone(knobs: &Knobs) -> Self {
        let errors = is_error(knobs.unsolicited);
        Self { knobs: knobs.clone(), filtered: knobs.unsolicited, errors, settles: None }
    }
}

/// What can be observed of them. `around` is how long a packet takes from a reflector to the
/// outermost and back.
pub fn observable(row: &Together, vantage: Vantage, around: Duration) -> Observation {
    let knobs = &row.knobs;
    let clash = match row.settles {
        Some(fallback) => settled_clash(knobs, fallback, vantage),
        None => on_port_clash(knobs, vantage),
    };
    let unmapped_port = met(knobs.unsolicited, vantage, around);
    let filtered_port = filtered_port(knobs, vantage, met(row.filtered, vantage, around));
    let [unmapped_port, filtered_port] = [unmapped_port, filtered_port].map(|met| match met {
        // hidden.md, ICMP errors: silence beside them may be that of a limiter.
        Ok(met) if row.errors && met.value == UnsolicitedSyn::Dropped => Err(Unknown::Contradicted),
        met => met,
    });
    Observation {
        mapping: mapping(knobs, vantage),
        on_port_clash: clash,
        filtering: filtering(knobs.filtering, vantage),
        filtering_established: filtering(knobs.filtering_established, vantage),
        port_assignment: Ok(port_assignment(knobs)),
        filtered_port,
        unmapped_port,
        simultaneous_open: Ok(knobs.blocks),
        hairpinning: hairpinning(knobs, vantage),
    }
}

/// RFC 4787 §4.1, with internal ports that no two hosts want.
fn mapping(knobs: &Knobs, vantage: Vantage) -> Result<Mapping, Unknown> {
    // hidden.md, overlapping: without a clash every remote sees the one port that is preserved.
    let drawn = knobs.pooling == Pooling::Arbitrary;
    let seen = if overlaps(knobs) && !drawn { Mapping::EndpointIndependent } else { knobs.mapping };
    match seen {
        Mapping::AddressAndPortDependent => Ok(seen),
        // hidden.md, one address: all that differs by the address looks alike.
        _ if !vantage.second_address => Err(Unknown::NeedsSecondAddress),
        // hidden.md, arbitrary pooling: one port at one address may be two lucky draws.
        _ if drawn && keeps_ports(knobs) => Err(Unknown::HiddenByOtherBehaviour),
        _ => Ok(seen),
    }
}

fn keeps_ports(knobs: &Knobs) -> bool {
    matches!(knobs.ports, Assignment::Preservation(_) | Assignment::Overloading)
}

fn on_port_clash(knobs: &Knobs, vantage: Vantage) -> Result<Clash, Unknown> {
    if !vantage.second_internal {
        return Err(Unknown::NeedsSecondInternal);
    }
    // hidden.md, one address.
    if knobs.mapping != Mapping::AddressAndPortDependent && !vantage.second_address {
        return Err(Unknown::NeedsSecondAddress);
    }
    // hidden.md, arbitrary pooling: two hosts at two addresses do not clash.
    if knobs.pooling == Pooling::Arbitrary && keeps_ports(knobs) {
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    Ok(Clash {
        mapping: knobs.mapping,
        port_assignment: match knobs.ports {
            Assignment::Overloading => PortAssignment::Overloading,
            _ => chosen(knobs.ports, knobs.on_clash),
        },
        overlapping: overlaps(knobs) || knobs.ports == Assignment::Overloading,
        order_counts: knobs.ports == Assignment::Preservation(Sharing::OverlappingReuse),
    })
}

/// Two hosts that want one port behind two NATs, the inner of which keeps ports: it gives the second
/// host another, and the outer one never sees a clash.
fn settled_clash(outer: &Knobs, fallback: Fallback, vantage: Vantage) -> Result<Clash, Unknown> {
    if !vantage.second_internal {
        return Err(Unknown::NeedsSecondInternal);
    }
    let (mapping, port_assignment) = (mapping(outer, vantage)?, chosen(outer.ports, fallback));
    Ok(Clash { mapping, port_assignment, overlapping: false, order_counts: false })
}

/// How a port is chosen where the wanted one is taken.
fn chosen(ports: Assignment, fallback: Fallback) -> PortAssignment {
    match (ports, fallback) {
        (Assignment::Random, _) => PortAssignment::Random,
        (Assignment::Sequential(_), _) => PortAssignment::Sequential,
        (_, Fallback::Random) => PortAssignment::Random,
        (_, Fallback::Sequential(_)) => PortAssignment::Sequential,
    }
}

/// RFC 7857 §3: two hosts have one external port at once, towards different remotes.
fn overlaps(knobs: &Knobs) -> bool {
    use Sharing::{Overlapping, OverlappingReuse};
    matches!(knobs.ports, Assignment::Preservation(Overlapping | OverlappingReuse))
}

/// RFC 4787 §5.
fn filtering(filtering: Filtering, vantage: Vantage) -> Result<Filtering, Unknown> {
    match filtering {
        // hidden.md, one address.
        Filtering::EndpointIndependent | Filtering::AddressDependent if !vantage.second_address => {
            Err(Unknown::NeedsSecondAddress)
        }
        _ => Ok(filtering),
    }
}

/// RFC 4787 §4.2.1, with internal ports that no two hosts want: overloading is preservation then.
fn port_assignment(knobs: &Knobs) -> (PortAssignment, Option<i32>) {
    match knobs.ports {
        Assignment::Preservation(_) | Assignment::Overloading => {
            (PortAssignment::Preservation, None)
        }
        // hidden.md, parity: a step that is even or odd as the next internal port needs.
        Assignment::Sequential(step) if knobs.parity => {
            (PortAssignment::Sequential, Some(step.signum()))
        }
        Assignment::Sequential(step) => (PortAssignment::Sequential, Some(step)),
        Assignment::Random => (PortAssignment::Random, None),
    }
}

/// Whether it answers with an ICMP error.
pub const fn is_error(unsolicited: Unsolicited) -> bool {
    matches!(unsolicited.answer, Answer::Unreachable(_))
}

/// RFC 5382 §4.3.
fn met(unsolicited: Unsolicited, vantage: Vantage, around: Duration) -> Result<Met, Unknown> {
    let silent = unsolicited.answer == Answer::Silence;
    if !vantage.patient && (silent || !unsolicited.after.is_zero()) {
        return Err(Unknown::NotWaited);
    }
    // hidden.md, late answers: how long a run listens beyond REQ-4's six seconds is its own affair.
    if !silent && unsolicited.after > HOLD {
        return Err(Unknown::NotWaited);
    }
    Ok(answered(unsolicited, around))
}

/// What meets a SYN, however late.
pub fn answered(unsolicited: Unsolicited, around: Duration) -> Met {
    // hidden.md, holding: whether the answer is that to a SYN that was held, its delay does not say.
    let after = u64::try_from((unsolicited.after + around).as_millis()).expect("seconds");
    let answer = |value, icmp| Met { value, icmp, after_ms: Some(after) };
    match unsolicited.answer {
        Answer::Silence => Met { value: UnsolicitedSyn::Dropped, icmp: None, after_ms: None },
        Answer::Reset => answer(UnsolicitedSyn::Reset, None),
        Answer::Unreachable(code) => answer(UnsolicitedSyn::IcmpError, Some(format!("3/{code}"))),
    }
}

fn filtered_port(
    knobs: &Knobs,
    vantage: Vantage,
    met: Result<Met, Unknown>,
) -> Result<Met, Unknown> {
    match knobs.filtering {
        // hidden.md, filtering: nothing that is mapped is filtered.
        Filtering::EndpointIndependent => Err(Unknown::HiddenByOtherBehaviour),
        Filtering::AddressDependent if !vantage.second_address => {
            Err(Unknown::HiddenByOtherBehaviour)
        }
        _ => met,
    }
}

/// RFC 5382 §7.2.
fn hairpinning(knobs: &Knobs, vantage: Vantage) -> Result<Hairpinning, Unknown> {
    let whereabouts = whereabouts(knobs, vantage);
    if !can_be_reached(knobs, vantage) {
        return Err(whereabouts.expect_err("what nobody can reach, nobody knows how to reach"));
    }
    if knobs.hairpinning != Hairpinning::Unsupported {
        return Ok(knobs.hairpinning);
    }
    whereabouts?;
    if knobs.pooling == Pooling::Arbitrary {
        // hidden.md, arbitrary pooling: which of the addresses was meant is anybody's guess.
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    let unfiltered = filtering(knobs.filtering, vantage) == Ok(Filtering::EndpointIndependent);
    if !unfiltered && knobs.blocks == Some(CrossingSegment::SynIn) {
        // hidden.md, crossing SYNs: those that open the filter cross those that would come in.
        return Err(Unknown::HiddenByOtherBehaviour);
    }
    Ok(Hairpinning::Unsupported)
}

/// Whether one internal endpoint can aim at where another is open for it.
fn can_be_reached(knobs: &Knobs, vantage: Vantage) -> bool {
    match (knobs.mapping, knobs.filtering) {
        (Mapping::EndpointIndependent, _) | (_, Filtering::EndpointIndependent) => true,
        _ => match knobs.ports {
            Assignment::Preservation(_) | Assignment::Overloading => true,
            // hidden.md, random ports: where a port is open for the NAT's own address, nothing shows.
            Assignment::Random => false,
            // Whoever sees one port for all remotes sees no need to predict another.
            Assignment::Sequential(_) => mapping(knobs, vantage).is_ok(),
        },
    }
}

/// Whether it is known that it did, so that silence means something.
fn whereabouts(knobs: &Knobs, vantage: Vantage) -> Result<(), Unknown> {
    let seen = mapping(knobs, vantage);
    match knobs.ports {
        Assignment::Preservation(_) | Assignment::Overloading => Ok(()),
        _ if seen? == Mapping::EndpointIndependent => Ok(()),
        Assignment::Sequential(_) => Ok(()),
        Assignment::Random => match filtering(knobs.filtering, vantage)? {
            Filtering::EndpointIndependent => Ok(()),
            _ => Err(Unknown::HiddenByOtherBehaviour),
        },
    }
}

/// What a judge found.
pub fn found(findings: &Findings) -> Observation {
    let unsolicited = &findings.unsolicited_syn;
    Observation {
        mapping: result(&findings.mapping, |value, _| *value),
        on_port_clash: result(&findings.on_port_clash, |clash, _| Clash {
            mapping: clash.mapping,
            port_assignment: clash.port_assignment,
            overlapping: clash.overlapping,
            order_counts: clash.order_counts,
        }),
        filtering: result(&findings.filtering.after_syn, |value, _| *value),
        filtering_established: result(&findings.filtering.established, |value, _| *value),
        port_assignment: result(&findings.port_assignment, |value, ports| (*value, ports.step)),
        unmapped_port: result(&unsolicited.unmapped_port, met_of),
        filtered_port: result(&unsolicited.filtered_port, met_of),
        simultaneous_open: result(&findings.simultaneous_open, |_, at| at.blocked_at),
        hairpinning: result(&findings.hairpinning, |value, _| *value),
    }
}

fn met_of(value: &UnsolicitedSyn, details: &tso_probe::verdict::Answered) -> Met {
    Met { value: *value, icmp: details.icmp.clone(), after_ms: details.after_ms }
}

fn result<T, D, R>(finding: &Finding<T, D>, of_known: impl Fn(&T, &D) -> R) -> Result<R, Unknown> {
    match finding {
        Finding::Known { value, details, .. } => Ok(of_known(value, details)),
        Finding::Unknown { why, .. } => Err(*why),
    }
}

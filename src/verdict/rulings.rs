//! RFC 5382's requirements, ruled on from the findings.

use super::finding::{Answered, Finding, Findings, Frame, Unknown};
use super::{Decision, Level, Ruling};
use crate::nat::{
    Filtering, HOLD, Hairpinning, Mapping, PortAssignment, SimultaneousOpen, UnsolicitedSyn,
};

/// Every requirement, asked or not, in order.
pub fn rulings(findings: &Findings) -> Vec<Ruling> {
    REQUIREMENTS.iter().map(|(id, level)| rule(id, *level, findings)).collect()
}

fn rule(id: &'static str, level: Level, findings: &Findings) -> Ruling {
    let (ruling, because, evidence) = match id {
        "REQ-1" => mapping(findings),
        "REQ-2a" => simultaneous_open(findings),
        "REQ-3" => filtering(findings),
        "REQ-4" => unsolicited(findings),
        "REQ-7" => overloading(findings),
        "REQ-8" => hairpinning(findings),
        "REQ-8a" => hairpinning_source(findings),
        _ => (Decision::NotAsked, "this command does not ask".to_owned(), Vec::new()),
    };
    Ruling { id, level, ruling, because, evidence }
}

type Ruled = (Decision, String, Vec<Frame>);

fn ruled(decision: Decision, because: &str, evidence: &[Frame]) -> Ruled {
    (decision, because.to_owned(), evidence.to_vec())
}

/// No ruling for want of a finding; where there was nobody to ask, it was not asked either.
fn unknown(what: &str, why: Option<Unknown>) -> Ruled {
    let (_, because, evidence) = undecided(what, why);
    match why {
        Some(Unknown::NeedsReflector) => (Decision::NotAsked, because, evidence),
        _ => (Decision::Undecided, because, evidence),
    }
}

/// Undecided for want of a finding, another being known.
fn undecided(what: &str, why: Option<Unknown>) -> Ruled {
    let why = why.map_or_else(String::new, |why| format!(": {}", why.name()));
    (Decision::Undecided, format!("{what} is unknown{why}"), Vec::new())
}

/// REQ-1: the mapping is endpoint-independent; on a port clash too.
fn mapping(findings: &Findings) -> Ruled {
    let Some(mapping) = findings.mapping.value() else {
        return unknown("the mapping", findings.mapping.why());
    };
    let evidence = findings.mapping.evidence();
    if *mapping != Mapping::EndpointIndependent {
        return ruled(Decision::Broken, "the external endpoint depends on the remote", evidence);
    }
    let clash = findings.on_port_clash.evidence();
    match (findings.on_port_clash.value(), findings.port_assignment.value()) {
        (Some(on_clash), _) if on_clash.mapping != Mapping::EndpointIndependent => ruled(
            Decision::Broken,
            "endpoint-independent, but not once two internal hosts want one port",
            clash,
        ),
        (Some(_), _) => ruled(Decision::Met, "one external endpoint for all remotes", evidence),
        (None, Some(PortAssignment::Sequential | PortAssignment::Random)) => ruled(
            Decision::Met,
            "one external endpoint for all remotes; no port to clash over",
            evidence,
        ),
        (None, _) => undecided("what happens on a port clash", findings.on_port_clash.why()),
    }
}

fn simultaneous_open(findings: &Findings) -> Ruled {
    let finding = &findings.simultaneous_open;
    match finding.value() {
        Some(SimultaneousOpen::Supported) => ruled(
            Decision::Met,
            "all four segments of a simultaneous open pass",
            finding.evidence(),
        ),
        Some(SimultaneousOpen::Blocked) => ruled(
            Decision::Broken,
            "a segment of a simultaneous open is blocked",
            finding.evidence(),
        ),
        None => unknown("whether a simultaneous open passes", finding.why()),
    }
}

/// REQ-3: endpoint-independent or address-dependent filtering is recommended.
fn filtering(findings: &Findings) -> Ruled {
    let finding = &findings.filtering.after_syn;
    let evidence = finding.evidence();
    match finding.value() {
        Some(Filtering::EndpointIndependent) => {
            ruled(Decision::Met, "filters nobody, as transparency asks", evidence)
        }
        Some(Filtering::AddressDependent) => {
            ruled(Decision::Met, "filters by address, as stricter filtering asks", evidence)
        }
        Some(Filtering::AddressAndPortDependent) => {
            ruled(Decision::Broken, "filters by address and port, stricter than either", evidence)
        }
        None => unknown("the filtering", finding.why()),
    }
}

/// REQ-4: no answer to an unsolicited SYN for six seconds. What becomes of a held one is not asked
/// here, so this is never met.
fn unsolicited(findings: &Findings) -> Ruled {
    let both = [&findings.unsolicited_syn.unmapped_port, &findings.unsolicited_syn.filtered_port];
    if let Some(early) = both.into_iter().find(|finding| is_early(finding)) {
        return ruled(Decision::Broken, "answered within six seconds", early.evidence());
    }
    match both[0].value() {
        Some(_) => ruled(
            Decision::Undecided,
            "no answer within six seconds; what becomes of a held SYN was not asked",
            both[0].evidence(),
        ),
        None => unknown("what meets an unsolicited SYN", both[0].why()),
    }
}

fn is_early(finding: &Finding<UnsolicitedSyn, Answered>) -> bool {
    let after_ms = finding.details().and_then(|answered| answered.after_ms);
    after_ms.is_some_and(|after_ms| u128::from(after_ms) < HOLD.as_millis())
}

/// REQ-7: no port overloading. Overlapping towards different remotes is another thing, which
/// RFC 7857 §3 permits.
fn overloading(findings: &Findings) -> Ruled {
    let clash = &findings.on_port_clash;
    match (clash.value(), findings.port_assignment.value()) {
        (Some(on_clash), _) if on_clash.port_assignment == PortAssignment::Overloading => ruled(
            Decision::Broken,
            "two internal hosts shared a port towards one remote",
            clash.evidence(),
        ),
        (Some(_), _) => ruled(
            Decision::Met,
            "two internal hosts never shared a port towards one remote",
            clash.evidence(),
        ),
        (None, Some(PortAssignment::Sequential | PortAssignment::Random)) => ruled(
            Decision::Met,
            "ports are not those of the internal hosts",
            findings.port_assignment.evidence(),
        ),
        (None, Some(_)) => undecided("what happens on a port clash", clash.why()),
        (None, None) => unknown("the port assignment", findings.port_assignment.why()),
    }
}

fn hairpinning(findings: &Findings) -> Ruled {
    let finding = &findings.hairpinning;
    match finding.value() {
        Some(Hairpinning::Unsupported) => ruled(
            Decision::Broken,
            "SYNs to an external endpoint do not come back in",
            finding.evidence(),
        ),
        Some(_) => {
            ruled(Decision::Met, "SYNs to an external endpoint come back in", finding.evidence())
        }
        None => unknown("hairpinning", finding.why()),
    }
}

fn hairpinning_source(findings: &Findings) -> Ruled {
    let finding = &findings.hairpinning;
    match finding.value() {
        Some(Hairpinning::ExternalSource) => {
            ruled(Decision::Met, "they come from the external endpoint", finding.evidence())
        }
        Some(Hairpinning::InternalSource) => {
            ruled(Decision::Broken, "they come from the internal endpoint", finding.evidence())
        }
        Some(Hairpinning::Unsupported) => ruled(
            Decision::Undecided,
            "nothing comes back whose source could be seen",
            finding.evidence(),
        ),
        None => unknown("hairpinning", finding.why()),
    }
}

/// RFC 5382 §4 to §7: each requirement with its level.
const REQUIREMENTS: [(&str, Level); 16] = [
    ("REQ-1", Level::Must),
    ("REQ-2", Level::Must),
    ("REQ-2a", Level::Must),
    ("REQ-3", Level::Should),
    ("REQ-3a", Level::May),
    ("REQ-3b", Level::May),
    ("REQ-4", Level::Must),
    ("REQ-4a", Level::Must),
    ("REQ-5", Level::Must),
    ("REQ-5a", Level::May),
    ("REQ-6", Level::Should),
    ("REQ-7", Level::Must),
    ("REQ-8", Level::Must),
    ("REQ-8a", Level::Must),
    ("REQ-9", Level::Should),
    ("REQ-10", Level::Must),
];

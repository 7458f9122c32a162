//! Facts and trace → findings, rulings, and what they mean for a punch.
//!
//! [`judge`] is pure: a live run, a simulated one and an evidence file with the same content get
//! the same verdict.

mod by_stun;
mod clash;
mod crossing;
mod explain;
mod filtering;
mod finding;
mod hairpin;
mod liveness;
mod mapping;
mod merge;
mod outlook;
mod ports;
mod punch;
mod row;
mod rulings;
mod stun;
mod summary;
mod trouble;
mod unsolicited;
mod view;
mod window;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

pub use explain::{
    Brief, Confidence, Connection, ConnectionOutcome, Diagnosed, OpeningCause, PassedLine, SeenAt,
    Stack, Tally, explain,
};
pub use finding::{
    Answered, BlockedAt, FilteringFinding, Finding, Findings, Frame, NoDetails, OnPortClash, Ports,
    Prediction, Proof, Unknown, UnsolicitedSynFinding,
};

pub use merge::{
    Ahead, Carried, Change, Field, FrameOf, MatchedBy, Merged, MergedCause, PacketFate, Part,
    Passed, SeenPoint, Span, merge,
};
pub use outlook::{Between, Outlook, outlook};
pub use ports::{NextPort, NextPorts, PortsVerdict, RuleBelief, SeenFlow, judge_ports};
pub use punch::{
    Alone, Attempt, Cause, Diagnosis, Foreseen, Measured, Missed, PunchEnd, PunchVerdict, Socket,
    StateChange, StateSource, Testimony, Timing, TraceLine, Witnesses, is_punch, judge_punch,
};
pub use stun::{Agreement, Payload, Problem, StunServer, StunVerdict, judge_stun};

pub use window::{MeasuredEdge, PredictedWindow, WindowTrial, WindowVerdict, judge_window};

use by_stun::ByStun;
use liveness::Liveness;
use view::{At, View};

use crate::engine::{Effort, Fact, Question, Run, Trouble};
use crate::wire::Endpoint;

/// Judges a run.
pub fn judge(run: &Run) -> Verdict {
    let view = View::new(run);
    let by_stun = view.stun.then(|| ByStun::of(run));
    let mut vantage = vantage(&view, run);
    let mut findings = findings(&view, vantage.external.len());
    let mut trouble: Vec<_> = run.facts.iter().filter_map(|(_, fact)| fact.trouble()).collect();
    if let Some(by_stun) = by_stun {
        by_stun.fill(&mut vantage);
        findings.mapping = by_stun.mapping;
        trouble.extend(by_stun.trouble);
    }
    Verdict {
        requirements: rulings::rulings(&findings),
        summary: summary::summary(&findings),
        findings,
        vantage,
        plan: account(run),
        traversal: Vec::new(),
        troubles: trouble.iter().map(ToString::to_string).collect(),
        trouble,
    }
}

/// The findings, those that others depend on first.
fn findings(view: &View<'_>, external_addresses: usize) -> Findings {
    let liveness = Liveness::of(view);
    let given = mapping::given(view);
    let port_assignment = known(mapping::port_assignment(view, &given));
    let why = port_assignment.why().unwrap_or(Unknown::NoAnswer);
    let assignment = port_assignment.value().copied().ok_or(why);
    let filtering = |question| known(filtering::filtering(view, &liveness, question));
    let mut findings = Findings {
        mapping: known(mapping::mapping(view, &given)),
        on_port_clash: known(clash::on_port_clash(view, &given, assignment)),
        filtering: FilteringFinding {
            after_syn: filtering(Question::Filtering),
            established: filtering(Question::FilteringEstablished),
        },
        unsolicited_syn: UnsolicitedSynFinding {
            unmapped_port: known(unsolicited::unmapped_port(view, &liveness)),
            filtered_port: known(unsolicited::filtered_port(view, &liveness)),
        },
        simultaneous_open: known(crossing::simultaneous_open(view, &liveness)),
        hairpinning: Finding::unknown(Unknown::NotAsked),
        port_assignment,
    };
    let hairpinning = hairpin::hairpinning(view, &liveness, &findings, external_addresses);
    findings.hairpinning = known(hairpinning);
    findings
}

fn known<T, D: Default>(finding: Result<Finding<T, D>, Unknown>) -> Finding<T, D> {
    finding.unwrap_or_else(Finding::unknown)
}

fn vantage(view: &View<'_>, run: &Run) -> Vantage {
    let mut external = Vec::new();
    let syns = view.probes().flat_map(|asked| view.syns(asked.probe, At::ReachedReflector));
    for sight in syns.filter(|sight| !external.contains(&sight.from.ip())).collect::<Vec<_>>() {
        if !external.contains(&sight.from.ip()) {
            external.push(sight.from.ip());
        }
    }
    let endpoints = run.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Welcomed { endpoints, .. } => Some(endpoints.clone()),
        _ => None,
    });
    let nat_levels = view.internal.first().filter(|own| external.contains(own)).map(|_| 0);
    let interface = run.facts.iter().find_map(|(_, fact)| match fact {
        Fact::Through { interface } => Some(interface.clone()),
        _ => None,
    });
    let host_firewall = run.facts.iter().find_map(|(_, fact)| match fact {
        Fact::Alone { filters, .. } => filters.clone(),
        _ => None,
    });
    let (internal, reflectors) = (view.internal.clone(), endpoints.flatten().collect());
    Vantage { internal, external, reflectors, interface, host_firewall, nat_levels }
}

fn account(run: &Run) -> PlanAccount {
    let ended = run.facts.iter().map(|(at, _)| *at).max().unwrap_or_default();
    let planned = run.facts.iter().find_map(|(_, fact)| match fact {
        Fact::Planned { effort, longest, round_trips, .. } => {
            Some((*effort, longest.as_secs_f64(), *round_trips))
        }
        _ => None,
    });
    let (effort, longest_s, round_trips) = planned.unwrap_or_default();
    PlanAccount { effort, longest_s, took_s: ended.since_start().as_secs_f64(), round_trips }
}

/// All that a run says of a NAT.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Behaviours known, or unknown with a why.
    pub findings: Findings,
    /// RFC 5382's requirements, ruled on.
    pub requirements: Vec<Ruling>,
    /// From where the NAT was seen.
    pub vantage: Vantage,
    /// The run's own account.
    pub plan: PlanAccount,
    /// Which punches would work against which peers; empty until predictions exist.
    pub traversal: Vec<Traversal>,
    /// One plain paragraph: what this means for a punch.
    pub summary: String,
    /// What spoiled the run, if anything did, in words. Not said of the NAT.
    pub troubles: Vec<String>,
    /// The same as values, for whoever chooses the exit code.
    #[serde(skip)]
    pub trouble: Vec<Trouble>,
}

/// One requirement of RFC 5382, ruled on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ruling {
    /// `REQ-1`, `REQ-2a`.
    pub id: &'static str,
    /// How binding it is, in the RFC's word.
    pub level: Level,
    /// The ruling.
    pub ruling: Decision,
    /// Why, in a sentence.
    pub because: String,
    /// The frames that show it.
    pub evidence: Vec<Frame>,
}

/// How binding a requirement is (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// MUST or MUST NOT.
    Must,
    /// SHOULD, SHOULD NOT or RECOMMENDED.
    Should,
    /// MAY.
    May,
}

/// What can be said of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is met.
    Met,
    /// It is not.
    Broken,
    /// It was asked, and cannot be told.
    Undecided,
    /// It was not asked.
    NotAsked,
}

/// From where the NAT was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Vantage {
    /// The internal addresses that asked.
    pub internal: Vec<IpAddr>,
    /// The external addresses seen, in order of first sight.
    pub external: Vec<IpAddr>,
    /// The reflectors' endpoints that took part; the STUN servers' where those stood in for them.
    pub reflectors: Vec<Endpoint>,
    /// The interface, on a live network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// This host's packet filter tables, where there was no reflector to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_firewall: Option<Vec<String>>,
    /// Levels of NAT, if known; 0 when internal and external addresses are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat_levels: Option<u8>,
}

/// The run's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PlanAccount {
    /// How much patience it had.
    pub effort: Effort,
    /// The longest that it could take, promised before the start.
    pub longest_s: f64,
    /// What it took.
    pub took_s: f64,
    /// The round trips of its longest chain.
    pub round_trips: u32,
}

/// Whether a punch with a class of peer would work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Traversal {}

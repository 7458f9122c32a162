//! What servers saw of flows from ports of the host's choice → by which rule the host and its NAT
//! choose ports, and which come next.

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::{Fact, Run, StunOutcome, Trouble};
use crate::nat::PortAssignment;
use crate::rendezvous::predict::{self, Forecast, Observation, Question, forecast};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// What `ports` answers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PortsVerdict {
    /// The rules by which the NAT may choose external ports, the likeliest first.
    pub nat: Vec<RuleBelief>,
    /// The rules by which this host's TCP may choose local ports, the likeliest first.
    pub host: Vec<RuleBelief>,
    /// Which external port comes next.
    pub next: Option<NextPorts>,
    /// The flows that this stands on, in the order in which they began.
    pub flows: Vec<SeenFlow>,
    /// How many flows came to nothing.
    pub failed: usize,
    /// What spoiled the run, in prose.
    pub troubles: Vec<String>,
    /// The same, to act upon.
    #[serde(skip)]
    pub trouble: Vec<Trouble>,
}

/// A rule, and how likely it is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RuleBelief {
    /// The rule in one word.
    pub rule: PortAssignment,
    /// The rule in full.
    pub text: String,
    /// How likely it is, from 0 to 1.
    pub probability: f64,
    /// How many of the flows that it had an expectation of it foresaw.
    pub foreseen: usize,
    /// How many it had an expectation of.
    pub of: usize,
    /// How many ports others take in a second, where that matters to the rule.
    pub others_per_s: Option<f64>,
}

/// Which port comes next.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NextPorts {
    /// To whom the next flow goes.
    pub to: Endpoint,
    /// The likeliest ports, the likeliest first, at most 16.
    pub ports: Vec<NextPort>,
    /// How likely the first of them is right, one of the first four, and one of all.
    pub chances: [f64; 3],
}

/// A port that may be next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NextPort {
    /// The port.
    pub port: u16,
    /// How likely it is, from 0 to 1.
    pub probability: f64,
}

/// One flow as a server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SeenFlow {
    /// When it began, in milliseconds after the first.
    pub at_ms: f64,
    /// To whom it went.
    pub server: Endpoint,
    /// The port that this host chose.
    pub internal: u16,
    /// The endpoint that the server saw.
    pub external: Endpoint,
}

/// Judges a survey; `to` is whom the next flow goes to, or else the first server.
pub fn judge_ports(run: &Run, to: Option<Endpoint>) -> PortsVerdict {
    let mut seen: Vec<_> = run.facts.iter().filter_map(|(at, fact)| flow(*at, fact)).collect();
    seen.sort_by_key(|(at, _)| at.as_nanos());
    let asked = run.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Stun(_))).count();
    let trouble: Vec<_> = run.facts.iter().filter_map(|(_, fact)| fact.trouble()).collect();
    let forecast = foreseen(&seen, to);
    let (to, forecast) = forecast.map_or((None, None), |(to, forecast)| (Some(to), Some(forecast)));
    let begun = seen.first().map_or(Instant::START, |(at, _)| *at);
    let flow = |(at, flow): &(Instant, SeenFlow)| {
        let at_ms = at.since(begun).as_secs_f64() * 1e3;
        SeenFlow { at_ms, ..*flow }
    };
    PortsVerdict {
        nat: forecast.iter().flat_map(|forecast| &forecast.rules).map(RuleBelief::from).collect(),
        host: forecast.iter().flat_map(|forecast| &forecast.host).map(RuleBelief::from).collect(),
        next: to.zip(forecast).map(|(to, forecast)| NextPorts::of(to, &forecast)),
        flows: seen.iter().map(flow).collect(),
        failed: asked - seen.len(),
        troubles: trouble.iter().map(ToString::to_string).collect(),
        trouble,
    }
}

/// A flow and when it began: a round trip before it stood, and another before it was answered.
fn flow(noted: Instant, fact: &Fact) -> Option<(Instant, SeenFlow)> {
    let Fact::Stun(asked) = fact else { return None };
    let StunOutcome::Answered(answer) = &asked.outcome else { return None };
    let at = Instant::START + noted.since_start().saturating_sub(2 * answer.round_trip);
    let (internal, external) = (answer.local.port(), answer.external);
    Some((at, SeenFlow { at_ms: 0.0, server: asked.server, internal, external }))
}

/// What is to be expected of a flow that begins as long after the last as flows were apart.
fn foreseen(seen: &[(Instant, SeenFlow)], to: Option<Endpoint>) -> Option<(Endpoint, Forecast)> {
    let ((first, one), (last, _)) = (seen.first()?, seen.last()?);
    let apart = last.since(*first) / u32::try_from(seen.len()).unwrap_or(u32::MAX);
    let remote = to.unwrap_or(one.server);
    let question = Question { at: *last + apart.max(SOON), remote, internal: None };
    let observation = |(at, flow): &(Instant, SeenFlow)| Observation {
        at: *at,
        remote: flow.server,
        internal: Some(flow.internal),
        external: flow.external.port(),
    };
    let observations: Vec<_> = seen.iter().map(observation).collect();
    Some((remote, forecast(&observations, &question)))
}

impl From<&predict::Belief> for RuleBelief {
    fn from(belief: &predict::Belief) -> Self {
        let predict::Belief { rule, probability, foreseen, of, others_per_s } = *belief;
        let (text, rule) = (rule.to_string(), rule.assignment());
        Self { rule, text, probability, foreseen, of, others_per_s }
    }
}

impl NextPorts {
    fn of(to: Endpoint, forecast: &Forecast) -> Self {
        let candidates = forecast.next.iter().take(MOST_SHOWN);
        let ports =
            candidates.map(|next| NextPort { port: next.port, probability: next.probability });
        let chances = [1, 4, MOST_SHOWN].map(|count| forecast.chance(count));
        Self { to, ports: ports.collect(), chances }
    }
}

/// As many as a punch may well try.
const MOST_SHOWN: usize = 16;

/// Nobody begins a flow sooner after another.
const SOON: Duration = Duration::from_millis(1);

//! What the answers of STUN servers say of the NAT (RFC 8489, RFC 5780 §4.3). What is wrong with a
//! server is said of the server, and its answers then say nothing of the NAT.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::finding::{Finding, Proof, Unknown};
use crate::engine::{End, Fact, Run, StunAnswer, StunAsked, StunOutcome, Trouble, Unreached};
use crate::nat::Mapping;
use crate::probe::is_another;
use crate::wire::Endpoint;

/// What `stun` answers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StunVerdict {
    /// Every endpoint that was asked: each server, and behind it the other endpoints that it named.
    pub servers: Vec<StunServer>,
    /// Our external endpoints, as those servers saw them that count.
    pub external: Vec<Endpoint>,
    /// Whether anything translates: whether a server saw another endpoint than our own.
    pub translated: Finding<bool>,
    /// Whether the servers that were given saw the same external endpoint.
    pub agreement: Finding<Agreement>,
    /// The mapping, by the four endpoints of a server with two addresses, or by servers at several
    /// addresses that saw the same.
    pub mapping: Finding<Mapping>,
    /// What becomes of addresses in the clear on their way through the NAT.
    pub payload: Finding<Payload>,
    /// What spoiled the run, in prose.
    pub troubles: Vec<String>,
    /// The same, to act upon.
    #[serde(skip)]
    pub trouble: Vec<Trouble>,
}

/// One endpoint of a STUN server, and what became of asking it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StunServer {
    /// The endpoint.
    pub server: Endpoint,
    /// The endpoint that named this one as another of its server.
    pub named_by: Option<Endpoint>,
    /// Our end of the connection.
    pub local: Option<Endpoint>,
    /// The same end as the server saw it.
    pub external: Option<Endpoint>,
    /// From the request to the answer, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// What the server calls itself.
    pub software: Option<String>,
    /// What is wrong with it.
    pub problem: Option<Problem>,
    /// The same in words, and what is odd about it without being wrong.
    pub remark: Option<String>,
}

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It takes no connections at that port.
    Refused,
    /// Nothing answered the connection.
    TimedOut,
    /// No way leads there.
    NoWay,
    /// The same connection stands, or has ended less than a minute ago.
    LocalTaken,
    /// No connection, for a reason that was not said.
    Unreachable,
    /// It closed or reset the connection instead of answering.
    HungUp,
    /// It took the connection and said nothing.
    Silent,
    /// It answered with an error.
    ErrorResponse,
    /// What it said is no answer.
    Nonsense,
    /// Its answer contradicts itself.
    ContradictsItself,
}

/// Whether servers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// All saw the same external endpoint.
    Same,
    /// They saw several.
    Different,
}

/// What becomes of an address in the clear (RFC 5382 REQ-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// It arrives as it was sent.
    Untouched,
    /// The NAT replaces its external address by ours.
    Rewritten,
}

/// Judges what STUN servers said.
pub fn judge_stun(run: &Run) -> StunVerdict {
    let asked: Vec<_> = run.facts.iter().filter_map(|(_, fact)| as_stun(fact)).collect();
    let counted: Vec<_> = asked.iter().filter_map(|asked| Counted::of(asked)).collect();
    let trouble: Vec<_> = run.facts.iter().filter_map(|(_, fact)| fact.trouble()).collect();
    let external: BTreeSet<_> = counted.iter().map(|counted| counted.answer.external).collect();
    StunVerdict {
        servers: servers(&asked),
        external: external.into_iter().collect(),
        translated: known(translated(&counted)),
        agreement: known(agreement(&counted)),
        mapping: known(mapping(&counted, &asked, is_cut_short(&trouble))),
        payload: known(payload(&counted)),
        troubles: trouble.iter().map(ToString::to_string).collect(),
        trouble,
    }
}

/// Each server, behind it its other endpoints.
fn servers(asked: &[&StunAsked]) -> Vec<StunServer> {
    let given = asked.iter().filter(|asked| asked.named_by.is_none());
    let all = given.flat_map(|given| {
        let named = asked.iter().filter(|asked| asked.named_by == Some(given.server));
        std::iter::once(given).chain(named)
    });
    all.map(|asked| StunServer::of(asked)).collect()
}

fn as_stun(fact: &Fact) -> Option<&StunAsked> {
    if let Fact::Stun(asked) = fact { Some(asked) } else { None }
}

fn known<T>(found: Result<T, Unknown>) -> Finding<T> {
    match found {
        Ok(value) => Finding::Known { value, details: Default::default(), proof: Proof::default() },
        Err(why) => Finding::unknown(why),
    }
}

/// A server whose answer counts.
struct Counted<'a> {
    server: Endpoint,
    given: bool,
    answer: &'a StunAnswer,
}

impl<'a> Counted<'a> {
    fn of(asked: &'a StunAsked) -> Option<Self> {
        match &asked.outcome {
            StunOutcome::Answered(answer) if !contradicts_itself(answer) => {
                Some(Self { server: asked.server, given: asked.named_by.is_none(), answer })
            }
            _ => None,
        }
    }
}

/// Whether an answer names two external endpoints, and the second is not what a NAT that rewrites
/// payloads would make of the first: our own.
fn contradicts_itself(answer: &StunAnswer) -> bool {
    answer.mapped.is_some_and(|mapped| mapped != answer.external && mapped != answer.local)
}

fn translated(counted: &[Counted<'_>]) -> Result<bool, Unknown> {
    let mut same = counted.iter().map(|counted| counted.answer.external == counted.answer.local);
    let first = same.next().ok_or(Unknown::NoAnswer)?;
    if same.all(|other| other == first) { Ok(!first) } else { Err(Unknown::Contradicted) }
}

fn agreement(counted: &[Counted<'_>]) -> Result<Agreement, Unknown> {
    // Only what was asked from one local endpoint can be compared.
    let mut seen: BTreeMap<Endpoint, Vec<Endpoint>> = BTreeMap::new();
    for counted in counted.iter().filter(|counted| counted.given) {
        seen.entry(counted.answer.local).or_default().push(counted.answer.external);
    }
    let differ = |all: &Vec<Endpoint>| all.iter().any(|one| *one != all[0]);
    match seen.values().map(Vec::len).max() {
        None => Err(Unknown::NoAnswer),
        _ if seen.values().any(differ) => Ok(Agreement::Different),
        Some(1) => Err(Unknown::NeedsSecondAddress),
        Some(_) => Ok(Agreement::Same),
    }
}

/// Whether servers may be left that were to be asked.
fn is_cut_short(trouble: &[Trouble]) -> bool {
    trouble.iter().any(|trouble| matches!(trouble, Trouble::Interrupted | Trouble::Host { .. }))
}

fn mapping(
    counted: &[Counted<'_>],
    asked: &[&StunAsked],
    is_cut_short: bool,
) -> Result<Mapping, Unknown> {
    if counted.is_empty() {
        return Err(Unknown::NoAnswer);
    }
    // Where addresses are masked, only what was asked tells whether an address could be.
    let was_asked = |end: Endpoint| asked.iter().any(|asked| asked.server == end);
    let seen =
        |counted: &Counted<'_>| ((counted.answer.local, counted.server), counted.answer.external);
    let seen: BTreeMap<_, _> = counted.iter().map(seen).collect();
    let given = counted.iter().filter(|counted| counted.given);
    let classes = given.filter_map(|counted| {
        let other = counted.answer.other.filter(|other| is_another(counted.server, *other))?;
        was_asked(other).then(|| class(&seen, counted, other))
    });
    let classes: Vec<_> = classes.collect();
    let told: BTreeSet<_> = classes.iter().flatten().copied().collect();
    let contradicted = classes.contains(&Err(Unknown::Contradicted)) || told.len() > 1;
    let class = told.first().copied();
    match class {
        _ if contradicted => Err(Unknown::Contradicted),
        Some(class) if speaks_against(class, counted) => Err(Unknown::Contradicted),
        Some(class) => Ok(class),
        None if is_seen_alike(counted) => Ok(Mapping::EndpointIndependent),
        None if classes.is_empty() && !is_cut_short => Err(Unknown::NeedsSecondAddress),
        None => Err(Unknown::NoAnswer),
    }
}

/// Whether servers at several addresses saw the same of one local endpoint, and none of any saw
/// something else: then neither address nor port counts. If they differ, it may be either.
fn is_seen_alike(counted: &[Counted<'_>]) -> bool {
    let far = pairs(counted).any(|(one, other)| one.server.ip() != other.server.ip());
    far && !speaks_against(Mapping::EndpointIndependent, counted)
}

/// Every two servers that were asked from one local endpoint.
fn pairs<'a>(
    counted: &'a [Counted<'a>],
) -> impl Iterator<Item = (&'a Counted<'a>, &'a Counted<'a>)> {
    let pairs = counted
        .iter()
        .enumerate()
        .flat_map(|(place, one)| counted[place + 1..].iter().map(move |other| (one, other)));
    pairs.filter(|(one, other)| one.answer.local == other.answer.local)
}

/// The class that a server's four endpoints show (RFC 5780 §4.3).
fn class(
    seen: &BTreeMap<(Endpoint, Endpoint), Endpoint>,
    counted: &Counted<'_>,
    other: Endpoint,
) -> Result<Mapping, Unknown> {
    let (local, own) = (counted.answer.local, counted.server);
    let at = |address: Endpoint, port: Endpoint| {
        seen.get(&(local, Endpoint::new(address.ip(), port.port()))).copied()
    };
    let (here, here_too) = (at(own, own), at(own, other));
    let (there, there_too) = (at(other, own), at(other, other));
    let same = |one: Option<Endpoint>, another: Option<Endpoint>| Some(one? == another?);
    let ports = [same(here, here_too), same(there, there_too)];
    let ports = match ports {
        [Some(one), Some(another)] if one != another => return Err(Unknown::Contradicted),
        [one, another] => one.or(another),
    };
    match (ports, same(here, there)) {
        (Some(false), Some(true)) => Err(Unknown::Contradicted),
        (Some(false), _) => Ok(Mapping::AddressAndPortDependent),
        (_, Some(true)) => Ok(Mapping::EndpointIndependent),
        (Some(true), Some(false)) => Ok(Mapping::AddressDependent),
        _ => Err(Unknown::NoAnswer),
    }
}

/// Whether what servers at several addresses saw cannot be, were this the class.
fn speaks_against(class: Mapping, counted: &[Counted<'_>]) -> bool {
    pairs(counted).any(|(one, other)| {
        let same = one.answer.external == other.answer.external;
        let near = one.server.ip() == other.server.ip();
        match class {
            Mapping::EndpointIndependent => !same,
            Mapping::AddressDependent => same != near,
            Mapping::AddressAndPortDependent => same,
        }
    })
}

fn payload(counted: &[Counted<'_>]) -> Result<Payload, Unknown> {
    let mut told = counted.iter().filter_map(|counted| {
        // Where nothing translates, what was rewritten cannot be told from what was not.
        let answer = counted.answer;
        answer.mapped.filter(|_| answer.external != answer.local).map(|mapped| (mapped, answer))
    });
    let mut untouched = false;
    let rewritten = told.any(|(mapped, answer)| {
        untouched |= mapped == answer.external;
        mapped == answer.local
    });
    match (rewritten, untouched) {
        (true, _) => Ok(Payload::Rewritten),
        (_, true) => Ok(Payload::Untouched),
        _ => Err(Unknown::NoAnswer),
    }
}

impl StunServer {
    fn of(asked: &StunAsked) -> Self {
        let answer = match &asked.outcome {
            StunOutcome::Answered(answer) => Some(answer),
            _ => None,
        };
        let (problem, remark) = match problem(&asked.outcome) {
            Some((problem, remark)) => (Some(problem), Some(remark)),
            None => (None, answer.and_then(|answer| oddity(asked.server, answer))),
        };
        Self {
            server: asked.server,
            named_by: asked.named_by,
            local: answer.map(|answer| answer.local),
            external: answer.map(|answer| answer.external),
            round_trip_ms: answer.map(|answer| answer.round_trip.as_secs_f64() * 1e3),
            software: answer.and_then(|answer| answer.software.clone()),
            problem,
            remark,
        }
    }
}

/// What is wrong with a server, by what became of asking it.
fn problem(outcome: &StunOutcome) -> Option<(Problem, String)> {
    let (problem, remark) = match outcome {
        StunOutcome::Answered(answer) => {
            let mapped = answer.mapped.filter(|_| contradicts_itself(answer))?;
            let remark = format!("it says {} and {mapped} in one answer", answer.external);
            (Problem::ContradictsItself, remark)
        }
        StunOutcome::Unreached { why } => unreached(*why),
        StunOutcome::Ended { how } => (Problem::HungUp, hung_up(*how).to_owned()),
        StunOutcome::Silent => {
            (Problem::Silent, "it took the connection and said nothing".to_owned())
        }
        StunOutcome::Refused { code, reason } => {
            (Problem::ErrorResponse, format!("it answered with error {code} {reason}"))
        }
        StunOutcome::Nonsense { what } => {
            (Problem::Nonsense, format!("what it said is no answer: {what}"))
        }
    };
    Some((problem, remark))
}

fn unreached(why: Unreached) -> (Problem, String) {
    let (problem, remark) = match why {
        Unreached::Refused => (Problem::Refused, "it takes no connections at this port"),
        Unreached::TimedOut => (Problem::TimedOut, "nothing answered the connection in time"),
        Unreached::NoWay => (Problem::NoWay, "no way leads there"),
        Unreached::LocalTaken => {
            let remark = "this connection stands, or ended less than a minute ago";
            (Problem::LocalTaken, remark)
        }
        Unreached::Unsaid => (Problem::Unreachable, "no connection came to be"),
    };
    (problem, remark.to_owned())
}

const fn hung_up(how: End) -> &'static str {
    match how {
        End::Finished => "it closed the connection instead of answering",
        End::Reset => "the connection was reset before an answer came",
        End::TimedOut => "the connection died before an answer came",
        End::Abandoned => "the connection broke before an answer came",
    }
}

/// What is odd about an answer that counts.
fn oddity(server: Endpoint, answer: &StunAnswer) -> Option<String> {
    if let Some(origin) = answer.origin.filter(|origin| *origin != server) {
        return Some(format!("it calls itself {origin}: it may stand behind a NAT of its own"));
    }
    let no_other = answer.other.filter(|other| !is_another(server, *other))?;
    Some(format!("{no_other} is no other address and port that could be asked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};

    const LOCAL: &str = "192.168.1.2:4000";
    const SERVERS: [&str; 4] = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "10.0.0.2:2"];

    #[test]
    fn four_endpoints_tell_three_classes() {
        for (seen, class) in [
            ([1, 1, 1, 1], Ok(Mapping::EndpointIndependent)),
            ([1, 1, 2, 2], Ok(Mapping::AddressDependent)),
            ([1, 2, 3, 4], Ok(Mapping::AddressAndPortDependent)),
            ([1, 2, 1, 2], Err(Unknown::Contradicted)),
            ([1, 1, 2, 3], Err(Unknown::Contradicted)),
            ([1, 2, 3, 3], Err(Unknown::Contradicted)),
            ([1, 1, 1, 2], Err(Unknown::Contradicted)),
        ] {
            assert_eq!(judged(seen.map(Some)), class, "{seen:?}");
        }
    }

    #[test]
    fn endpoints_that_do_not_answer_leave_what_the_others_prove() {
        for (seen, class) in [
            ([Some(1), None, Some(1), None], Ok(Mapping::EndpointIndependent)),
            ([Some(1), Some(1), Some(2), None], Ok(Mapping::AddressDependent)),
            ([Some(1), Some(2), None, None], Ok(Mapping::AddressAndPortDependent)),
            ([Some(1), None, None, Some(1)], Ok(Mapping::EndpointIndependent)),
            ([Some(1), None, None, Some(2)], Err(Unknown::NoAnswer)),
            ([Some(1), None, Some(2), None], Err(Unknown::NoAnswer)),
            ([Some(1), Some(1), None, None], Err(Unknown::NoAnswer)),
            ([Some(1), None, None, None], Err(Unknown::NoAnswer)),
            ([None; 4], Err(Unknown::NoAnswer)),
        ] {
            assert_eq!(judged(seen), class, "{seen:?}");
        }
    }

    #[test]
    fn answers_from_another_local_endpoint_are_not_compared() {
        let mut asked = four([1, 1, 2, 2].map(Some));
        for (_, fact) in &mut asked.facts[2..] {
            let Fact::Stun(StunAsked { outcome: StunOutcome::Answered(answer), .. }) = fact else {
                panic!("all have answered");
            };
            answer.local = end("192.168.1.3:4000");
        }
        assert_eq!(judge_stun(&asked).mapping.why(), Some(Unknown::NoAnswer));
    }

    #[test]
    fn two_servers_at_two_addresses_that_saw_the_same_show_independence() {
        let judged = |run: &Run| {
            let mapping = judge_stun(run).mapping;
            mapping.value().copied().ok_or_else(|| mapping.why().expect("it is unknown"))
        };
        let mut run = Run::default();
        run.note(Instant::START, asked("10.0.0.1:1", None, Some(1), None));
        assert_eq!(judged(&run), Err(Unknown::NeedsSecondAddress));
        run.note(Instant::START, asked("10.0.0.1:2", None, Some(1), None));
        assert_eq!(judged(&run), Err(Unknown::NeedsSecondAddress), "one address, two ports");
        run.note(Instant::START, asked("10.0.0.9:1", None, Some(1), None));
        assert_eq!(judged(&run), Ok(Mapping::EndpointIndependent));
        run.note(Instant::START, asked("10.0.0.8:1", None, Some(2), None));
        assert_eq!(judged(&run), Err(Unknown::NeedsSecondAddress), "address, port, or both");
    }

    #[test]
    fn one_port_of_three_that_is_mapped_otherwise_contradicts_the_others() {
        let mut run = four([1, 1, 1, 1].map(Some));
        for (number, class) in [(1, [2; 4]), (2, [3, 3, 4, 4])] {
            let mut more = four(class.map(Some));
            for (_, fact) in &mut more.facts {
                let Fact::Stun(StunAsked { outcome: StunOutcome::Answered(answer), .. }) = fact
                else {
                    panic!("all have answered");
                };
                answer.local.set_port(answer.local.port() + number);
            }
            run.facts.extend(more.facts);
            let expected = if number == 1 { None } else { Some(Unknown::Contradicted) };
            assert_eq!(judge_stun(&run).mapping.why(), expected);
        }
    }

    #[test]
    fn a_run_cut_short_does_not_ask_for_another_address() {
        let mut run = Run::default();
        run.note(Instant::START, asked("10.0.0.1:1", None, Some(1), None));
        run.note(Instant::START, Fact::Trouble(Trouble::Interrupted));
        assert_eq!(judge_stun(&run).mapping.why(), Some(Unknown::NoAnswer));
    }

    #[test]
    fn an_address_that_could_not_be_asked_is_none_to_miss() {
        let mut run = Run::default();
        run.note(Instant::START, asked("10.0.0.1:1", None, Some(1), Some("10.0.0.2:2")));
        assert_eq!(judge_stun(&run).mapping.why(), Some(Unknown::NeedsSecondAddress));
    }

    #[test]
    fn another_server_that_saw_something_else_speaks_against_independence() {
        let mut run = four([1, 1, 1, 1].map(Some));
        run.note(Instant::START, asked("10.0.0.9:1", None, Some(5), None));
        let verdict = judge_stun(&run);
        assert_eq!(verdict.mapping.why(), Some(Unknown::Contradicted));
        assert_eq!(verdict.agreement.value(), Some(&Agreement::Different));
    }

    #[test]
    fn a_server_that_contradicts_itself_says_nothing_of_the_nat() {
        let mut run = Run::default();
        run.note(Instant::START, asked("10.0.0.9:1", None, Some(5), None));
        if let Some((_, Fact::Stun(StunAsked { outcome: StunOutcome::Answered(answer), .. }))) =
            run.facts.first_mut()
        {
            answer.mapped = Some(end("198.51.100.77:5"));
        }
        let verdict = judge_stun(&run);
        assert_eq!(verdict.servers[0].problem, Some(Problem::ContradictsItself));
        assert_eq!(verdict.external, []);
        assert_eq!(verdict.translated.why(), Some(Unknown::NoAnswer));
    }

    #[test]
    fn endpoints_stand_behind_the_server_that_named_them() {
        let mut run = Run::default();
        run.note(Instant::START, asked("10.0.0.1:1", None, Some(1), None));
        run.note(Instant::START, asked("10.0.0.9:1", None, Some(1), None));
        run.note(Instant::START, asked("10.0.0.2:2", Some("10.0.0.1:1"), Some(1), None));
        let order: Vec<_> = judge_stun(&run).servers.iter().map(|server| server.server).collect();
        assert_eq!(order, ["10.0.0.1:1", "10.0.0.2:2", "10.0.0.9:1"].map(end));
    }

    fn judged(seen: [Option<u16>; 4]) -> Result<Mapping, Unknown> {
        let mapping = judge_stun(&four(seen)).mapping;
        mapping.value().copied().ok_or_else(|| mapping.why().expect("it is unknown"))
    }

    /// A server of four endpoints, of which each saw us at this external port or was not reached.
    fn four(seen: [Option<u16>; 4]) -> Run {
        let mut run = Run::default();
        for (number, (server, port)) in SERVERS.iter().zip(seen).enumerate() {
            let named_by = (number > 0).then_some(SERVERS[0]);
            let other = (number == 0).then_some(SERVERS[3]);
            run.note(Instant::START, asked(server, named_by, port, other));
        }
        run
    }

    fn asked(server: &str, named_by: Option<&str>, port: Option<u16>, other: Option<&str>) -> Fact {
        let answer = port.map(|port| StunAnswer {
            local: end(LOCAL),
            external: Endpoint::from(([198, 51, 100, 1], port)),
            mapped: None,
            origin: None,
            other: other.map(end),
            software: None,
            round_trip: Duration::from_millis(5),
        });
        let outcome =
            answer.map_or(StunOutcome::Silent, |answer| StunOutcome::Answered(answer.into()));
        Fact::Stun(StunAsked { server: end(server), named_by: named_by.map(end), outcome })
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }
}

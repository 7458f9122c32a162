//! What `classify` says where STUN servers stand in for a reflector: the mapping, and from where it was
//! seen.

use std::net::IpAddr;

use super::stun::{StunServer, judge_stun};
use super::{Finding, Vantage};
use crate::engine::{Run, Trouble};
use crate::nat::Mapping;

/// What STUN servers tell.
pub struct ByStun {
    /// The mapping, without a port clash.
    pub mapping: Finding<Mapping>,
    /// What each server that says nothing of the NAT did instead, once.
    pub trouble: Vec<Trouble>,
    servers: Vec<StunServer>,
    translated: Option<bool>,
}

impl ByStun {
    /// Judges what they said.
    pub fn of(run: &Run) -> Self {
        let verdict = judge_stun(run);
        let (mut trouble, mut named) = (Vec::new(), Vec::new());
        for server in verdict.servers.iter().filter(|server| server.problem.is_some()) {
            // The words may differ from one local port to the next.
            if !named.contains(&(server.server, server.problem)) {
                named.push((server.server, server.problem));
                let (server, what) = (server.server, server.remark.clone().unwrap_or_default());
                trouble.push(Trouble::StunServer { server, what });
            }
        }
        let translated = verdict.translated.value().copied();
        Self { mapping: verdict.mapping, trouble, servers: verdict.servers, translated }
    }

    /// Fills in what the servers that count saw.
    pub fn fill(&self, vantage: &mut Vantage) {
        for server in self.servers.iter().filter(|server| server.problem.is_none()) {
            let external: Option<IpAddr> = server.external.map(|end| end.ip());
            vantage.external.extend(external.filter(|end| !vantage.external.contains(end)));
            if !vantage.reflectors.contains(&server.server) {
                vantage.reflectors.push(server.server);
            }
        }
        // Seen from the same site there may be none, and one from beyond it.
        vantage.nat_levels = self.translated.filter(|translated| !translated).map(|_| 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Fact, StunAnswer, StunAsked, StunOutcome};
    use crate::time::{Duration, Instant};
    use crate::verdict::{Decision, Unknown, Verdict, judge};
    use crate::wire::Endpoint;

    const ONE: &str = "203.0.113.10:3478";
    const OTHER: &str = "203.0.113.20:3478";

    #[test]
    fn stun_servers_tell_the_mapping_and_everything_else_needs_a_reflector() {
        let verdict = judge(&run(&[(ONE, Ok("198.51.100.1:5")), (OTHER, Ok("198.51.100.1:5"))]));
        let findings = &verdict.findings;
        assert_eq!(findings.mapping.value(), Some(&Mapping::EndpointIndependent));
        let whys = [
            findings.on_port_clash.why(),
            findings.filtering.after_syn.why(),
            findings.filtering.established.why(),
            findings.port_assignment.why(),
            findings.unsolicited_syn.unmapped_port.why(),
            findings.unsolicited_syn.filtered_port.why(),
            findings.simultaneous_open.why(),
            findings.hairpinning.why(),
        ];
        assert_eq!(whys, [Some(Unknown::NeedsReflector); 8]);
        assert_eq!(verdict.vantage.external, ["198.51.100.1".parse::<IpAddr>().expect("one")]);
        assert_eq!(verdict.vantage.reflectors, [end(ONE), end(OTHER)]);
        assert_eq!((verdict.vantage.nat_levels, verdict.troubles.len()), (None, 0));
        assert_eq!(decisions(&verdict), [("REQ-1", Decision::Undecided)]);
    }

    #[test]
    fn a_server_of_no_use_is_named_and_takes_no_part() {
        let verdict = judge(&run(&[(ONE, Ok("192.168.1.2:4000")), (OTHER, Err(()))]));
        assert_eq!(verdict.findings.mapping.why(), Some(Unknown::NeedsSecondAddress));
        assert_eq!(verdict.vantage.reflectors, [end(ONE)]);
        assert_eq!(verdict.vantage.nat_levels, Some(0));
        let trouble =
            "STUN server 203.0.113.20:3478: it took the connection and said nothing".to_owned();
        assert_eq!(verdict.troubles, [trouble]);
        assert_eq!(decisions(&verdict), [("REQ-1", Decision::Undecided)]);
    }

    #[test]
    fn a_run_in_which_nobody_was_heard_still_asked_for_the_mapping() {
        let verdict = judge(&run(&[]));
        assert_eq!(verdict.findings.mapping.why(), Some(Unknown::NoAnswer));
        assert_eq!(verdict.findings.filtering.after_syn.why(), Some(Unknown::NeedsReflector));
    }

    /// The rulings on what was asked.
    fn decisions(verdict: &Verdict) -> Vec<(&'static str, Decision)> {
        let all = verdict.requirements.iter().map(|ruling| (ruling.id, ruling.ruling));
        all.filter(|(_, ruling)| *ruling != Decision::NotAsked).collect()
    }

    /// What came of asking these servers.
    fn run(asked: &[(&str, Result<&str, ()>)]) -> Run {
        let internal = vec!["192.168.1.2".parse().expect("an address")];
        let stun = vec![end(ONE)];
        let mut run = Run::default();
        run.note(Instant::START, Fact::Alone { internal, filters: None, stun });
        for (server, external) in asked {
            let answer = external.map(|external| StunAnswer {
                local: end("192.168.1.2:4000"),
                external: end(external),
                mapped: None,
                origin: None,
                other: None,
                software: None,
                round_trip: Duration::from_millis(5),
            });
            let outcome =
                answer.map_or(StunOutcome::Silent, |answer| StunOutcome::Answered(answer.into()));
            let (server, named_by) = (end(server), None);
            run.note(Instant::START, Fact::Stun(StunAsked { server, named_by, outcome }));
        }
        run
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }
}

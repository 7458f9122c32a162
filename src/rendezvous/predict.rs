//! Which external port a host's next flow will have, by the ports of those before.
//!
//! Each rule by which ports may be chosen, with each of its settings, is a hypothesis: it says before
//! each observation how likely every port is. What it said of the ports that came, multiplied, is its
//! evidence, and with its share before anything was seen its weight (Bayes; Dawid's prequential way).
//! The forecast is what all hypotheses say of the next port, by their weights; so where they disagree
//! it is spread, and the probabilities are chances of a hit, not scores.
//!
//! The settings that nobody tells are summed out: the step of a counter and its direction, the ports
//! it goes around in, the rate at which others take ports (a Poisson process), the share of attempts
//! that nobody saw, and packets that overtook each other. The rules are those of RFC 4787 §4.2 and
//! RFC 6056 §3.3, blocks of ports (RFC 6888 REQ-14), port sets (RFC 7597 §5.1), and Linux's own.
//!
//! The cost has a bound, since at most 64 observations are used: a few milliseconds.

mod density;
mod groups;
mod hop;
mod hypothesis;
mod noise;
mod offsets;
mod onward;
mod outlook;
mod ports;
mod rule;
mod still;
mod sums;
mod walk;

use std::fmt;

use density::ranked;
use hypothesis::Internal;
use outlook::Outlook;
pub use ports::Ports;
pub use rule::{Counter, Rule, Stride};

use crate::time::Instant;
use crate::wire::Endpoint;

/// A flow whose external port was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When it was seen.
    pub at: Instant,
    /// The endpoint that it went to.
    pub remote: Endpoint,
    /// The port that it came from, if the host has told.
    pub internal: Option<u16>,
    /// The port that it was seen to come from.
    pub external: u16,
}

/// A flow whose external port is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// When it will begin.
    pub at: Instant,
    /// The endpoint that it will go to.
    pub remote: Endpoint,
    /// The port that it will come from; none if the host's own TCP chooses.
    pub internal: Option<u16>,
}

/// What can be said of the next port.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The rule of the NAT, the likeliest first. Where no internal port is known it is the rule of NAT
    /// and host together, as they look from outside.
    pub rules: Vec<Belief>,
    /// The rule by which the host's own TCP chooses internal ports, the likeliest first; empty if it
    /// does not matter, or no internal port is known.
    pub host: Vec<Belief>,
    /// The likeliest ports, the likeliest first, at most [`CANDIDATES`]. Their probabilities sum to at
    /// most 1.
    pub next: Vec<Candidate>,
}

/// A rule, and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// The rule.
    pub rule: Rule,
    /// How likely it is, from 0 to 1.
    pub probability: f64,
    /// How many of the observations that it had an expectation of it foresaw: a preserved port, a port
    /// a likely way ahead, a port of the set.
    pub foreseen: usize,
    /// How many it had an expectation of.
    pub of: usize,
    /// How many ports others take in a second, by the likeliest settings of the rule; none for rules
    /// to which others do not matter.
    pub others_per_s: Option<f64>,
}

/// A port that may be next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The external port.
    pub port: u16,
    /// How likely it is, from 0 to 1.
    pub probability: f64,
}

/// More candidates than these are not listed.
pub const CANDIDATES: usize = 256;

/// Says what the next external port may be.
///
/// The observations may come in any order; the latest 64 are used. Where only some of them tell their
/// internal port, either those alone are used or the internal ports are not, whichever leaves more.
/// Without any observation every port is as likely as another, unless the internal port is known.
pub fn forecast(observations: &[Observation], question: &Question) -> Forecast {
    let seen = comparable(observations);
    let (internal, host) = internal(&seen, question);
    let outlook = Outlook::of(&seen, question, &internal);
    let next = ranked(&outlook.probabilities, CANDIDATES).into_iter();
    let next = next.map(|(port, probability)| Candidate { port, probability }).collect();
    Forecast { rules: outlook.rules, host, next }
}

impl Forecast {
    /// How likely one of the first `count` candidates is the next port.
    pub fn chance(&self, count: usize) -> f64 {
        self.next.iter().take(count).map(|candidate| candidate.probability).sum()
    }

    /// The fewest candidates that make a hit so likely; at most `most`, which may make it less likely.
    pub fn candidates(&self, chance: f64, most: usize) -> &[Candidate] {
        let enough = (0..=most.min(self.next.len())).find(|count| self.chance(*count) >= chance);
        &self.next[..enough.unwrap_or(most.min(self.next.len()))]
    }
}

impl Observation {
    /// External minus internal port.
    fn offset(&self) -> Option<i32> {
        self.internal.map(|internal| i32::from(self.external) - i32::from(internal))
    }
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.1} %): ", self.rule, self.probability * 100.0)?;
        write!(f, "foresaw {} of {}", self.foreseen, self.of)?;
        match self.others_per_s {
            Some(rate) if rate > 0.0 => write!(f, ", beside {rate:.1} ports/s of others"),
            _ => Ok(()),
        }
    }
}

/// The latest observations, in their order, either all with an internal port or all without.
fn comparable(observations: &[Observation]) -> Vec<Observation> {
    let told = observations.iter().filter(|observation| observation.internal.is_some()).count();
    let mut seen: Vec<_> = if told * 2 >= observations.len() {
        observations.iter().filter(|seen| seen.internal.is_some()).copied().collect()
    } else {
        observations.iter().map(|seen| Observation { internal: None, ..*seen }).collect()
    };
    seen.sort_by_key(|observation| observation.at.as_nanos());
    seen.split_off(seen.len().saturating_sub(MOST_USED))
}

/// What is known of the port that the flow will come from, and by which rule.
fn internal(seen: &[Observation], question: &Question) -> (Internal, Vec<Belief>) {
    if let Some(port) = question.internal {
        return (Internal::Known(port), Vec::new());
    }
    let of_host = seen.iter().filter_map(|seen| {
        seen.internal.map(|port| Observation { internal: None, external: port, ..*seen })
    });
    let of_host: Vec<_> = of_host.collect();
    if of_host.is_empty() {
        return (Internal::Unknown, Vec::new());
    }
    let outlook = Outlook::of(&of_host, question, &Internal::Unknown);
    (Internal::Likely(outlook.probabilities), outlook.rules)
}

/// Older observations are not used: the cost has a bound, and old settings may have changed.
const MOST_USED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const REMOTES: [&str; 2] = ["203.0.113.1:443", "203.0.113.2:443"];

    fn seen(flows: &[(usize, Option<u16>, u16)]) -> Vec<Observation> {
        let each = flows.iter().enumerate().map(|(n, (remote, internal, external))| Observation {
            at: Instant::from_millis(100 * n as u64),
            remote: REMOTES[*remote].parse().expect("it is an endpoint"),
            internal: *internal,
            external: *external,
        });
        each.collect()
    }

    fn next(flows: &[(usize, Option<u16>, u16)], remote: usize, internal: Option<u16>) -> Forecast {
        let at = Instant::from_millis(100 * flows.len() as u64) + Duration::from_millis(1);
        let remote = REMOTES[remote].parse().expect("it is an endpoint");
        forecast(&seen(flows), &Question { at, remote, internal })
    }

    #[test]
    fn a_preserved_port_is_the_internal_one() {
        let forecast = next(&[(0, Some(5_000), 5_000), (0, Some(7_010), 7_010)], 1, Some(9_001));
        assert_eq!(forecast.next[0].port, 9_001);
        assert_eq!(forecast.rules[0].rule, Rule::Preservation { offset: 0 });
        assert!(forecast.chance(1) > 0.9, "{:?}", forecast.next[0]);
    }

    #[test]
    fn a_counter_goes_on_around_the_end_of_its_range() {
        let ports = [65_531, 65_532, 65_533, 65_534, 65_535];
        let forecast = next(&ports.map(|port| (0, None, port)), 0, None);
        // Two ranges end there; which one is not told.
        let first: Vec<_> = forecast.next[..2].iter().map(|candidate| candidate.port).collect();
        assert!(first.contains(&1_024) && first.contains(&49_152), "{first:?}");
    }

    #[test]
    fn a_counter_of_its_own_for_each_remote_is_not_disturbed_by_flows_to_others() {
        let flows = [(0, 9_000), (0, 9_001), (1, 40_000), (0, 9_002), (1, 40_001), (1, 40_002)];
        let forecast = next(&flows.map(|(remote, port)| (remote, None, port)), 0, None);
        assert_eq!(forecast.next[0].port, 9_003);
    }

    /// Others talk to the first remote all the time, and nobody to the second.
    #[test]
    fn what_others_take_towards_one_remote_says_little_of_another() {
        let busy = [40_000, 40_066, 40_124, 40_202, 40_268, 40_322, 40_396];
        let flows = busy.map(|port| (0, None, port)).into_iter();
        let flows: Vec<_> = flows.chain([(1, None, 50_000), (1, None, 50_010)]).collect();
        let forecast = next(&flows, 1, None);
        let near = |candidate: &Candidate| (50_012..=50_026).contains(&candidate.port);
        assert!(forecast.next[..8].iter().all(near), "{:?}", &forecast.next[..8]);
        assert!(forecast.chance(8) > 0.7, "{}", forecast.chance(8));
    }

    #[test]
    fn the_same_internal_port_may_use_its_binding_again() {
        let flows = [(0, Some(5_000), 31_337), (0, Some(5_001), 2_222), (1, Some(5_000), 31_337)];
        let forecast = next(&flows, 1, Some(5_001));
        assert_eq!(forecast.next[0].port, 2_222);
        assert!(forecast.chance(1) > 0.9, "{:?}", forecast.next[0]);
        let contrary = [(0, Some(5_000), 31_337), (0, Some(5_001), 2_222), (1, Some(5_000), 4_444)];
        let forecast = next(&contrary, 1, Some(5_001));
        assert!(forecast.chance(1) < 0.2, "{:?}", forecast.next[0]);
    }

    #[test]
    fn where_the_host_chooses_its_rule_is_told_beside_that_of_the_nat() {
        let ports = [40_000, 40_001, 40_002, 40_003, 40_004, 40_005];
        let forecast = next(&ports.map(|port| (0, Some(port), port)), 0, None);
        assert_eq!(forecast.next[0].port, 40_006);
        assert_eq!(forecast.rules[0].rule, Rule::Preservation { offset: 0 });
        assert!(forecast.host[0].rule.to_string().starts_with("sequential +1"));
    }

    #[test]
    fn candidates_are_as_many_as_the_chance_needs_and_no_more_than_allowed() {
        let forecast = next(&[(0, None, 50_000), (0, None, 12_345), (0, None, 33_333)], 0, None);
        assert_eq!(forecast.candidates(0.5, 10).len(), 10);
        assert_eq!(forecast.candidates(0.0, 10).len(), 0);
        let sure = next(&[(0, Some(5_000), 5_000), (0, Some(7_010), 7_010)], 1, Some(9_001));
        assert_eq!(sure.candidates(0.9, 10).len(), 1);
    }

    #[test]
    fn without_any_observation_nothing_is_believed_and_every_port_may_be_next() {
        let forecast = next(&[], 0, None);
        assert!(forecast.rules.is_empty() && forecast.chance(CANDIDATES) < 0.01);
    }

    #[test]
    fn a_belief_reads_as_a_sentence() {
        let ports = [40_000, 40_001, 40_002, 40_003, 40_004, 40_005];
        let forecast = next(&ports.map(|port| (0, Some(port), port)), 0, Some(9));
        let told = forecast.rules[0].to_string();
        assert!(told.starts_with("preservation (") && told.ends_with("foresaw 6 of 6"), "{told}");
    }
}

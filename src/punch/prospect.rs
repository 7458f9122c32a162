//! Where each end of a punch will be seen from, and so where the other is to aim.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::rendezvous::introducer::Seen;
use crate::rendezvous::predict::{Forecast, Observation, Question, Rule, forecast};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// Where an end will be seen from, as far as that can be told beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prospect {
    /// The likeliest endpoints, the likeliest first.
    pub external: Vec<Endpoint>,
    /// How likely the first is, in thousandths.
    pub first: u16,
    /// How likely one of all is, in thousandths.
    pub any: u16,
    /// Whether the port was seen as one and the same from all sides, so that it hardly matters how many
    /// flows it is used for.
    pub steady: bool,
    /// The endpoint within the own network, for a peer that turns out to be in the same.
    pub within: Option<Endpoint>,
    /// By which rule ports seem to be chosen, in words: of no use to the peer.
    #[serde(skip)]
    pub rule: Option<String>,
}

/// What an end has to go on.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// The mappings that a server has seen, on its clock.
    pub seen: &'a [Seen],
    /// Flows that nobody has seen, as they would have been seen if the NAT leaves ports alone.
    pub unseen: &'a [Seen],
    /// In how long the next flow begins, from the last of these on.
    pub ahead: Duration,
    /// Where it will lead; none while that is not known.
    pub to: Option<Endpoint>,
    /// The local address that it will come from.
    pub address: IpAddr,
    /// The port; none if the host chooses it.
    pub port: Option<u16>,
}

impl Prospect {
    /// What can be said of the next flow; none if nothing was seen.
    pub fn of(outlook: &Outlook<'_>) -> Option<Self> {
        let Outlook { seen, unseen, ahead, to, address, port } = *outlook;
        let last = seen.iter().max_by_key(|seen| seen.time_us)?;
        let ip = last.external.ip();
        let at = moment(last) + ahead;
        let remote = to.unwrap_or(ELSEWHERE);
        let mut observed: Vec<_> = seen.iter().map(observation).collect();
        let question = Question { at, remote, internal: port };
        let mut told = forecast(&observed, &question);
        if !unseen.is_empty() && leaves_ports_alone(&told) {
            observed.extend(unseen.iter().map(observation));
            told = forecast(&observed, &question);
        }
        // An address of several says less the more there are.
        let same = seen.iter().filter(|seen| seen.external.ip() == ip).count();
        #[allow(clippy::cast_precision_loss, reason = "there are some twenty")]
        let share = same as f64 / seen.len() as f64;
        let candidates = told.candidates(ENOUGH, MOST_AIMS);
        let external = candidates.iter().map(|next| Endpoint::new(ip, next.port)).collect();
        let inner = port.or_else(|| next_inner(&observed, at, remote));
        Some(Self {
            external,
            first: thousandths(told.chance(1) * share),
            any: thousandths(told.chance(candidates.len()) * share),
            steady: is_steady(seen, port),
            within: inner.map(|port| Endpoint::new(address, port)),
            rule: rule(&told, port),
        })
    }
}

/// Whether it is as good as certain that the NAT preserves ports.
fn leaves_ports_alone(told: &Forecast) -> bool {
    let preserves = Rule::Preservation { offset: 0 };
    told.rules.first().is_some_and(|first| first.rule == preserves && first.probability > 0.9)
}

/// The rule of the NAT, and that of the host if it matters, in words.
fn rule(told: &Forecast, port: Option<u16>) -> Option<String> {
    let nat = told.rules.first().map(|rule| format!("our NAT: {rule}"));
    let host = told.host.first().filter(|_| port.is_none());
    let host = host.map(|rule| format!("our host: {rule}"));
    let both: Vec<_> = nat.into_iter().chain(host).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// Where to aim, and what chance that has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The likeliest endpoint of the peer.
    pub remote: Endpoint,
    /// Others that it may have.
    pub also: Vec<Endpoint>,
    /// How likely it is that both ports are among those aimed at, in thousandths; none behind one address,
    /// where nobody knows whether a way leads from one to the other, within or turned around by the NAT.
    pub chance: Option<u16>,
}

/// Where an end aims when both have told. Each comes to what fits the other's choice: the one that is
/// seen as the same from all sides tries all that the other may be seen as, and the other sends one
/// SYN. Two that are behind one NAT try each other's inner addresses. None if the peer has named no
/// endpoint.
pub fn choose(own: &Prospect, peer: &Prospect) -> Option<Choice> {
    let (first, others) = peer.external.split_first()?;
    let is_within = own.external.first().is_some_and(|own| own.ip() == first.ip());
    if let (true, Some(_), Some(remote)) = (is_within, own.within, peer.within) {
        return Some(Choice { remote, also: Vec::new(), chance: None });
    }
    let (also, own_chance, peers_chance) = match (own.steady, peer.steady) {
        (true, false) => (others.to_vec(), own.first, peer.any),
        (false, true) => (Vec::new(), own.any, peer.first),
        _ => (Vec::new(), own.first, peer.first),
    };
    let chance = u32::from(own_chance) * u32::from(peers_chance) / 1000;
    let also = also.into_iter().take(MOST_AIMS - 1).collect();
    let chance = u16::try_from(chance.min(1000)).ok().filter(|_| !is_within);
    Some(Choice { remote: *first, also, chance })
}

/// Whether a port was seen as one endpoint, from more sides than one.
fn is_steady(seen: &[Seen], port: Option<u16>) -> bool {
    let of_port: Vec<_> =
        seen.iter().filter(|seen| port.is_some() && seen.internal == port).collect();
    let Some(first) = of_port.first() else { return false };
    of_port.iter().all(|seen| seen.external == first.external)
        && of_port.iter().any(|seen| seen.server != first.server)
}

/// The port that the host will choose, if its choice can be foreseen: the rule is that of a NAT which
/// counts on.
fn next_inner(observed: &[Observation], at: Instant, remote: Endpoint) -> Option<u16> {
    let inner = |seen: &Observation| {
        Some(Observation { external: seen.internal?, internal: None, ..*seen })
    };
    let inner: Vec<_> = observed.iter().filter_map(inner).collect();
    let question = Question { at, remote, internal: None };
    (!inner.is_empty()).then(|| forecast(&inner, &question))?.next.first().map(|next| next.port)
}

fn observation(seen: &Seen) -> Observation {
    let Seen { server: remote, external, internal, .. } = *seen;
    Observation { at: moment(seen), remote, internal, external: external.port() }
}

const fn moment(seen: &Seen) -> Instant {
    Instant::from_nanos(seen.time_us.saturating_mul(1_000))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a probability lies between 0 and 1"
)]
fn thousandths(probability: f64) -> u16 {
    (probability.clamp(0.0, 1.0) * 1000.0).round() as u16
}

/// More candidates would hardly make a hit likelier.
const ENOUGH: f64 = 0.98;

/// No more SYNs leave at once than a host opens for a page with many pictures.
const MOST_AIMS: usize = 16;

/// Somebody who has not been talked to (RFC 5737).
const ELSEWHERE: Endpoint = Endpoint::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_the_same_from_all_sides_is_steady_and_foreseen() {
        let seen = [mapping(0, 1, 40_000, 62_000), mapping(1, 2, 40_000, 62_000)];
        let told = prospect(&seen, Some(40_000));
        assert!(told.steady && told.first > 800, "{told:?}");
        assert_eq!(told.external[0], end("198.51.100.1:62000"));
        assert_eq!(told.within, Some(end("192.168.1.2:40000")));
    }

    #[test]
    fn a_nat_that_counts_on_is_followed_and_not_steady() {
        let seen: Vec<_> = (0..6).map(|n| mapping(n, n % 2, 40_000 + n, 62_000 + n)).collect();
        for port in [Some(41_000), None] {
            let told = prospect(&seen, port);
            assert!(!told.steady && told.first > 500, "{told:?}");
            assert_eq!(told.external[0], end("198.51.100.1:62006"));
        }
        // The host counts on as well.
        assert_eq!(prospect(&seen, None).within, Some(end("192.168.1.2:40006")));
    }

    #[test]
    fn where_nothing_can_be_foreseen_the_chance_is_small() {
        let ports = [51_234, 1_999, 33_333, 60_001, 12_121, 44_000];
        let seen: Vec<_> =
            (0..).zip(ports).map(|(n, port)| mapping(n, n, 40_000 + n, port)).collect();
        let told = prospect(&seen, Some(41_000));
        assert!(told.any < 100, "{told:?}");
        let steady =
            prospect(&[mapping(0, 1, 40_000, 62_000), mapping(1, 2, 40_000, 62_000)], Some(40_000));
        let told = Prospect { within: None, ..told };
        assert!(choose(&steady, &told).is_some_and(|choice| choice.chance < Some(100)));
    }

    #[test]
    fn the_steady_end_tries_all_that_the_other_may_be_and_the_other_one() {
        let steady = Prospect { steady: true, first: 1000, any: 1000, ..at(&["203.0.113.1:7"]) };
        let other = Prospect { first: 500, any: 900, ..at(&["198.51.100.1:9", "198.51.100.1:10"]) };
        let choice = choose(&steady, &other).expect("it has endpoints");
        assert_eq!((choice.remote, choice.chance), (end("198.51.100.1:9"), Some(900)));
        assert_eq!(choice.also, [end("198.51.100.1:10")]);
        let choice = choose(&other, &steady).expect("it has endpoints");
        assert_eq!((choice.also, choice.chance), (Vec::new(), Some(900)));
        let third = Prospect { first: 500, any: 900, ..at(&["192.0.2.1:9", "192.0.2.1:10"]) };
        assert_eq!(choose(&other, &third).and_then(|choice| choice.chance), Some(250));
    }

    #[test]
    fn behind_one_nat_the_inner_addresses_are_tried() {
        let within = |text: &str, port: &str| Prospect { within: Some(end(text)), ..at(&[port]) };
        let a = within("192.168.1.2:7", "198.51.100.1:7");
        let b = within("192.168.1.3:8", "198.51.100.1:8");
        assert_eq!(choose(&a, &b).map(|choice| choice.remote), Some(end("192.168.1.3:8")));
        let outer = Prospect { within: None, ..b };
        // Whether that NAT turns packets around is not known.
        let choice = choose(&a, &outer).expect("it has an endpoint");
        assert_eq!((choice.remote, choice.chance), (end("198.51.100.1:8"), None));
    }

    fn prospect(seen: &[Seen], port: Option<u16>) -> Prospect {
        let address = end("192.168.1.2:1").ip();
        let (unseen, ahead, to) = (&[][..], Duration::from_millis(500), None);
        let outlook = Outlook { seen, unseen, ahead, to, address, port };
        Prospect::of(&outlook).expect("something was seen")
    }

    fn mapping(number: u16, server: u16, internal: u16, external: u16) -> Seen {
        Seen {
            time_us: 1_000_000 + u64::from(number) * 10_000,
            server: Endpoint::new(end("203.0.113.10:1").ip(), 5_000 + server),
            external: Endpoint::new(end("198.51.100.1:1").ip(), external),
            internal: Some(internal),
        }
    }

    fn at(external: &[&str]) -> Prospect {
        Prospect {
            external: external.iter().map(|text| end(text)).collect(),
            ..Prospect::default()
        }
    }

    fn end(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }
}

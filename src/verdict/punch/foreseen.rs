//! What the ends of a punch expected of their ports, and what those turned out to be.

use schemars::JsonSchema;
use serde::Serialize;

use super::punched;
use crate::engine::{Punched, Run};
use crate::tcp::Outcome;
use crate::wire::Endpoint;

/// From where the ends expected to be seen, and from where they were.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Foreseen {
    /// What came of the attempt.
    pub outcome: Outcome,
    /// This end's endpoints as its NAT would show them, the likeliest first.
    pub own: Vec<Endpoint>,
    /// The peer's endpoints that were aimed at, the likeliest first.
    pub peer: Vec<Endpoint>,
    /// How likely it was that both ports are among these, from 0 to 1; none where both ends are behind one
    /// address.
    pub chance: Option<f64>,
    /// By which rule this end's ports seem to be chosen.
    pub rule: Option<String>,
    /// Where this end's SYN came from, as the peer saw it.
    pub own_seen: Option<Endpoint>,
    /// Where the peer's SYN came from, as this end saw it.
    pub peer_seen: Option<Endpoint>,
}

/// What was foreseen; none if the ends were told beforehand where to aim.
pub fn foreseen(run: &Run, outcome: Outcome) -> Option<Foreseen> {
    let facts = || run.facts.iter().filter_map(|(_, fact)| punched(fact)).map(|(_, what)| what);
    // This end's own word comes before the peer's.
    let (own, peer, chance, rule) = facts().find_map(|what| match what {
        Punched::Foresaw { own, peer, chance, rule, .. } => Some((own, peer, *chance, rule)),
        _ => None,
    })?;
    let taught = facts().find_map(|what| match what {
        Punched::Taught { own, peer } => Some((*own, *peer)),
        _ => None,
    });
    let (own_seen, peer_seen) = taught.unwrap_or_default();
    let (own, peer, rule) = (own.clone(), peer.clone(), rule.clone());
    let chance = chance.map(|chance| f64::from(chance) / 1000.0);
    Some(Foreseen { outcome, own, peer, chance, rule, own_seen, peer_seen })
}

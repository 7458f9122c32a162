//! Whether two ends will come together, by what stands between them.
//!
//! Both know each other's external endpoint as a server saw it, listen on that port and let their SYNs
//! leave at once. So each NAT must map an end to the same endpoint towards its peer, or the peer's
//! must not mind; and a NAT that both are behind must turn their packets around (RFC 5382 REQ-1, 2, 3
//! and 8). What happens by chance is left to chance: a random port is taken not to be met.

use schemars::JsonSchema;
use serde::Serialize;

use crate::nat::{Assignment, Filtering, Hairpinning, Knobs, Mapping, Sharing};

/// What stands between two ends.
#[derive(Clone, Debug, Default)]
pub struct Between<'a> {
    /// Before a alone.
    pub a: Vec<&'a Knobs>,
    /// Before b alone.
    pub b: Vec<&'a Knobs>,
    /// Before both.
    pub shared: Vec<&'a Knobs>,
}

/// What is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// A connection opens.
    Opens,
    /// The NAT that both are behind does not turn their packets around, or not with the source that
    /// they expect (RFC 5382 REQ-8).
    NoHairpinning,
    /// A NAT drops a segment of a simultaneous open (REQ-2a), or lets a SYN in by a mapping that the
    /// answer does not have: what comes of it is up to the hosts' TCP and to chance.
    Uncertain,
    /// A NAT maps an end to another port towards its peer, and the peer's lets nothing in from there
    /// (REQ-1).
    Unpredictable,
}

/// What is to be expected of two ends.
pub fn outlook(between: &Between<'_>) -> Outlook {
    let Between { a, b, shared } = between;
    let turns = |nat: &&Knobs| nat.hairpinning == Hairpinning::ExternalSource;
    // The outermost is where their packets would have to turn.
    if shared.last().is_some_and(|nat| !turns(nat)) {
        return Outlook::NoHairpinning;
    }
    let [a, b] = [a, b].map(|own| own.iter().chain(shared).copied().collect::<Vec<_>>());
    if a.iter().chain(&b).any(|nat| nat.blocks.is_some()) {
        return Outlook::Uncertain;
    }
    // A SYN to where such an end was seen gets in, and its answer leaves from elsewhere.
    let misleads = |nats: &[&Knobs]| !is_found(nats) && nats.iter().all(lets_all_in);
    if misleads(&a) || misleads(&b) {
        return Outlook::Uncertain;
    }
    match (is_found(&a), is_found(&b)) {
        (true, true) => Outlook::Opens,
        // The SYN of the one that is not found is accepted all the same.
        (true, false) if !a.iter().any(minds_ports) => Outlook::Opens,
        (false, true) if !b.iter().any(minds_ports) => Outlook::Opens,
        _ => Outlook::Unpredictable,
    }
}

/// Whether an end has the same external endpoint towards its peer as towards the server.
fn is_found(nats: &[&Knobs]) -> bool {
    nats.iter().all(|nat| {
        let keeps = match nat.ports {
            // The mapping towards the server has the port.
            Assignment::Preservation(sharing) => sharing != Sharing::Exclusive,
            Assignment::Overloading => true,
            Assignment::Sequential(_) | Assignment::Random => false,
        };
        nat.mapping == Mapping::EndpointIndependent || keeps
    })
}

fn lets_all_in(nat: &&Knobs) -> bool {
    nat.filtering == Filtering::EndpointIndependent
}

/// Whether it lets in only what comes from a port that was written to.
fn minds_ports(nat: &&Knobs) -> bool {
    nat.filtering == Filtering::AddressAndPortDependent
}

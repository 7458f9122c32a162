//! Which flows one counter gives ports to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Observation;
use super::rule::Counter;
use crate::wire::Endpoint;

/// What flows share that one counter serves.
pub type Key = (Option<IpAddr>, Option<u16>);

/// The places of observations in their order, by what they share a counter with.
pub type Groups = BTreeMap<Key, Vec<usize>>;

/// Which observations share a counter.
pub fn groups(counter: Counter, seen: &[&Observation]) -> Groups {
    let mut groups = Groups::new();
    for (index, observation) in seen.iter().enumerate() {
        groups.entry(key_of(counter, observation.remote)).or_default().push(index);
    }
    groups
}

/// What flows share a counter with that go there.
pub fn key_of(counter: Counter, remote: Endpoint) -> Key {
    match counter {
        Counter::One => (None, None),
        Counter::Address => (Some(remote.ip()), None),
        Counter::Offset | Counter::Endpoint => (Some(remote.ip()), Some(remote.port())),
    }
}

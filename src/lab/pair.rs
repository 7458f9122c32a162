//! Labs to do anything in: one end, or two, each behind a NAT, and a server that both can reach.
//!
//! ```text
//!  A host ══ [NAT A] ──┬── link ──┬── [NAT B] ══ B host
//!                      └─ server ─┘
//! ```
//!
//! Each host is a network namespace of its own: a thread that enters it, a socket made in it and a
//! process started in it are on that host. Links carry TCP over IPv4 and the ICMP errors about it;
//! anything else is lost on them.

use super::topology::{End, Server, Topology};
use crate::nat::Nat;
use crate::os;
use crate::sim::Weather;
use crate::sim::addresses::{HOME_A, HOME_B};

/// What a lab with two ends is like.
#[derive(Clone, Debug, PartialEq)]
pub struct PairPlan {
    /// What stands before the first end; without one it is a public host.
    pub a: Option<Nat>,
    /// What stands before the second end.
    pub b: Option<Nat>,
    /// What stands before both of these, if anything does.
    pub shared: Option<Nat>,
    /// What each link does to packets, each way: those between the ends' NATs, and those between
    /// each of them and the server.
    pub weather: Weather,
    /// What to draw randomness from.
    pub seed: u64,
}

/// Two ends and a server.
#[derive(Debug)]
pub struct Pair {
    /// A and B.
    pub ends: [End; 2],
    /// The public host between them.
    pub server: Server,
}

/// What a lab with one end is like.
#[derive(Clone, Debug, PartialEq)]
pub struct SinglePlan {
    /// What stands before the end; without one it is a public host.
    pub nat: Option<Nat>,
    /// What the link does to packets, each way.
    pub weather: Weather,
    /// What to draw randomness from.
    pub seed: u64,
}

/// One end and a server.
#[derive(Debug)]
pub struct Single {
    /// The host behind the NAT.
    pub end: End,
    /// The public host.
    pub server: Server,
}

/// Builds a lab with two ends, does `work` on the calling thread while packets are moved, and takes
/// the lab down. Nothing of it outlives the call, or the process, but what `work` has started in it.
///
/// # Errors
/// When this machine cannot build it (no privilege, no TUN devices), when a device of it fails, or
/// what `work` fails with.
pub fn with_pair<T>(plan: &PairPlan, work: impl FnOnce(&Pair) -> os::Result<T>) -> os::Result<T> {
    let mut topology = Topology::default();
    let [a, b] = [plan.a.as_ref(), plan.b.as_ref()];
    let ends = match &plan.shared {
        Some(shared) => topology.ends_behind(shared, [a, b], plan.seed)?,
        None => [topology.end(&HOME_A, a, plan.seed)?, topology.end(&HOME_B, b, !plan.seed)?],
    };
    let pair = Pair { ends, server: topology.server()? };
    topology.run(plan.weather, plan.seed, || work(&pair))
}

/// The same with one end.
///
/// # Errors
/// As for [`with_pair`].
pub fn with_single<T>(
    plan: &SinglePlan,
    work: impl FnOnce(&Single) -> os::Result<T>,
) -> os::Result<T> {
    let mut topology = Topology::default();
    let end = topology.end(&HOME_A, plan.nat.as_ref(), plan.seed)?;
    let single = Single { end, server: topology.server()? };
    topology.run(plan.weather, plan.seed, || work(&single))
}

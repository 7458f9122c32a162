//! A punch on virtual time: two hosts, each behind a row of NATs or none, and the path between.

use std::net::IpAddr;

use super::addresses::{HOME_A, HOME_B, Home, REFLECTOR};
use super::host::Host;
use super::link::Weather;
use super::tcp::Tcp;
use super::world::World;
use crate::engine::Run;
use crate::nat;
use crate::nat::Behaviour;
use crate::punch::{Aim, Direct};
use crate::tcp::{Profile, Side};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// One end of a simulated punch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End<'a> {
    /// The NATs before it, the innermost first.
    pub nats: &'a [Behaviour],
    /// How its TCP goes about a simultaneous open.
    pub profile: Profile,
    /// When its first SYN is to leave. What the two differ by is the error of their clocks.
    pub first: Instant,
    /// The path outward, and the path inward, between it and its innermost NAT.
    pub weather: [Weather; 2],
}

/// Two ends and what lies between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PunchLayout<'a> {
    /// The ends called a and b.
    pub ends: [End<'a>; 2],
    /// The path from a to b, and the path from b to a, between their outermost NATs.
    pub weather: [Weather; 2],
    /// How each end knows where to aim.
    pub aiming: Aiming,
    /// How long each tries.
    pub patience: Duration,
    /// What everything random is drawn from.
    pub seed: u64,
}

/// How each end knows where to aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aiming {
    /// At the external endpoint that a STUN server sees of the peer's local port, while the
    /// connection with that server stands.
    AsSeen,
    /// At the peer's local port, as if every NAT preserved it.
    AsPreserved,
}

/// The local endpoints of the two, where they are behind NATs.
const LOCAL: [Endpoint; 2] =
    [Endpoint::new(HOME_A.internal[0], 41_001), Endpoint::new(HOME_B.internal[0], 42_002)];

/// Has two ends punch. The facts and packets of both stand in one run, on one clock.
pub fn punch(layout: &PunchLayout<'_>) -> Run {
    let homes = [HOME_A, HOME_B];
    let [a, mut b] = [0, 1].map(|end| row(layout.ends[end].nats, &homes[end]));
    b.reverse();
    let facing_back = b.len();
    let nats = [a, b].concat();
    let links = links(layout, nats.len());
    let mut world = World::new(Vec::new(), &nats, &links, layout.seed).facing_back(facing_back);
    let local = [0, 1].map(|end| local(layout.ends[end].nats, &homes[end], LOCAL[end]));
    let external = [0, 1].map(|end| match layout.aiming {
        Aiming::AsPreserved => Endpoint::new(homes[end].external[0], local[end].port()),
        Aiming::AsSeen => {
            let seen = world.external_of(ENDS[end], local[end], Endpoint::new(REFLECTOR[0], STUN));
            seen.unwrap_or(local[end])
        }
    });
    let host = |end: usize| {
        let End { profile, first, .. } = layout.ends[end];
        let (side, local, remote) = (SIDES[end], local[end], external[1 - end]);
        let (patience, seed) = (layout.patience, attempts_seed(layout, side));
        let direct = Direct::new(Aim {
            side,
            local,
            remote,
            also: Vec::new(),
            first,
            patience,
            tries: None,
            seed,
        });
        let mut host = Host::new(vec![local.ip()], Box::new(direct), Vec::new());
        host.tcp = Some(Tcp::new(profile, local.ip(), !seed).watching(local));
        host.is_subject = true;
        host
    };
    world.among([0, 1].map(host).into()).run()
}

/// What the moments of this end's attempts are drawn from.
pub fn attempts_seed(layout: &PunchLayout<'_>, side: Side) -> u64 {
    let number = match side {
        Side::A => 1,
        Side::B => 2,
    };
    layout.seed.rotate_left(31) ^ number
}

fn row(nats: &[Behaviour], home: &Home) -> Vec<(Behaviour, Vec<IpAddr>)> {
    home.externals(nats).map(|(nat, own)| (nat.clone(), own.to_vec())).collect()
}

/// Without a NAT a host has an external address of its own.
fn local(nats: &[Behaviour], home: &Home, behind: Endpoint) -> Endpoint {
    if nats.is_empty() { Endpoint::new(home.external[0], behind.port()) } else { behind }
}

/// Between each two places in the row, from a to b and back. Where an end has no NAT, the path
/// between the two begins there.
fn links(layout: &PunchLayout<'_>, nats: usize) -> Vec<[Weather; 2]> {
    let [a, b] = layout.ends;
    let mut links = vec![[Weather::default(); 2]; nats + 1];
    links[0] = a.weather;
    let [outward, inward] = b.weather;
    links[nats] = [inward, outward];
    links[a.nats.len()] = layout.weather;
    links
}

const SIDES: [Side; 2] = [Side::A, Side::B];

/// The ends of the row that they are at.
const ENDS: [nat::Side; 2] = [nat::Side::Inside, nat::Side::Outside];

/// RFC 8489 §14: the port of STUN servers.
const STUN: u16 = 3_478;

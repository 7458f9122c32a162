//! STUN servers asked over a network that is there; no privilege is needed.

use std::net::{IpAddr, Ipv4Addr};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::control::Control;
use super::driver::{Driver, Stop};
use super::flows::Flows;
use super::hold::Held;
use super::station::{DYNAMIC_PORTS, Station};
use crate::engine::{Effort, Fact, Run};
use crate::os::signals::Signals;
use crate::os::{self, firewall, link, reserve};
use crate::probe::{StunProbe, StunSetting};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// STUN servers to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveStun {
    /// The servers.
    pub servers: Vec<Endpoint>,
    /// The local port.
    pub local_port: u16,
    /// How long each server may take, connection included.
    pub patience: Duration,
    /// What to draw randomness from.
    pub seed: u64,
}

/// Asks them all from one local endpoint, that from which the first of a family is reached. `watch`
/// sees every fact as it is noted.
///
/// # Errors
/// Without a route to a server.
pub fn stun(live: &LiveStun, signals: &Signals, watch: &mut dyn FnMut(&Fact)) -> os::Result<Run> {
    asked(&mut StunProbe::new(setting(live)?), signals, watch).map(|(run, _)| run)
}

/// The same; the connections with servers that answered stay open.
///
/// # Errors
/// As for [`stun`].
pub fn stun_and_hold(
    live: &LiveStun,
    signals: &Signals,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<(Run, Held)> {
    let mut probe = StunProbe::new(setting(live)?).holding();
    let (run, flows) = asked(&mut probe, signals, watch)?;
    Ok((run, Held::new(flows, probe.held(), live.seed)))
}

fn asked(
    probe: &mut StunProbe,
    signals: &Signals,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<(Run, Flows)> {
    let stop = Stop::Signals(signals);
    Driver::new(probe, Station::plain(), Control::default(), stop, watch).run_keeping()
}

fn setting(live: &LiveStun) -> os::Result<StunSetting> {
    let LiveStun { servers, local_port, patience, seed } = live.clone();
    let families = [Endpoint::is_ipv4, Endpoint::is_ipv6];
    let firsts = families.iter().filter_map(|fits| servers.iter().find(|server| fits(server)));
    let local = firsts.map(|server| {
        link::route_to(server.ip()).map(|route| Endpoint::new(route.source, local_port))
    });
    let local = local.collect::<os::Result<_>>()?;
    Ok(StunSetting { servers, local, patience, seed })
}

/// Asks them what they can tell `classify`: from several fresh local ports, so that no chance makes a
/// finding. All are asked over one family of addresses, that of the first. `watch` sees every fact as
/// it is noted.
///
/// # Errors
/// Without a route to a server, without a free port.
pub fn classify_by_stun(
    servers: &[Endpoint],
    seed: u64,
    signals: &Signals,
    watch: &mut dyn FnMut(&Fact),
) -> os::Result<Run> {
    let first = servers.first().ok_or_else(|| os::Error::text("ask", "", "no server was given"))?;
    let route = link::route_to(first.ip())?;
    let (internal, stun) = (vec![route.source], servers.to_vec());
    let planned = Fact::Planned {
        effort: Effort::Default,
        // A server, and then those that it names.
        longest: PATIENCE + PATIENCE,
        internal: internal.clone(),
        seed,
        round_trips: 4,
    };
    let begun = [
        planned,
        Fact::Alone { internal, filters: firewall::tables().ok(), stun },
        Fact::Through { interface: route.interface },
    ];
    begun.iter().for_each(&mut *watch);
    let local = free_ports(seed)?.map(|port| Endpoint::new(route.source, port)).to_vec();
    let setting = StunSetting { servers: servers.to_vec(), local, patience: PATIENCE, seed };
    let (mut run, _) = asked(&mut StunProbe::new(setting), signals, watch)?;
    let begun = begun.into_iter().map(|fact| (Instant::START, fact));
    run.facts.splice(0..0, begun);
    Ok(run)
}

/// Ports for as many repetitions as a finding of `classify` stands on.
fn free_ports(seed: u64) -> os::Result<[u16; REPETITIONS]> {
    let mut ports = [0; REPETITIONS];
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut held = Vec::new();
    for port in &mut ports {
        let tried = std::iter::repeat_with(|| random.random_range(DYNAMIC_PORTS)).take(TRIES);
        let reserved = reserve::reserve_fresh(IpAddr::V4(Ipv4Addr::UNSPECIFIED), tried)?;
        *port = reserved.endpoint().port();
        held.push(reserved);
    }
    Ok(ports)
}

/// A port that nobody on this host has now, chosen at random: whatever a NAT remembers of a port used
/// before would spoil what is asked (RFC 5780 §4.1).
///
/// # Errors
/// When none is to be had.
pub fn free_port(seed: u64) -> os::Result<u16> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let ports = std::iter::repeat_with(|| random.random_range(DYNAMIC_PORTS)).take(TRIES);
    let held = reserve::reserve_fresh(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports)?;
    Ok(held.endpoint().port())
}

const TRIES: usize = 32;

/// As for every finding: on fresh ports, and again on two more.
const REPETITIONS: usize = 3;

/// How long a server may take that `classify` asks, connection included.
const PATIENCE: Duration = Duration::from_secs(10);

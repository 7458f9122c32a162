//! STUN servers asked over a network that is there; no privilege is needed.

use std::net::{IpAddr, Ipv4Addr};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::control::Control;
use super::driver::{Driver, Stop};
use super::station::{DYNAMIC_PORTS, Station};
use crate::engine::{Fact, Run};
use crate::os::signals::Signals;
use crate::os::{self, link, reserve};
use crate::probe::{StunProbe, StunSetting};
use crate::time::Duration;
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
    let LiveStun { servers, local_port, patience, seed } = live.clone();
    let families = [Endpoint::is_ipv4, Endpoint::is_ipv6];
    let firsts = families.iter().filter_map(|fits| servers.iter().find(|server| fits(server)));
    let local = firsts.map(|server| {
        link::route_to(server.ip()).map(|route| Endpoint::new(route.source, local_port))
    });
    let local = local.collect::<os::Result<_>>()?;
    let mut probe = StunProbe::new(StunSetting { servers, local, patience, seed });
    let stop = Stop::Signals(signals);
    Driver::new(&mut probe, Station::plain(), Control::default(), stop, watch).run()
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

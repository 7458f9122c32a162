//! A survey of ports in the lab: a real host's choice, through a NAT.

use std::net::IpAddr;

use super::pair::{Single, SinglePlan, with_single};
use super::punch::{run_until, served};
use crate::engine::{Fact, Run};
use crate::live::{self, Flows};
use crate::os;
use crate::os::signals::Signals;
use crate::probe::SurveySetting;
use crate::rendezvous::{STUN_PORTS, StunServer};
use crate::time::Duration;
use crate::wire::Endpoint;

/// Builds a lab with one end, asks its server so often which port that end's flows came from, and
/// takes the lab down. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this machine cannot build it: no privilege, no TUN devices.
pub fn survey(
    plan: &SinglePlan,
    rounds: u32,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Run> {
    with_single(plan, |Single { end, server }| {
        let addresses = server.addresses;
        let serve = |ready, stop: &_| {
            let ports = |address: &IpAddr| STUN_PORTS.map(|port| Endpoint::new(*address, port));
            let flows = Flows::listening(addresses.iter().flat_map(ports))?;
            run_until(&mut StunServer::new(addresses.to_vec(), STUN_PORTS), flows, ready, stop)
        };
        let servers = vec![Endpoint::new(addresses[0], STUN_PORTS[0])];
        let patience = PATIENCE + 4 * plan.weather.delay;
        let setting = SurveySetting { servers, rounds, patience, seed: plan.seed };
        served(server, &serve, || end.namespace.run(|| live::survey(setting, signals, watch))?)
    })
}

/// How long an answer may take beyond its way.
const PATIENCE: Duration = Duration::from_secs(3);

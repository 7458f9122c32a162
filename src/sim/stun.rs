//! STUN servers asked on virtual time.

use std::net::IpAddr;

use super::addresses::{HOME_A, REFLECTOR};
use super::host::Host;
use super::link::Weather;
use super::tcp::Tcp;
use super::world::World;
use crate::engine::{Party, Run};
use crate::nat::Behaviour;
use crate::probe::{StunProbe, StunSetting, Survey, SurveySetting};
use crate::rendezvous::StunServer;
use crate::tcp::Profile;
use crate::time::Duration;
use crate::wire::Endpoint;

/// What stands around the NATs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StunLayout {
    /// Whether the server has two addresses, as behaviour discovery takes.
    pub two_addresses: bool,
    /// How long each endpoint of the server may take.
    pub patience: Duration,
    /// The path outward, and the path inward, outside the outermost NAT.
    pub weather: [Weather; 2],
    /// What everything random is drawn from.
    pub seed: u64,
}

/// Asks a server from behind this row of NATs, the innermost first.
pub fn stun(nats: &[Behaviour], layout: &StunLayout) -> Run {
    let StunLayout { patience, seed, .. } = *layout;
    let local = vec![Endpoint::new(own(nats), LOCAL_PORT)];
    let probe = StunProbe::new(StunSetting { servers: servers(), local, patience, seed });
    asked(nats, layout, Box::new(probe))
}

/// The same from one port after another of the host's choice, so often.
pub fn survey(nats: &[Behaviour], layout: &StunLayout, rounds: u32) -> Run {
    let StunLayout { patience, seed, .. } = *layout;
    let survey = Survey::new(SurveySetting { servers: servers(), rounds, patience, seed });
    asked(nats, layout, Box::new(survey))
}

/// Without a NAT the host has an external address of its own.
const fn own(nats: &[Behaviour]) -> IpAddr {
    if nats.is_empty() { HOME_A.external[0] } else { HOME_A.internal[0] }
}

fn servers() -> Vec<Endpoint> {
    vec![Endpoint::new(REFLECTOR[0], PORTS[0])]
}

fn asked(nats: &[Behaviour], layout: &StunLayout, party: Box<dyn Party>) -> Run {
    let StunLayout { two_addresses, weather, seed, .. } = *layout;
    let addresses = if two_addresses { &REFLECTOR[..] } else { &REFLECTOR[..1] };
    let own = own(nats);
    let mut client = Host::new(vec![own], party, Vec::new());
    client.tcp = Some(Tcp::new(Profile::Linux, own, seed.rotate_left(13)));
    let party = StunServer::new(addresses.to_vec(), PORTS);
    let mut server = Host::new(addresses.to_vec(), Box::new(party), Vec::new());
    let at = |address| PORTS.map(|port| Endpoint::new(address, port));
    let tcp = Tcp::new(Profile::Linux, addresses[0], seed.rotate_left(17));
    server.tcp = Some(tcp.listening(addresses.iter().copied().flat_map(at)));
    let nats: Vec<_> =
        HOME_A.externals(nats).map(|(nat, own)| (nat.clone(), own.to_vec())).collect();
    let mut links = vec![[Weather::default(); 2]; nats.len() + 1];
    links[nats.len()] = weather;
    World::new(vec![client, server], &nats, &links, seed).run()
}

/// RFC 8489 §14; the other one is free to choose.
const PORTS: [u16; 2] = [3_478, 3_479];

const LOCAL_PORT: u16 = 40_000;

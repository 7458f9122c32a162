//! A classification over a network that is there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::control::{Control, patient};
use super::driver::{Driver, Stop};
use super::station::Station;
use crate::engine::{Effort, Fact, Run};
use crate::os::firewall;
use crate::os::link::{self, Route};
use crate::os::signals::Signals;
use crate::os::{self, Kind};
use crate::probe::{Plan, Setting};
use crate::time::Instant;
use crate::wire::Endpoint;

/// What to classify, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Where reflectors take control connections, one or two.
    pub reflectors: Vec<Endpoint>,
    /// Another address of this host behind the same NAT.
    pub second_internal: Option<IpAddr>,
    /// How much patience.
    pub effort: Effort,
    /// What to draw randomness from.
    pub seed: u64,
}

/// Classifies what lies between this host and the reflectors. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this host cannot ask: no route, no privilege, an address that it does not have.
pub fn classify(live: &Live, signals: &Signals, watch: &mut dyn FnMut(&Fact)) -> os::Result<Run> {
    let routes = live.reflectors.iter().map(|reflector| link::route_to(reflector.ip()));
    let routes: Vec<Route> = routes.collect::<os::Result<_>>()?;
    let first = routes.first().ok_or_else(|| {
        os::Error::text("classify", "", "no reflector was given").of_kind(Kind::Other)
    })?;
    let mut internal = vec![first.source];
    let mut interfaces: BTreeSet<_> = routes.iter().map(|route| route.interface.clone()).collect();
    if let Some(second) = live.second_internal {
        interfaces.insert(link::interface_with(second)?);
        internal.push(second);
    }
    let mut station = Station::open(interfaces)?;
    let count = Setting::ports_needed(live.effort);
    let ports = station.free_ports(&internal, count, live.seed)?;
    let control = Control::dialling(&live.reflectors, &patient())?;
    let reflectors = u8::try_from(live.reflectors.len()).unwrap_or(u8::MAX);
    let Live { effort, seed, .. } = *live;
    let mut plan = Plan::new(Setting { effort, seed, internal, ports, reflectors });
    let stop = Stop::Signals(signals);
    let mut run = Driver::new(&mut plan, station, control, stop, watch).run()?;
    run.note(Instant::START, Fact::Through { interface: first.interface.clone() });
    Ok(run)
}

/// What is known without a reflector: the address that this host reaches the world from, and the
/// interface.
///
/// # Errors
/// Without a route there.
pub fn alone() -> os::Result<Run> {
    let route = link::route_to(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))?;
    let mut run = Run::default();
    let (filters, stun) = (firewall::tables().ok(), Vec::new());
    run.note(Instant::START, Fact::Alone { internal: vec![route.source], filters, stun });
    run.note(Instant::START, Fact::Through { interface: route.interface });
    Ok(run)
}

//! One end of a punch, on this host's sockets.

use std::net::TcpStream;

use super::control::Control;
use super::driver::{Driver, Stop};
use super::flows::Flows;
use super::kernel::Kernel;
use super::station::Station;
use crate::engine::{Fact, Punched, Run, Witness};
use crate::os::link::{self, Route};
use crate::os::{self, Error};
use crate::punch::{Aim, Direct};
use crate::tcp::{Side, State};
use crate::time::{Duration, Instant};
use crate::wire::Endpoint;

/// What to open, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePunch {
    /// What this end is called.
    pub side: Side,
    /// The peer's endpoint, as it is reached from here.
    pub peer: Endpoint,
    /// The local port.
    pub local_port: u16,
    /// When the run began, by the kernel's monotonic clock.
    pub begun: Duration,
    /// When the first SYN is to leave, by the same clock.
    pub first: Duration,
    /// How long to try from then on.
    pub patience: Duration,
    /// What to draw randomness from.
    pub seed: u64,
}

/// How a punch ended.
#[derive(Debug)]
pub struct Ended {
    /// What it left.
    pub run: Run,
    /// The connection, if one stands.
    pub connection: Option<TcpStream>,
}

/// Opens a connection with the peer. Without privilege it does so too, with fewer witnesses, and says
/// which are missing. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this host cannot try: no route, the port is taken.
pub fn punch(live: &LivePunch, stop: Stop<'_>, watch: &mut dyn FnMut(&Fact)) -> os::Result<Ended> {
    let route = link::route_to(live.peer.ip())?;
    let local = Endpoint::new(route.source, live.local_port);
    let mut unwatched = Vec::new();
    let station = station(live, &route, local, &mut unwatched);
    let kernel = Kernel::watch();
    let kernel = kernel.map_err(|error| unwatched.push((Witness::Kernel, error))).ok();
    let flows = Flows::default();
    let flows = if kernel.is_none() { flows.sampled() } else { flows };
    let first = station.moment(live.first);
    let &LivePunch { side, peer: remote, patience, seed, .. } = live;
    let mut direct = Direct::new(Aim { side, local, remote, first, patience, seed });
    let driver = Driver::new(&mut direct, station, Control::default(), stop, watch);
    let (mut run, mut flows) = driver.with(flows).witnessed_by(kernel).run_keeping()?;
    for (witness, error) in unwatched {
        let what = Punched::Unwatched { witness, why: error.to_string() };
        run.note(Instant::START, Fact::Punch { side, what });
    }
    if let Some(state) = taken(local, remote).filter(|_| direct.opened().is_none()) {
        run.note(Instant::START, Fact::Punch { side, what: Punched::Taken { state } });
    }
    run.note(Instant::START, Fact::Through { interface: route.interface });
    let stream = direct.opened().and_then(|flow| flows.take(flow));
    let connection = stream.map(os::tcp::Stream::into_blocking).transpose();
    let connection = connection.map_err(|e| Error::text("hand over", "the connection", e))?;
    Ok(Ended { run, connection })
}

/// In which state this host has another connection between these endpoints, if it has one.
fn taken(local: Endpoint, remote: Endpoint) -> Option<State> {
    let sockets = os::ports::sockets().unwrap_or_default();
    let between = sockets.iter().find(|socket| (socket.local, socket.remote) == (local, remote));
    between.map(|socket| socket.state)
}

fn station(
    live: &LivePunch,
    route: &Route,
    local: Endpoint,
    unwatched: &mut Vec<(Witness, Error)>,
) -> Station {
    let mut station = Station::plain().since(live.begun);
    station.note(local);
    if let Err(error) = station.watch(&route.interface, local) {
        unwatched.push((Witness::Wire, error));
    }
    station
}

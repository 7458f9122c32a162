//! A classification in the lab: real packets, real stacks, and a NAT between them.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::pair::{Single, SinglePlan, with_single};
use super::topology::{End, INTERFACE, Server, joined};
use crate::engine::{Effort, Fact, Run};
use crate::live::{Control, Driver, Live, Station, Stop};
use crate::nat::Nat;
use crate::os::poll::Waker;
use crate::os::signals::Signals;
use crate::os::{self, Error};
use crate::rendezvous::{CONTROL_PORT, Limits, Reflector};
use crate::sim::Weather;
use crate::sim::addresses::{INTERNAL, probe_endpoints};
use crate::time::Duration;
use crate::wire::Endpoint;

/// What to classify in the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// The NAT.
    pub nat: Nat,
    /// From the NAT to the reflector, and as long back.
    pub delay: Duration,
    /// How much patience.
    pub effort: Effort,
    /// What to draw randomness from.
    pub seed: u64,
}

/// Builds the lab, classifies, and takes the lab down. Nothing of it outlives the call, or the
/// process. `watch` sees every fact as it is noted.
///
/// # Errors
/// When this machine cannot build it: no privilege, no TUN devices.
pub fn classify(
    lab: &Lab,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Run> {
    let weather = Weather { delay: lab.delay, ..Weather::default() };
    let plan = SinglePlan { nat: Some(lab.nat.clone()), weather, seed: lab.seed };
    with_single(&plan, |single| classify_in(lab, single, signals, watch))
}

fn classify_in(
    lab: &Lab,
    Single { end, server }: &Single,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Run> {
    let stop = Waker::new()?;
    thread::scope(|scope| {
        let (tell, told) = channel();
        let until = &stop;
        let serving = scope.spawn(move || serve(server, lab.seed, until, &tell));
        let end_of_serving = stop.at_end();
        // A reflector that could not begin drops its end, and says why when it is joined.
        let ready = told.recv().is_ok();
        let asked = if ready { ask(lab, end, server, signals, watch) } else { Err(stillborn()) };
        drop(end_of_serving);
        joined(serving).and(asked)
    })
}

fn stillborn() -> Error {
    Error::text("start", "the lab's reflector", "it ended before it began")
}

fn ask(
    lab: &Lab,
    prober: &End,
    server: &Server,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Run> {
    let live = Live {
        reflectors: vec![Endpoint::new(server.addresses[0], CONTROL_PORT)],
        second_internal: Some(INTERNAL[1]),
        effort: lab.effort,
        seed: lab.seed,
    };
    prober.namespace.run(|| crate::live::classify(&live, signals, watch))?
}

/// The reflector, until it is woken.
fn serve(server: &Server, seed: u64, stop: &Waker, ready: &Sender<()>) -> os::Result<()> {
    server.namespace.enter_thread()?;
    let endpoints = probe_endpoints(&server.addresses);
    let mut reflector = Reflector::new(endpoints, Limits::default(), !seed);
    let station = Station::open([INTERFACE.to_owned()])?;
    let control = Control::listening(&server.addresses[..1], CONTROL_PORT)?;
    // The prober's first packet finds a listener; it claims no port before it was welcomed.
    let _ = ready.send(());
    Driver::new(&mut reflector, station, control, Stop::Waker(stop), &mut |_| {}).run().map(drop)
}

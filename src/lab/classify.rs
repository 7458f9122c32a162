//! A classification in the lab: real packets, real stacks, and a NAT between them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::forward::{Row, forward};
use super::topology::{Held, Host, INTERFACE, Router};
use crate::engine::{Effort, Fact, Run};
use crate::live::{Control, Driver, Live, Station, Stop};
use crate::nat::{Behaviour, Device, Nat, Translator};
use crate::os::poll::Waker;
use crate::os::signals::Signals;
use crate::os::tun::Tun;
use crate::os::{self, Error};
use crate::rendezvous::{CONTROL_PORT, Limits, Reflector};
use crate::sim::addresses::{INTERNAL, REFLECTOR, externals, probe_endpoints};
use crate::sim::{Link, Weather};
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
    let prober = Host::new(&INTERNAL)?;
    let reflector = Host::new(&REFLECTOR)?;
    let (rows, _held) = rows(lab, prober.tun, reflector.tun)?;
    let stops = [Waker::new()?, Waker::new()?];
    thread::scope(|scope| {
        let (tell, told) = channel();
        let forwarder = scope.spawn(|| forward(rows, &stops[0]));
        let (namespace, stop) = (&reflector.namespace, &stops[1]);
        let serving = scope.spawn(move || serve(namespace, lab.seed, stop, &tell));
        // A reflector that could not begin drops its end, and says why when it is joined.
        let ready = told.recv().is_ok();
        let asked =
            if ready { ask(lab, &prober.namespace, signals, watch) } else { Err(stillborn()) };
        stops.iter().for_each(Waker::wake);
        let served = joined(serving.join());
        let forwarded = joined(forwarder.join());
        served.and(forwarded).and(asked)
    })
}

fn stillborn() -> Error {
    Error::text("start", "the lab's reflector", "it ended before it began")
}

fn joined<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ask(
    lab: &Lab,
    prober: &os::netns::Namespace,
    signals: &Signals,
    watch: &mut (dyn FnMut(&Fact) + Send),
) -> os::Result<Run> {
    let live = Live {
        reflectors: vec![Endpoint::new(REFLECTOR[0], CONTROL_PORT)],
        second_internal: Some(INTERNAL[1]),
        effort: lab.effort,
        seed: lab.seed,
    };
    prober.run(|| crate::live::classify(&live, signals, watch))?
}

/// The reflector, until it is woken.
fn serve(
    namespace: &os::netns::Namespace,
    seed: u64,
    stop: &Waker,
    ready: &Sender<()>,
) -> os::Result<()> {
    namespace.enter_thread()?;
    let mut reflector = Reflector::new(probe_endpoints(&REFLECTOR), Limits::default(), !seed);
    let station = Station::open([INTERFACE.to_owned()])?;
    let control = Control::listening(&REFLECTOR[..1], CONTROL_PORT)?;
    // The prober's first packet finds a listener; it claims no port before it was welcomed.
    let _ = ready.send(());
    Driver::new(&mut reflector, station, control, Stop::Waker(stop), &mut |_| {}).run().map(drop)
}

/// What lies between the two hosts, and what has to be held meanwhile.
fn rows(lab: &Lab, inside: Tun, outside: Tun) -> os::Result<(Vec<Row>, Option<Held>)> {
    let weather = Weather { delay: lab.delay, ..Weather::default() };
    let links = |weather| [Link::new(weather, lab.seed), Link::new(weather, !lab.seed)];
    match &lab.nat.device {
        Device::Modelled(behaviours) => {
            let nats = translators(behaviours, lab.seed);
            Ok((vec![Row::new([inside, outside], nats, links(weather))], None))
        }
        Device::Kernel(kind) => {
            let router = Router::new(*kind)?;
            let near = Row::new([inside, router.lan], Vec::new(), links(Weather::default()));
            let far = Row::new([router.wan, outside], Vec::new(), links(weather));
            Ok((vec![near, far], Some(router.held)))
        }
    }
}

fn translators(behaviours: &[Behaviour], seed: u64) -> Vec<(Translator, BTreeSet<IpAddr>)> {
    let translators = externals(behaviours).enumerate().map(|(place, (behaviour, addresses))| {
        let translator = Translator::new(behaviour, addresses, seed.wrapping_add(place as u64));
        (translator, addresses.iter().copied().collect())
    });
    translators.collect()
}

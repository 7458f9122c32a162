//! The long-running commands: the reflector, the STUN server and the rendezvous server, a thread each.

mod house;
mod proxy;

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use crate::engine::Fact;
use crate::live::{Control, Driver, Flows, Station, Stop};
use crate::os::poll::{self, Interest, Waker};
use crate::os::{self, entropy, link};
use crate::rendezvous::{Counted, Limits, Reflector, StunServer, Tally};
use crate::wire::Endpoint;
use house::House;
pub use house::{Hospitality, Identity};
pub use proxy::{Door, Errand, Hear, News, proxy};
use tokio::sync::oneshot;

/// Where a reflector serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its address, and perhaps a second one.
    pub addresses: Vec<IpAddr>,
    /// The port for control connections, at the first address.
    pub control_port: u16,
    /// The two ports for probes, at every address. No kernel listener holds them.
    pub probe_ports: [u16; 2],
    /// The two ports for STUN, at every address.
    pub stun_ports: [u16; 2],
    /// The two ports for rendezvous, at every address.
    pub rendezvous_ports: [u16; 2],
}

impl Site {
    /// Where control connections are taken.
    pub fn control(&self) -> Endpoint {
        Endpoint::new(self.addresses[0], self.control_port)
    }

    /// Where probes are taken.
    pub fn probes(&self) -> Vec<Endpoint> {
        self.ends(self.probe_ports)
    }

    /// Where STUN is spoken.
    pub fn stun(&self) -> Vec<Endpoint> {
        self.ends(self.stun_ports)
    }

    /// Where clients are introduced to each other.
    pub fn rendezvous(&self) -> Vec<Endpoint> {
        self.ends(self.rendezvous_ports)
    }

    fn ends(&self, ports: [u16; 2]) -> Vec<Endpoint> {
        let of = |address: &IpAddr| ports.map(|port| Endpoint::new(*address, port));
        self.addresses.iter().flat_map(of).collect()
    }
}

/// The address that this host reaches the rest of the world from.
///
/// # Errors
/// Without a route there.
pub fn own_address() -> os::Result<IpAddr> {
    // Nothing is sent: the kernel is asked for its route to an address that is nobody's.
    link::route_to(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))).map(|route| route.source)
}

/// Reflects, speaks STUN and introduces clients to each other until it is stopped. `ready` is called
/// once the first client would be served.
///
/// # Errors
/// When an address is not this host's, a port is taken, or privilege is lacking.
pub fn serve(
    site: &Site,
    hospitality: Hospitality<'_>,
    stop: Stop<'_>,
    ready: &dyn Fn(),
) -> os::Result<()> {
    let flows = Flows::listening(site.stun())?;
    let tallies = [Tally::default(), Tally::default()];
    let [of_reflector, of_stun] = &tallies;
    let house = House::open(site.rendezvous(), hospitality, Some(&tallies))?;
    let waker = Waker::new()?;
    let (open, closed) = oneshot::channel();
    thread::scope(|scope| {
        let stun = scope.spawn(|| speak_stun(site, flows, of_stun, &waker));
        let introducing = scope.spawn(|| house.run(closed));
        let reflected = reflect(site, of_reflector, stop, ready);
        waker.wake();
        drop(open);
        let spoken = stun.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let introduced =
            introducing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reflected.and(spoken).and(introduced)
    })
}

/// Introduces clients to each other until it is stopped, and nothing more, which takes no privilege.
///
/// # Errors
/// When an address is not this host's, or a port is taken.
pub fn introduce(
    site: &Site,
    hospitality: Hospitality<'_>,
    stop: Stop<'_>,
    ready: &dyn Fn(),
) -> os::Result<()> {
    let house = House::open(site.rendezvous(), hospitality, None)?;
    let ended = Waker::new()?;
    let (open, closed) = oneshot::channel();
    thread::scope(|scope| {
        let introducing = scope.spawn(|| {
            let _ends = ended.at_end();
            house.run(closed)
        });
        ready();
        let waited = poll::wait(&[stop.interest(), Interest::read(&ended)], None);
        // Taken, it no longer ends the process by itself.
        stop.has_come();
        drop(open);
        let introduced =
            introducing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        waited.map(drop).and(introduced)
    })
}

fn speak_stun(site: &Site, flows: Flows, tally: &Tally, waker: &Waker) -> os::Result<()> {
    let server = StunServer::new(site.addresses.clone(), site.stun_ports);
    let mut server = Counted::new(server, tally);
    let mut unheeded = |_: &Fact| {};
    let (station, stop) = (Station::plain(), Stop::Waker(waker));
    let driver = Driver::new(&mut server, station, Control::default(), stop, &mut unheeded);
    driver.with(flows).run().map(drop)
}

fn reflect(site: &Site, tally: &Tally, stop: Stop<'_>, ready: &dyn Fn()) -> os::Result<()> {
    let interfaces = site.addresses.iter().map(|address| link::interface_with(*address));
    let mut station = Station::open(interfaces.collect::<os::Result<Vec<_>>>()?)?;
    let endpoints = site.probes();
    // Before a word is said: a reflector that cannot take probes must not take probers.
    station.claim(&endpoints)?;
    let control = Control::listening(&site.addresses[..1], site.control_port)?;
    let reflector = Reflector::new(endpoints, Limits::default(), entropy::seed()?);
    let mut reflector = Counted::new(reflector, tally);
    ready();
    let mut unheeded = |_: &Fact| {};
    Driver::new(&mut reflector, station, control, stop, &mut unheeded).run().map(drop)
}

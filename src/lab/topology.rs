//! The lab's hosts and what stands between them, all held by descriptors and gone with them.
//!
//! ```text
//!  A ══ lab0 ─── [ model ] ──────────────┐   ┌────────────── [ model ] ─── lab0 ══ B
//!                                        ├ ─ ┤
//!  A ══ lab0 ─── lan ══ router ══ wan ───┤   └── wan ══ router ══ lan ─── lab0 ══ B
//!  A ══ lab0 ────────────────────────────┘        (═ TUN, ─ forwarder; model, router or neither)
//!                                    server
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use super::forward::{Network, Site, forward};
use crate::nat::{Behaviour, Device, KernelRouter, Nat, Translator};
use crate::os::link::{self, Via};
use crate::os::nat::{Applied, KernelNat};
use crate::os::netns::Namespace;
use crate::os::poll::Waker;
use crate::os::tun::Tun;
use crate::os::{self, sysctl};
use crate::sim::Weather;
use crate::sim::addresses::{Home, REFLECTOR};

/// A host behind a NAT, or in the open.
#[derive(Debug)]
pub struct End {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its own address.
    pub internal: IpAddr,
    /// The address that others reach it by: its NAT's, or its own where there is none. A NAT with
    /// arbitrary pooling has another one besides.
    pub external: IpAddr,
}

/// A public host that every end can reach.
#[derive(Debug)]
pub struct Server {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its addresses.
    pub addresses: [IpAddr; 2],
}

/// What is being built.
#[derive(Default)]
pub struct Topology {
    sites: Vec<Site>,
    /// Devices that are joined.
    wires: Vec<[Tun; 2]>,
    /// Routers' namespaces and rules: gone with this.
    held: Vec<(Namespace, Applied)>,
}

/// The interface of a host.
pub const INTERFACE: &str = "lab0";

impl Topology {
    /// Adds an end. Without a NAT its host has the external address.
    pub fn end(&mut self, home: &Home, nat: Option<&Nat>, seed: u64) -> os::Result<End> {
        let external = home.external[0];
        let Some(nat) = nat else {
            let (namespace, tun) = host(&[external])?;
            self.sites.push(Site::new(tun, &[external]));
            return Ok(End { namespace, internal: external, external });
        };
        let (namespace, tun) = host(&home.internal)?;
        match &nat.device {
            Device::Modelled(nats) => {
                self.sites.push(Site::behind(tun, translators(home, nats, seed)));
            }
            Device::Kernel(kind) => {
                let wan = self.router(*kind, home, tun)?;
                self.sites.push(Site::new(wan, &[external]));
            }
        }
        Ok(End { namespace, internal: home.internal[0], external })
    }

    /// Adds the server.
    pub fn server(&mut self) -> os::Result<Server> {
        let (namespace, tun) = host(&REFLECTOR)?;
        self.sites.push(Site::new(tun, &REFLECTOR));
        Ok(Server { namespace, addresses: REFLECTOR })
    }

    /// Moves packets between all sites while `work` is done.
    pub fn run<T>(
        self,
        weather: Weather,
        seed: u64,
        work: impl FnOnce() -> os::Result<T>,
    ) -> os::Result<T> {
        let Self { sites, wires, held: _held } = self;
        let network = Network::new(sites, wires, weather, seed);
        let stop = Waker::new()?;
        thread::scope(|scope| {
            let forwarder = scope.spawn(|| forward(network, &stop));
            let end = stop.at_end();
            let done = work();
            drop(end);
            joined(forwarder).and(done)
        })
    }

    /// Adds a router with the kernel's own NAT before this host: its interface to the outside.
    fn router(&mut self, kind: KernelRouter, home: &Home, host: Tun) -> os::Result<Tun> {
        let namespace = Namespace::create()?;
        let (lan, wan, rules) = namespace.run(|| {
            let lan = interface("lan", &[home.gateway])?;
            let wan = interface("wan", &home.external[..1])?;
            link::add_route(ANYWHERE, 0, Via::Interface("wan"))?;
            sysctl::write("ipv4/ip_forward", "1")?;
            let nat = match kind {
                KernelRouter::Linux => KernelNat::linux("wan"),
                KernelRouter::OpenWrt => KernelNat::openwrt("wan"),
            };
            Ok::<_, os::Error>((lan, wan, nat.apply()?))
        })??;
        self.wires.push([host, lan]);
        self.held.push((namespace, rules));
        Ok(wan)
    }
}

/// What a thread came to; its panic goes on here.
pub fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A host with these addresses, whose every packet goes to the other end of its interface.
fn host(addresses: &[IpAddr]) -> os::Result<(Namespace, Tun)> {
    let namespace = Namespace::create()?;
    let tun = namespace.run(|| {
        let tun = interface(INTERFACE, addresses)?;
        link::add_route(ANYWHERE, 0, Via::Interface(INTERFACE))?;
        Ok::<_, os::Error>(tun)
    })??;
    Ok((namespace, tun))
}

fn interface(name: &str, addresses: &[IpAddr]) -> os::Result<Tun> {
    let tun = Tun::create(name)?;
    addresses.iter().try_for_each(|address| link::add_address(name, *address, 24))?;
    link::up(name)?;
    Ok(tun)
}

fn translators(home: &Home, nats: &[Behaviour], seed: u64) -> Vec<(Translator, BTreeSet<IpAddr>)> {
    let translators = home.externals(nats).enumerate().map(|(place, (behaviour, addresses))| {
        let translator = Translator::new(behaviour, addresses, seed.wrapping_add(place as u64));
        (translator, addresses.iter().copied().collect())
    });
    translators.collect()
}

const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

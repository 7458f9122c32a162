//! The lab's hosts and what stands between them, all held by descriptors and gone with them.
//!
//! ```text
//!  A ══ lab0 ─── [ model ] ──────────────┐   ┌────────────── [ model ] ─── lab0 ══ B
//!                                        ├ ─ ┤
//!  A ══ lab0 ─── lan ══ router ══ wan ───┤   └── wan ══ router ══ lan ─── lab0 ══ B
//!  A ══ lab0 ────────────────────────────┘        (═ TUN, ─ forwarder; model, router or neither)
//!                                    server
//!
//!  A ══ lab0 ─── [ model ] ──┐                       One NAT before both ends, which may be a router
//!                            ├── [ model ] ── …      too: the one of their home, or a carrier's.
//!  B ══ lab0 ────────────────┘
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use super::forward::{Network, forward};
use super::site::Site;
use crate::nat::{Behaviour, Device, KernelRouter, Nat, Translator};
use crate::os::link::{self, Via};
use crate::os::nat::{Applied, KernelNat};
use crate::os::netns::Namespace;
use crate::os::poll::Waker;
use crate::os::tun::Tun;
use crate::os::{self, sysctl};
use crate::sim::Weather;
use crate::sim::addresses::{HOME_A, HOME_B, Home, REFLECTOR};

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
    /// Routers' namespaces and rules: gone with this.
    held: Vec<(Namespace, Applied)>,
}

/// The interface of a host.
pub const INTERFACE: &str = "lab0";

impl Topology {
    /// Adds an end. Without a NAT its host has the external address.
    pub fn end(&mut self, home: &Home, nat: Option<&Nat>, seed: u64) -> os::Result<End> {
        let (end, site) = self.site(home, nat, seed)?;
        self.sites.push(site);
        Ok(end)
    }

    /// Adds both ends, each behind its own NAT if it has one, and all of it behind this one.
    pub fn ends_behind(
        &mut self,
        shared: &Nat,
        nats: [Option<&Nat>; 2],
        seed: u64,
    ) -> os::Result<[End; 2]> {
        let [a, b] = nats;
        let (end_a, site_a) = self.site(&HOME_A.within(a.is_some()), a, seed)?;
        let (end_b, site_b) = self.site(&HOME_B.within(b.is_some()), b, !seed)?;
        let site = self.nat(shared, &HOME_A, vec![site_a, site_b], seed.rotate_left(32))?;
        self.sites.push(site);
        let external = HOME_A.external[0];
        Ok([End { external, ..end_a }, End { external, ..end_b }])
    }

    /// A host and the NAT before it.
    fn site(&mut self, home: &Home, nat: Option<&Nat>, seed: u64) -> os::Result<(End, Site)> {
        let external = home.external[0];
        let Some(nat) = nat else {
            let (namespace, tun) = host(&[external])?;
            let end = End { namespace, internal: external, external };
            return Ok((end, Site::host(tun, &[external])));
        };
        let (namespace, tun) = host(&home.internal)?;
        let site = self.nat(nat, home, vec![Site::host(tun, &home.internal)], seed)?;
        Ok((End { namespace, internal: home.internal[0], external }, site))
    }

    /// A NAT, or a row of them, before what is behind it.
    fn nat(&mut self, nat: &Nat, home: &Home, behind: Vec<Site>, seed: u64) -> os::Result<Site> {
        match &nat.device {
            Device::Modelled(nats) => Ok(modelled(home, nats, behind, seed)),
            Device::Kernel(kind) => {
                let inside: Vec<_> = behind.iter().flat_map(Site::addresses).collect();
                let interfaces = self.router(*kind, home, &inside)?;
                Ok(Site::kernel(interfaces, &home.external[..1], behind))
            }
        }
    }

    /// Adds the server.
    pub fn server(&mut self) -> os::Result<Server> {
        let (namespace, tun) = host(&REFLECTOR)?;
        self.sites.push(Site::host(tun, &REFLECTOR));
        Ok(Server { namespace, addresses: REFLECTOR })
    }

    /// Moves packets between all sites while `work` is done.
    pub fn run<T>(
        self,
        weather: Weather,
        seed: u64,
        work: impl FnOnce() -> os::Result<T>,
    ) -> os::Result<T> {
        let Self { sites, held: _held } = self;
        let network = Network::new(sites, weather, seed);
        let stop = Waker::new()?;
        thread::scope(|scope| {
            let forwarder = scope.spawn(|| forward(network, &stop));
            let end = stop.at_end();
            let done = work();
            drop(end);
            joined(forwarder).and(done)
        })
    }

    /// A router with the kernel's own NAT: its interfaces to the inside and to the outside.
    fn router(
        &mut self,
        kind: KernelRouter,
        home: &Home,
        inside: &[IpAddr],
    ) -> os::Result<[Tun; 2]> {
        let namespace = Namespace::create()?;
        let (interfaces, rules) = namespace.run(|| {
            let lan = interface("lan", &[home.gateway])?;
            let wan = interface("wan", &home.external[..1])?;
            link::add_route(ANYWHERE, 0, Via::Interface("wan"))?;
            for address in inside {
                link::add_route(*address, 32, Via::Interface("lan"))?;
            }
            sysctl::write("ipv4/ip_forward", "1")?;
            let nat = match kind {
                KernelRouter::Linux => KernelNat::linux("wan"),
                KernelRouter::OpenWrt => KernelNat::openwrt("wan"),
            };
            Ok::<_, os::Error>(([lan, wan], nat.apply()?))
        })??;
        self.held.push((namespace, rules));
        Ok(interfaces)
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

/// A row of NATs, the innermost first.
fn modelled(home: &Home, nats: &[Behaviour], behind: Vec<Site>, seed: u64) -> Site {
    let mut behind = behind;
    for (place, (behaviour, addresses)) in home.externals(nats).enumerate() {
        let translator = Translator::new(behaviour, addresses, seed.wrapping_add(place as u64));
        behind = vec![Site::modelled(translator, addresses, behind)];
    }
    behind.pop().expect("a row of NATs has at least one")
}

const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

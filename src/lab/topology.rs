//! The lab's hosts: namespaces with TUN devices, all held by descriptors and gone with them.
//!
//! ```text
//!  prober ══ lan ─── [ model ] ─── net ══ reflector
//!  prober ══ lan ─── lan ══ router ══ wan ─── net ══ reflector      (═ TUN, ─ forwarder)
//! ```

use std::net::{IpAddr, Ipv4Addr};

use crate::nat::KernelRouter;
use crate::os::link::{self, Via};
use crate::os::nat::{Applied, KernelNat};
use crate::os::netns::Namespace;
use crate::os::tun::Tun;
use crate::os::{self, sysctl};
use crate::sim::addresses::EXTERNAL;

/// A host and the interface that it reaches the others by.
pub struct Host {
    /// Its namespace.
    pub namespace: Namespace,
    /// The other end of its interface.
    pub tun: Tun,
}

/// A router with the kernel's own NAT.
pub struct Router {
    /// Its interface to the inside.
    pub lan: Tun,
    /// Its interface to the outside.
    pub wan: Tun,
    /// What keeps it there.
    pub held: Held,
}

/// A router's namespace and rules: gone with this.
pub struct Held {
    _rules: Applied,
    _namespace: Namespace,
}

/// The interface of a host.
pub const INTERFACE: &str = "lab0";

const ROUTER_INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Host {
    /// A host with these addresses, whose every packet goes to the other end of its interface.
    pub fn new(addresses: &[IpAddr]) -> os::Result<Self> {
        let namespace = Namespace::create()?;
        let tun = namespace.run(|| {
            let tun = interface(INTERFACE, addresses)?;
            link::add_route(ANYWHERE, 0, Via::Interface(INTERFACE))?;
            Ok::<_, os::Error>(tun)
        })??;
        Ok(Self { namespace, tun })
    }
}

impl Router {
    /// A router that is set up so.
    pub fn new(kind: KernelRouter) -> os::Result<Self> {
        let namespace = Namespace::create()?;
        let (lan, wan, rules) = namespace.run(|| {
            let lan = interface("lan", &[ROUTER_INSIDE])?;
            let wan = interface("wan", &EXTERNAL[..1])?;
            link::add_route(ANYWHERE, 0, Via::Interface("wan"))?;
            sysctl::write("ipv4/ip_forward", "1")?;
            let nat = match kind {
                KernelRouter::Linux => KernelNat::linux("wan"),
                KernelRouter::OpenWrt => KernelNat::openwrt("wan"),
            };
            Ok::<_, os::Error>((lan, wan, nat.apply()?))
        })??;
        Ok(Self { lan, wan, held: Held { _rules: rules, _namespace: namespace } })
    }
}

fn interface(name: &str, addresses: &[IpAddr]) -> os::Result<Tun> {
    let tun = Tun::create(name)?;
    addresses.iter().try_for_each(|address| link::add_address(name, *address, 24))?;
    link::up(name)?;
    Ok(tun)
}

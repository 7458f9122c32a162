//! Who has which address around a NAT, in the simulator and in the lab.

use std::net::{IpAddr, Ipv4Addr};

use crate::nat::{Behaviour, Pooling};
use crate::rendezvous::PROBE_PORTS;
use crate::wire::Endpoint;

/// The prober's addresses: the second is there to provoke port clashes.
pub const INTERNAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2)), IpAddr::V4(Ipv4Addr::new(192, 168, 1, 3))];
/// The external addresses of a NAT within another one. RFC 6598: the space between a home router and
/// a carrier's NAT.
pub const BETWEEN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2)), IpAddr::V4(Ipv4Addr::new(100, 64, 0, 3))];
/// The external addresses of the outermost NAT, and those of reflectors. RFC 5737: documentation
/// addresses.
pub const EXTERNAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2))];
/// The addresses of one reflector, or of two with one each; in the lab, those of the server.
pub const REFLECTOR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 11))];

/// The addresses around one end: a host, and what stands between it and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The host's own.
    pub internal: [IpAddr; 2],
    /// The innermost router's, towards the host.
    pub gateway: IpAddr,
    /// Those of a NAT within another one.
    pub between: [IpAddr; 2],
    /// Those of a NAT within two others.
    pub innermost: [IpAddr; 2],
    /// Those of the outermost NAT; the first is the host's own where there is no NAT.
    pub external: [IpAddr; 2],
}

/// The end that asks, and where there are two, the first.
pub const HOME_A: Home = Home {
    internal: INTERNAL,
    gateway: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1)),
    between: BETWEEN,
    innermost: [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3))],
    external: EXTERNAL,
};
/// The second end.
pub const HOME_B: Home = Home {
    internal: [
        IpAddr::V4(Ipv4Addr::new(192, 168, 2, 2)),
        IpAddr::V4(Ipv4Addr::new(192, 168, 2, 3)),
    ],
    gateway: IpAddr::V4(Ipv4Addr::new(192, 168, 2, 1)),
    between: [IpAddr::V4(Ipv4Addr::new(100, 64, 1, 2)), IpAddr::V4(Ipv4Addr::new(100, 64, 1, 3))],
    innermost: [IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2)), IpAddr::V4(Ipv4Addr::new(10, 0, 1, 3))],
    external: [
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)),
    ],
};

impl Home {
    /// The same behind one NAT more, which has the external address: whether there is a NAT of its
    /// own makes a difference, since the host is next to that NAT if not.
    #[must_use]
    pub const fn within(self, has_nat: bool) -> Self {
        match has_nat {
            true => Self { between: self.innermost, external: self.between, ..self },
            false => Self { external: self.internal, ..self },
        }
    }

    /// Each NAT of a row, the innermost first, with its external addresses: two if it spreads its
    /// bindings over several.
    pub fn externals<'a>(
        &'a self,
        nats: &'a [Behaviour],
    ) -> impl ExactSizeIterator<Item = (&'a Behaviour, &'a [IpAddr])> {
        let outermost = nats.len().saturating_sub(1);
        nats.iter().enumerate().map(move |(place, behaviour)| {
            let pool = if behaviour.knobs().pooling == Pooling::Arbitrary { 2 } else { 1 };
            let addresses = if place == outermost { &self.external } else { &self.between };
            (behaviour, &addresses[..pool])
        })
    }
}

/// Where a reflector with these addresses takes probes.
pub fn probe_endpoints(addresses: &[IpAddr]) -> Vec<Endpoint> {
    let at = |address: &IpAddr| PROBE_PORTS.map(|port| Endpoint::new(*address, port));
    addresses.iter().flat_map(at).collect()
}

//! How hosts of other kinds choose the ports of connections that do not: on a host of the lab, each port is
//! bound just before the connection leaves from it, as that kind would have chosen it.

use std::net::IpAddr;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::live::PortChoice;
use crate::wire::Endpoint;

/// Which host's choice of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPorts {
    /// This kernel's own.
    Linux,
    /// One counter for all, as Windows before 7: RFC 6056 §3.2.
    Sequential,
    /// The same on a host where other programs connect as well.
    Busy,
    /// Any: RFC 6056 §3.3.1, algorithm 1.
    Random,
    /// Counters chosen by a hash of the remote, and offsets by another: RFC 6056 §3.3.4, algorithm 4.
    DoubleHash,
}

impl HostPorts {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Linux, Self::Sequential, Self::Busy, Self::DoubleHash, Self::Random];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Sequential => "sequential",
            Self::Busy => "sequential, busy",
            Self::Random => "random",
            Self::DoubleHash => "double hash",
        }
    }

    /// Its choice, drawn from this seed; none for this kernel's own.
    pub fn choice(self, seed: u64) -> Option<PortChoice> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let first = random.random_range(0..RANGE);
        match self {
            Self::Linux => None,
            Self::Sequential => {
                let mut taken = u64::from(first);
                Some(Box::new(move |_| {
                    taken += 1;
                    port(taken)
                }))
            }
            Self::Busy => {
                let mut taken = u64::from(first);
                Some(Box::new(move |_| {
                    // Between two of ours others have taken none to three.
                    taken += random.random_range(1..=4);
                    port(taken)
                }))
            }
            Self::Random => Some(Box::new(move |_| port(random.random_range(0..u64::from(RANGE))))),
            Self::DoubleHash => {
                let mut table = [0_u64; COUNTERS];
                table.fill_with(|| random.random_range(0..u64::from(RANGE)));
                let [offsets, counters] = [random.random::<u64>(), random.random()];
                Some(Box::new(move |to| {
                    let counter = &mut table[hash(counters, to) as usize % COUNTERS];
                    *counter += 1;
                    port(hash(offsets, to) % u64::from(RANGE) + *counter)
                }))
            }
        }
    }
}

fn port(count: u64) -> u16 {
    let within = u16::try_from(count % u64::from(RANGE)).expect("the range is less than 2¹⁶");
    LOWEST + within
}

/// No two keys have it alike; more is not asked of it here.
fn hash(key: u64, to: Endpoint) -> u64 {
    let address = match to.ip() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() as u64,
    };
    let seed = key ^ address.rotate_left(16) ^ u64::from(to.port());
    Xoshiro256PlusPlus::seed_from_u64(seed).random()
}

/// RFC 6335 §6: dynamic ports, from which systems of today choose.
const LOWEST: u16 = 49_152;
const RANGE: u16 = 16_384;

/// RFC 6056 §3.3.4 suggests some ten.
const COUNTERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_chooses_as_its_rule_says() {
        let ports = |kind: HostPorts, remotes: &[u16]| {
            let mut choice = kind.choice(7).expect("it is none of ours");
            let remote = |port: &u16| Endpoint::new(IpAddr::from([203, 0, 113, 1]), *port);
            remotes.iter().map(|port| i32::from(choice(remote(port)))).collect::<Vec<_>>()
        };
        let steps = |ports: Vec<i32>| -> Vec<_> {
            ports.windows(2).map(|two| (two[1] - two[0]).rem_euclid(i32::from(RANGE))).collect()
        };
        assert_eq!(steps(ports(HostPorts::Sequential, &[1, 2, 1])), [1, 1]);
        assert!(steps(ports(HostPorts::Busy, &[1; 40])).iter().all(|step| (1..=4).contains(step)));
        assert_eq!(steps(ports(HostPorts::DoubleHash, &[5; 3])), [1, 1]);
        assert_ne!(steps(ports(HostPorts::DoubleHash, &[5, 6])), [1]);
        assert!(steps(ports(HostPorts::Random, &[1; 40])).iter().any(|step| *step > 100));
        assert!(HostPorts::Linux.choice(7).is_none());
    }
}

//! How hosts of other kinds choose the ports of connections that do not: on a host of the lab, each port is
//! bound just before the connection leaves from it, as that kind would have chosen it.

use std::net::IpAddr;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::live::PortChoice;
use crate::os::clock;
use crate::time::Duration;
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
                let mut others = Others::from(random, clock::monotonic());
                let mut taken = u64::from(first);
                Some(Box::new(move |_| {
                    taken += 1 + others.until(clock::monotonic());
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

/// Other programs of a host, which connect independently of each other: a Poisson process.
struct Others {
    random: Xoshiro256PlusPlus,
    /// When the next of them connects.
    next: Duration,
}

impl Others {
    fn from(random: Xoshiro256PlusPlus, now: Duration) -> Self {
        let mut others = Self { random, next: now };
        others.next = now + others.pause();
        others
    }

    /// How many have connected since it was asked before.
    fn until(&mut self, now: Duration) -> u64 {
        let mut count = 0;
        while self.next <= now {
            let pause = self.pause();
            self.next += pause;
            count += 1;
        }
        count
    }

    fn pause(&mut self) -> Duration {
        let none_before = 1.0 - self.random.random::<f64>();
        Duration::from_secs_f64(-none_before.ln() / OTHERS_PER_S)
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

/// As many as a person's programs open in a second while pages are read.
const OTHERS_PER_S: f64 = 5.0;

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
        assert!(steps(ports(HostPorts::Busy, &[1; 40])).iter().all(|step| (1..=9).contains(step)));
        assert_eq!(steps(ports(HostPorts::DoubleHash, &[5; 3])), [1, 1]);
        assert_ne!(steps(ports(HostPorts::DoubleHash, &[5, 6])), [1]);
        assert!(steps(ports(HostPorts::Random, &[1; 40])).iter().any(|step| *step > 100));
        assert!(HostPorts::Linux.choice(7).is_none());
    }

    #[test]
    fn others_take_as_many_ports_as_there_was_time_for() {
        let mut others = Others::from(Xoshiro256PlusPlus::seed_from_u64(7), Duration::ZERO);
        let taken: u64 = (1..=1_000).map(|second| others.until(Duration::from_secs(second))).sum();
        // Five thousand, and four times the root of that.
        assert!((4_717..=5_283).contains(&taken), "{taken}");
        assert_eq!(others.until(Duration::from_secs(1_000)), 0);
    }
}

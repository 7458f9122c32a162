//! Simulated hosts and NATs that give out ports, others that take ports in between, and what an oracle
//! that knows the rule, its settings and the rate of the others would hit.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tso_probe::rendezvous::predict::{Observation, Question};
use tso_probe::time::{Duration, Instant};

/// Rules as they are simulated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Simulated {
    /// The internal port plus this.
    Kept(i32),
    /// One counter for all.
    Sequential(i32),
    /// The same, where each flow's port is even or odd as its internal one.
    ParityKept,
    /// RFC 6056 algorithm 3: one counter, and an offset for each remote.
    HashedOffset,
    /// A counter for each remote address.
    PerAddress,
    /// RFC 6056 algorithm 4: a counter for each remote.
    PerEndpoint,
    /// RFC 6056 algorithm 5, N = 500.
    RandomIncrements,
    /// Linux: a counter for each remote that goes 2 to 16 further.
    LinuxConnect,
    /// A block of so many ports, given out upwards from its first.
    BlockUpwards(u16),
    /// A block of so many ports, any of them.
    BlockRandom(u16),
    /// A port set of RFC 7597 with 4 offset bits and 8 of the set, 240 ports: any of them.
    SetRandom,
    /// Any port.
    Random,
}

#[allow(dead_code, reason = "the benchmark measures them among all")]
pub const DETERMINISTIC: &[Simulated] = &[
    Simulated::Kept(0),
    Simulated::Kept(1_000),
    Simulated::Sequential(1),
    Simulated::Sequential(2),
    Simulated::Sequential(3),
    Simulated::Sequential(16),
    Simulated::Sequential(100),
    Simulated::Sequential(-1),
    Simulated::Sequential(-2),
    Simulated::ParityKept,
    Simulated::HashedOffset,
    Simulated::PerAddress,
    Simulated::PerEndpoint,
    Simulated::BlockUpwards(512),
];

pub const ALL: &[Simulated] = &[
    Simulated::Kept(0),
    Simulated::Sequential(1),
    Simulated::Sequential(2),
    Simulated::Sequential(-1),
    Simulated::ParityKept,
    Simulated::HashedOffset,
    Simulated::PerAddress,
    Simulated::PerEndpoint,
    Simulated::RandomIncrements,
    Simulated::LinuxConnect,
    Simulated::BlockUpwards(512),
    Simulated::BlockRandom(64),
    Simulated::BlockRandom(512),
    Simulated::SetRandom,
    Simulated::Random,
];

/// A host that makes flows, the allocator before it, and what stands between.
#[derive(Clone, Debug)]
pub struct Scene {
    pub rule: Simulated,
    /// How many ports others take in a second.
    pub others_per_s: f64,
    /// The share of flows of this host that nobody sees.
    pub loss: f64,
    /// The share of flows that are seen after the one that follows them.
    pub reordering: f64,
    /// The remotes of the flows, in turn, as places in [`REMOTES`]; if empty, any.
    pub remotes: &'static [usize],
    /// How many flows are seen.
    pub seen: usize,
    /// From the last flow to the one asked for.
    pub ahead: Duration,
}

/// What was seen, what is asked, and what is so.
pub struct Case {
    pub observations: Vec<Observation>,
    pub question: Question,
    pub truth: u16,
}

pub const REMOTES: [SocketAddr; 3] = [remote(1, 443), remote(1, 80), remote(2, 443)];

const fn remote(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(203, 0, 113, host)), port)
}

impl Scene {
    pub fn new(rule: Simulated, others_per_s: f64, seen: usize) -> Self {
        let ahead = Duration::from_millis(100);
        Self { rule, others_per_s, loss: 0.0, reordering: 0.0, remotes: &[], seen, ahead }
    }

    pub fn case(&self, seed: u64) -> Case {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut allocator = Allocator::new(self.rule, &mut random);
        let mut observations: Vec<Observation> = Vec::new();
        let (mut now, mut flows) = (1.0, 0);
        while observations.len() < self.seen {
            let elapsed_s = random.random_range(0.05..0.15);
            now += elapsed_s;
            self.others(&mut allocator, elapsed_s, &mut random);
            let remote = match self.remotes {
                [] => *REMOTES.choose(&mut random).expect("there are some"),
                remotes => REMOTES[remotes[flows % remotes.len()]],
            };
            let (internal, external) = own(&mut allocator, remote, flows, &mut random);
            if random.random_bool(1.0 - self.loss) {
                let at = Instant::from_nanos((now * 1e9) as u64);
                observations.push(Observation { at, remote, internal, external });
            }
            flows += 1;
        }
        for index in 1..observations.len() {
            if random.random_bool(self.reordering) {
                let times = [observations[index].at, observations[index - 1].at];
                observations.swap(index, index - 1);
                (observations[index - 1].at, observations[index].at) = (times[1], times[0]);
            }
        }
        let ahead_s = self.ahead.as_secs_f64();
        self.others(&mut allocator, ahead_s, &mut random);
        let remote = observations.choose(&mut random).expect("something was seen").remote;
        let (internal, truth) = own(&mut allocator, remote, flows, &mut random);
        let at = Instant::from_nanos(((now + ahead_s) * 1e9) as u64);
        Case { observations, question: Question { at, remote, internal }, truth }
    }

    fn others(&self, allocator: &mut Allocator, elapsed_s: f64, random: &mut Xoshiro256PlusPlus) {
        let mut until = exponential(self.others_per_s, random);
        while until < elapsed_s {
            let remote = remote(100 + random.random_range(0..100), random.random());
            let internal = random.random_range(1_024..=u16::MAX);
            allocator.allocate(remote, internal, random);
            // Flows of others are short: their ports are soon free again.
            allocator.given.pop();
            until += exponential(self.others_per_s, random);
        }
    }

    /// How likely the oracle's first `count` candidates hold the next port.
    pub fn best(&self, count: usize) -> f64 {
        let others = self.others_per_s * self.ahead.as_secs_f64();
        let of = |size: f64| (count as f64 / (size - self.seen as f64)).min(1.0);
        let one_way = |way: usize| {
            let mut law = vec![0.0; way + 1];
            law[way] = 1.0;
            law
        };
        match self.rule {
            Simulated::Kept(_) | Simulated::PerAddress | Simulated::PerEndpoint => 1.0,
            Simulated::Sequential(_) | Simulated::HashedOffset | Simulated::BlockUpwards(_) => {
                best_of(&compound(others, &one_way(1), &one_way(1)), count)
            }
            Simulated::ParityKept => {
                let ways = compound(others, &[0.0, 0.0, 0.5, 0.5], &one_way(0));
                // The parity wanted decides between two and three more.
                let mut to = [vec![0.0; ways.len() + 4], vec![0.0; ways.len() + 4]];
                for (way, probability) in ways.iter().enumerate() {
                    to[way % 2][way + 2] += probability;
                    to[(way + 1) % 2][way + 3] += probability;
                }
                to.iter().map(|law| 0.5 * best_of(law, count)).sum()
            }
            Simulated::RandomIncrements => {
                let mut law = vec![1.0 / 500.0; 501];
                law[0] = 0.0;
                best_of(&compound(others, &law, &law), count)
            }
            Simulated::LinuxConnect => (count as f64 / 8.0).min(1.0),
            Simulated::BlockRandom(size) => of(size.into()),
            Simulated::SetRandom => of(240.0),
            Simulated::Random => of(64_512.0),
        }
    }
}

fn exponential(rate: f64, random: &mut Xoshiro256PlusPlus) -> f64 {
    if rate == 0.0 { f64::INFINITY } else { -f64::ln(1.0 - random.random::<f64>()) / rate }
}

/// The law of the sum of one `last` and of as many `each` as a Poisson process with that mean has.
fn compound(mean: f64, each: &[f64], last: &[f64]) -> Vec<f64> {
    let (mut sum, mut law) = (last.to_vec(), Vec::new());
    let mut probability = (-mean).exp();
    for count in 1..=(mean * 4.0) as usize + 16 {
        law.resize(law.len().max(sum.len()), 0.0);
        law.iter_mut().zip(&sum).for_each(|(place, p)| *place += p * probability);
        probability *= mean / count as f64;
        let mut next = vec![0.0; sum.len() + each.len()];
        for (so_far, p) in sum.iter().enumerate() {
            each.iter().enumerate().for_each(|(way, q)| next[so_far + way] += p * q);
        }
        sum = next;
    }
    law
}

fn best_of(law: &[f64], count: usize) -> f64 {
    let mut sorted = law.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.iter().take(count).sum()
}

/// A flow of the host that is observed: its internal port, if the rule needs it, and its external.
fn own(
    allocator: &mut Allocator,
    remote: SocketAddr,
    flow: usize,
    random: &mut Xoshiro256PlusPlus,
) -> (Option<u16>, u16) {
    // Two of one parity, then two of the other.
    let internal = random.random_range(16_384..30_000) * 2 + u16::from(flow % 4 > 1);
    let external = allocator.allocate(remote, internal, random);
    let is_told = matches!(allocator.rule, Simulated::Kept(_) | Simulated::ParityKept);
    (is_told.then_some(internal), external)
}

struct Allocator {
    rule: Simulated,
    /// Counters by what shares them.
    counters: BTreeMap<Option<SocketAddr>, u16>,
    /// Offsets by remote.
    offsets: BTreeMap<SocketAddr, u16>,
    /// The first port of the block, or the number of the set.
    block: u16,
    given: Vec<u16>,
}

impl Allocator {
    fn new(rule: Simulated, random: &mut Xoshiro256PlusPlus) -> Self {
        let block = match rule {
            Simulated::BlockUpwards(size) | Simulated::BlockRandom(size) => {
                size * random.random_range(1_024 / size..(u16::MAX / size))
            }
            _ => random.random_range(0..=255),
        };
        let (counters, offsets) = (BTreeMap::new(), BTreeMap::new());
        Self { rule, counters, offsets, block, given: Vec::new() }
    }

    fn allocate(&mut self, to: SocketAddr, internal: u16, random: &mut Xoshiro256PlusPlus) -> u16 {
        match self.rule {
            Simulated::Kept(offset) => {
                u16::try_from(i32::from(internal) + offset).expect("it stays a port")
            }
            Simulated::Sequential(step) => self.counter(None, step, random),
            Simulated::ParityKept => {
                let last = *self
                    .counters
                    .entry(None)
                    .or_insert_with(|| random.random_range(2_000..60_000));
                let step = if last % 2 == internal % 2 { 2 } else { 3 };
                self.counter(None, step, random)
            }
            Simulated::HashedOffset => {
                let count = self.counter(None, 1, random);
                let offset = *self.offsets.entry(to).or_insert_with(|| random.random());
                wrapped(i32::from(count) + i32::from(offset))
            }
            Simulated::PerAddress => self.counter(Some(SocketAddr::new(to.ip(), 0)), 1, random),
            Simulated::PerEndpoint => self.counter(Some(to), 1, random),
            Simulated::RandomIncrements => {
                let step = random.random_range(1..=500);
                self.counter(None, step, random)
            }
            Simulated::LinuxConnect => self.linux(to, random),
            Simulated::BlockUpwards(size) => {
                let count = self.counters.entry(None).or_insert(0);
                *count += 1;
                self.block + (*count - 1) % size
            }
            Simulated::BlockRandom(size) => self.any(size, random, |block, n| block + n),
            Simulated::SetRandom => {
                self.any(240, random, |set, n| ((n / 16 + 1) << 12) | (set << 4) | (n % 16))
            }
            Simulated::Random => self.any(64_512, random, |_, n| 1_024 + n),
        }
    }

    fn counter(
        &mut self,
        of: Option<SocketAddr>,
        step: i32,
        random: &mut Xoshiro256PlusPlus,
    ) -> u16 {
        let count = self.counters.entry(of).or_insert_with(|| random.random_range(2_000..60_000));
        *count = wrapped(i32::from(*count) + step);
        *count
    }

    /// `__inet_hash_connect` of Linux 6.18 with the range 32768 to 60999.
    fn linux(&mut self, to: SocketAddr, random: &mut Xoshiro256PlusPlus) -> u16 {
        let count = self.counters.entry(Some(to)).or_insert_with(|| random.random_range(0..14_116));
        *count = (*count + random.random_range(1..=8)) % 14_116;
        32_768 + 2 * *count
    }

    /// Any of so many that the host that is observed does not hold.
    fn any(
        &mut self,
        size: u16,
        random: &mut Xoshiro256PlusPlus,
        port: impl Fn(u16, u16) -> u16,
    ) -> u16 {
        let port = loop {
            let port = port(self.block, random.random_range(0..size));
            if !self.given.contains(&port) {
                break port;
            }
        };
        self.given.push(port);
        port
    }
}

/// Within 1024 to 65535, around the end.
fn wrapped(port: i32) -> u16 {
    u16::try_from((port - 1_024).rem_euclid(64_512) + 1_024).expect("it is within the range")
}

//! Which external endpoint a new binding gets (RFC 4787 §4.1 pooling, §4.2 ports; RFC 6056 for the
//! random ones).

use std::collections::BTreeMap;
use std::net::IpAddr;

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::behaviour::{Assignment, Fallback, Knobs, Pooling, Sharing};
use super::table::{Key, Table};
use crate::time::Instant;
use crate::wire::Endpoint;

/// Gives out external endpoints.
#[derive(Clone, Debug)]
pub struct Allocator {
    random: Xoshiro256PlusPlus,
    /// The last port given out in sequence.
    last: u16,
    paired: BTreeMap<IpAddr, IpAddr>,
}

impl Allocator {
    pub fn new(knobs: &Knobs, mut random: Xoshiro256PlusPlus) -> Self {
        let last = random.random_range(knobs.range.clone());
        Self { random, last, paired: BTreeMap::new() }
    }

    /// The external address for a new binding of `internal`; none if the pool is empty.
    pub fn address(
        &mut self,
        pooling: Pooling,
        pool: &[IpAddr],
        internal: IpAddr,
    ) -> Option<IpAddr> {
        let any = *pool.choose(&mut self.random)?;
        Some(match pooling {
            Pooling::Arbitrary => any,
            Pooling::Paired => *self.paired.entry(internal).or_insert(any),
        })
    }

    /// What a binding adds to its host's sequence numbers.
    pub fn isn_offset(&mut self) -> u32 {
        self.random.next_u32()
    }

    /// The external endpoint for a new binding; none when all are taken.
    pub fn external(
        &mut self,
        now: Instant,
        knobs: &Knobs,
        table: &Table,
        internal: Endpoint,
        key: Key,
        address: IpAddr,
    ) -> Option<Endpoint> {
        let free = |port: u16| is_free(now, knobs.ports, table, Endpoint::new(address, port), key);
        let port = match knobs.ports {
            Assignment::Overloading => Some(internal.port()),
            Assignment::Random => self.any(knobs, internal.port(), free),
            Assignment::Sequential(step) => self.next(knobs, step, internal.port(), free),
            Assignment::Preservation(sharing) => {
                let own = (sharing == Sharing::OverlappingReuse)
                    .then(|| reusable(now, table, internal, address, free))
                    .flatten();
                let kept =
                    Some(internal.port()).filter(|port| knobs.range.contains(port) && free(*port));
                own.or(kept).or_else(|| self.fallback(knobs, internal.port(), free))
            }
        };
        port.map(|port| Endpoint::new(address, port))
    }

    fn fallback(&mut self, knobs: &Knobs, like: u16, free: impl Fn(u16) -> bool) -> Option<u16> {
        match knobs.on_clash {
            Fallback::Random => self.any(knobs, like, free),
            Fallback::Sequential(step) => self.next(knobs, step, like, free),
        }
    }

    /// RFC 6056 §3.3.1: a random port, or the next after it that is free.
    fn any(&mut self, knobs: &Knobs, like: u16, free: impl Fn(u16) -> bool) -> Option<u16> {
        let mut port = self.random.random_range(knobs.range.clone());
        for _ in knobs.range.clone() {
            if has_parity(knobs, port, like) && free(port) {
                return Some(port);
            }
            port = stepped(knobs, port, 1);
        }
        None
    }

    fn next(
        &mut self,
        knobs: &Knobs,
        step: i32,
        like: u16,
        free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        if !has_parity(knobs, self.last, like) {
            self.last = stepped(knobs, self.last, 1);
        }
        for _ in knobs.range.clone() {
            self.last = stepped(knobs, self.last, step);
            // A range of odd length swaps even and odd where it wraps.
            if has_parity(knobs, self.last, like) && free(self.last) {
                return Some(self.last);
            }
        }
        None
    }
}

/// `port` plus `step`, from the other end of the range when it would leave it.
fn stepped(knobs: &Knobs, port: u16, step: i32) -> u16 {
    let (start, length) = (i32::from(*knobs.range.start()), knobs.range.len());
    let length = i32::try_from(length).expect("a range of ports has at most 65,536");
    let place = (i32::from(port) - start + step % length).rem_euclid(length);
    u16::try_from(start + place).expect("a place within the range is a port")
}

const fn has_parity(knobs: &Knobs, port: u16, like: u16) -> bool {
    !knobs.parity || port % 2 == like % 2
}

/// Whether a binding with this key may have this endpoint.
fn is_free(now: Instant, ports: Assignment, table: &Table, external: Endpoint, key: Key) -> bool {
    let mut holders = table.inbound(now, external);
    match ports {
        Assignment::Preservation(Sharing::Overlapping | Sharing::OverlappingReuse) => {
            holders.all(|id| table.get(id).key != key)
        }
        _ => holders.next().is_none(),
    }
}

/// A port that `internal` already has and that is free for another key too: netfilter's first
/// choice, which makes its mapping look endpoint-independent.
fn reusable(
    now: Instant,
    table: &Table,
    internal: Endpoint,
    address: IpAddr,
    free: impl Fn(u16) -> bool,
) -> Option<u16> {
    let own = table.of_internal(now, internal).filter(|binding| binding.external.ip() == address);
    let newest = own.filter(|binding| free(binding.external.port())).max_by_key(|b| b.used);
    newest.map(|binding| binding.external.port())
}

//! Who sent a SYN to whom of late.

use hashbrown::HashTable;

use crate::capture::screen::Item;
use crate::wire::Endpoint;
use crate::wire::glance::{self, End};

/// A SYN of another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// From whom.
    pub from: Endpoint,
    /// To whom.
    pub to: Endpoint,
    /// The number of its frame, from 1.
    pub frame: u64,
    /// When, in nanoseconds since 1970.
    pub at: u64,
}

/// The last SYN from each endpoint, and the last one to each.
#[derive(Debug, Default)]
pub struct Recent {
    by_source: Newest,
    by_target: Newest,
    ttls: Ttls,
}

impl Recent {
    pub fn called(&mut self, from: End, to: End, item: &Item) {
        let Item { frame, at, interface, .. } = *item;
        let seen = Seen { from, to, frame, at, interface };
        self.by_source.put(from, seen);
        self.by_target.put(to, seen);
    }

    /// A host's SYN or SYN,ACK came from there with that TTL.
    pub fn heard(&mut self, from: End, ttl: u8) {
        self.ttls.put(from, ttl);
    }

    /// The TTL of the last SYN or SYN,ACK from that address.
    pub fn ttl(&self, of: End) -> Option<u8> {
        self.ttls.get(of)
    }

    /// The SYNs to a that are not from b, and from b that are not to a.
    pub fn of(&self, a: End, b: End, interface: u32) -> Vec<Call> {
        let to_a = self.by_target.get(a).filter(|seen| seen.from != b);
        let to_b = self.by_target.get(b).filter(|seen| seen.from != a);
        let by_a = self.by_source.get(a).filter(|seen| seen.to != b);
        let by_b = self.by_source.get(b).filter(|seen| seen.to != a);
        let all = [to_a, to_b, by_a, by_b].into_iter().flatten();
        all.filter(|seen| seen.interface == interface).map(Seen::call).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    from: End,
    to: End,
    frame: u64,
    at: u64,
    interface: u32,
}

impl Seen {
    fn call(self) -> Call {
        let Self { from, to, frame, at, .. } = self;
        Call { from: from.endpoint(), to: to.endpoint(), frame, at }
    }
}

/// In two generations, of which the older is forgotten when the younger is full.
#[derive(Debug, Default)]
struct Newest {
    young: HashTable<(End, Seen)>,
    old: HashTable<(End, Seen)>,
}

impl Newest {
    fn put(&mut self, end: End, seen: Seen) {
        if self.young.len() >= MOST {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        if let Some(entry) = self.young.find_mut(hash(end), |(other, _)| *other == end) {
            entry.1 = seen;
        } else {
            self.young.insert_unique(hash(end), (end, seen), |(end, _)| hash(*end));
        }
    }

    fn get(&self, end: End) -> Option<Seen> {
        let find = |table: &HashTable<(End, Seen)>| {
            table.find(hash(end), |(other, _)| *other == end).map(|(_, seen)| *seen)
        };
        find(&self.young).or_else(|| find(&self.old))
    }
}

/// The last TTL of each address, in two generations as well.
#[derive(Debug, Default)]
struct Ttls {
    young: HashTable<(End, u8)>,
    old: HashTable<(End, u8)>,
}

impl Ttls {
    fn put(&mut self, from: End, ttl: u8) {
        if self.young.len() >= MOST {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        let host = from.host();
        if let Some(entry) = self.young.find_mut(hash(host), |(other, _)| *other == host) {
            entry.1 = ttl;
        } else {
            self.young.insert_unique(hash(host), (host, ttl), |(end, _)| hash(*end));
        }
    }

    fn get(&self, of: End) -> Option<u8> {
        let host = of.host();
        let find = |table: &HashTable<(End, u8)>| {
            table.find(hash(host), |(other, _)| *other == host).map(|(_, ttl)| *ttl)
        };
        find(&self.young).or_else(|| find(&self.old))
    }
}

const fn hash(end: End) -> u64 {
    glance::hash(end, end)
}

/// Some eight megabytes in both generations of all tables.
const MOST: usize = 1 << 14;

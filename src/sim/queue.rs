//! What will happen, in order of time; what was scheduled first comes first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::nat::Side;
use crate::time::Instant;
use crate::wire::Packet;

/// What will happen.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Scheduled {
    at: Instant,
    order: u64,
    what: What,
}

/// One thing that will happen.
#[derive(Debug)]
pub enum What {
    /// A packet comes to a place in the row: 0 is the inside host, then NATs, then outside.
    Arrive(usize, Side, Packet),
    /// A NAT acts on its own.
    Due(usize),
    /// A host's party or one of its streams has waited long enough.
    Wake(usize),
    /// What a host said at this moment leaves.
    Flush(usize),
}

impl Queue {
    pub fn push(&mut self, at: Instant, what: What) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled { at, order: self.scheduled, what }));
    }

    pub fn pop(&mut self) -> Option<(Instant, What)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.what))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

//! What is handed from the core that reads a capture to the one that puts its packets together.

use std::hint::black_box;

use super::kept::Kept;
use crate::wire::glance::End;

/// Packets that may matter, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Those of the batch, and behind them those of an earlier one, in whose place others are put: each
    /// field for itself, since a copy of all of them would wait until they have been written.
    items: Vec<Item>,
    count: usize,
    /// On its way back: of each opening that need not be watched any more, and of each SYN that began
    /// none, the hash.
    pub(super) unwatched: Vec<u64>,
    /// The latest time of a frame so far, in nanoseconds since 1970, if what comes comes live.
    pub live: Option<u64>,
    /// Whether the file may have packets of several interfaces.
    pub has_interfaces: bool,
}

/// A packet that may matter, and by what its opening is found.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub kept: Kept,
    /// Of the ends and the interface.
    pub hash: u64,
    /// Of an ICMP error, those of the packet that it quotes.
    pub source: End,
    pub destination: End,
    pub interface: u32,
}

impl Item {
    /// Its hash, and looks at both ends of it, so that it comes from the other core's cache meanwhile.
    pub fn touch(&self) -> u64 {
        black_box((self.kept.frame, self.kept.flags, self.interface));
        self.hash
    }
}

impl Batch {
    /// Whether there are so many that they should be handed on.
    pub const fn is_full(&self) -> bool {
        self.count >= ENOUGH
    }

    /// What is in it.
    pub(super) fn items(&mut self) -> &mut [Item] {
        &mut self.items[..self.count]
    }

    /// Where the next one is to be written.
    pub(super) fn room(&mut self) -> &mut Item {
        if self.count == self.items.len() {
            self.items.push(Item::default());
        }
        self.count += 1;
        &mut self.items[self.count - 1]
    }

    /// Makes room for others.
    pub(super) fn clear(&mut self) {
        self.live = None;
        self.count = 0;
    }
}

/// Handing them on costs little beside what they cost. More would come back later, and so long packets
/// pass that need not.
const ENOUGH: usize = 128;

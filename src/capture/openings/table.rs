//! The openings under way, found by their endpoints.

use std::hint::black_box;

use smallvec::SmallVec;

use super::flow::Flow;
use super::index::Index;
use crate::capture::batch::Item;
use crate::capture::kept::Kept;

/// Flows in slots, and an index of those that are under way. Another is put in the place of one that is not.
#[derive(Debug, Default)]
pub struct Table {
    index: Index,
    slots: Vec<Flow>,
    free: Vec<u32>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the flow is that has a packet.
    pub fn find(&self, item: &Item) -> Option<u32> {
        self.index.find(item.hash, |slot| self.flow(slot).has(item))
    }

    /// Looks at the flows that probably have these hashes, and at their last packets: what is not in this
    /// core's cache comes there for all of them at a time, which takes no longer than for one.
    pub fn touch(&self, hashes: impl Iterator<Item = u64>) {
        let find = |hash| self.index.find(hash, |_| true);
        let slots: SmallVec<[u32; AHEAD]> = hashes.filter_map(find).collect();
        let last = |slot: &u32| self.flow(*slot).touch().last();
        let packets: SmallVec<[&Kept; AHEAD]> = slots.iter().filter_map(last).collect();
        packets.iter().for_each(|kept| _ = black_box(kept.frame));
    }

    /// The same of what is in these slots, and of all its packets; some of it may be over. How many they are.
    pub fn touch_whole(&self, slots: impl Iterator<Item = u32>) -> usize {
        let packets = |slot| self.flow(slot).touch();
        let flows: SmallVec<[&[Kept]; AHEAD]> = slots.map(packets).collect();
        flows.iter().copied().flatten().for_each(|kept| _ = black_box(kept.frame));
        flows.len()
    }

    pub fn flow(&self, slot: u32) -> &Flow {
        &self.slots[slot as usize]
    }

    pub fn flow_mut(&mut self, slot: u32) -> &mut Flow {
        &mut self.slots[slot as usize]
    }

    /// A slot for a flow of that hash, which is then to be put there.
    pub fn insert(&mut self, hash: u64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Flow::default());
            u32::try_from(self.slots.len() - 1).expect("slots are bounded by the flows allowed")
        });
        let slots = &self.slots;
        self.index.insert(hash, slot, |slot| slots[slot as usize].hash);
        slot
    }

    /// Frees the slot of a flow that has been dealt with.
    pub fn remove(&mut self, slot: u32) {
        let hash = self.flow(slot).hash;
        self.index.remove(hash, slot);
        self.free.push(slot);
    }

    /// The slots of all of them.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.index.places()
    }
}

/// So many are touched at a time that the first is still in the cache when its turn comes.
pub const AHEAD: usize = 16;

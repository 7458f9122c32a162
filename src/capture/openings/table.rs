//! The openings under way, found by their endpoints.

use std::hint::black_box;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::flow::{Flow, Key};
use crate::capture::kept::Kept;

/// Flows in slots, and an index of them.
#[derive(Debug, Default)]
pub struct Table {
    index: HashTable<Place>,
    slots: Vec<Option<Flow>>,
    free: Vec<u32>,
}

/// Where a flow is. That of its hash which the index does not look at tells nearly all others apart.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    mark: u32,
}

impl Table {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn find(&self, hash: u64, key: Key) -> Option<u32> {
        let is_it = |place: &Place| {
            place.mark == mark(hash) && self.flow(place.slot).is_some_and(|flow| flow.key == key)
        };
        self.index.find(hash, is_it).map(|place| place.slot)
    }

    /// Looks at the flows that probably have these hashes, and at their last packets: what is not in this
    /// core's cache comes there for all of them at a time, which takes no longer than for one.
    pub fn touch(&self, hashes: impl Iterator<Item = u64>) {
        let find = |hash| self.index.find(hash, |place| place.mark == mark(hash));
        let places: SmallVec<[Place; AHEAD]> = hashes.filter_map(find).copied().collect();
        let last = |place: &Place| self.flow(place.slot)?.packets().last();
        let packets: SmallVec<[&Kept; AHEAD]> = places.iter().filter_map(last).collect();
        packets.iter().for_each(|kept| _ = black_box(kept.frame));
    }

    /// The same of the flows in these slots, and of all their packets. How many there are.
    pub fn touch_whole(&self, slots: impl Iterator<Item = u32>) -> usize {
        let packets = |slot| self.flow(slot).map(Flow::packets);
        let flows: SmallVec<[&[Kept]; AHEAD]> = slots.filter_map(packets).collect();
        flows.iter().copied().flatten().for_each(|kept| _ = black_box(kept.frame));
        flows.len()
    }

    pub fn flow(&self, slot: u32) -> Option<&Flow> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The flow of a slot that is taken.
    pub fn flow_mut(&mut self, slot: u32) -> &mut Flow {
        self.slots[slot as usize].as_mut().expect("slots in the index are taken")
    }

    pub fn insert(&mut self, flow: Flow) -> u32 {
        let hash = flow.hash;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("slots are bounded by the flows allowed")
        });
        self.slots[slot as usize] = Some(flow);
        let slots = &self.slots;
        let hash_of =
            |place: &Place| slots[place.slot as usize].as_ref().map_or(0, |flow| flow.hash);
        self.index.insert_unique(hash, Place { slot, mark: mark(hash) }, hash_of);
        slot
    }

    /// Frees the slot of a flow that has been dealt with.
    pub fn remove(&mut self, slot: u32) {
        let hash = self.flow_mut(slot).hash;
        self.slots[slot as usize] = None;
        if let Ok(entry) = self.index.find_entry(hash, |place| place.slot == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }

    /// The slots of all of them.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots.iter().zip(0..);
        slots.filter(|(flow, _)| flow.is_some()).map(|(_, slot)| slot)
    }
}

/// The index goes by the highest bits of a hash and by its lowest.
const fn mark(hash: u64) -> u32 {
    (hash >> 20) as u32
}

/// So many are touched at a time that the first is still in the cache when its turn comes.
pub const AHEAD: usize = 16;

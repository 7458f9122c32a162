//! The openings under way, found by their endpoints.

use hashbrown::HashTable;

use super::flow::Flow;
use crate::wire::glance::Ends;

/// By what an opening is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub ends: Ends,
    pub interface: u32,
}

/// Flows in slots, and an index of them.
#[derive(Debug, Default)]
pub struct Table {
    index: HashTable<u32>,
    slots: Vec<Option<Flow>>,
    free: Vec<u32>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn find(&self, hash: u64, key: Key) -> Option<u32> {
        let is_it = |slot: &u32| self.flow(*slot).is_some_and(|flow| flow.key == key);
        self.index.find(hash, is_it).copied()
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
        let hash_of = |slot: &u32| slots[*slot as usize].as_ref().map_or(0, |flow| flow.hash);
        self.index.insert_unique(hash, slot, hash_of);
        slot
    }

    pub fn remove(&mut self, slot: u32) -> Flow {
        let flow = self.slots[slot as usize].take().expect("slots in the index are taken");
        if let Ok(entry) = self.index.find_entry(flow.hash, |other| *other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        flow
    }

    /// The slots of all of them.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots.iter().zip(0..);
        slots.filter(|(flow, _)| flow.is_some()).map(|(_, slot)| slot)
    }
}

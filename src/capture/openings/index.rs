//! Where things stand that are found by a hash.

use hashbrown::HashTable;

/// Places, found by the hashes of what stands there.
#[derive(Debug, Default)]
pub struct Index(HashTable<Indexed>);

/// A place, and that of its hash which the table does not look at: it tells nearly all others apart.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    place: u32,
    mark: u32,
}

impl Index {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Where something of that hash is for which that holds.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let is_it = |indexed: &Indexed| indexed.mark == mark(hash) && is_it(indexed.place);
        self.0.find(hash, is_it).map(|indexed| indexed.place)
    }

    /// Puts in what is not there.
    pub fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        let indexed = Indexed { place, mark: mark(hash) };
        self.0.insert_unique(hash, indexed, |indexed| hash_of(indexed.place));
    }

    pub fn remove(&mut self, hash: u64, place: u32) {
        if let Ok(entry) = self.0.find_entry(hash, |indexed| indexed.place == place) {
            entry.remove();
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn places(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|indexed| indexed.place)
    }
}

/// The table goes by the highest bits of a hash and by its lowest.
const fn mark(hash: u64) -> u32 {
    (hash >> 20) as u32
}

//! A table that forgets what has not been asked for of late.

use crate::capture::openings::index::Index;
use crate::wire::glance::{self, End};

/// In two generations, of which the older is forgotten when the younger is full.
#[derive(Debug)]
pub struct Generations<K, T> {
    young: Generation<K, T>,
    old: Generation<K, T>,
}

impl<K, T> Default for Generations<K, T> {
    fn default() -> Self {
        Self { young: Generation::default(), old: Generation::default() }
    }
}

impl<K: Hashed, T: Copy + Default> Generations<K, T> {
    /// What is known under this key, in the younger generation from now on.
    pub fn entry(&mut self, key: K) -> &mut T {
        let hash = key.hash();
        let place = self.young.place(hash, key).unwrap_or_else(|| {
            if self.young.entries.len() >= MOST {
                std::mem::swap(&mut self.old, &mut self.young);
                self.young.clear();
            }
            let before = self.old.place(hash, key).map(|place| self.old.entries[place].1);
            self.young.put(hash, key, before.unwrap_or_default())
        });
        &mut self.young.entries[place].1
    }

    pub fn find(&self, key: K) -> Option<&T> {
        let hash = key.hash();
        let mut all = [&self.young, &self.old].into_iter();
        all.find_map(|generation| Some(&generation.entries[generation.place(hash, key)?].1))
    }

    /// Where it is, whichever generation that is.
    pub fn find_mut(&mut self, key: K) -> Option<&mut T> {
        let hash = key.hash();
        let mut all = [&mut self.young, &mut self.old].into_iter();
        all.find_map(|generation| {
            let place = generation.place(hash, key)?;
            Some(&mut generation.entries[place].1)
        })
    }
}

/// One behind the other, so that what is written is near, and an index that is small for the same reason.
#[derive(Debug)]
struct Generation<K, T> {
    entries: Vec<(K, T)>,
    index: Index,
}

impl<K, T> Default for Generation<K, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: Index::default() }
    }
}

impl<K: Hashed, T> Generation<K, T> {
    fn place(&self, hash: u64, key: K) -> Option<usize> {
        let found = self.index.find(hash, |place| self.entries[place as usize].0 == key);
        found.map(|place| place as usize)
    }

    /// Puts in what is not there. Where it is from now on.
    fn put(&mut self, hash: u64, key: K, value: T) -> usize {
        let place = self.entries.len();
        self.entries.push((key, value));
        let number = u32::try_from(place).expect("a generation is full long before");
        self.index.insert(hash, number, |place| self.entries[place as usize].0.hash());
        place
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }
}

/// A key of such a table.
pub trait Hashed: Copy + Eq {
    fn hash(self) -> u64;
}

impl Hashed for End {
    fn hash(self) -> u64 {
        glance::hash(self, self)
    }
}

impl Hashed for (End, End) {
    fn hash(self) -> u64 {
        glance::hash(self.0, self.1)
    }
}

/// Some three megabytes in both generations of all tables, about what is near a core.
const MOST: usize = 1 << 12;

//! A table that forgets what has not been asked for of late.

use hashbrown::HashTable;

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
    index: HashTable<Indexed>,
}

/// Where an entry is, and a part of its hash that tells nearly all others apart.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    place: u16,
    mark: u16,
}

impl<K, T> Default for Generation<K, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: HashTable::new() }
    }
}

impl<K: Hashed, T> Generation<K, T> {
    fn place(&self, hash: u64, key: K) -> Option<usize> {
        let is_it = |indexed: &Indexed| {
            indexed.mark == mark(hash) && self.entries[usize::from(indexed.place)].0 == key
        };
        self.index.find(hash, is_it).map(|indexed| usize::from(indexed.place))
    }

    /// Puts in what is not there. Where it is from now on.
    fn put(&mut self, hash: u64, key: K, value: T) -> usize {
        let place = self.entries.len();
        self.entries.push((key, value));
        let number = u16::try_from(place).expect("a generation is full long before");
        let hash_of = |indexed: &Indexed| self.entries[usize::from(indexed.place)].0.hash();
        self.index.insert_unique(hash, Indexed { place: number, mark: mark(hash) }, hash_of);
        place
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }
}

/// The index goes by the highest bits of a hash and by its lowest.
const fn mark(hash: u64) -> u16 {
    (hash >> 32) as u16
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

//! Objects by their identity, in a table that is cheap to copy whole: a snapshot is written from such a copy while the
//! index goes on. It takes less memory than a hash map of the same objects, and grows by a leaf and not to twice its size.

use crate::cluster::seed;
use crate::cluster::table::{Keyed, Table};

/// What the index keeps of objects, by the hash of their names.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct ById<V> {
    items: Table<Item<V>>,
}

#[derive(Debug, Clone)]
struct Item<V> {
    /// In halves, so that what is made of four octets needs no filling to a multiple of eight.
    id: [u32; 2],
    of: V,
}

impl<V> Item<V> {
    fn id(&self) -> u64 {
        join(self.id)
    }
}

impl<V: Clone> Keyed for Item<V> {
    /// Longer leaves than those that queries look through: 22 octets a slice in place of 37.
    const LEAF_MAX: usize = 24;

    fn hash(&self, _: &seed::Seed) -> u64 {
        self.id()
    }
}

impl<V> Default for ById<V> {
    fn default() -> ById<V> {
        ById {
            items: Table::default(),
        }
    }
}

impl<V: Clone> ById<V> {
    /// How many there are.
    pub(in crate::cluster) fn len(&self) -> usize {
        self.items.len()
    }

    /// All of them, in no order.
    pub(in crate::cluster) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.items.iter().map(|item| (item.id(), &item.of))
    }

    pub(super) fn get(&self, id: u64) -> Option<&V> {
        let item = self.items.find(id, |item| item.id() == id)?;
        Some(&item.of)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        let item = self.items.find_mut(id, |item| item.id() == id)?;
        Some(&mut item.of)
    }

    /// Changes all of them.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut V)) {
        self.items.for_each_mut(|item| change(&mut item.of));
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: u64, of: V) {
        let item = Item { id: split(id), of };
        self.items
            .replace(&seed::UNUSED, item, |item| item.id() == id);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<V> {
        let item = self.items.remove(id, |item| item.id() == id)?;
        Some(item.of)
    }

    /// Octets that one of them takes, without its share of leaf and branches.
    #[cfg(test)]
    pub(super) fn octets_each() -> usize {
        size_of::<Item<V>>()
    }
}

/// A number in halves.
pub(super) fn split(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

/// And back.
pub(super) fn join([upper, lower]: [u32; 2]) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

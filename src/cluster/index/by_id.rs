//! Objects by their identity, in a table that is cheap to copy whole: a snapshot is written from such a copy while the
//! index goes on. It takes less memory than a hash map of the same objects.

use crate::cluster::seed;
use crate::cluster::table::{Keyed, Table};

/// What the index keeps of objects, by the hash of their names.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct ById<V> {
    items: Table<Item<V>>,
}

#[derive(Debug, Clone)]
struct Item<V> {
    id: u64,
    of: V,
}

impl<V: Clone> Keyed for Item<V> {
    /// Longer leaves than those that queries look through: 22 octets a slice in place of 37.
    const LEAF_MAX: usize = 24;

    fn hash(&self, _: &seed::Seed) -> u64 {
        self.id
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
        self.items.iter().map(|item| (item.id, &item.of))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &u64> {
        self.items.iter().map(|item| &item.id)
    }

    pub(super) fn get(&self, id: &u64) -> Option<&V> {
        let item = self.items.find(*id, |item| item.id == *id)?;
        Some(&item.of)
    }

    pub(super) fn contains_key(&self, id: &u64) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: u64, of: V) {
        let item = Item { id, of };
        self.items
            .replace(&seed::UNUSED, item, |item| item.id == id);
    }

    pub(super) fn remove(&mut self, id: &u64) -> Option<V> {
        let item = self.items.remove(*id, |item| item.id == *id)?;
        Some(item.of)
    }
}

//! A persistent hash table: cheap to clone whole, cheap to change by one.
//!
//! The index changes its copy while queries read the one published before, so the table is a tree of fixed
//! depth whose parts are shared between copies: 64 branches of 64 leaves, an item's hash says which. A change
//! copies one branch (1 KiB) and one leaf, whatever the size of the cluster; a look-up is three loads and a
//! scan of a leaf. With 10,000 services a leaf holds two or three items, with 250,000 addresses about sixty.

use std::sync::Arc;

/// Branches of the table, and leaves of a branch. 4,096 leaves keep a leaf short for the largest clusters that
/// Kubernetes supports, and an empty table at 1 KiB.
const WIDTH: usize = 64;

type Leaf<T> = Arc<[T]>;
type Branch<T> = Arc<[Option<Leaf<T>>; WIDTH]>;

/// Items found by hash; the caller hashes, and tells items apart.
#[derive(Debug)]
pub(crate) struct Table<T> {
    root: Arc<[Option<Branch<T>>; WIDTH]>,
    len: usize,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Table<T> {
        Table {
            root: self.root.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            root: Arc::new([const { None }; WIDTH]),
            len: 0,
        }
    }
}

impl<T> Table<T> {
    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All items whose hash may be `hash`, and some others.
    #[inline]
    pub(crate) fn bucket(&self, hash: u64) -> &[T] {
        let (branch, leaf) = position(hash);
        match &self.root[branch] {
            Some(branch) => branch[leaf].as_deref().unwrap_or(&[]),
            None => &[],
        }
    }

    /// The first item of this hash that `is` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        self.bucket(hash).iter().find(|item| is(item))
    }

    /// All items, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.root
            .iter()
            .flatten()
            .flat_map(|branch| branch.iter().flatten())
            .flat_map(|leaf| leaf.iter())
    }
}

impl<T: Clone> Table<T> {
    /// Adds an item behind those of its hash.
    pub(crate) fn insert(&mut self, hash: u64, item: T) {
        let leaf = self.leaf_mut(hash);
        *leaf = Some(match leaf.take() {
            None => Arc::from([item]),
            Some(old) => old.iter().cloned().chain([item]).collect(),
        });
        self.len += 1;
    }

    /// Puts `item` in the place of the item that `is` accepts, or adds it, and returns the one it replaced.
    pub(crate) fn replace(&mut self, hash: u64, item: T, is: impl Fn(&T) -> bool) -> Option<T> {
        let Some(at) = self.bucket(hash).iter().position(&is) else {
            self.insert(hash, item);
            return None;
        };
        let leaf = self
            .leaf_mut(hash)
            .as_mut()
            .expect("an item was found in it");
        // Only a leaf that a published copy shares is copied.
        Some(std::mem::replace(&mut Arc::make_mut(leaf)[at], item))
    }

    /// Takes out the item that `is` accepts.
    pub(crate) fn remove(&mut self, hash: u64, is: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.bucket(hash).iter().position(&is)?;
        let leaf = self.leaf_mut(hash);
        let old = leaf.take().expect("an item was found in it");
        if old.len() > 1 {
            let rest = old[..at].iter().chain(&old[at + 1..]);
            *leaf = Some(rest.cloned().collect());
        }
        self.len -= 1;
        Some(old[at].clone())
    }

    fn leaf_mut(&mut self, hash: u64) -> &mut Option<Leaf<T>> {
        let (branch, leaf) = position(hash);
        let branch = Arc::make_mut(&mut self.root)[branch]
            .get_or_insert_with(|| Arc::new([const { None }; WIDTH]));
        &mut Arc::make_mut(branch)[leaf]
    }
}

/// Branch and leaf of a hash: its upper bits, which foldhash mixes best.
#[inline]
fn position(hash: u64) -> (usize, usize) {
    ((hash >> 58) as usize, (hash >> 52) as usize % WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads small numbers over the table, with many collisions of position.
    fn hash(key: u32) -> u64 {
        u64::from(key % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn it_agrees_with_a_plain_map_through_random_changes() {
        let mut table = Table::default();
        let mut model = std::collections::BTreeMap::new();
        let mut random = 1u32;
        for step in 0..20_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = random >> 16 & 0x3ff;
            if random & 1 == 0 {
                let old = table.replace(hash(key), (key, step), |item| item.0 == key);
                assert_eq!(
                    old.map(|item| item.1),
                    model.insert(key, step),
                    "replace {key}"
                );
            } else {
                let old = table.remove(hash(key), |item| item.0 == key);
                assert_eq!(old.map(|item| item.1), model.remove(&key), "remove {key}");
            }
            assert_eq!(table.len(), model.len());
        }
        for key in 0..0x400 {
            let found = table
                .find(hash(key), |item| item.0 == key)
                .map(|item| item.1);
            assert_eq!(found, model.get(&key).copied(), "find {key}");
        }
        let mut all: Vec<_> = table.iter().copied().collect();
        all.sort_unstable();
        assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut table = Table::default();
        table.insert(7, "a");
        table.insert(7, "b");
        let published = table.clone();
        table.replace(7, "c", |item| *item == "a");
        table.remove(7, |item| *item == "b");
        assert_eq!(published.bucket(7), ["a", "b"]);
        assert_eq!(table.bucket(7), ["c"]);
    }
}

//! A persistent hash table: cheap to clone whole, cheap to change by one.
//!
//! The index changes its copy while queries read the one published before, so the table is a tree whose parts are
//! shared between copies. An item's hash says the way, three bits a branch; a leaf that has grown too long becomes a
//! branch, so the tree is as deep as the cluster is large. A change copies one leaf and the branches above it
//! (152 octets each, four or five of them), whatever the size of the cluster. Items that share the upper bits of
//! their hashes lie together: that is how all that belongs to one address is found.

use std::hint::black_box;
use std::sync::Arc;

use super::seed::Seed;

/// Bits of a hash that choose among the nodes of a branch. Narrow branches keep leaves well filled at any size: with
/// 16 ways, one split leaves a sixteenth in each leaf, and the leaf's own 24 octets are most of it.
const BITS: u32 = 3;
const WAYS: usize = 1 << BITS;

/// How many are looked for side by side at most.
pub(crate) const AHEAD_MAX: usize = 32;

/// An item that knows its hash.
pub(super) trait Keyed: Clone {
    /// Items of one leaf; longer ones are split.
    const LEAF_MAX: usize;

    /// The same for equal keys, as long as the seed is the same.
    fn hash(&self, seed: &Seed) -> u64;
}

/// Items found by hash; the caller tells those of the same hash apart.
#[derive(Debug)]
pub(crate) struct Table<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug)]
enum Node<T> {
    Leaf(Arc<[T]>),
    Branch(Arc<[Node<T>; WAYS]>),
}

/// Some of the items of a table.
pub(super) struct Items<'a, T> {
    leaf: std::slice::Iter<'a, T>,
    /// Nodes that come after the leaf; nothing is allocated where the leaf is all there is.
    others: Vec<&'a Node<T>>,
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
            root: Node::default(),
            len: 0,
        }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Node<T> {
        match self {
            Node::Leaf(items) => Node::Leaf(items.clone()),
            Node::Branch(nodes) => Node::Branch(nodes.clone()),
        }
    }
}

impl<T> Default for Node<T> {
    /// An empty leaf, which takes no memory of its own.
    fn default() -> Node<T> {
        Node::Leaf(Arc::default())
    }
}

impl<T> Table<T> {
    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first item of this hash that `is` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        let (mut node, mut rest) = (&self.root, hash);
        loop {
            match node {
                Node::Leaf(items) => return items.iter().find(|item| is(item)),
                Node::Branch(nodes) => node = &nodes[way(&mut rest)],
            }
        }
    }

    /// For each of the first [`AHEAD_MAX`] hashes what [`Table::find`] finds; `is` is given the number of the hash. All go
    /// down side by side, branch by branch: so the processor waits for the memory of all at once, where one after the other
    /// it waits for that of each.
    pub(super) fn find_each<'a>(
        &'a self,
        hashes: &[u64],
        is: impl Fn(&T, usize) -> bool,
        found: &mut [Option<&'a T>; AHEAD_MAX],
    ) {
        let mut ways = [(&self.root, 0); AHEAD_MAX];
        let ways = &mut ways[..hashes.len().min(AHEAD_MAX)];
        for ((_, rest), hash) in ways.iter_mut().zip(hashes) {
            *rest = *hash;
        }
        let mut are_leaves = false;
        while !are_leaves {
            are_leaves = true;
            for (node, rest) in ways.iter_mut() {
                if let Node::Branch(nodes) = node {
                    *node = &nodes[way(rest)];
                    are_leaves = false;
                }
            }
        }
        // Looked at before anything is decided by it: a processor that has guessed wrong begins anew what comes behind.
        let mut seen = 0;
        for (at, (node, _)) in ways.iter().enumerate() {
            if let Node::Leaf(items) = node {
                for end in [items.first(), items.last()].into_iter().flatten() {
                    seen += usize::from(is(end, at));
                }
            }
        }
        black_box(seen);
        for (at, (found, (node, _))) in found.iter_mut().zip(ways).enumerate() {
            *found = match node {
                Node::Leaf(items) => items.iter().find(|item| is(item, at)),
                Node::Branch(_) => None,
            };
        }
    }

    /// All items whose hash begins with the upper `bits` of `hash`, and perhaps some others.
    pub(super) fn under(&self, hash: u64, bits: u32) -> Items<'_, T> {
        let (mut node, mut rest) = (&self.root, hash);
        for _ in 0..bits / BITS {
            match node {
                Node::Leaf(_) => break,
                Node::Branch(nodes) => node = &nodes[way(&mut rest)],
            }
        }
        Items::of(node)
    }

    /// All items, in no order.
    pub(super) fn iter(&self) -> Items<'_, T> {
        Items::of(&self.root)
    }
}

impl<T: Keyed> Table<T> {
    /// Adds an item.
    pub(super) fn insert(&mut self, seed: &Seed, item: T) {
        let hash = item.hash(seed);
        self.root.insert(seed, item, hash, 0);
        self.len += 1;
    }

    /// Puts `item` in the place of the item that `is` accepts, or adds it, and returns the one it replaced.
    pub(super) fn replace(&mut self, seed: &Seed, item: T, is: impl Fn(&T) -> bool) -> Option<T> {
        let hash = item.hash(seed);
        if let Some(known) = self.find_mut(hash, is) {
            return Some(std::mem::replace(known, item));
        }
        self.insert(seed, item);
        None
    }

    /// The item of this hash that `is` accepts, to be changed in place: only what a published copy shares is copied.
    pub(super) fn find_mut(&mut self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&mut T> {
        // Nothing is copied in vain.
        self.find(hash, &is)?;
        let (mut node, mut rest) = (&mut self.root, hash);
        loop {
            match node {
                Node::Leaf(items) => {
                    return Arc::make_mut(items).iter_mut().find(|item| is(item));
                }
                Node::Branch(nodes) => node = &mut Arc::make_mut(nodes)[way(&mut rest)],
            }
        }
    }

    /// Changes every item, but for what its hash is made of.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut T)) {
        self.root.for_each_mut(&mut change);
    }

    /// Takes out the item that `is` accepts.
    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(&T) -> bool) -> Option<T> {
        self.find(hash, &is)?;
        let item = self.root.remove(hash, &is);
        self.len -= 1;
        item
    }
}

impl<T: Keyed> Node<T> {
    /// `hash` without its upper `used` bits, which have led here.
    fn insert(&mut self, seed: &Seed, item: T, mut hash: u64, used: u32) {
        match self {
            Node::Branch(nodes) => {
                let node = &mut Arc::make_mut(nodes)[way(&mut hash)];
                node.insert(seed, item, hash, used + BITS);
            }
            // Once the hash is used up, its items cannot be told apart any further.
            Node::Leaf(items) if items.len() < T::LEAF_MAX || used + BITS > u64::BITS => {
                *items = items.iter().cloned().chain([item]).collect();
            }
            Node::Leaf(items) => {
                let mut leaves: [Vec<T>; WAYS] = Default::default();
                for item in items.iter().cloned().chain([item]) {
                    let mut rest = item.hash(seed) << used;
                    leaves[way(&mut rest)].push(item);
                }
                // One that has all of them is split again by the next that comes.
                let leaves = leaves.map(|items| Node::Leaf(items.into()));
                *self = Node::Branch(Arc::new(leaves));
            }
        }
    }

    fn for_each_mut(&mut self, change: &mut impl FnMut(&mut T)) {
        match self {
            Node::Leaf(items) => Arc::make_mut(items).iter_mut().for_each(change),
            Node::Branch(nodes) => {
                let nodes = Arc::make_mut(nodes).iter_mut();
                nodes.for_each(|node| node.for_each_mut(change));
            }
        }
    }

    fn remove(&mut self, mut hash: u64, is: &impl Fn(&T) -> bool) -> Option<T> {
        match self {
            Node::Leaf(items) => {
                let at = items.iter().position(is)?;
                let removed = items[at].clone();
                let rest = items[..at].iter().chain(&items[at + 1..]);
                *items = rest.cloned().collect();
                Some(removed)
            }
            Node::Branch(nodes) => {
                let removed = Arc::make_mut(nodes)[way(&mut hash)].remove(hash, is);
                self.merge();
                removed
            }
        }
    }

    /// Makes a leaf of a branch that has few items left; half of what splits it, so that it is not split at once.
    fn merge(&mut self) {
        let Node::Branch(nodes) = self else { return };
        let mut left = 0;
        for node in nodes.iter() {
            match node {
                Node::Leaf(items) => left += items.len(),
                Node::Branch(_) => return,
            }
        }
        if left <= T::LEAF_MAX / 2 {
            let items: Vec<T> = Items::of(self).cloned().collect();
            *self = Node::Leaf(items.into());
        }
    }
}

impl<'a, T> Items<'a, T> {
    fn of(node: &'a Node<T>) -> Items<'a, T> {
        let mut items = Items {
            leaf: [].iter(),
            others: Vec::new(),
        };
        items.enter(node);
        items
    }

    fn enter(&mut self, node: &'a Node<T>) {
        match node {
            Node::Leaf(items) => self.leaf = items.iter(),
            Node::Branch(nodes) => self.others.extend(nodes.iter()),
        }
    }
}

impl<'a, T> Iterator for Items<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.leaf.next() {
                return Some(item);
            }
            let node = self.others.pop()?;
            self.enter(node);
        }
    }
}

/// The way that the upper bits of a hash choose; the bits that are left move up. foldhash mixes the upper bits best.
#[inline]
fn way(hash: &mut u64) -> usize {
    let way = (*hash >> (u64::BITS - BITS)) as usize;
    *hash <<= BITS;
    way
}

#[cfg(test)]
mod tests;

//! Items in the order in which they came, each found by its key, and those of one client by its address.
//!
//! A step costs the same however much is held, because a flood is when it is used most; now and then one looks at all
//! sources.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use slab::Slab;

/// Items whose memory is kept when none is left.
const KEPT_MAX: usize = 256;

/// Items by the client that they are from.
#[derive(Debug)]
pub(crate) struct BySource<T> {
    slots: Slab<Slot<T>>,
    sources: HashMap<IpAddr, Source, RandomState>,
    /// Who has the most, as far as is known, and how many it has.
    heaviest: Option<(IpAddr, usize)>,
    /// How often that was asked since all were looked at.
    asked: usize,
}

/// An item between those of the same source that came before and after it.
#[derive(Debug)]
struct Slot<T> {
    item: T,
    source: IpAddr,
    before: Option<usize>,
    after: Option<usize>,
}

/// The items of a source, of which there is one at least.
#[derive(Debug)]
struct Source {
    oldest: usize,
    newest: usize,
    count: usize,
}

impl<T> Default for BySource<T> {
    fn default() -> BySource<T> {
        BySource {
            slots: Slab::new(),
            sources: HashMap::default(),
            heaviest: None,
            asked: 0,
        }
    }
}

impl<T> BySource<T> {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many there are of this source.
    pub(crate) fn count(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, |source| source.count)
    }

    /// Adds the newest item of a source, and returns its key.
    pub(crate) fn push(&mut self, source: IpAddr, item: T) -> usize {
        let key = self.slots.vacant_key();
        let of_source = self.sources.entry(source).or_insert(Source {
            oldest: key,
            newest: key,
            count: 0,
        });
        let before = (of_source.count > 0).then_some(of_source.newest);
        of_source.newest = key;
        of_source.count += 1;
        if self.heaviest.is_none_or(|(_, most)| of_source.count > most) {
            self.heaviest = Some((source, of_source.count));
        }
        if let Some(before) = before {
            self.slots[before].after = Some(key);
        }
        self.slots.insert(Slot {
            item,
            source,
            before,
            after: None,
        })
    }

    /// Takes an item out. The key must be that of an item which is held.
    pub(crate) fn remove(&mut self, key: usize) -> T {
        let slot = self.slots.remove(key);
        let of_source = self.sources.get_mut(&slot.source);
        let of_source = of_source.expect("a source is kept while it has an item");
        of_source.count -= 1;
        if let Some((_, most)) = self.heaviest.as_mut().filter(|(ip, _)| *ip == slot.source) {
            *most -= 1;
        }
        match (slot.before, slot.after) {
            (None, None) => drop(self.sources.remove(&slot.source)),
            (None, Some(after)) => {
                of_source.oldest = after;
                self.slots[after].before = None;
            }
            (Some(before), None) => {
                of_source.newest = before;
                self.slots[before].after = None;
            }
            (Some(before), Some(after)) => {
                self.slots[before].after = Some(after);
                self.slots[after].before = Some(before);
            }
        }
        self.give_back();
        slot.item
    }

    /// Takes the oldest item of a source out, if it has any.
    pub(crate) fn pop(&mut self, source: IpAddr) -> Option<T> {
        let oldest = self.sources.get(&source)?.oldest;
        Some(self.remove(oldest))
    }

    /// All items.
    pub(crate) fn into_items(self) -> Vec<T> {
        self.slots.into_iter().map(|(_, slot)| slot.item).collect()
    }

    /// A source that has the most items, and how many. While nobody has twice what all have on average, it may be one
    /// that has nearly the most: to look at all of them each time would make a flood from many sources costly.
    pub(crate) fn heaviest(&mut self) -> Option<(IpAddr, usize)> {
        let (sources, items) = (self.sources.len(), self.len());
        let is_heavy = |count| count * sources >= 2 * items;
        self.asked += 1;
        self.heaviest = match self.heaviest {
            known @ Some((_, count)) if count > 0 && (is_heavy(count) || self.asked < sources) => {
                known
            }
            _ => {
                self.asked = 0;
                let all = self.sources.iter().map(|(ip, source)| (*ip, source.count));
                all.max_by_key(|(_, count)| *count)
            }
        };
        self.heaviest
    }

    /// A crowd that is gone leaves no memory behind.
    fn give_back(&mut self) {
        if self.slots.is_empty() && self.slots.capacity() > KEPT_MAX {
            *self = BySource::default();
        }
    }
}

#[cfg(test)]
mod tests;

//! The heaviest of many keys, counted in bounded memory: Space-Saving (Metwally and others, ICDT 2005).
//!
//! There is a fixed number of counters. A key that has none takes that of a key with the least count, and goes on from
//! there: its count may then be too high by that much, which is noted beside it. So of `n` additions to `c` counters no
//! count is too high by more than `n / c`, and every key that came more often than that has a counter.
//!
//! All memory is taken by the first addition; another costs a look-up and, on average, a step to the next victim.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Counters of a sketch.
pub(super) const COUNTERS: usize = 256;

/// Room of the index: twice the counters, so that what removals leave behind is tidied up in place.
const INDEX_ROOM: usize = 2 * COUNTERS;

/// Counts of keys.
#[derive(Debug)]
pub(super) struct Sketch<K> {
    index: HashTable<u16>,
    counters: Vec<Counter<K>>,
    /// Where the next victim is looked for.
    hand: usize,
    /// No count is less; of a sketch that is not full it says nothing.
    least: u32,
}

#[derive(Debug, Clone, Copy)]
struct Counter<K> {
    hash: u64,
    key: K,
    count: u32,
    /// By how much the count may be too high.
    over: u32,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted<K> {
    pub(super) key: K,
    /// It came so often at most.
    pub(super) at_most: u32,
    /// It came so often at least.
    pub(super) at_least: u32,
}

impl<K: Copy> Sketch<K> {
    /// Nothing counted, and no memory taken.
    pub(super) fn new() -> Sketch<K> {
        Sketch {
            index: HashTable::new(),
            counters: Vec::new(),
            hand: 0,
            least: 0,
        }
    }

    /// Octets that a sketch takes besides itself: its counters, and for each place of the index (a power of two that is
    /// filled to seven eighths) a number and a tag.
    #[cfg(test)]
    pub(super) fn octets() -> usize {
        let places = (INDEX_ROOM * 8 / 7).next_power_of_two();
        COUNTERS * size_of::<Counter<K>>() + places * (size_of::<u16>() + 1)
    }

    /// Counts a key once. `octets` are those by which keys are told apart, `is` compares, `key` makes it if it is new.
    pub(super) fn add(
        &mut self,
        hasher: &RandomState,
        octets: &[u8],
        is: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
    ) {
        if self.counters.capacity() == 0 {
            self.index = HashTable::with_capacity(INDEX_ROOM);
            self.counters = Vec::with_capacity(COUNTERS);
        }
        let hash = hasher.hash_one(octets);
        let counters = &mut self.counters;
        let same = |at: &u16| {
            counters[usize::from(*at)].hash == hash && is(&counters[usize::from(*at)].key)
        };
        if let Some(at) = self.index.find(hash, same).copied() {
            let count = &mut self.counters[usize::from(at)].count;
            *count = count.saturating_add(1);
            return;
        }
        let mut counter = Counter {
            hash,
            key: key(),
            count: 1,
            over: 0,
        };
        let at = if self.counters.len() < COUNTERS {
            self.counters.push(counter);
            self.counters.len() - 1
        } else {
            let at = self.victim();
            counter.over = self.counters[at].count;
            counter.count = counter.over.saturating_add(1);
            self.forget(at);
            self.counters[at] = counter;
            at
        };
        let counters = &self.counters;
        // There are 256 counters.
        let at = at as u16;
        self.index
            .insert_unique(hash, at, |at| counters[usize::from(*at)].hash);
    }

    /// A counter with the least count. The hand goes round once for each least count, and a round has to be paid for by
    /// as many additions, unless the least jumps.
    fn victim(&mut self) -> usize {
        for _ in 0..2 {
            for _ in 0..COUNTERS {
                let at = self.hand;
                self.hand = (at + 1) % COUNTERS;
                if self.counters[at].count == self.least {
                    return at;
                }
            }
            let counts = self.counters.iter().map(|counter| counter.count);
            self.least = counts.min().unwrap_or_default();
        }
        unreachable!("some counter has the least count")
    }

    fn forget(&mut self, at: usize) {
        let is_this = |known: &u16| usize::from(*known) == at;
        if let Ok(entry) = self.index.find_entry(self.counters[at].hash, is_this) {
            entry.remove();
        }
    }

    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.counters.clear();
        (self.hand, self.least) = (0, 0);
    }

    /// All keys that have a counter, in no order.
    pub(super) fn counted(&self) -> impl Iterator<Item = Counted<K>> {
        self.counters.iter().map(|counter| Counted {
            key: counter.key,
            at_most: counter.count,
            at_least: counter.count - counter.over,
        })
    }

    /// How often a key that has no counter may have come.
    pub(super) fn missed_at_most(&self) -> u32 {
        if self.counters.len() < COUNTERS {
            return 0;
        }
        let counts = self.counters.iter().map(|counter| counter.count);
        counts.min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn add(sketch: &mut Sketch<u32>, hasher: &RandomState, key: u32) {
        sketch.add(hasher, &key.to_be_bytes(), |known| *known == key, || key);
    }

    /// A stream in which a few keys come often and most come once: the hardest for a few counters.
    fn skewed(number: u32) -> u32 {
        let lot = number.wrapping_mul(0x9e37_79b1) >> 16;
        match lot % 100 {
            0..20 => 1,
            20..30 => 2,
            30..35 => 3,
            _ => 1000 + number,
        }
    }

    #[test]
    fn no_count_is_further_off_than_the_bound_and_none_that_is_heavier_is_missing() {
        const ADDED: u32 = 100_000;
        let (mut sketch, hasher) = (Sketch::new(), RandomState::default());
        let mut true_counts: HashMap<u32, u32> = HashMap::new();
        for key in (0..ADDED).map(skewed) {
            add(&mut sketch, &hasher, key);
            *true_counts.entry(key).or_default() += 1;
        }
        let bound = ADDED / COUNTERS as u32;
        assert!(sketch.missed_at_most() <= bound);
        let counted: HashMap<u32, Counted<u32>> = sketch
            .counted()
            .map(|counted| (counted.key, counted))
            .collect();
        assert_eq!(counted.len(), COUNTERS, "each key has one counter");
        for (key, true_count) in &true_counts {
            match counted.get(key) {
                Some(known) => {
                    assert!(known.at_least <= *true_count, "{key}");
                    assert!(*true_count <= known.at_most, "{key}");
                    assert!(known.at_most - known.at_least <= bound, "{key}");
                }
                None => assert!(*true_count <= sketch.missed_at_most(), "{key}"),
            }
        }
    }

    #[test]
    fn few_keys_are_counted_exactly_and_all_are_forgotten() {
        let (mut sketch, hasher) = (Sketch::new(), RandomState::default());
        for round in 0..2 {
            for number in 0..1000 {
                add(&mut sketch, &hasher, number % 10);
            }
            let all = sketch.counted().map(|counted| {
                assert_eq!(counted.at_most, counted.at_least);
                counted.at_most
            });
            assert_eq!(all.collect::<Vec<_>>(), [100; 10], "round {round}");
            assert_eq!(sketch.missed_at_most(), 0);
            sketch.clear();
        }
    }

    #[test]
    fn the_first_addition_takes_all_the_memory_that_a_sketch_will_ever_have() {
        let (mut sketch, hasher) = (Sketch::new(), RandomState::default());
        let taken =
            |sketch: &Sketch<u32>| (sketch.counters.capacity(), sketch.index.allocation_size());
        assert_eq!(taken(&sketch), (0, 0));
        add(&mut sketch, &hasher, 0);
        let first = taken(&sketch);
        for key in (0..100_000).map(skewed) {
            add(&mut sketch, &hasher, key);
        }
        assert_eq!(taken(&sketch), first);
        sketch.clear();
        assert_eq!(taken(&sketch), first);
    }

    #[test]
    fn a_key_that_comes_when_all_others_are_heavy_is_no_long_way_round() {
        let (mut sketch, hasher) = (Sketch::new(), RandomState::default());
        for key in (0..COUNTERS as u32).cycle().take(1000 * COUNTERS) {
            add(&mut sketch, &hasher, key);
        }
        add(&mut sketch, &hasher, u32::MAX);
        let new = sketch.counted().find(|counted| counted.key == u32::MAX);
        assert_eq!(
            new.map(|counted| (counted.at_least, counted.at_most)),
            Some((1, 1001))
        );
        assert!(sketch.hand <= COUNTERS, "one look at each");
    }
}

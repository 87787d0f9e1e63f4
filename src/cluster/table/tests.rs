//! The table against a plain map, and what a change of it costs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A key and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair(u32, u32);

impl Keyed for Pair {
    const LEAF_MAX: usize = 4;

    fn hash(&self, _: &Seed) -> u64 {
        hash(self.0)
    }
}

/// Spreads small numbers over the table; every fourth shares all bits of its hash with others.
fn hash(key: u32) -> u64 {
    let key = if key.is_multiple_of(4) { key % 32 } else { key };
    u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn model_of(table: &Table<Pair>) -> BTreeMap<u32, u32> {
    table.iter().map(|pair| (pair.0, pair.1)).collect()
}

#[test]
fn a_change_of_all_items_reaches_each_and_no_copy_made_before() {
    let (seed, mut table) = (Seed::default(), Table::default());
    for key in 0..500 {
        table.insert(&seed, Pair(key, 0));
    }
    let before = table.clone();
    table.for_each_mut(|pair| pair.1 += 1);
    for (values, expected) in [(model_of(&table), 1), (model_of(&before), 0)] {
        assert_eq!(values.len(), 500);
        assert!(
            values.values().all(|value| *value == expected),
            "{expected}"
        );
    }
}

#[test]
fn what_is_looked_for_side_by_side_is_what_is_found_one_after_the_other() {
    for (size, wanted) in [(0, 5), (1, 5), (500, 1), (500, AHEAD_MAX), (500, 100)] {
        let (seed, mut table) = (Seed::default(), Table::default());
        (0..size).for_each(|key| table.insert(&seed, Pair(key, key)));
        // Every third is not there.
        let keys = (0..wanted as u32).map(|n| if n % 3 == 0 { 1001 + 4 * n } else { n });
        let hashes: Vec<u64> = keys.map(hash).collect();
        let is = |item: &Pair, wanted| hash(item.0) == wanted;
        let mut found = [None; AHEAD_MAX];
        table.find_each(&hashes, |item, at| is(item, hashes[at]), &mut found);
        let one_by_one = hashes
            .iter()
            .map(|hash| table.find(*hash, |item| is(item, *hash)));
        let expected: Vec<_> = one_by_one
            .chain([None; AHEAD_MAX])
            .take(AHEAD_MAX)
            .collect();
        let many = format!("{wanted} in {size}");
        assert_eq!(found[..], expected[..], "{many}");
        assert_eq!(
            found.iter().any(Option::is_some),
            size > 1 && wanted > 1,
            "{many}"
        );
    }
}

#[test]
fn it_agrees_with_a_plain_map_through_random_changes() {
    let seed = Seed::default();
    let mut table = Table::default();
    let mut model = BTreeMap::new();
    let mut random = 1u32;
    for step in 0..40_000u32 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = random >> 16 & 0x3ff;
        // It grows, is emptied, and grows again.
        let puts = if step / 10_000 % 2 == 0 { 3 } else { 1 };
        if random >> 8 & 3 < puts {
            let old = table.replace(&seed, Pair(key, step), |item| item.0 == key);
            let expected = model.insert(key, step);
            assert_eq!(old.map(|item| item.1), expected, "replace {key}");
        } else {
            let old = table.remove(hash(key), |item| item.0 == key);
            assert_eq!(old.map(|item| item.1), model.remove(&key), "remove {key}");
        }
        assert_eq!(table.len(), model.len());
    }
    assert_eq!(model_of(&table), model);
    for key in 0..0x400 {
        let found = table.find(hash(key), |item| item.0 == key);
        let found = found.map(|item| item.1);
        assert_eq!(found, model.get(&key).copied(), "find {key}");
        let mut under = table.under(hash(key), 30).filter(|item| item.0 == key);
        assert_eq!(
            under.next().map(|item| item.1),
            found,
            "all that begins like {key}"
        );
    }
    for key in model.into_keys() {
        table.remove(hash(key), |item| item.0 == key);
    }
    assert!(
        matches!(&table.root, Node::Leaf(items) if items.is_empty()),
        "a table that was emptied takes as little as one that never was filled"
    );
}

#[test]
fn a_clone_does_not_see_later_changes() {
    let seed = Seed::default();
    let mut table = Table::default();
    for key in 0..100 {
        table.insert(&seed, Pair(key, 0));
    }
    let published = table.clone();
    table.find_mut(hash(7), |item| item.0 == 7).unwrap().1 = 1;
    table.replace(&seed, Pair(9, 1), |item| item.0 == 9);
    table.remove(hash(8), |item| item.0 == 8);
    table.insert(&seed, Pair(100, 1));
    let before: BTreeMap<u32, u32> = (0..100).map(|key| (key, 0)).collect();
    assert_eq!(model_of(&published), before);
    let mut after = before;
    after.extend([(7, 1), (9, 1), (100, 1)]);
    after.remove(&8);
    assert_eq!(model_of(&table), after);
}

#[test]
fn a_node_is_two_words_because_a_table_has_thousands() {
    assert_eq!(size_of::<Node<u64>>(), 16);
}

/// An item that counts how often items are copied.
#[derive(Debug)]
struct Counted(u32);

static COPIES: AtomicUsize = AtomicUsize::new(0);

impl Clone for Counted {
    fn clone(&self) -> Counted {
        COPIES.fetch_add(1, Ordering::Relaxed);
        Counted(self.0)
    }
}

impl Keyed for Counted {
    const LEAF_MAX: usize = 8;

    /// All of them share the upper 30 bits, as the owners of one address do.
    fn hash(&self, _: &Seed) -> u64 {
        owner_hash(self.0)
    }
}

fn owner_hash(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30
}

#[test]
fn a_change_costs_no_more_in_a_large_table_and_where_thousands_begin_alike() {
    let seed = Seed::default();
    let mut table = Table::default();
    for key in 0..20_000 {
        table.insert(&seed, Counted(key));
    }
    assert_eq!(table.under(owner_hash(1), 30).count(), 20_000);
    for key in (0..20_000).step_by(1_999) {
        let _published = table.clone();
        COPIES.store(0, Ordering::Relaxed);
        table.remove(owner_hash(key), |item| item.0 == key);
        table.insert(&seed, Counted(key));
        let copies = COPIES.load(Ordering::Relaxed);
        assert!(copies <= 4 * Counted::LEAF_MAX, "{key}: {copies} copies");
    }
}

use std::collections::BTreeMap;

use super::*;
use crate::testing::Random;

fn source(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

#[test]
fn items_pushed_popped_and_removed_at_random_are_as_in_plain_lists() {
    let mut items = BySource::default();
    let mut naive: BTreeMap<IpAddr, Vec<(usize, u64)>> = BTreeMap::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000_u64 {
        let of = source(random.below(5) as u8);
        let list = naive.entry(of).or_default();
        match random.below(if round % 2_000 < 1_000 { 3 } else { 7 }) {
            0 | 1 => list.push((items.push(of, round), round)),
            2 | 3 => {
                let oldest = (!list.is_empty()).then(|| list.remove(0).1);
                assert_eq!(items.pop(of), oldest, "round {round}");
            }
            _ if list.is_empty() => {}
            _ => {
                let (key, item) = list.remove(random.place(list.len()));
                assert_eq!(items.remove(key), item, "round {round}");
            }
        }
        assert_eq!(items.count(of), naive[&of].len(), "round {round}");
        let all: usize = naive.values().map(Vec::len).sum();
        assert_eq!(items.len(), all, "round {round}");
    }
}

#[test]
fn who_has_the_most_by_far_is_found_whatever_was_before() {
    let mut items = BySource::default();
    assert_eq!(items.heaviest(), None);
    let first: Vec<usize> = (0..100).map(|n| items.push(source(1), n)).collect();
    assert_eq!(items.heaviest(), Some((source(1), 100)));
    for key in &first[1..] {
        items.remove(*key);
    }
    for number in 2..50 {
        items.push(source(number), 0);
    }
    for n in 0..60 {
        items.push(source(77), n);
    }
    assert_eq!(
        items.heaviest(),
        Some((source(77), 60)),
        "one of the first is left"
    );
}

#[test]
fn a_crowd_that_is_gone_leaves_no_memory() {
    let mut items = BySource::default();
    let keys: Vec<usize> = (0..10_000)
        .map(|n| items.push(source(n as u8), n))
        .collect();
    for key in keys {
        items.remove(key);
    }
    assert_eq!((items.len(), items.slots.capacity()), (0, 0));
    assert_eq!(items.sources.capacity(), 0);
}

//! In which order the upstreams of a stanza are asked for one query.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::Rng;
use rand::seq::SliceRandom;

use super::config::UPSTREAMS_MAX;

/// `policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Any order.
    Random,
    /// Each query begins with the upstream behind the one that the query before began with.
    RoundRobin,
    /// The written order.
    Sequential,
}

impl Policy {
    /// The words of the Corefile.
    pub(super) const NAMES: &[(&'static str, Policy)] = &[
        ("random", Policy::Random),
        ("round_robin", Policy::RoundRobin),
        ("sequential", Policy::Sequential),
    ];

    /// The order for the next query to `count` upstreams. `turn` is the memory of the stanza.
    pub(super) fn order(self, count: usize, turn: &AtomicUsize, rng: &mut impl Rng) -> Order {
        let mut order = Order::sequential(count);
        match self {
            Policy::Sequential => {}
            Policy::Random => order.upstreams[..count].shuffle(rng),
            Policy::RoundRobin => {
                let first = turn.fetch_add(1, Ordering::Relaxed) % count;
                order.upstreams[..=first].rotate_right(1);
            }
        }
        order
    }
}

/// Upstreams of a stanza by their number, in the order in which they are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    upstreams: [u8; UPSTREAMS_MAX],
    count: usize,
}

impl Order {
    fn sequential(count: usize) -> Order {
        debug_assert!(
            (1..=UPSTREAMS_MAX).contains(&count),
            "checked when the Corefile was read"
        );
        Order {
            upstreams: std::array::from_fn(|index| index as u8),
            count,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The upstream at a place, counted on through as many rounds as it takes.
    pub(super) fn at(&self, place: usize) -> usize {
        usize::from(self.upstreams[place % self.count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(policy: Policy, count: usize, queries: usize) -> Vec<Vec<usize>> {
        let turn = AtomicUsize::new(0);
        let mut rng = rand::rng();
        let orders = (0..queries).map(|_| policy.order(count, &turn, &mut rng));
        orders
            .map(|order| (0..count).map(|place| order.at(place)).collect())
            .collect()
    }

    #[test]
    fn the_order_follows_the_policy() {
        for (policy, expected) in [
            (
                Policy::Sequential,
                [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]],
            ),
            (
                Policy::RoundRobin,
                [[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 1, 2]],
            ),
        ] {
            assert_eq!(orders(policy, 3, 4), expected, "{policy:?}");
        }
    }

    #[test]
    fn at_random_every_upstream_comes_once_and_each_comes_first_sometimes() {
        let mut first = [0; 3];
        for mut order in orders(Policy::Random, 3, 300) {
            first[order[0]] += 1;
            order.sort();
            assert_eq!(order, [0, 1, 2]);
        }
        assert!(first.iter().all(|count| *count > 30), "{first:?}");
    }

    #[test]
    fn one_upstream_is_always_the_next() {
        for (_, policy) in Policy::NAMES {
            assert_eq!(orders(*policy, 1, 2), [[0], [0]], "{policy:?}");
        }
    }
}

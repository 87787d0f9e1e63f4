//! In which order the upstreams of a stanza are asked for one query.
//!
//! The policy gives an order, and how the upstreams behave changes it: those that leave queries unanswered come last.
//! Under `random`, where the operator does not care, so do those that cost much more than the best, with what they
//! take and what they answer in vain. Under the other two an upstream is never passed over for being slow: who writes
//! `sequential` may mean that the first knows names that the second does not.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::conduct::Conduct;
use super::config::UPSTREAMS_MAX;

/// One query in so many is sent as the policy alone says: so that an upstream that mends is found out.
const TRIAL_ONE_IN: u32 = 16;
/// Upstreams cost the same if one costs less than twice the other and a little more: servers in one data center do.
const COST_BAND_FACTOR: f32 = 2.0;
/// The little more, in seconds.
const COST_BAND: f32 = 0.02;

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

impl Standing {
    /// How an upstream of this conduct stands.
    pub(super) fn of(conduct: &Conduct, is_failing: bool) -> Standing {
        Standing {
            cost: conduct.cost(),
            is_unreliable: conduct.is_unreliable(),
            is_failing,
        }
    }
}

impl Policy {
    /// The words of the Corefile.
    pub(super) const NAMES: &[(&'static str, Policy)] = &[
        ("random", Policy::Random),
        ("round_robin", Policy::RoundRobin),
        ("sequential", Policy::Sequential),
    ];

    /// Whether the next query is one that finds out about those that behaved badly.
    pub(super) fn is_trial(rng: &mut impl Rng) -> bool {
        rng.random_range(0..TRIAL_ONE_IN) == 0
    }

    /// Whether an upstream that is late is asked again, and no other beside it: under `sequential`, where the answer of
    /// the first is the one that is wanted, and may differ from those of the others.
    pub(super) fn repeats(self) -> bool {
        self == Policy::Sequential
    }

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

/// How much an upstream has to say for itself, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    /// It answers, and another costs much less.
    Slow,
    /// It leaves queries unanswered.
    Unreliable,
}

/// An upstream as one query sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// Seconds that a query to it costs; `None` before the first.
    pub(super) cost: Option<f32>,
    /// It leaves queries unanswered.
    pub(super) is_unreliable: bool,
    /// Its health checks fail.
    pub(super) is_failing: bool,
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

    /// Puts behind the others those that are not as good. `trial` spares those of which nothing worse is known than
    /// how they behaved some time ago.
    pub(super) fn prefer(&mut self, policy: Policy, standings: &[Standing], trial: bool) {
        let known = standings.iter().filter(|standing| !standing.is_unreliable);
        let best = known
            .filter_map(|standing| standing.cost)
            .fold(f32::INFINITY, f32::min);
        let rank = |upstream: &u8| {
            let standing = &standings[usize::from(*upstream)];
            let costs_more = |cost| cost > best * COST_BAND_FACTOR + COST_BAND;
            if standing.is_failing || (standing.is_unreliable && !trial) {
                Rank::Unreliable
            } else if policy == Policy::Random && !trial && standing.cost.is_some_and(costs_more) {
                Rank::Slow
            } else {
                Rank::Good
            }
        };
        self.upstreams[..self.count].sort_by_key(rank);
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
    fn bad_conduct_changes_the_order_of_the_policy() {
        let standing = |millis: f32| Standing {
            cost: Some(millis / 1000.0),
            ..Standing::default()
        };
        let unreliable = Standing {
            is_unreliable: true,
            ..standing(100.0)
        };
        let failing = Standing {
            is_failing: true,
            ..unreliable
        };
        let unknown = Standing::default();
        let (quick, fair, slow) = (standing(1.0), standing(20.0), standing(40.0));
        let (random, sequential) = (Policy::Random, Policy::Sequential);
        for (what, policy, standings, trial, expected) in [
            ("alike", random, [fair, quick, fair], false, [0, 1, 2]),
            ("one is slow", random, [slow, quick, fair], false, [1, 2, 0]),
            (
                "one is slow, in sequence",
                sequential,
                [slow, quick, fair],
                false,
                [0, 1, 2],
            ),
            (
                "a trial of the slow",
                random,
                [slow, quick, fair],
                true,
                [0, 1, 2],
            ),
            (
                "one is unreliable",
                sequential,
                [unreliable, slow, quick],
                false,
                [1, 2, 0],
            ),
            (
                "worse than slow",
                random,
                [unreliable, slow, quick],
                false,
                [2, 1, 0],
            ),
            (
                "a trial of the unreliable",
                random,
                [unreliable, slow, quick],
                true,
                [0, 1, 2],
            ),
            (
                "no trial of one whose checks fail",
                random,
                [failing, slow, quick],
                true,
                [1, 2, 0],
            ),
            (
                "all are unreliable",
                random,
                [unreliable; 3],
                false,
                [0, 1, 2],
            ),
            (
                "one is new",
                random,
                [unknown, slow, unreliable],
                false,
                [0, 1, 2],
            ),
        ] {
            let mut order = Order::sequential(3);
            order.prefer(policy, &standings, trial);
            let order: [usize; 3] = std::array::from_fn(|place| order.at(place));
            assert_eq!(order, expected, "{what}");
        }
    }

    #[test]
    fn one_upstream_is_always_the_next() {
        for (_, policy) in Policy::NAMES {
            assert_eq!(orders(*policy, 1, 2), [[0], [0]], "{policy:?}");
        }
    }
}

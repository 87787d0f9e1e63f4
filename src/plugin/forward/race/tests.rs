//! Races with upstreams that behave as a row says, in steps of a made-up clock.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::plugin::forward::policy::Policy;

const PATIENCE: Duration = Duration::from_millis(100);

/// Upstreams that are down, unreliable, and what the budget has.
#[derive(Default)]
struct Upstreams {
    down: &'static [usize],
    unreliable: &'static [usize],
    /// Unreliable from the fiftieth millisecond on.
    dying: &'static [usize],
    now: Cell<u64>,
    /// Says nothing to anybody.
    silent: &'static [usize],
    budget: Cell<usize>,
}

impl Field for Upstreams {
    fn is_down(&self, upstream: usize) -> bool {
        self.down.contains(&upstream)
    }
    fn is_unreliable(&self, upstream: usize) -> bool {
        let has_died = self.now.get() >= 50 && self.dying.contains(&upstream);
        has_died || self.unreliable.contains(&upstream)
    }
    fn is_heard_since(&self, upstream: usize, _: Instant) -> bool {
        !self.silent.contains(&upstream)
    }
    fn spend(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }
}

fn race(count: usize, attempts_max: u32, all_down: AllDown, repeats: bool, now: Instant) -> Race {
    let order = Policy::Sequential.order(count, &AtomicUsize::new(0), &mut rand::rng());
    let rules = Rules {
        attempts_max: NonZeroU32::new(attempts_max),
        all_down,
        repeats,
        deadline: now + Duration::from_secs(4),
    };
    Race::new(order, rules, now)
}

/// What is asked if nobody ever answers and each fails after `fails_after`, with the milliseconds at which it is.
fn asked(mut race: Race, field: &Upstreams, fails_after: u64) -> Vec<(Move, u64)> {
    let began = race.round_began;
    let mut made = Vec::new();
    let mut out: Vec<(u32, u64)> = Vec::new();
    for millis in 0..6000 {
        let now = began + Duration::from_millis(millis);
        field.now.set(millis);
        while let Some(at) = out
            .iter()
            .position(|(_, since)| since + fails_after <= millis)
        {
            race.failed(out.remove(at).0);
        }
        loop {
            let next = race.next(now, field, |_| 0);
            match next {
                Move::Ask(upstream) | Move::Hedge(upstream) | Move::AskDown(upstream) => {
                    out.push((race.asked(upstream, PATIENCE, now, field), millis));
                }
                Move::AllDown => {
                    made.push((next, millis));
                    return made;
                }
                Move::Wait(_) | Move::Rest => break,
            }
            made.push((next, millis));
        }
    }
    assert!(out.is_empty(), "goes on for ever: {made:?}");
    made
}

#[test]
fn without_a_budget_upstreams_are_asked_one_after_the_other_until_there_was_enough() {
    use Move::{Ask, AskDown};
    for (what, count, max, fails_after, down, expected) in [
        (
            "as often as allowed",
            2,
            3,
            1000,
            &[][..],
            vec![(Ask(0), 0), (Ask(1), 1000), (Ask(0), 2000)],
        ),
        (
            "until the time is over",
            2,
            0,
            2000,
            &[],
            vec![(Ask(0), 0), (Ask(1), 2000)],
        ),
        (
            "without those that are down",
            3,
            3,
            1000,
            &[1],
            vec![(Ask(0), 0), (Ask(2), 1000), (Ask(0), 2000)],
        ),
        (
            "one for all that are down",
            2,
            4,
            1000,
            &[0, 1],
            vec![(AskDown(0), 0)],
        ),
        (
            "one alone",
            1,
            2,
            1000,
            &[],
            vec![(Ask(0), 0), (Ask(0), 1000)],
        ),
        (
            "a pause behind a round of refusals",
            2,
            4,
            1,
            &[],
            vec![(Ask(0), 0), (Ask(1), 1), (Ask(0), 50), (Ask(1), 51)],
        ),
    ] {
        let race = race(count, max, AllDown::AskOne, false, Instant::now());
        let field = Upstreams {
            down,
            ..Upstreams::default()
        };
        assert_eq!(asked(race, &field, fails_after), expected, "{what}");
    }
}

#[test]
fn however_quick_the_failures_the_attempts_are_bounded() {
    let race = race(1, 0, AllDown::AskOne, false, Instant::now());
    assert_eq!(asked(race, &Upstreams::default(), 1).len(), 80);
}

#[test]
fn when_all_are_down_the_query_may_fail_at_once() {
    let race = race(2, 4, AllDown::Fail, false, Instant::now());
    let field = Upstreams {
        down: &[0, 1],
        ..Upstreams::default()
    };
    assert_eq!(asked(race, &field, 1000), [(Move::AllDown, 0)]);
}

#[test]
fn who_is_late_is_not_waited_for_alone() {
    use Move::{Ask, Hedge};
    struct Row {
        what: &'static str,
        count: usize,
        repeats: bool,
        field: Upstreams,
        expected: Vec<(Move, u64)>,
    }
    let budget = |budget| Upstreams {
        budget: Cell::new(budget),
        ..Upstreams::default()
    };
    for Row {
        what,
        count,
        repeats,
        field,
        expected,
    } in [
        Row {
            what: "each time with twice the patience",
            count: 3,
            repeats: false,
            field: budget(9),
            expected: vec![
                (Ask(0), 0),
                (Hedge(1), 100),
                (Hedge(2), 300),
                (Hedge(0), 700),
            ],
        },
        Row {
            what: "as far as the budget goes",
            count: 3,
            repeats: false,
            field: budget(1),
            expected: vec![(Ask(0), 0), (Hedge(1), 100)],
        },
        Row {
            what: "one alone is asked again",
            count: 1,
            repeats: false,
            field: budget(2),
            expected: vec![(Ask(0), 0), (Hedge(0), 100), (Hedge(0), 300)],
        },
        Row {
            what: "in sequence the first is asked again",
            count: 2,
            repeats: true,
            field: budget(2),
            expected: vec![(Ask(0), 0), (Hedge(0), 100), (Hedge(0), 300)],
        },
        Row {
            what: "in sequence the first is asked again once if it is silent",
            count: 2,
            repeats: true,
            field: Upstreams {
                silent: &[0],
                ..budget(2)
            },
            expected: vec![(Ask(0), 0), (Hedge(0), 100), (Hedge(1), 300)],
        },
        Row {
            what: "not one that is down",
            count: 3,
            repeats: false,
            field: Upstreams {
                down: &[1],
                ..budget(1)
            },
            expected: vec![(Ask(0), 0), (Hedge(2), 100)],
        },
        Row {
            what: "the death of one costs no budget",
            count: 2,
            repeats: true,
            field: Upstreams {
                dying: &[0],
                ..budget(0)
            },
            expected: vec![(Ask(0), 0), (Hedge(1), 100)],
        },
        Row {
            what: "the death of all does",
            count: 2,
            repeats: false,
            field: Upstreams {
                dying: &[0, 1],
                ..budget(0)
            },
            expected: vec![(Ask(0), 0)],
        },
        Row {
            what: "one known to be dead does",
            count: 2,
            repeats: false,
            field: Upstreams {
                unreliable: &[0],
                ..budget(0)
            },
            expected: vec![(Ask(0), 0)],
        },
    ] {
        let race = race(count, 1, AllDown::AskOne, repeats, Instant::now());
        assert_eq!(asked(race, &field, 3000), expected, "{what}");
    }
}

#[test]
fn when_one_of_two_that_are_out_fails_a_third_is_asked_at_once() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    let mut race = race(3, 6, AllDown::AskOne, false, now);
    let field = Upstreams {
        budget: Cell::new(9),
        ..Upstreams::default()
    };
    let mut last = 0;
    for (upstream, millis, expected) in [(0, 0, Move::Ask(0)), (1, 100, Move::Hedge(1))] {
        assert_eq!(race.next(at(millis), &field, |_| 0), expected);
        last = race.asked(upstream, PATIENCE, at(millis), &field);
    }
    assert!(race.failed(last), "it was not late");
    assert_eq!(race.next(at(101), &field, |_| 0), Move::Hedge(2));
}

#[test]
fn of_each_upstream_it_is_told_once_that_it_is_late_or_fails() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    let mut race = race(3, 4, AllDown::AskOne, false, now);
    let field = Upstreams::default();
    let first = race.asked(0, PATIENCE, now, &field);
    assert_eq!(race.next(now, &field, |_| 0), Move::Wait(at(100)));
    assert_eq!(race.late(at(99)), None);
    assert_eq!(race.late(at(100)), Some(0));
    assert_eq!(race.late(at(200)), None);
    race.asked(0, PATIENCE, at(200), &field);
    assert_eq!(race.late(at(300)), None, "the same name, late once more");
    assert!(!race.failed(first), "it was late");
    let other = race.asked(1, PATIENCE, at(2000), &field);
    assert!(race.failed(other));
    let again = race.asked(1, PATIENCE, at(2002), &field);
    assert!(!race.failed(again));
}

#[test]
fn another_upstream_is_one_that_is_up_and_was_not_asked() {
    for (what, count, max, down, asks, expected) in [
        ("of two, one was asked", 2, 0, &[][..], 1, true),
        ("of two, both were asked", 2, 0, &[], 2, false),
        ("the other is down", 2, 0, &[1], 1, false),
        ("no attempt is left", 2, 1, &[], 1, false),
        ("all were down", 2, 0, &[0, 1], 1, false),
    ] {
        let now = Instant::now();
        let mut race = race(count, max, AllDown::AskOne, false, now);
        let field = Upstreams {
            down,
            ..Upstreams::default()
        };
        for _ in 0..asks {
            race.next(now, &field, |_| 0);
        }
        assert_eq!(race.has_other(&field), expected, "{what}");
    }
}

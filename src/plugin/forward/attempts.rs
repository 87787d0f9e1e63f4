//! Which upstream is asked next for one query, and when to give up: decisions alone, with the time given.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::config::AllDown;
use super::policy::Order;

/// The least time from the begin of one round through the upstreams to the next. Refusals come back within
/// microseconds; without it `max_connect_attempts 0` would ask thousands of times within its seconds, and two
/// attempts in the same instant are hardly better than one.
const ROUND_MIN: Duration = Duration::from_millis(50);

/// The attempts to get one query answered.
#[derive(Debug)]
pub(super) struct Attempts {
    order: Order,
    /// Places of the order that were passed, through all rounds.
    place: usize,
    made: u32,
    max: Option<NonZeroU32>,
    all_down: AllDown,
    round_began: Instant,
    deadline: Instant,
    is_last: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Ask this upstream.
    Ask(usize),
    /// All are down: ask this one nevertheless.
    AskDown(usize),
    /// Look again then.
    Wait(Instant),
    /// All are down, and the query is to fail.
    AllDown,
    /// There was enough of it.
    Enough,
}

impl Attempts {
    /// None made yet.
    pub(super) fn new(
        order: Order,
        max: Option<NonZeroU32>,
        all_down: AllDown,
        now: Instant,
        deadline: Instant,
    ) -> Attempts {
        Attempts {
            order,
            place: 0,
            made: 0,
            max,
            all_down,
            round_began: now,
            deadline,
            is_last: false,
        }
    }

    /// What to do next. `is_down` tells of an upstream, `random` picks one of so many.
    pub(super) fn next(
        &mut self,
        now: Instant,
        is_down: impl Fn(usize) -> bool,
        random: impl FnOnce(usize) -> usize,
    ) -> Attempt {
        let is_enough = self.max.is_some_and(|max| self.made >= max.get());
        if self.is_last || is_enough || now >= self.deadline {
            return Attempt::Enough;
        }
        let count = self.order.count();
        let up = (self.place..self.place + count).find(|place| !is_down(self.order.at(*place)));
        let Some(place) = up else {
            self.is_last = true;
            return match self.all_down {
                AllDown::Fail => Attempt::AllDown,
                AllDown::AskOne => Attempt::AskDown(random(count)),
            };
        };
        if place / count > self.round() {
            let due = self.round_began + ROUND_MIN;
            if now < due {
                return Attempt::Wait(due.min(self.deadline));
            }
            self.round_began = now;
        }
        self.place = place + 1;
        self.made += 1;
        Attempt::Ask(self.order.at(place))
    }

    /// Whether there is an upstream that is up and was not asked yet, so that its answer may be a better one.
    pub(super) fn has_other(&self, is_down: impl Fn(usize) -> bool) -> bool {
        let is_enough = self.max.is_some_and(|max| self.made >= max.get());
        let mut unasked = (self.place..self.order.count()).map(|place| self.order.at(place));
        !self.is_last && !is_enough && unasked.any(|upstream| !is_down(upstream))
    }

    /// The round of the place that was passed last.
    fn round(&self) -> usize {
        self.place.saturating_sub(1) / self.order.count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::plugin::forward::policy::Policy;

    fn attempts(count: usize, max: u32, all_down: AllDown, now: Instant) -> Attempts {
        let order = Policy::Sequential.order(count, &AtomicUsize::new(0), &mut rand::rng());
        let deadline = now + Duration::from_secs(4);
        Attempts::new(order, NonZeroU32::new(max), all_down, now, deadline)
    }

    /// The upstreams asked, one attempt each `step`.
    fn asked(mut attempts: Attempts, now: Instant, step: Duration, down: &[usize]) -> Vec<Attempt> {
        let mut made = Vec::new();
        for turn in 0..1000 {
            let next = attempts.next(now + step * turn, |up| down.contains(&up), |_| 0);
            match next {
                Attempt::Wait(_) => continue,
                Attempt::Enough => return made,
                _ => made.push(next),
            }
        }
        panic!("goes on for ever: {made:?}");
    }

    #[test]
    fn upstreams_are_asked_in_rounds_until_there_was_enough() {
        use Attempt::{Ask, AskDown};
        let seconds = Duration::from_secs;
        for (what, count, max, step, down, expected) in [
            (
                "as often as allowed",
                2,
                3,
                seconds(1),
                &[][..],
                vec![Ask(0), Ask(1), Ask(0)],
            ),
            (
                "until the time is over",
                2,
                0,
                seconds(2),
                &[],
                vec![Ask(0), Ask(1)],
            ),
            (
                "without those that are down",
                3,
                4,
                seconds(1),
                &[1],
                vec![Ask(0), Ask(2), Ask(0), Ask(2)],
            ),
            (
                "one for all that are down",
                2,
                4,
                seconds(1),
                &[0, 1],
                vec![AskDown(0)],
            ),
            ("one alone", 1, 2, seconds(1), &[], vec![Ask(0), Ask(0)]),
        ] {
            let now = Instant::now();
            let attempts = attempts(count, max, AllDown::AskOne, now);
            assert_eq!(asked(attempts, now, step, down), expected, "{what}");
        }
    }

    #[test]
    fn when_all_are_down_the_query_may_fail_at_once() {
        let now = Instant::now();
        let attempts = attempts(2, 4, AllDown::Fail, now);
        let made = asked(attempts, now, Duration::from_secs(1), &[0, 1]);
        assert_eq!(made, [Attempt::AllDown]);
    }

    #[test]
    fn a_round_of_quick_failures_is_followed_by_a_pause() {
        let now = Instant::now();
        let mut attempts = attempts(2, 0, AllDown::AskOne, now);
        let up = |_: usize| false;
        assert_eq!(attempts.next(now, up, |_| 0), Attempt::Ask(0));
        assert_eq!(attempts.next(now, up, |_| 0), Attempt::Ask(1));
        let due = now + ROUND_MIN;
        assert_eq!(attempts.next(now, up, |_| 0), Attempt::Wait(due));
        assert_eq!(attempts.next(due, up, |_| 0), Attempt::Ask(0));
        assert_eq!(attempts.next(due, up, |_| 0), Attempt::Ask(1));
        assert_eq!(
            attempts.next(due, up, |_| 0),
            Attempt::Wait(due + ROUND_MIN)
        );
    }

    #[test]
    fn however_quick_the_failures_the_attempts_are_bounded() {
        let now = Instant::now();
        let attempts = attempts(1, 0, AllDown::AskOne, now);
        let made = asked(attempts, now, Duration::from_millis(5), &[]);
        assert_eq!(made.len(), 80);
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
            let mut attempts = attempts(count, max, AllDown::AskOne, now);
            let is_down = |upstream: usize| down.contains(&upstream);
            for _ in 0..asks {
                attempts.next(now, is_down, |_| 0);
            }
            assert_eq!(attempts.has_other(is_down), expected, "{what}");
        }
    }
}

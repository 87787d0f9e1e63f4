//! Whom to ask next for one query, and when: decisions alone, with the time given.
//!
//! ```text
//! ask one ── no answer within its patience ─▶ ask another beside it (hedge), if the budget has it
//!    │  └─── it turns out to be dead ───────▶ ask another beside it, budget or not
//!    └────── it fails ──────────────────────▶ ask the next (attempt), if max_connect_attempts has it
//! ```
//!
//! Whoever answers first ends the race. Who is asked beside others does not count as an attempt.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::config::AllDown;
use super::policy::Order;

/// The least time from the begin of one round through the upstreams to the next. Refusals come back within
/// microseconds; without it `max_connect_attempts 0` would ask thousands of times within its seconds, and two
/// attempts in the same instant are hardly better than one.
const ROUND_MIN: Duration = Duration::from_millis(50);

/// How often one query is sent on suspicion. Each time is twice as patient as the one before: a name that is slow
/// everywhere is not asked for faster by asking more.
const HEDGES_MAX: u32 = 3;

/// The most queries that can be out at a time for one race: the attempt, and those beside it.
const RUNNERS_MAX: usize = 1 + HEDGES_MAX as usize;

/// The race for an answer to one query.
#[derive(Debug)]
pub(super) struct Race {
    order: Order,
    rules: Rules,
    /// Places of the order that were passed, through all rounds.
    place: usize,
    attempts: u32,
    hedges: u32,
    runners: [Option<Runner>; RUNNERS_MAX],
    /// How many were asked.
    asked: u32,
    /// Upstreams of which it was told that they are late or fail, a bit each: one name is one piece of evidence.
    told: u16,
    /// Upstreams that failed in this race, likewise: they are not asked beside others once more.
    failed: u16,
    /// One has failed, and so another is to be asked at once.
    is_hurried: bool,
    /// When the one asked last is late, by the patience of this race.
    suspicion: Option<Instant>,
    round_began: Instant,
    is_last: bool,
}

/// What a race obeys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How many attempts there may be; `None` for as many as the time allows.
    pub(super) attempts_max: Option<NonZeroU32>,
    /// What is done when all are down.
    pub(super) all_down: AllDown,
    /// Beside an upstream that is late but not seen to be dead, the same is asked again, and no other.
    pub(super) repeats: bool,
    /// The end of it all.
    pub(super) deadline: Instant,
}

/// Who was asked and has not said anything.
#[derive(Debug, Clone, Copy)]
struct Runner {
    number: u32,
    upstream: usize,
    patience: Duration,
    asked: Instant,
    /// It was known to leave queries unanswered when it was asked.
    was_unreliable: bool,
    /// That its patience has ended is dealt with.
    is_late: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Ask this upstream.
    Ask(usize),
    /// Ask this one beside those that are out.
    Hedge(usize),
    /// All are down: ask this one nevertheless.
    AskDown(usize),
    /// Wait for those that are out, until then at most.
    Wait(Instant),
    /// Nobody is asked any more: wait for those that are out, if any are.
    Rest,
    /// All are down, and the query is to fail.
    AllDown,
}

/// The upstreams, as a race sees them.
pub(super) trait Field {
    /// Whether it is to be passed over.
    fn is_down(&self, upstream: usize) -> bool;
    /// Whether it leaves queries unanswered.
    fn is_unreliable(&self, upstream: usize) -> bool;
    /// Whether it has said anything since then, to this query or another.
    fn is_heard_since(&self, upstream: usize, then: Instant) -> bool;
    /// Pays for a hedge.
    fn spend(&self) -> bool;
}

impl Race {
    /// Nobody asked yet.
    pub(super) fn new(order: Order, rules: Rules, now: Instant) -> Race {
        Race {
            order,
            rules,
            place: 0,
            attempts: 0,
            hedges: 0,
            runners: [None; RUNNERS_MAX],
            asked: 0,
            told: 0,
            failed: 0,
            is_hurried: false,
            suspicion: None,
            round_began: now,
            is_last: false,
        }
    }

    /// What to do next. `random` picks one of so many.
    pub(super) fn next(
        &mut self,
        now: Instant,
        field: &impl Field,
        random: impl FnOnce(usize) -> usize,
    ) -> Move {
        if now >= self.rules.deadline {
            return Move::Rest;
        }
        match self.last_runner() {
            Some(last) => self.beside(now, field, last),
            None => self.attempt(now, field, random),
        }
    }

    /// It was asked, and is late when its patience ends. Returns the number by which the runner is known.
    pub(super) fn asked(
        &mut self,
        upstream: usize,
        patience: Duration,
        now: Instant,
        field: &impl Field,
    ) -> u32 {
        self.asked += 1;
        let free = self.runners.iter_mut().find(|runner| runner.is_none());
        debug_assert!(free.is_some(), "hedges are counted");
        if let Some(free) = free {
            *free = Some(Runner {
                number: self.asked,
                upstream,
                patience,
                asked: now,
                was_unreliable: field.is_unreliable(upstream),
                is_late: false,
            });
        }
        self.suspicion = Some(now + patience * (1 << self.hedges));
        self.asked
    }

    /// A runner failed, or what it said is not enough. Says whether that is news of its upstream.
    pub(super) fn failed(&mut self, number: u32) -> bool {
        // Nothing more is to come from it, so there is nothing to wait for before another is asked.
        self.is_hurried = true;
        let mut runners = self.runners.iter_mut();
        let out = runners.find(|runner| runner.is_some_and(|runner| runner.number == number));
        let failed = out.and_then(Option::take);
        failed.is_some_and(|runner| {
            self.failed |= 1 << runner.upstream;
            self.tell(runner.upstream)
        })
    }

    /// An upstream that is late and of whom that was not told yet.
    pub(super) fn late(&mut self, now: Instant) -> Option<usize> {
        loop {
            let mut out = self.runners.iter_mut().flatten();
            let is_due =
                |runner: &&mut Runner| !runner.is_late && runner.asked + runner.patience <= now;
            let late = out.find(is_due)?;
            late.is_late = true;
            let upstream = late.upstream;
            if self.tell(upstream) {
                return Some(upstream);
            }
        }
    }

    /// Whether something of this upstream is told for the first time.
    fn tell(&mut self, upstream: usize) -> bool {
        let bit = 1 << upstream;
        let is_news = self.told & bit == 0;
        self.told |= bit;
        is_news
    }

    /// Whether there is an upstream that is up and was not asked yet, so that its answer may be a better one.
    pub(super) fn has_other(&self, field: &impl Field) -> bool {
        let mut unasked = (self.place..self.order.count()).map(|place| self.order.at(place));
        !self.is_last && !self.is_enough() && unasked.any(|upstream| !field.is_down(upstream))
    }

    fn last_runner(&self) -> Option<Runner> {
        let out = self.runners.iter().flatten();
        out.max_by_key(|runner| runner.asked).copied()
    }

    fn is_enough(&self) -> bool {
        let max = self.rules.attempts_max;
        max.is_some_and(|max| self.attempts >= max.get())
    }

    /// Somebody is out: whether another is asked beside.
    fn beside(&mut self, now: Instant, field: &impl Field, last: Runner) -> Move {
        let untold = self.runners.iter().flatten();
        let untold = untold
            .filter(|runner| !runner.is_late)
            .map(|runner| runner.asked + runner.patience)
            .min();
        let may_hedge = self.hedges < HEDGES_MAX && !self.is_last;
        let Some(due) = self.suspicion.filter(|_| may_hedge) else {
            return untold.map_or(Move::Rest, Move::Wait);
        };
        let (other, place) = self.other(field, last.upstream);
        self.is_hurried &= other != last.upstream;
        if now < due && !self.is_hurried {
            return Move::Wait(untold.map_or(due, |untold| untold.min(due)));
        }
        self.is_hurried = false;
        // News since it was asked, so that the death of an upstream is paid for once a query at most, and by those queries
        // only that were out when it happened.
        let is_dead = !last.was_unreliable && field.is_unreliable(last.upstream);
        if (is_dead && !field.is_unreliable(other)) || field.spend() {
            self.hedges += 1;
            self.place = place;
            return Move::Hedge(other);
        }
        // By then it may be known to be dead.
        self.suspicion = Some(now + last.patience);
        self.beside(now, field, last)
    }

    /// Whom to ask beside the one asked last, and the place behind it.
    fn other(&self, field: &impl Field, last: usize) -> (usize, usize) {
        if self.rules.repeats && self.is_there(field, last) {
            return (last, self.place);
        }
        let mut places = self.place..self.place + self.order.count();
        let up = places.find(|place| {
            let upstream = self.order.at(*place);
            let has_failed = self.failed >> upstream & 1 == 1;
            upstream != last && !has_failed && !field.is_down(upstream)
        });
        match up {
            Some(place) => (self.order.at(place), place + 1),
            None => (last, self.place),
        }
    }

    /// Whether an upstream that is late may be taken to be slow with this name, and not dead: after the second packet only
    /// if it has said something to somebody meanwhile.
    fn is_there(&self, field: &impl Field, upstream: usize) -> bool {
        let out = self.runners.iter().flatten();
        let asked = out.filter(|runner| runner.upstream == upstream);
        let first = asked.map(|runner| runner.asked).min();
        let is_silent = || first.is_some_and(|first| !field.is_heard_since(upstream, first));
        !field.is_unreliable(upstream)
            && !field.is_down(upstream)
            && (self.hedges == 0 || !is_silent())
    }

    /// Nobody is out: whom the next attempt goes to.
    fn attempt(
        &mut self,
        now: Instant,
        field: &impl Field,
        random: impl FnOnce(usize) -> usize,
    ) -> Move {
        if self.is_last || self.is_enough() {
            return Move::Rest;
        }
        let count = self.order.count();
        let up =
            (self.place..self.place + count).find(|place| !field.is_down(self.order.at(*place)));
        let Some(place) = up else {
            self.is_last = true;
            return match self.rules.all_down {
                AllDown::Fail => Move::AllDown,
                AllDown::AskOne => Move::AskDown(random(count)),
            };
        };
        if place / count > self.round() {
            let due = self.round_began + ROUND_MIN;
            if now < due {
                return Move::Wait(due.min(self.rules.deadline));
            }
            self.round_began = now;
        }
        self.place = place + 1;
        self.attempts += 1;
        Move::Ask(self.order.at(place))
    }

    /// The round of the place that was passed last.
    fn round(&self) -> usize {
        self.place.saturating_sub(1) / self.order.count()
    }
}

#[cfg(test)]
mod tests;

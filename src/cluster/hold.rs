//! Whether a list that would take out most of a resource is believed.
//!
//! A list of a handful where there were thousands is a restored backup, a selector gone wrong, or a server that has just
//! lost its storage; now and then it is the truth. What such a list does not name is kept for a while, then the list is
//! asked for again, and believed if it still says so. What a list names is taken at once, and deletions that a watch
//! tells one by one are believed as they come. A doubt ends with the index that had it; the next one doubts its first list
//! by what is served. It has nothing that it could keep, and waits with all resources for the list to say so again; but not
//! for ever. No clock: times are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::index::Outcome;

/// Of no more objects than this any may go at once: small clusters are torn down and set up in one step.
const OBJECTS_MAX: usize = 100;

/// Whether so many that are missing are most of those that there were before.
pub(super) fn is_most(before: usize, missing: usize) -> bool {
    before > OBJECTS_MAX && missing > before / 2
}

/// The doubt about one resource.
#[derive(Debug, Default)]
pub(super) struct Hold {
    doubted: Option<Doubted>,
}

#[derive(Debug, Clone, Copy)]
struct Doubted {
    since: Instant,
    last: Outcome,
    asked_again: bool,
}

/// What to do about objects that a list did not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// They no longer exist.
    Believe,
    /// They stay; `is_new`: the list before named them.
    Keep { is_new: bool },
}

impl Hold {
    /// A list is complete. `hold` is how long the first that says so is doubted.
    pub(super) fn listed(&mut self, outcome: Outcome, now: Instant, hold: Duration) -> Decision {
        let Outcome { before, missing } = outcome;
        let is_most = is_most(before, missing);
        let since = match self.doubted {
            _ if !is_most => None,
            None => Some(now),
            Some(doubted) if now.duration_since(doubted.since) >= hold => None,
            Some(doubted) => Some(doubted.since),
        };
        let is_new = self.doubted.is_none();
        self.doubted = since.map(|since| Doubted {
            since,
            last: outcome,
            asked_again: false,
        });
        match self.doubted {
            Some(_) => Decision::Keep { is_new },
            None => Decision::Believe,
        }
    }

    /// What the list said that is doubted.
    pub(super) fn doubted(&self) -> Option<Outcome> {
        self.doubted.map(|doubted| doubted.last)
    }

    /// When to ask for the list again, unless that was done.
    pub(super) fn due(&self, hold: Duration) -> Option<Instant> {
        let doubted = self.doubted.filter(|doubted| !doubted.asked_again)?;
        Some(doubted.since + hold)
    }

    /// When to wait no longer for a list that says so again, where something waits for it: it has had as long to come as
    /// the first one was doubted.
    pub(super) fn overdue(&self, hold: Duration) -> Option<Instant> {
        Some(self.doubted?.since + 2 * hold)
    }

    /// The list has been asked for again.
    pub(super) fn asked_again(&mut self) {
        if let Some(doubted) = &mut self.doubted {
            doubted.asked_again = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(30);

    #[test]
    fn a_list_that_would_take_out_most_is_believed_when_it_says_so_again_later() {
        struct Row(&'static str, &'static [(u64, usize, usize, bool)]);
        for Row(fact, lists) in [
            Row("a small resource", &[(0, 100, 100, true)]),
            Row("half is not most", &[(0, 400, 200, true)]),
            Row("more than half", &[(0, 400, 201, false)]),
            Row("all of many", &[(0, 101, 101, false)]),
            Row(
                "again, but too soon",
                &[
                    (0, 400, 390, false),
                    (29, 400, 390, false),
                    (30, 400, 390, true),
                ],
            ),
            Row("again", &[(0, 400, 390, false), (31, 400, 390, true)]),
            Row(
                "taken back, then another",
                &[
                    (0, 400, 390, false),
                    (10, 400, 0, true),
                    (40, 400, 390, false),
                ],
            ),
            Row(
                "a list whose turn comes late, then another",
                &[
                    (0, 400, 390, false),
                    (900, 400, 390, true),
                    (901, 400, 390, false),
                ],
            ),
            Row(
                "fewer were left by the watch",
                &[(0, 400, 390, false), (5, 90, 80, true)],
            ),
        ] {
            let (start, mut hold) = (Instant::now(), Hold::default());
            for (at, before, missing, believed) in lists {
                let outcome = Outcome {
                    before: *before,
                    missing: *missing,
                };
                let now = start + Duration::from_secs(*at);
                let decision = hold.listed(outcome, now, HOLD);
                assert_eq!(
                    decision == Decision::Believe,
                    *believed,
                    "{fact}, at {at} s"
                );
                assert_eq!(hold.doubted().is_none(), *believed, "{fact}, at {at} s");
            }
        }
    }

    #[test]
    fn a_doubted_list_is_asked_for_once_and_again_after_each_that_comes_too_soon() {
        let (start, mut hold) = (Instant::now(), Hold::default());
        let most = Outcome {
            before: 400,
            missing: 390,
        };
        assert_eq!(hold.due(HOLD), None);
        assert_eq!(
            hold.listed(most, start, HOLD),
            Decision::Keep { is_new: true }
        );
        assert_eq!(hold.due(HOLD), Some(start + HOLD));
        hold.asked_again();
        assert_eq!(hold.due(HOLD), None);
        let soon = start + Duration::from_secs(10);
        assert_eq!(
            hold.listed(most, soon, HOLD),
            Decision::Keep { is_new: false }
        );
        assert_eq!(hold.due(HOLD), Some(start + HOLD));
    }
}

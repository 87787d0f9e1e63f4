//! A list that is wanted of a source beside its watch: ordered, and as long as it does not come, ordered again, ever more
//! rarely. Plain data; times are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after an order that has failed; it doubles with each further one …
const PAUSE_FIRST: Duration = Duration::from_secs(5);

/// … up to this. A server that gives no lists is busy or ill, and a list is what costs it most.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The list of one resource, until it has come.
#[derive(Debug)]
pub(super) struct Relist {
    stage: Stage,
    failures: u32,
}

#[derive(Debug)]
enum Stage {
    /// To be ordered at this time.
    Wanted(Instant),
    /// By the order of this number, which is on its way.
    Ordered(u64),
}

impl Relist {
    /// A list that is wanted at once.
    pub(super) fn new(now: Instant) -> Relist {
        Relist {
            stage: Stage::Wanted(now),
            failures: 0,
        }
    }

    /// When to order it, unless it is on its way.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Wanted(due) => Some(due),
            Stage::Ordered(_) => None,
        }
    }

    /// It has been ordered, by the order of this number.
    pub(super) fn ordered(&mut self, number: u64) {
        self.stage = Stage::Ordered(number);
    }

    /// The order of this number has failed, and the server wants to be asked again after this at the soonest. Returns the
    /// pause, if it is this order.
    pub(super) fn failed(
        &mut self,
        number: u64,
        not_before: Duration,
        now: Instant,
    ) -> Option<Duration> {
        if !matches!(self.stage, Stage::Ordered(ordered) if ordered == number) {
            return None;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(16));
        let pause = pause.min(PAUSE_MAX).max(not_before);
        self.failures = self.failures.saturating_add(1);
        self.stage = Stage::Wanted(now + pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_does_not_come_is_ordered_again_ever_more_rarely() {
        let now = Instant::now();
        let mut relist = Relist::new(now);
        assert_eq!(relist.due(), Some(now));
        for (number, not_before, expected) in [
            (1, 0, 5),
            (2, 3, 10),
            (3, 60, 60),
            (4, 0, 40),
            (5, 0, 80),
            (6, 0, 160),
            (7, 0, 300),
            (8, 301, 301),
            (9, 0, 300),
        ] {
            relist.ordered(number);
            assert_eq!(relist.due(), None, "{number} is on its way");
            let not_before = Duration::from_secs(not_before);
            assert_eq!(
                relist.failed(number - 1, not_before, now),
                None,
                "an order before {number}"
            );
            let pause = Duration::from_secs(expected);
            assert_eq!(relist.failed(number, not_before, now), Some(pause));
            assert_eq!(relist.due(), Some(now + pause), "after {number}");
        }
    }
}

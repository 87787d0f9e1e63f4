//! Whether an upstream is believed to be up.
//!
//! ```text
//! up ── a query fails ─▶ checked ── more than max_fails checks fail ─▶ down, still checked ── it answers ─▶ up
//! ```
//!
//! Nothing is checked while everything works. Pure counting: who sends the checks, and when, is the upstream's.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest pause between two checks, where `health_check` does not ask for a longer one. It is also the longest for
/// which an upstream that is back goes unused.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Between two times that an upstream goes down so that the log is told of both. One that answers queries and no checks,
/// because somebody drops those, would come and go every second for ever.
const NEWS_INTERVAL: Duration = Duration::from_secs(60);

/// The health of one upstream.
#[derive(Debug)]
pub(super) struct Health {
    max_fails: u32,
    fails: AtomicU32,
    is_checked: AtomicBool,
    told: Mutex<Told>,
}

/// What was told of it.
#[derive(Debug, Default)]
struct Told {
    /// Since when it has been down.
    down_since: Option<Instant>,
    /// When the log was last told that it is down.
    logged: Option<Instant>,
    /// How it was told last.
    news: News,
    /// Why it went down.
    why: String,
}

/// Who is told that an upstream went down or came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum News {
    /// Whoever counts, and the log.
    Logged,
    /// Whoever counts: the log was told of the like a moment ago.
    #[default]
    Counted,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The upstream said something, whatever it was.
    Answered,
    /// It did not.
    Failed,
    /// It was never asked, because this machine could not.
    NotMade,
}

/// What follows from a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
    /// The next one is due after the interval.
    GoOn,
    /// No more, until a query fails again.
    End,
}

impl Health {
    /// An upstream that is up, and down after more than so many failed checks; 0: never.
    pub(super) fn new(max_fails: u32) -> Health {
        Health {
            max_fails,
            fails: AtomicU32::new(0),
            is_checked: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Whether it is to be passed over.
    pub(super) fn is_down(&self) -> bool {
        self.max_fails != 0 && self.fails.load(Ordering::Relaxed) > self.max_fails
    }

    /// Whether its last check failed.
    pub(super) fn is_failing(&self) -> bool {
        self.fails.load(Ordering::Relaxed) > 0
    }

    /// The pause before the next check: the interval, and once it is down twice as long each time.
    pub(super) fn pause(&self, interval: Duration) -> Duration {
        let fails = self.fails.load(Ordering::Relaxed);
        let doublings = fails.saturating_sub(self.max_fails + 1).min(16);
        let longest = interval.max(PAUSE_MAX);
        interval.saturating_mul(1 << doublings).min(longest)
    }

    /// A query failed. Says whether checks are to begin: not if they are under way or never made.
    #[must_use]
    pub(super) fn query_failed(&self) -> bool {
        self.max_fails != 0 && !self.is_checked.swap(true, Ordering::Relaxed)
    }

    /// A query was answered: what only some checks would tell is known. (CoreDNS waits for the check, and keeps an
    /// upstream down that answers everything but that.) Says whether checks had failed.
    pub(super) fn query_answered(&self) -> bool {
        // Not written without need: the line is shared by all threads.
        let was_failing = self.fails.load(Ordering::Relaxed) != 0;
        if was_failing {
            self.fails.store(0, Ordering::Relaxed);
        }
        was_failing
    }

    /// If it went down since this was asked last: who is told.
    pub(super) fn went_down(&self, now: Instant, why: &impl Display) -> Option<News> {
        let mut told = self.told();
        if told.down_since.is_some() || !self.is_down() {
            return None;
        }
        told.down_since = Some(now);
        told.why = why.to_string();
        let lately = |logged| now.saturating_duration_since(logged) < NEWS_INTERVAL;
        told.news = News::Counted;
        if !told.logged.is_some_and(lately) {
            told.logged = Some(now);
            told.news = News::Logged;
        }
        Some(told.news)
    }

    /// If it came up since this was asked last: who is told, and how long it was down.
    pub(super) fn came_up(&self, now: Instant) -> Option<(News, Duration)> {
        let mut told = self.told();
        if self.is_down() {
            return None;
        }
        let since = told.down_since.take()?;
        Some((told.news, now.saturating_duration_since(since)))
    }

    /// Whether it was told to be down, and not yet to be up again.
    pub(super) fn is_told_down(&self) -> bool {
        self.told().down_since.is_some()
    }

    /// Since when it has been down, and why.
    pub(super) fn down(&self) -> Option<(Instant, String)> {
        let told = self.told();
        told.down_since.map(|since| (since, told.why.clone()))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A check was made.
    pub(super) fn checked(&self, check: Check) -> Checks {
        match check {
            Check::Answered => {
                self.fails.store(0, Ordering::Relaxed);
                self.is_checked.store(false, Ordering::Relaxed);
                Checks::End
            }
            Check::Failed => {
                let fails = self.fails.load(Ordering::Relaxed).saturating_add(1);
                self.fails.store(fails, Ordering::Relaxed);
                Checks::GoOn
            }
            Check::NotMade => Checks::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_down_when_more_checks_failed_than_allowed() {
        for (max_fails, checks, expected) in [
            (2, &[][..], false),
            (2, &[Check::Failed; 2], false),
            (2, &[Check::Failed; 3], true),
            (1, &[Check::Failed; 2], true),
            (2, &[Check::NotMade; 9], false),
            (0, &[Check::Failed; 9], false),
            (1, &[Check::Failed, Check::Failed, Check::Answered], false),
        ] {
            let health = Health::new(max_fails);
            for check in checks {
                health.checked(*check);
            }
            assert_eq!(health.is_down(), expected, "{max_fails} {checks:?}");
        }
    }

    #[test]
    fn the_pause_doubles_while_an_upstream_is_down() {
        let millis = Duration::from_millis;
        for (interval, fails, expected) in [
            (millis(500), 0, millis(500)),
            (millis(500), 3, millis(500)),
            (millis(500), 4, millis(1000)),
            (millis(500), 6, millis(4000)),
            (millis(500), 7, PAUSE_MAX),
            (millis(500), 4_000_000_000, PAUSE_MAX),
            (millis(30_000), 9, millis(30_000)),
        ] {
            let health = Health::new(2);
            health.fails.store(fails, Ordering::Relaxed);
            assert_eq!(health.pause(interval), expected, "{fails} fails");
        }
    }

    #[test]
    fn checks_begin_once_and_end_with_an_answer() {
        let health = Health::new(2);
        assert!(health.query_failed(), "the first failure begins them");
        assert!(!health.query_failed(), "they are under way");
        assert_eq!(health.checked(Check::Failed), Checks::GoOn);
        assert_eq!(health.checked(Check::NotMade), Checks::GoOn);
        assert_eq!(health.checked(Check::Answered), Checks::End);
        assert!(health.query_failed(), "a new failure begins them again");
        assert!(!Health::new(0).query_failed(), "max_fails 0 means none");
    }

    #[test]
    fn that_it_went_down_and_came_up_is_news_once() {
        let (health, start) = (Health::new(1), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        health.checked(Check::Failed);
        assert_eq!(
            health.went_down(start, &"no answer"),
            None,
            "one failure is allowed"
        );
        health.checked(Check::Failed);
        assert_eq!(health.came_up(start), None, "it is down");
        assert_eq!(health.went_down(start, &"no answer"), Some(News::Logged));
        health.checked(Check::Failed);
        assert_eq!(
            health.went_down(after(5), &"no answer"),
            None,
            "it was told"
        );
        assert!(health.query_answered());
        let down = Duration::from_secs(12);
        assert_eq!(health.came_up(after(12)), Some((News::Logged, down)));
        assert_eq!(health.came_up(after(13)), None, "it was told");
    }

    #[test]
    fn an_upstream_that_comes_and_goes_is_logged_once_a_minute() {
        let (health, start) = (Health::new(1), Instant::now());
        for (second, expected) in [
            (0, News::Logged),
            (2, News::Counted),
            (59, News::Counted),
            (60, News::Logged),
            (119, News::Counted),
            (500, News::Logged),
        ] {
            let now = start + Duration::from_secs(second);
            health.checked(Check::Failed);
            health.checked(Check::Failed);
            assert_eq!(
                health.went_down(now, &"no answer"),
                Some(expected),
                "{second}"
            );
            assert!(health.query_answered());
            let up = health.came_up(now).map(|(news, _)| news);
            assert_eq!(up, Some(expected), "{second}");
        }
    }

    #[test]
    fn an_answered_query_ends_the_time_down_while_checks_go_on() {
        let health = Health::new(1);
        assert!(health.query_failed());
        for _ in 0..5 {
            health.checked(Check::Failed);
        }
        assert!(health.query_answered(), "checks had failed");
        assert!(!health.query_answered(), "they have not since");
        assert!(!health.is_down());
        assert!(!health.query_failed());
    }
}

//! Counts errors that are alike. Pure: time is given, and what is due is asked for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Pattern;

/// Errors counted by pattern.
#[derive(Debug)]
pub(super) struct Consolidator {
    counters: Box<[Counter]>,
    /// What the times in the counters are counted from.
    epoch: Instant,
}

#[derive(Debug)]
struct Counter {
    pattern: Pattern,
    /// Errors in the period that runs.
    count: AtomicU64,
    /// When the period that runs is over, in nanoseconds since the epoch; 0 while none runs.
    due: AtomicU64,
}

/// What became of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted<'a> {
    /// It is like no pattern.
    Unlike,
    /// It is like this pattern, and begins a period.
    First(&'a Pattern),
    /// It is like one that has begun a period.
    Again,
}

/// What a period came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report<'a> {
    pub(super) pattern: &'a Pattern,
    pub(super) count: u64,
}

impl Consolidator {
    pub(super) fn new(patterns: Vec<Pattern>) -> Consolidator {
        let counter = |pattern| Counter {
            pattern,
            count: AtomicU64::new(0),
            due: AtomicU64::new(0),
        };
        Consolidator {
            counters: patterns.into_iter().map(counter).collect(),
            epoch: Instant::now(),
        }
    }

    /// Counts an error under the first pattern that it is like.
    pub(super) fn count(&self, error: &str, now: Instant) -> Counted<'_> {
        let like = |counter: &&Counter| counter.pattern.regex.is_match(error);
        let Some(counter) = self.counters.iter().find(like) else {
            return Counted::Unlike;
        };
        if counter.count.fetch_add(1, Ordering::AcqRel) > 0 {
            return Counted::Again;
        }
        let due = now + counter.pattern.period;
        let due = due.saturating_duration_since(self.epoch).as_nanos();
        let due = u64::try_from(due).unwrap_or(u64::MAX).max(1);
        counter.due.store(due, Ordering::Release);
        Counted::First(&counter.pattern)
    }

    /// When the first of the periods that run is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let running = self.counters.iter().filter_map(Counter::due);
        running.min().map(|due| self.epoch + due)
    }

    /// The periods that are over; they end with it.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = Report<'_>> {
        let since = now.saturating_duration_since(self.epoch);
        let over = move |counter: &&Counter| counter.due().is_some_and(|due| due <= since);
        self.counters.iter().filter(over).filter_map(Counter::end)
    }

    /// All periods that run; they end with it.
    pub(super) fn all(&self) -> impl Iterator<Item = Report<'_>> {
        self.counters.iter().filter_map(Counter::end)
    }
}

impl Counter {
    fn due(&self) -> Option<Duration> {
        let due = self.due.load(Ordering::Acquire);
        (due > 0).then(|| Duration::from_nanos(due))
    }

    /// The end of a period. Nothing is told of one error that was told in full.
    fn end(&self) -> Option<Report<'_>> {
        // In this order, so that an error counted in between begins a period and sets its end again.
        self.due.store(0, Ordering::Release);
        let count = self.count.swap(0, Ordering::AcqRel);
        let told = u64::from(self.pattern.show_first);
        (count > told).then_some(Report {
            pattern: &self.pattern,
            count,
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pattern, count) = (self.pattern.regex.as_str(), self.count);
        let period = Written(self.pattern.period);
        write!(
            f,
            "{count} errors like '{pattern}' occurred in last {period}"
        )
    }
}

/// A duration as Go writes it: `1h0m0s`, `1m30s`, `1.5s`, `300ms`.
struct Written(Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let (unit, per) = match nanoseconds {
            0 => return f.write_str("0s"),
            1..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            1_000_000..1_000_000_000 => ("ms", 1_000_000),
            _ => ("s", 1_000_000_000),
        };
        let minutes = self.0.as_secs() / 60;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        let rest = nanoseconds - u128::from(minutes) * 60_000_000_000;
        write!(f, "{}", rest / per)?;
        if !rest.is_multiple_of(per) {
            let digits = per.ilog10() as usize;
            let fraction = format!("{:0digits$}", rest % per);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::errors::Level;

    fn pattern(text: &str, seconds: u64, show_first: bool) -> Pattern {
        Pattern {
            regex: text.parse().unwrap(),
            period: Duration::from_secs(seconds),
            level: Level::Error,
            show_first,
        }
    }

    fn told<'a>(reports: impl Iterator<Item = Report<'a>>) -> Vec<String> {
        reports.map(|report| report.to_string()).collect()
    }

    #[test]
    fn errors_are_counted_under_the_first_pattern_that_they_are_like() {
        let patterns = vec![pattern("timeout$", 30, false), pattern("^read", 60, false)];
        let consolidator = Consolidator::new(patterns);
        let start = Instant::now();
        assert_eq!(consolidator.next_due(), None);
        for (error, first) in [
            ("read: i/o timeout", true),
            ("write: i/o timeout", false),
            ("read: refused", true),
        ] {
            let counted = consolidator.count(error, start);
            assert_eq!(matches!(counted, Counted::First(_)), first, "{error}");
        }
        assert_eq!(
            consolidator.count("no healthy proxies", start),
            Counted::Unlike
        );

        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(consolidator.next_due(), Some(after(30)));
        assert_eq!(told(consolidator.due(after(29))), Vec::<String>::new());
        assert_eq!(
            told(consolidator.due(after(31))),
            ["2 errors like 'timeout$' occurred in last 30s"]
        );
        assert_eq!(consolidator.next_due(), Some(after(60)));
        assert_eq!(
            told(consolidator.all()),
            ["1 errors like '^read' occurred in last 1m0s"]
        );
        assert_eq!(told(consolidator.all()), Vec::<String>::new());
    }

    #[test]
    fn a_new_period_begins_with_the_next_error() {
        let consolidator = Consolidator::new(vec![pattern("x", 10, false)]);
        let start = Instant::now();
        consolidator.count("x", start);
        let _ = told(consolidator.all());
        let later = start + Duration::from_secs(25);
        assert!(matches!(consolidator.count("x", later), Counted::First(_)));
        assert_eq!(
            consolidator.next_due(),
            Some(later + Duration::from_secs(10))
        );
    }

    #[test]
    fn one_error_that_was_shown_is_not_told_again() {
        let consolidator = Consolidator::new(vec![pattern("x", 10, true)]);
        let start = Instant::now();
        consolidator.count("x", start);
        assert_eq!(told(consolidator.all()), Vec::<String>::new());
        consolidator.count("x", start);
        consolidator.count("x", start);
        assert_eq!(
            told(consolidator.all()),
            ["2 errors like 'x' occurred in last 10s"]
        );
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_050_000_000, "1.05s"),
            (30_000_000_000, "30s"),
            (300_000_000_000, "5m0s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            let written = Written(Duration::from_nanos(nanoseconds)).to_string();
            assert_eq!(written, expected);
        }
    }
}

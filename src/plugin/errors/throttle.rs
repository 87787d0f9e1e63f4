//! How many lines of a second are written, and how many are left out. Pure: time is given, and what is due is asked
//! for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lines of a second. A kubelet rotates the log of a container at 10 MB and keeps five files, and a line has 100 to 200
/// octets: a storm takes eight minutes or more for each file, and what came before it can be read for half an hour. More
/// in a second nobody reads.
pub(super) const LINES_MAX: u64 = 100;

/// Counts the lines of the second that runs.
#[derive(Debug)]
pub(super) struct Throttle {
    /// What seconds are counted from.
    epoch: Instant,
    /// The second that runs in the upper half, the lines that were written in it in the lower.
    written: AtomicU64,
    /// Lines left out and not told of.
    left_out: AtomicU64,
    /// The second in which they are to be told of; 0 while there are none.
    due: AtomicU64,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written.
    Written,
    /// It is left out, and is the first that was not told of.
    FirstLeftOut,
    /// It is left out as others before it.
    LeftOut,
}

impl Throttle {
    pub(super) fn new(epoch: Instant) -> Throttle {
        Throttle {
            epoch,
            written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            due: AtomicU64::new(0),
        }
    }

    /// Counts a line.
    pub(super) fn count(&self, now: Instant) -> Line {
        let second = self.second(now);
        let one_more = |written: u64| {
            let (running, lines) = (written >> 32, written & u64::from(u32::MAX));
            match lines {
                // Who read the clock before another may come here after it.
                _ if running < second => Some(second << 32 | 1),
                LINES_MAX.. => None,
                _ => Some(written + 1),
            }
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.written.fetch_update(set, fetch, one_more).is_ok() {
            return Line::Written;
        }
        if self.left_out.fetch_add(1, Ordering::AcqRel) > 0 {
            return Line::LeftOut;
        }
        self.due.store(second + 1, Ordering::Release);
        Line::FirstLeftOut
    }

    /// When lines that were left out are to be told of.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.due.load(Ordering::Acquire);
        (due > 0).then(|| self.epoch + Duration::from_secs(due))
    }

    /// How many were left out, once their second is over.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        self.next_due()
            .filter(|due| *due <= now)
            .and_then(|_| self.all())
    }

    /// How many were left out and not told of.
    pub(super) fn all(&self) -> Option<u64> {
        // In this order, so that a line left out in between is the first again and sets the time again.
        self.due.store(0, Ordering::Release);
        let count = self.left_out.swap(0, Ordering::AcqRel);
        (count > 0).then_some(count)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_others_are_counted() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let throttle = Throttle::new(start);
        for line in 0..LINES_MAX {
            assert_eq!(throttle.count(after(line)), Line::Written, "{line}");
        }
        assert_eq!(throttle.next_due(), None, "all were written");
        assert_eq!(throttle.count(after(500)), Line::FirstLeftOut);
        assert_eq!(throttle.count(after(999)), Line::LeftOut);
        assert_eq!(throttle.next_due(), Some(after(1000)));
        assert_eq!(throttle.due(after(999)), None, "the second runs");
        assert_eq!(throttle.due(after(1000)), Some(2));
        assert_eq!(throttle.due(after(1000)), None, "they were told of");
        assert_eq!(throttle.next_due(), None);
    }

    #[test]
    fn each_second_has_its_own_lines() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            let lines = (0..2 * LINES_MAX).map(|_| throttle.count(now));
            let written = lines.filter(|line| *line == Line::Written).count() as u64;
            assert_eq!(written, LINES_MAX, "second {second}");
        }
        assert_eq!(throttle.all(), Some(5 * LINES_MAX));
    }

    #[test]
    fn a_clock_that_was_read_late_begins_no_second_anew() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let (first, second) = (start, start + Duration::from_secs(1));
        assert_eq!(throttle.count(second), Line::Written);
        for line in 1..LINES_MAX {
            assert_eq!(throttle.count(first), Line::Written, "{line}");
        }
        assert_eq!(throttle.count(second), Line::FirstLeftOut);
        assert_eq!(throttle.count(first), Line::LeftOut);
    }
}

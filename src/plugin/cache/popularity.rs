//! How often an answer is asked for, as `prefetch` wants to know it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A series of hits is noted at most this often in the longest gap that it may have: a name that is asked for thousands
/// of times a second must not make the cores pass its entry around.
const NOTES_A_GAP: u32 = 16;

/// The series of hits on one entry: their number, up to what is of interest, and the time of the last.
///
/// Threads that count at the same time may lose each other's count: a popular name is asked for again.
#[derive(Debug, Default)]
pub(super) struct Popularity(AtomicU64);

impl Popularity {
    /// Counts a hit at this time, in milliseconds of the entry's life, and says whether the series has come to `enough`
    /// hits. It begins anew after a gap that is longer than `gap_max`.
    pub(super) fn count(&self, at_ms: u32, enough: u32, gap_max: Duration) -> bool {
        let old = self.0.load(Ordering::Relaxed);
        let (last_ms, hits) = ((old >> 32) as u32, old as u32);
        let gap = u64::from(at_ms.saturating_sub(last_ms));
        let gap_max = u64::try_from(gap_max.as_millis()).unwrap_or(u64::MAX);
        let new_hits = if hits == 0 || gap > gap_max {
            1
        } else {
            hits.saturating_add(1).min(enough)
        };
        if new_hits != hits || gap >= gap_max / u64::from(NOTES_A_GAP) {
            self.set(at_ms.max(last_ms), new_hits);
        }
        new_hits >= enough
    }

    /// Goes on with the series of the entry before, at the beginning of this one's life.
    pub(super) fn inherit(&self, other: &Popularity) {
        self.set(0, other.0.load(Ordering::Relaxed) as u32);
    }

    fn set(&self, at_ms: u32, hits: u32) {
        self.0
            .store(u64::from(at_ms) << 32 | u64::from(hits), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_count_as_long_as_no_gap_is_too_long() {
        for (fact, at, expected) in [
            (
                "three in a row",
                &[0u32, 10, 20][..],
                &[false, false, true][..],
            ),
            (
                "a gap that just will do",
                &[0, 1000, 2000],
                &[false, false, true],
            ),
            (
                "a gap that is too long",
                &[0, 10, 1011, 1012, 1013],
                &[false, false, false, false, true],
            ),
            (
                "a popular name stays so",
                &[0, 1, 2, 3, 500, 1400],
                &[false, false, true, true, true, true],
            ),
            (
                "until nobody asks for it",
                &[0, 1, 2, 1100],
                &[false, false, true, false],
            ),
        ] {
            let popularity = Popularity::default();
            let counted: Vec<bool> = at
                .iter()
                .map(|at| popularity.count(*at, 3, Duration::from_secs(1)))
                .collect();
            assert_eq!(counted, expected, "{fact}");
        }
    }

    #[test]
    fn a_popular_name_is_seldom_written() {
        let popularity = Popularity::default();
        let mut writes = 0;
        for at in 0..1000 {
            let before = popularity.0.load(Ordering::Relaxed);
            popularity.count(at, 3, Duration::from_secs(1));
            writes += u32::from(popularity.0.load(Ordering::Relaxed) != before);
        }
        assert!(writes <= 3 + NOTES_A_GAP, "{writes} writes");
    }

    #[test]
    fn the_entry_that_follows_goes_on_with_the_series() {
        let (old, new) = (Popularity::default(), Popularity::default());
        old.count(0, 3, Duration::from_secs(1));
        old.count(900, 3, Duration::from_secs(1));
        new.inherit(&old);
        assert!(new.count(100, 3, Duration::from_secs(1)));
    }
}

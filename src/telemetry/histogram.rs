//! Histograms over sharded cells: which bucket a value falls into, found with integers.
//!
//! A histogram takes `bounds + 2` cells of a table: one a bucket, one for values above all bounds, one for the sum. The
//! number of observations is the sum of the buckets, so that the two never disagree in a scrape.

use std::time::Duration;

use super::sharded::{Local, Sharded};

/// Upper bounds of request durations in seconds: 0.25 ms doubled 15 times, CoreDNS's `TimeBuckets`.
pub(super) const DURATION_BOUNDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];

/// Upper bounds of message sizes in bytes, as CoreDNS has them (8291 included).
pub(super) const SIZE_BOUNDS: [u64; 14] = [
    0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
];

/// Cells that a histogram of durations takes.
pub(super) const DURATION_CELLS: usize = DURATION_BOUNDS.len() + 2;

/// Cells that a histogram of sizes takes.
pub(super) const SIZE_CELLS: usize = SIZE_BOUNDS.len() + 2;

/// The first bound of [`DURATION_BOUNDS`] in nanoseconds.
const DURATION_STEP_NS: u64 = 250_000;

/// A histogram of durations that many threads observe often.
pub(super) struct Durations(Sharded);

impl Default for Durations {
    fn default() -> Self {
        Self(Sharded::new(DURATION_CELLS))
    }
}

impl Durations {
    /// Observes one duration.
    #[inline]
    pub(super) fn observe(&self, elapsed: Duration) {
        observe_duration(&self.0.local(), 0, elapsed);
    }

    pub(super) fn totals(&self) -> Vec<u64> {
        self.0.totals()
    }
}

/// Counts `elapsed` in the histogram that starts at cell `at`; its sum is kept in nanoseconds.
#[inline]
pub(super) fn observe_duration(cells: &Local<'_>, at: usize, elapsed: Duration) {
    let ns = nanoseconds(elapsed);
    cells.add(at + duration_bucket(ns), 1);
    cells.add(at + DURATION_CELLS - 1, ns);
}

/// Counts `bytes` in the histogram that starts at cell `at`.
#[inline]
pub(super) fn observe_size(cells: &Local<'_>, at: usize, bytes: usize) {
    let bytes = bytes as u64;
    let bucket = SIZE_BOUNDS
        .iter()
        .position(|bound| bytes <= *bound)
        .unwrap_or(SIZE_BOUNDS.len());
    cells.add(at + bucket, 1);
    cells.add(at + SIZE_CELLS - 1, bytes);
}

/// The sum of a histogram of durations in seconds, from its cell in nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of seconds is read with far fewer digits than f64 has"
)]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn nanoseconds(elapsed: Duration) -> u64 {
    elapsed
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(elapsed.subsec_nanos()))
}

/// The bounds double from one step on: the bucket is the number of bits of the steps that lie wholly below the value.
#[inline]
fn duration_bucket(ns: u64) -> usize {
    let steps = ns.saturating_sub(1) / DURATION_STEP_NS;
    ((u64::BITS - steps.leading_zeros()) as usize).min(DURATION_BOUNDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_whose_bound_is_not_below_it() {
        assert_eq!(duration_bucket(0), 0, "zero");
        for (index, bound) in DURATION_BOUNDS.iter().enumerate() {
            let ns = Duration::from_secs_f64(*bound).as_nanos() as u64;
            assert_eq!(duration_bucket(ns - 1), index, "just below {bound}");
            assert_eq!(duration_bucket(ns), index, "exactly {bound}");
            assert_eq!(duration_bucket(ns + 1), index + 1, "just above {bound}");
        }
        assert_eq!(
            duration_bucket(u64::MAX),
            DURATION_BOUNDS.len(),
            "the longest"
        );
    }

    #[test]
    fn a_size_falls_into_the_first_bucket_whose_bound_is_not_below_it() {
        for (bytes, bucket) in [
            (0, 0),
            (1, 1),
            (100, 1),
            (101, 2),
            (511, 5),
            (512, 6),
            (64_000, 13),
            (65_535, 14),
        ] {
            let table = Sharded::new(SIZE_CELLS);
            observe_size(&table.local(), 0, bytes);
            let totals = table.totals();
            assert_eq!(
                totals.iter().take(SIZE_CELLS - 1).position(|n| *n == 1),
                Some(bucket),
                "{bytes} bytes"
            );
            assert_eq!(totals[SIZE_CELLS - 1], bytes as u64, "sum of {bytes} bytes");
        }
    }
}

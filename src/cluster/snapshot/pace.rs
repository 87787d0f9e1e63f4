//! How long the disk and the processor are left alone after a write.

use std::time::Duration;

/// At least this long, and up to half as long again: replicas that hear of the same change do not write at once.
const REST_MIN: Duration = Duration::from_secs(10);

/// A write takes at most a hundredth of the time, so of a core.
const RESTS_A_WRITE: u32 = 100;

/// Octets a second that are written at most: a disk that lasts for 100 TB lasts for ten years.
const OCTETS_A_SECOND: u64 = 256 << 10;

/// The rest after a write that took so long and wrote so much. `jitter` is between 0 and 1.
pub(super) fn rest(took: Duration, octets: u64, jitter: f64) -> Duration {
    let least = REST_MIN.mul_f64(1.0 + jitter / 2.0);
    let written = Duration::from_millis(octets * 1000 / OCTETS_A_SECOND);
    least.max(took * RESTS_A_WRITE).max(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_at_least_ten_seconds_apart_and_cost_at_most_a_hundredth_of_the_time() {
        for (fact, took_ms, octets, jitter, expected) in [
            ("a small file", 2, 4096, 0.0, 10_000),
            ("jitter", 2, 4096, 1.0, 15_000),
            ("a slow disk", 300, 4096, 1.0, 30_000),
            ("a large file", 80, 8 << 20, 0.0, 32_000),
        ] {
            let rest = rest(Duration::from_millis(took_ms), octets, jitter);
            assert_eq!(rest, Duration::from_millis(expected), "{fact}");
        }
    }
}

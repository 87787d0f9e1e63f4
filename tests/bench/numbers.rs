//! The arithmetic of figures: latencies in buckets, medians, ratios. No sockets and no clocks.

use std::time::Duration;

/// Buckets to a power of two: a latency is known to 1/64 of itself.
pub(super) const STEPS: usize = 64;
/// Up to 2^36 ns, a minute.
pub(super) const POWERS: usize = 36;

/// How often each latency occurred.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; STEPS * POWERS],
            total: 0,
            most: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let at = bucket(ns).min(self.counts.len() - 1);
        self.counts[at] += 1;
        self.total += 1;
        self.most = self.most.max(ns);
    }

    /// The least latency that `share` (0 to 1) of all do not exceed; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(at).min(self.most));
            }
        }
        Duration::ZERO
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.most)
    }
}

/// Exact below `STEPS`; above it the leading bits say which.
pub(super) fn bucket(ns: u64) -> usize {
    let steps = STEPS as u64;
    if ns < steps {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEPS.ilog2();
    (shift as usize + 1) * STEPS + ((ns >> shift) - steps) as usize
}

/// The greatest latency that falls into a bucket.
pub(super) fn upper(at: usize) -> u64 {
    if at < STEPS {
        return at as u64;
    }
    let (shift, step) = (at / STEPS - 1, at % STEPS);
    (((STEPS + step + 1) as u64) << shift) - 1
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The median of what `of` makes of the figures of each round: two that stand side by side suffered the same machine.
pub(crate) fn paired(one: &[f64], other: &[f64], of: fn(f64, f64) -> f64) -> Option<f64> {
    let pairs = one.iter().zip(other).map(|(one, other)| of(*one, *other));
    median(pairs.filter(|value| value.is_finite()))
}

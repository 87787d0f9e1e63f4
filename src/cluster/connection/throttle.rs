//! How hard a server may be asked: a token bucket without a clock, and the limits that a stanza writes.

use std::time::{Duration, Instant};

/// Burst where `apiserver_qps` is given and `apiserver_burst` is not: client-go's default.
const BURST_DEFAULT: u32 = 10;

/// `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`; a zero means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// Time in which one more request becomes allowed.
    interval: Option<Duration>,
    burst: u32,
    inflight: Option<u32>,
}

/// Requests allowed at `interval` each, of which `burst` may come at once.
///
/// The state is one instant: when the bucket will be full again, had nobody asked (the "theoretical arrival time" of ATM's generic cell
/// rate algorithm). Reservations are granted in the order in which they are made.
#[derive(Debug)]
pub(super) struct TokenBucket {
    interval: Duration,
    /// How far ahead of its turn a request may be.
    tolerance: Duration,
    full_at: Option<Instant>,
}

impl Limits {
    /// Limits as written in the stanza; zero or less means none.
    pub fn new(qps: f64, burst: u32, max_inflight: u32) -> Limits {
        let interval =
            (qps > 0.0).then(|| Duration::try_from_secs_f64(1.0 / qps).unwrap_or(Duration::MAX));
        Limits {
            interval,
            burst: if burst == 0 { BURST_DEFAULT } else { burst },
            inflight: (max_inflight > 0).then_some(max_inflight),
        }
    }

    pub(super) fn bucket(self) -> Option<TokenBucket> {
        let interval = self.interval?;
        let tolerance = interval.saturating_mul(self.burst.saturating_sub(1));
        Some(TokenBucket {
            interval,
            tolerance,
            full_at: None,
        })
    }

    pub(super) fn inflight(self) -> Option<usize> {
        self.inflight.and_then(|max| usize::try_from(max).ok())
    }
}

impl TokenBucket {
    /// Takes the next token and says how long to wait until it is there.
    pub(super) fn reserve(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let wait = full_at
            .saturating_duration_since(now)
            .saturating_sub(self.tolerance);
        self.full_at = full_at.checked_add(self.interval).or(self.full_at);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_grants_the_burst_then_one_an_interval() {
        struct Case {
            name: &'static str,
            qps: f64,
            burst: u32,
            asked_at_ms: &'static [u64],
            waits_ms: &'static [u64],
        }
        let cases = [
            Case {
                name: "burst at once, then in turn",
                qps: 10.0,
                burst: 3,
                asked_at_ms: &[0, 0, 0, 0, 0],
                waits_ms: &[0, 0, 0, 100, 200],
            },
            Case {
                name: "a slow asker never waits",
                qps: 10.0,
                burst: 1,
                asked_at_ms: &[0, 100, 200, 350],
                waits_ms: &[0, 0, 0, 0],
            },
            Case {
                name: "idle time refills the burst and no more",
                qps: 10.0,
                burst: 2,
                asked_at_ms: &[0, 0, 5000, 5000, 5000],
                waits_ms: &[0, 0, 0, 0, 100],
            },
            Case {
                name: "less than one a second",
                qps: 0.5,
                burst: 1,
                asked_at_ms: &[0, 500],
                waits_ms: &[0, 1500],
            },
            Case {
                name: "no burst written: client-go's ten",
                qps: 1.0,
                burst: 0,
                asked_at_ms: &[0; 11],
                waits_ms: &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000],
            },
        ];
        let start = Instant::now();
        for case in cases {
            let mut bucket = Limits::new(case.qps, case.burst, 0)
                .bucket()
                .expect("limited");
            let waits: Vec<u64> = case
                .asked_at_ms
                .iter()
                .map(|at| {
                    bucket
                        .reserve(start + Duration::from_millis(*at))
                        .as_millis() as u64
                })
                .collect();
            assert_eq!(waits, case.waits_ms, "{}", case.name);
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = Limits::new(0.0, 5, 0);
        assert!(limits.bucket().is_none());
        assert_eq!(limits.inflight(), None);
    }

    #[test]
    fn a_rate_too_small_for_the_clock_does_not_overflow() {
        let mut bucket = Limits::new(f64::MIN_POSITIVE, 1, 0)
            .bucket()
            .expect("limited");
        let now = Instant::now();
        assert_eq!(bucket.reserve(now), Duration::ZERO);
        bucket.reserve(now);
    }
}

//! What is known of a name's addresses, and when it is to be asked for again: decisions alone, with the time given.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The pause after the first failure; it doubles with each, up to the least time that addresses are believed.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// What was answered for one address family.
pub(super) type Answer = Result<Addresses, String>;

/// The addresses of one family, none if the name has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) addresses: Vec<IpAddr>,
    /// How long they are said to hold.
    pub(super) ttl: Duration,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    believe: (Duration, Duration),
    failures: u32,
    due: Instant,
}

/// What follows from the answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// Nothing.
    Same,
    /// These are the addresses from now on.
    Moved(Vec<IpAddr>),
    /// Nothing was learned, and why not.
    Failed(String),
}

impl Known {
    /// These addresses, to be asked for at once, and then believed for no less and no more than that.
    pub(super) fn new(
        addresses: Vec<IpAddr>,
        believe: (Duration, Duration),
        now: Instant,
    ) -> Known {
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        Known {
            v4,
            v6,
            believe,
            failures: 0,
            due: now,
        }
    }

    /// The addresses, IPv4 first and each family in order, so that an answer whose records were turned is the same.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        [&self.v4[..], &self.v6[..]].concat()
    }

    /// When to ask again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes in what was answered. A family that failed keeps what was known of it, and so do both if the name is said
    /// to have no address at all: that it moved is likely, that it ended is not.
    pub(super) fn learn(&mut self, [v4, v6]: [Answer; 2], now: Instant) -> Learned {
        let before = self.addresses();
        let found = [&v4, &v6].into_iter().flatten();
        let found = found.filter(|found| !found.addresses.is_empty());
        let Some(ttl) = found.map(|found| found.ttl).min() else {
            self.due = now + self.retry_after();
            let reason = [v4, v6].into_iter().find_map(Result::err);
            return Learned::Failed(reason.unwrap_or_else(|| "it has no address".to_owned()));
        };
        let (least, most) = self.believe;
        let is_whole = v4.is_ok() && v6.is_ok();
        self.due = now
            + if is_whole {
                self.failures = 0;
                ttl.clamp(least, most)
            } else {
                ttl.clamp(least, most).min(self.retry_after())
            };
        for (family, answer) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
            if let Ok(mut found) = answer {
                found.addresses.sort();
                found.addresses.dedup();
                *family = found.addresses;
            }
        }
        match self.addresses() {
            same if same == before => Learned::Same,
            addresses => Learned::Moved(addresses),
        }
    }

    fn retry_after(&mut self) -> Duration {
        let (least, _) = self.believe;
        let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        doubled.min(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BELIEVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

    fn at(addresses: &[&str], ttl: u64) -> Answer {
        Ok(Addresses {
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ttl: Duration::from_secs(ttl),
        })
    }

    fn failed() -> Answer {
        Err("no answer".to_owned())
    }

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn what_was_answered_replaces_what_was_known_and_what_failed_does_not() {
        const OLD: &[&str] = &["10.0.0.1", "2001:db8::1"];
        for (fact, answers, expected, due) in [
            (
                "both families",
                [at(&["10.0.0.2"], 60), at(&["2001:db8::2"], 90)],
                Learned::Moved(ips(&["10.0.0.2", "2001:db8::2"])),
                60,
            ),
            (
                "one family is left",
                [at(&["10.0.0.2"], 60), at(&[], 0)],
                Learned::Moved(ips(&["10.0.0.2"])),
                60,
            ),
            (
                "one family failed",
                [at(&["10.0.0.2"], 60), failed()],
                Learned::Moved(ips(&["10.0.0.2", "2001:db8::1"])),
                1,
            ),
            (
                "the same, turned and twice",
                [at(&["10.0.0.1", "10.0.0.1"], 60), at(&["2001:db8::1"], 60)],
                Learned::Same,
                60,
            ),
            (
                "both failed",
                [failed(), failed()],
                Learned::Failed("no answer".to_owned()),
                1,
            ),
            (
                "the name is gone",
                [at(&[], 60), at(&[], 60)],
                Learned::Failed("it has no address".to_owned()),
                1,
            ),
            (
                "a TTL below the least",
                [at(&["10.0.0.1"], 0), at(&["2001:db8::1"], 60)],
                Learned::Same,
                5,
            ),
            (
                "a TTL beyond the most",
                [at(&["10.0.0.1"], 86_400), at(&["2001:db8::1"], 86_400)],
                Learned::Same,
                300,
            ),
        ] {
            let now = Instant::now();
            let mut known = Known::new(ips(OLD), BELIEVE, now);
            assert_eq!(known.learn(answers, now), expected, "{fact}");
            assert_eq!(known.due() - now, Duration::from_secs(due), "{fact}");
            if let Learned::Failed(_) = expected {
                assert_eq!(known.addresses(), ips(OLD), "{fact}");
            }
        }
    }

    #[test]
    fn failures_are_tried_again_more_and_more_slowly_until_one_succeeds() {
        let now = Instant::now();
        let mut known = Known::new(vec![], BELIEVE, now);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            known.learn([failed(), failed()], now);
            pauses.push((known.due() - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        known.learn([at(&["10.0.0.1"], 60), at(&[], 60)], now);
        known.learn([failed(), failed()], now);
        assert_eq!((known.due() - now).as_secs(), 1);
    }
}

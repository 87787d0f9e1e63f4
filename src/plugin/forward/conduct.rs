//! How an upstream has behaved lately: how long it takes, and how often it does not answer.
//!
//! Plain counting over what the queries to it came to; who asked, and when, is not known here. What is recent weighs
//! most, so that an upstream that mends is believed within some dozens of queries.

use std::time::{Duration, Instant};

/// What is believed of an upstream that has not answered yet: one in the same region, with most answers at hand. Two
/// patiences after another, and a third upstream is asked within 250 ms.
const FIRST_GUESS: Duration = Duration::from_millis(50);
/// How many answers the first guess weighs: with a twentieth beyond p95, it is out of the picture after 76 faster ones
/// and after a single slower one.
const FIRST_GUESS_WEIGHT: u16 = 4;
/// The shortest patience: below it, what is late is the scheduling of this machine.
const PATIENCE_MIN: Duration = Duration::from_millis(10);
/// The share of the past that the newest query replaces.
const NEWEST: f32 = 1.0 / 16.0;
/// More unanswered queries than this share, and an upstream is asked after the others: three in a row, if all before
/// were answered.
const LOSS_MAX: f32 = 1.0 / 6.0;
/// What an unanswered query is reckoned to have cost, in seconds; between the wait for a second try and CoreDNS's
/// 2 s.
const LOSS_SECONDS: f32 = 0.5;

/// The record of one upstream.
#[derive(Debug, Clone)]
pub(super) struct Conduct {
    times: Times,
    /// Share of queries that were not answered in time.
    loss: f32,
    /// Seconds that a query costs; `None` before the first.
    cost: Option<f32>,
    /// When it last said anything.
    heard: Option<Instant>,
}

impl Default for Conduct {
    fn default() -> Conduct {
        Conduct {
            times: Times::new(),
            loss: 0.0,
            cost: None,
            heard: None,
        }
    }
}

impl Conduct {
    /// It said something, whatever it was.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Whether it has said anything since then.
    pub(super) fn is_heard_since(&self, then: Instant) -> bool {
        self.heard.is_some_and(|heard| heard >= then)
    }

    /// It answered, so long after it was asked.
    pub(super) fn answered(&mut self, elapsed: Duration) {
        self.times.add(elapsed);
        self.loss += (0.0 - self.loss) * NEWEST;
        self.weigh(elapsed.as_secs_f32());
    }

    /// It answered, and had nothing to say. How quick it was is no merit: an upstream that is broken is the quickest.
    pub(super) fn answered_in_vain(&mut self) {
        self.loss += (0.0 - self.loss) * NEWEST;
        self.weigh(LOSS_SECONDS);
    }

    /// It did not answer, or not within its patience.
    pub(super) fn failed(&mut self) {
        self.loss += (1.0 - self.loss) * NEWEST;
        self.weigh(LOSS_SECONDS);
    }

    fn weigh(&mut self, seconds: f32) {
        self.cost = Some(match self.cost {
            Some(cost) => cost + (seconds - cost) * NEWEST,
            None => seconds,
        });
    }

    /// How long an answer may take before it is late: the time within which 95 of 100 come.
    pub(super) fn patience(&self) -> Duration {
        self.times.p95().max(PATIENCE_MIN)
    }

    /// Whether it leaves so many queries unanswered that others are to be asked first.
    pub(super) fn is_unreliable(&self) -> bool {
        self.loss > LOSS_MAX
    }

    /// What a query to it costs, in seconds; `None` before the first.
    pub(super) fn cost(&self) -> Option<f32> {
        self.cost
    }
}

/// A histogram of times that forgets.
#[derive(Debug, Clone)]
struct Times {
    counts: [u16; Times::SLOTS],
    total: u16,
}

impl Times {
    /// Four slots for each doubling, so that a bound is wrong by a fifth at most.
    const SLOTS_A_DOUBLING: u32 = 4;
    /// The upper bound of the first slot, in microseconds.
    const FIRST: u32 = 256;
    /// From there to 4.2 s, which is more than anybody waits for.
    const SLOTS: usize = 14 * Self::SLOTS_A_DOUBLING as usize + 1;
    /// With so many times counted the past is halved: then p95 is that of the last few hundred.
    const TOTAL_MAX: u16 = 512;

    fn new() -> Times {
        let mut times = Times {
            counts: [0; Self::SLOTS],
            total: FIRST_GUESS_WEIGHT,
        };
        times.counts[Self::slot(FIRST_GUESS)] = FIRST_GUESS_WEIGHT;
        times
    }

    fn add(&mut self, time: Duration) {
        if self.total >= Self::TOTAL_MAX {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
        self.counts[Self::slot(time)] += 1;
        self.total += 1;
    }

    fn p95(&self) -> Duration {
        let beyond = self.total / 20;
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate().rev() {
            seen += count;
            if seen > beyond {
                return Self::bound(slot);
            }
        }
        FIRST_GUESS
    }

    fn slot(time: Duration) -> usize {
        let micros = time.as_micros().max(1) as f32;
        let doublings = (micros / Self::FIRST as f32).log2();
        let slot = (doublings * Self::SLOTS_A_DOUBLING as f32).ceil();
        (slot.max(0.0) as usize).min(Self::SLOTS - 1)
    }

    fn bound(slot: usize) -> Duration {
        let doublings = slot as f32 / Self::SLOTS_A_DOUBLING as f32;
        Duration::from_micros((Self::FIRST as f32 * doublings.exp2()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(answers: &[(usize, u64)]) -> Conduct {
        let mut conduct = Conduct::default();
        for &(count, millis) in answers {
            for _ in 0..count {
                conduct.answered(Duration::from_millis(millis));
            }
        }
        conduct
    }

    #[test]
    fn patience_is_the_time_of_95_answers_in_100() {
        for (what, answers, low, high) in [
            ("nothing is known", &[][..], 50, 60),
            ("a few quick answers", &[(20, 1)], 50, 60),
            ("many quick answers", &[(100, 1)], 10, 10),
            ("one slow answer", &[(1, 300)], 300, 360),
            ("one slow answer in 100", &[(99, 20), (1, 900)], 20, 24),
            ("one slow answer in 10", &[(180, 20), (20, 900)], 900, 1080),
            ("slow days long past", &[(500, 900), (5000, 20)], 20, 24),
            ("longer than all slots", &[(100, 60_000)], 4000, 4500),
        ] {
            let patience = conduct(answers).patience().as_millis();
            assert!((low..=high).contains(&patience), "{what}: {patience} ms");
        }
    }

    #[test]
    fn an_upstream_is_unreliable_after_three_lost_queries_until_it_answers_again() {
        let mut conduct = conduct(&[(100, 1)]);
        for lost in 1..=3 {
            conduct.failed();
            assert_eq!(conduct.is_unreliable(), lost == 3, "{lost} lost");
        }
        for _ in 0..2 {
            conduct.answered(Duration::from_millis(1));
        }
        assert!(!conduct.is_unreliable(), "two answers later");
    }

    #[test]
    fn an_upstream_that_loses_three_in_ten_is_unreliable_and_one_in_a_hundred_is_not() {
        for (answered, lost, expected) in [(7, 3, true), (99, 1, false)] {
            let mut conduct = Conduct::default();
            for _ in 0..20 {
                for _ in 0..answered {
                    conduct.answered(Duration::from_millis(1));
                }
                for _ in 0..lost {
                    conduct.failed();
                }
            }
            assert_eq!(conduct.is_unreliable(), expected, "{lost} of {answered}");
        }
    }

    #[test]
    fn a_lost_query_costs_more_than_a_slow_one() {
        let cost = |conduct: &Conduct| conduct.cost().unwrap();
        assert!(Conduct::default().cost().is_none());
        let (quick, slow) = (conduct(&[(50, 1)]), conduct(&[(50, 40)]));
        let mut lossy = quick.clone();
        lossy.failed();
        lossy.failed();
        assert!(cost(&quick) < cost(&slow));
        assert!(cost(&slow) < cost(&lossy));
    }

    #[test]
    fn who_answers_in_vain_is_no_better_for_being_quick() {
        let (mut broken, good) = (conduct(&[]), conduct(&[(50, 60)]));
        for _ in 0..50 {
            broken.answered_in_vain();
        }
        assert!(broken.cost() > good.cost());
        assert!(!broken.is_unreliable(), "it answers");
        assert_eq!(broken.patience(), conduct(&[]).patience());
    }

    #[test]
    fn every_time_has_a_slot_whose_bound_is_near() {
        for micros in [1, 255, 256, 257, 1_000, 33_333, 1_000_000, 4_000_000] {
            let bound = Times::bound(Times::slot(Duration::from_micros(micros))).as_micros() as u64;
            assert!(bound + 1 >= micros, "{micros}: {bound}");
            assert!(bound <= (micros * 6 / 5).max(256), "{micros}: {bound}");
        }
    }
}

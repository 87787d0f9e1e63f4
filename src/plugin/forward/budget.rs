//! How many queries may be sent on suspicion, beyond those that must.

use std::sync::atomic::{AtomicU32, Ordering};

/// Tenths that one extra query costs: so one for ten queries, whatever happens.
const PRICE: u32 = 10;
/// Extra queries that may be saved up, for the moment in which an upstream dies. They are there from the start.
const SAVED_MAX: u32 = 100;

/// Extra queries that may be made, in tenths. A second query to a pool that is slow because it is busy makes it
/// busier; this keeps that below a tenth.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicU32::new(SAVED_MAX * PRICE))
    }
}

impl Budget {
    /// A query was made that nobody can object to.
    pub(super) fn earn(&self) {
        // A lost race loses a tenth, which is cheaper than a loop.
        let saved = self.0.load(Ordering::Relaxed);
        if saved < SAVED_MAX * PRICE {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pays for an extra query, if there is enough.
    pub(super) fn spend(&self) -> bool {
        let spent = |saved: u32| saved.checked_sub(PRICE);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_all(budget: &Budget) -> usize {
        (0..10_000).take_while(|_| budget.spend()).count()
    }

    #[test]
    fn ten_queries_pay_for_one_more_and_no_more_is_saved_than_a_burst_needs() {
        let budget = Budget::default();
        assert_eq!(spend_all(&budget), 100, "there from the start");
        for (queries, extra) in [(9, 0), (1, 1), (1000, 100), (100_000, 100)] {
            for _ in 0..queries {
                budget.earn();
            }
            assert_eq!(spend_all(&budget), extra, "after {queries} more");
        }
    }
}

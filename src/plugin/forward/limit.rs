//! How many queries may do at a time what is bounded for all together, whoever asks.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on what is under way.
#[derive(Debug)]
pub(super) struct Limit {
    max: usize,
    count: AtomicUsize,
}

/// One query that counts, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Limit);

impl Limit {
    /// At most so many.
    pub(super) fn new(max: usize) -> Limit {
        Limit {
            max,
            count: AtomicUsize::new(0),
        }
    }

    /// Counts one more, if it may be.
    pub(super) fn enter(&self) -> Option<Permit<'_>> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        // Made first, so that refusing gives back what was counted.
        let permit = Permit(self);
        (before < self.max).then_some(permit)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_allowed_enter_and_leaving_makes_room() {
        let limit = Limit::new(2);
        let first = limit.enter().expect("room for one");
        let second = limit.enter().expect("room for two");
        assert!(limit.enter().is_none());
        assert!(limit.enter().is_none(), "a refused one takes no room");
        drop(first);
        assert!(limit.enter().is_some());
        drop(second);
    }
}

//! Whether an upstream repeats names in the case in which they are sent, so that this case can be a secret between it
//! and us (draft-vixie-dnsext-dns0x20).

use std::sync::atomic::{AtomicU32, Ordering};

/// So many answers in a row in another case, and names are no longer sent in random case. One alone may be forged; it
/// must not disarm what it was caught by.
const CHANGES_MAX: u32 = 3;
/// One query in so many finds out whether the upstream has mended.
const TRIAL_ONE_IN: u32 = 1024;

/// What is known of one upstream.
#[derive(Debug, Default)]
pub(super) struct CaseKept {
    /// Answers in another case, since one in the case sent. Counts on with each query once it has reached its bound.
    changes: AtomicU32,
}

impl CaseKept {
    /// Whether the next name is sent in random case.
    pub(super) fn is_expected(&self) -> bool {
        if self.changes.load(Ordering::Relaxed) < CHANGES_MAX {
            return true;
        }
        let queries = self.changes.fetch_add(1, Ordering::Relaxed) - CHANGES_MAX;
        if queries < TRIAL_ONE_IN {
            return false;
        }
        self.changes.store(CHANGES_MAX, Ordering::Relaxed);
        true
    }

    /// A name came back in the case in which it was sent.
    pub(super) fn kept(&self) {
        // Not written without need: the line is shared by all threads.
        if self.changes.load(Ordering::Relaxed) != 0 {
            self.changes.store(0, Ordering::Relaxed);
        }
    }

    /// A name came back in another case, and the same upstream then answered the question.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_answers_in_another_case_end_it_until_one_query_in_a_thousand_shows_otherwise() {
        let case = CaseKept::default();
        for _ in 0..2 {
            case.changed();
            case.changed();
            assert!(case.is_expected(), "two may be forged");
            case.kept();
        }
        for _ in 0..CHANGES_MAX {
            assert!(case.is_expected());
            case.changed();
        }
        for _ in 0..3 {
            let without = (0..10_000).take_while(|_| !case.is_expected()).count();
            assert_eq!(without, TRIAL_ONE_IN as usize);
        }
        case.kept();
        assert!(case.is_expected());
    }
}

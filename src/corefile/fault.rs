//! The collector of faults: parsers go on after a fault, so that all are told at once.

use std::cell::RefCell;

use super::{Diagnostic, Severity};

/// Diagnostics kept, of each severity: nobody reads more, and a broken megabyte must not become a hundred.
const KEPT_MAX: usize = 200;

/// Collects what is wrong. Shared by `&`, so that many readers can report into one list.
#[derive(Debug, Default)]
pub struct Faults {
    kept: RefCell<Vec<Diagnostic>>,
}

impl Faults {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault, once: a snippet that is used twice has its fault once. Beyond some hundreds of one severity it
    /// is dropped; that there are errors is never lost.
    pub fn push(&self, diagnostic: Diagnostic) {
        let mut kept = self.kept.borrow_mut();
        let same = |other: &&Diagnostic| other.severity == diagnostic.severity;
        if !kept.contains(&diagnostic) && kept.iter().filter(same).count() < KEPT_MAX {
            kept.push(diagnostic);
        }
    }

    /// Whether anything refuses the configuration.
    pub fn is_refused(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Everything collected, in the order of the text; what has no place comes first.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut kept = self.kept.into_inner();
        kept.sort_by_key(|diagnostic| diagnostic.span);
        kept
    }

    /// How many of one severity are kept.
    pub fn count(&self, severity: Severity) -> usize {
        let kept = self.kept.borrow();
        kept.iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

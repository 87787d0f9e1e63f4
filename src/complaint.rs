//! What the log says of a disk that cannot be written: at once, then once a minute while it lasts.

use std::time::Duration;

use tokio::time::Instant;

/// A full disk stays full for hours.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Whether to complain again.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    told: Option<Instant>,
}

impl Complaint {
    /// Something failed: whether that is to be told.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        let is_due = self
            .told
            .is_none_or(|told| now.duration_since(told) >= REPEAT_AFTER);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }

    /// It went well: whether that is to be told.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_a_minute_and_its_end_once() {
        let (start, mut complaint) = (Instant::now(), Complaint::default());
        let told =
            [0, 10, 59, 60, 61, 120].map(|at| complaint.failed(start + Duration::from_secs(at)));
        assert_eq!(told, [true, false, false, true, false, true]);
        assert_eq!([(); 2].map(|()| complaint.succeeded()), [true, false]);
        assert!(complaint.failed(start + Duration::from_secs(121)));
    }
}

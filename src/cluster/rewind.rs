//! Whether an API server has gone back in time: its storage was put back, as from a backup.
//!
//! Nobody says so. A watch from a version that the server does not have any more may be accepted, and is silent until the
//! versions have come as far again (Kubernetes API concepts, "Unavailable resource versions"); what was true before the
//! server was put back, and is not now, would be answered for ever. Its versions tell:
//!
//! - A watch tells an older version than before. A watch is one server's, whose versions grow: no lag does that.
//! - An audit is read at an older version than had been heard when it was ordered. It is a consistent read, so that a
//!   server of several that lags behind should not answer it thus; but caches that are to be consistent have not always
//!   been. So one such audit proves nothing and mends nothing. It is asked for again after a time in which a lag is over,
//!   and believed if it is still older than what had been heard before the first.
//!
//! What the server has now is then listed, and doubted as any list is. When the versions have come past what had been
//! heard, neither tells; then objects do, of which the server names an older version than is known: see `audit`.
//! No clock: times are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::index::Version;

/// What tells of one resource that its server was put back.
#[derive(Debug, Default)]
pub(super) struct Rewind {
    /// What had been heard before the first audit that was older; `None`: the last one was not.
    doubted: Option<Version>,
    /// When the last list was due that is to say what there is now.
    listed: Option<Instant>,
}

/// What the version of an audit says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is as new as it should be.
    Fresh,
    /// It is older than what was heard; `is_new`: the one before was not.
    Older { is_new: bool },
    /// The server has gone back.
    Rewound,
}

impl Rewind {
    /// An audit was read at `version`, and was ordered when the watch had come as far as `heard`.
    pub(super) fn audited(&mut self, version: Version, heard: Version) -> Reading {
        let is_older = |than| version.has_reached(than) == Some(false);
        match self.doubted.take() {
            _ if !is_older(heard) => Reading::Fresh,
            Some(before) if is_older(before) => Reading::Rewound,
            before => {
                self.doubted = Some(heard);
                Reading::Older {
                    is_new: before.is_none(),
                }
            }
        }
    }

    /// When to list what there is now. A server whose versions go back again and again costs one list in the time of an
    /// audit.
    pub(super) fn list_at(&mut self, now: Instant, audit_every: Duration) -> Instant {
        let at = self
            .listed
            .map_or(now, |listed| now.max(listed + audit_every));
        *self.listed.insert(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_believed_to_have_rewound_when_a_second_audit_is_older_than_what_the_first_was_held_against()
     {
        const FRESH: Reading = Reading::Fresh;
        const FIRST: Reading = Reading::Older { is_new: true };
        const AGAIN: Reading = Reading::Older { is_new: false };
        const BACK: Reading = Reading::Rewound;
        // The version of each audit, and what had been heard.
        type Audits = &'static [(&'static str, &'static str, Reading)];
        struct Row(&'static str, Audits);
        for Row(fact, audits) in [
            Row("as far as the watch", &[("9", "9", FRESH)]),
            Row("further", &[("10", "9", FRESH)]),
            Row("older twice", &[("5", "9", FIRST), ("6", "9", BACK)]),
            Row(
                "older, then as far",
                &[("5", "9", FIRST), ("9", "9", FRESH), ("8", "9", FIRST)],
            ),
            Row(
                "a lag that is shorter than the time between two audits",
                &[("8", "9", FIRST), ("19", "20", AGAIN), ("29", "30", AGAIN)],
            ),
            Row(
                "put back while it lags",
                &[("8", "9", FIRST), ("19", "20", AGAIN), ("15", "20", BACK)],
            ),
            Row(
                "put back again",
                &[("5", "9", FIRST), ("6", "9", BACK), ("3", "6", FIRST)],
            ),
            Row("no numbers", &[("x", "9", FRESH), ("5", "", FRESH)]),
        ] {
            let mut rewind = Rewind::default();
            for (version, heard, expected) in audits {
                let reading = rewind.audited(Version::of(version), Version::of(heard));
                assert_eq!(reading, *expected, "{fact}: {version} after {heard}");
            }
        }
    }

    #[test]
    fn versions_that_go_back_again_and_again_cost_one_list_in_the_time_of_an_audit() {
        let (start, every) = (Instant::now(), Duration::from_secs(600));
        let after = |at| start + Duration::from_secs(at);
        let mut rewind = Rewind::default();
        for (at, expected) in [(0, 0), (10, 600), (650, 1200), (9000, 9000)] {
            assert_eq!(rewind.list_at(after(at), every), after(expected), "{at} s");
        }
    }
}

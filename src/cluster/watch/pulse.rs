//! How long a watch may be silent, learnt from its own bookmarks.
//!
//! A watch that nothing happens on cannot be told from one that leads nowhere. HTTP/2 has pings, the kernel has probes;
//! both are answered by a proxy that no longer hears the server, and over HTTP/1.1 by the kernel of a server that is
//! stopped. But an API server sends a bookmark about each minute once it has begun to, so that one which is long overdue
//! says that something is wrong. Bookmarks are no promise (KEP-956): before a watch has shown its own pace, and where it
//! has none, silence is allowed for as long as the watch was asked to be open.

use std::time::Duration;

use tokio::time::Instant;

/// So many distances between bookmarks show a pace.
const DISTANCES_MIN: u32 = 2;

/// The bookmarks of one watch.
#[derive(Debug)]
pub(super) struct Pulse {
    /// What a bookmark may be late beyond a quarter of the distance: load, and timers of the server.
    margin: Duration,
    last: Option<Instant>,
    distances: u32,
    longest: Duration,
}

impl Pulse {
    pub(super) fn new(margin: Duration) -> Pulse {
        Pulse {
            margin,
            last: None,
            distances: 0,
            longest: Duration::ZERO,
        }
    }

    /// A bookmark has come.
    pub(super) fn bookmarked(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.distances = self.distances.saturating_add(1);
            self.longest = self.longest.max(now.duration_since(last));
        }
    }

    /// The longest silence of a watch in good health, if the watch has shown it.
    pub(super) fn silence_max(&self) -> Option<Duration> {
        (self.distances >= DISTANCES_MIN).then(|| self.longest + self.longest / 4 + self.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_believed_when_it_was_shown_twice_and_is_that_of_the_slowest() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Duration::from_secs(5));
        for (at, allowed) in [(0, None), (60, None), (118, Some(80)), (182, Some(85))] {
            pulse.bookmarked(start + Duration::from_secs(at));
            let allowed = allowed.map(Duration::from_secs);
            assert_eq!(pulse.silence_max(), allowed, "after {at} s");
        }
    }
}

//! What the log says of a watch that fails: who is not reached and why, at once and then now and again while it lasts,
//! and when it is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::object::{Resource, Trouble};

/// The same complaint is repeated this often: whoever looks at the last lines of a log shall find it there.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Another complaint is told no sooner than this after the last: servers that fail in turns would fill the log.
const NEWS_AFTER: Duration = Duration::from_secs(10);

/// The complaints about one resource of one server.
pub(super) struct Log {
    resource: Resource,
    server: Arc<str>,
    away: Away,
}

/// For how long there has been trouble, and what was told of it.
#[derive(Debug, Default)]
struct Away(Option<Told>);

#[derive(Debug)]
struct Told {
    since: Instant,
    last: Instant,
    trouble: Trouble,
}

impl Log {
    pub(super) fn new(resource: Resource, server: Arc<str>) -> Log {
        Log {
            resource,
            server,
            away: Away::default(),
        }
    }

    /// A request has failed.
    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        if let Some(lasting) = self.away.trouble(trouble, Instant::now()) {
            let (resource, server) = (self.resource, &*self.server);
            // At the first time it says nothing.
            let lasting = (!lasting.is_zero()).then(|| tracing::field::debug(seconds(lasting)));
            tracing::error!(target: "plugin/kubernetes", %resource, server, reason = %trouble, lasting, "Failed to watch");
        }
    }

    /// The resource is followed.
    pub(super) fn recovered(&mut self) {
        if let Some(away) = self.away.recovered(Instant::now()) {
            let (resource, server) = (self.resource, &*self.server);
            let away = seconds(away);
            tracing::info!(target: "plugin/kubernetes", %resource, server, ?away, "Watching again");
        }
    }
}

impl Away {
    /// For how long there has been trouble, if that is to be told now.
    fn trouble(&mut self, trouble: &Trouble, now: Instant) -> Option<Duration> {
        let Some(told) = &mut self.0 else {
            self.0 = Some(Told {
                since: now,
                last: now,
                trouble: trouble.clone(),
            });
            return Some(Duration::ZERO);
        };
        let quiet = if told.trouble == *trouble {
            REPEAT_AFTER
        } else {
            NEWS_AFTER
        };
        if now.duration_since(told.last) < quiet {
            return None;
        }
        told.last = now;
        told.trouble = trouble.clone();
        Some(now.duration_since(told.since))
    }

    /// How long there was trouble, if there was any.
    fn recovered(&mut self, now: Instant) -> Option<Duration> {
        self.0.take().map(|told| now.duration_since(told.since))
    }
}

/// Whole seconds, of which there is at least one.
fn seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_at_once_then_each_minute_and_other_trouble_soon() {
        let (refused, forbidden) = (
            Trouble::Unreachable("connection refused".into()),
            Trouble::Forbidden("no".into()),
        );
        let start = Instant::now();
        let mut away = Away::default();
        for (at, trouble, told) in [
            (0, &refused, Some(0)),
            (5, &refused, None),
            (59, &refused, None),
            (62, &refused, Some(62)),
            (67, &forbidden, None),
            (72, &forbidden, Some(72)),
            (77, &refused, None),
            (120, &forbidden, None),
            (132, &forbidden, Some(132)),
        ] {
            let lasting = away.trouble(trouble, start + Duration::from_secs(at));
            assert_eq!(lasting, told.map(Duration::from_secs), "after {at} s");
        }
        let after = |at| start + Duration::from_secs(at);
        assert_eq!(away.recovered(after(140)), Some(Duration::from_secs(140)));
        assert_eq!(away.recovered(after(150)), None);
        assert_eq!(away.trouble(&refused, after(160)), Some(Duration::ZERO));
    }
}

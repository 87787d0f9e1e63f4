//! Connections of one upstream that lie unused.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::config::Idle;
use super::exchange::Connection;

/// Connections that lie unused for one upstream, if `max_idle_conns` does not say less. More only pay when more
/// queries than that wait at one time, and each holds a place in the tables of two hosts.
const IDLE_MAX: usize = 64;

/// The unused connections, those used last at the end: they are used again first, so that the others expire.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Idle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unused: VecDeque<Unused>,
    /// Somebody comes back to expire them.
    is_watched: bool,
}

#[derive(Debug)]
struct Unused {
    connection: Connection,
    since: Instant,
}

/// Whether somebody has to come back and [`Connections::expire`] what was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nobody does yet.
    First,
    /// Somebody does, or nothing was kept.
    Another,
}

impl Connections {
    /// None yet.
    pub(super) fn new(limits: Idle) -> Connections {
        Connections {
            limits,
            state: Mutex::default(),
        }
    }

    /// Takes the one used last, if it may still be used.
    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        let last = self.lock().unused.pop_back()?;
        self.is_good(&last, now).then_some(last.connection)
    }

    /// Keeps one whose query was answered.
    pub(super) fn keep(&self, connection: Connection, now: Instant) -> Kept {
        let mut state = self.lock();
        let max = self
            .limits
            .max
            .map_or(IDLE_MAX, |max| max.get().min(IDLE_MAX));
        let kept = Unused {
            connection,
            since: now,
        };
        if state.unused.len() >= max || !self.is_good(&kept, now) {
            return Kept::Another;
        }
        state.unused.push_back(kept);
        // A pool that is emptied and filled by every query must not be given a watcher each time.
        match std::mem::replace(&mut state.is_watched, true) {
            false => Kept::First,
            true => Kept::Another,
        }
    }

    /// Closes those that may no longer be used. Says whether others are left; if not, nobody needs to come back.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.unused.retain(|unused| self.is_good(unused, now));
        state.is_watched = !state.unused.is_empty();
        state.is_watched
    }

    /// Closes all: one of them was found closed or dead, and what ended it ended the others.
    pub(super) fn clear(&self) {
        self.lock().unused.clear();
    }

    /// The pause after which [`Connections::expire`] has something to do.
    pub(super) fn expire_after(&self) -> std::time::Duration {
        self.limits.expire
    }

    fn is_good(&self, unused: &Unused, now: Instant) -> bool {
        let lay = now.saturating_duration_since(unused.since);
        let is_young = |max| unused.connection.age(now) < max;
        lay < self.limits.expire && self.limits.max_age.is_none_or(is_young)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;

    async fn connections(count: usize) -> (tokio::net::TcpListener, Vec<Connection>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let mut open = Vec::new();
        for _ in 0..count {
            open.push(Connection::open(to, None, until).await.unwrap());
        }
        (listener, open)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_while_it_is_young_and_lay_for_a_short_time() {
        let second = Duration::from_secs(1);
        for (what, max_age, lies, expected) in [
            ("at once", None, Duration::ZERO, true),
            (
                "just in time",
                None,
                10 * second - Duration::from_millis(1),
                true,
            ),
            ("too late", None, 10 * second, false),
            ("too old", Some(10 * second), 11 * second, false),
        ] {
            let (_listener, mut open) = connections(1).await;
            let idle = Connections::new(Idle {
                max_age,
                ..Idle::default()
            });
            let now = Instant::now();
            assert_eq!(idle.keep(open.remove(0), now), Kept::First, "{what}");
            let is_left = idle.expire(now + lies);
            assert_eq!(is_left, expected, "{what}");
            assert_eq!(idle.take(now + lies).is_some(), expected, "{what}");
        }
    }

    #[tokio::test]
    async fn an_old_connection_is_not_kept_at_all() {
        let (_listener, mut open) = connections(1).await;
        let idle = Connections::new(Idle {
            max_age: Some(Duration::from_secs(20)),
            ..Idle::default()
        });
        let later = Instant::now() + Duration::from_secs(20);
        assert_eq!(idle.keep(open.remove(0), later), Kept::Another);
        assert!(idle.take(later).is_none());
    }

    #[tokio::test]
    async fn one_watcher_expires_what_is_taken_and_kept_again_and_again() {
        let (_listener, mut open) = connections(1).await;
        let idle = Connections::new(Idle::default());
        let now = Instant::now();
        assert_eq!(idle.keep(open.remove(0), now), Kept::First);
        for _ in 0..3 {
            let taken = idle.take(now).unwrap();
            assert_eq!(idle.keep(taken, now), Kept::Another);
        }
        let taken = idle.take(now).unwrap();
        assert!(!idle.expire(now), "none lies here, and the watcher leaves");
        assert_eq!(idle.keep(taken, now), Kept::First);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_allowed_and_the_last_is_taken_first() {
        let (_listener, open) = connections(3).await;
        let locals: Vec<_> = open.iter().map(Connection::local).collect();
        let idle = Connections::new(Idle {
            max: NonZeroUsize::new(2),
            ..Idle::default()
        });
        let now = Instant::now();
        let kept: Vec<Kept> = open
            .into_iter()
            .map(|connection| idle.keep(connection, now))
            .collect();
        assert_eq!(kept, [Kept::First, Kept::Another, Kept::Another]);
        for expected in [locals[1], locals[0]] {
            assert_eq!(idle.take(now).and_then(|taken| taken.local()), expected);
        }
        assert!(idle.take(now).is_none());
    }
}

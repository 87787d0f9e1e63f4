//! The one connection of an upstream whose protocol carries many queries at a time: HTTPS, QUIC.
//!
//! Whoever comes first opens it, as a task of its own, which says itself what became of it: a query that is given up,
//! because another upstream was quicker, leaves a connection for the next one. Whoever comes meanwhile waits for the
//! same connection. When it may still be used is decided here, with the time given.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::dns::Reply;

use super::config::Idle;
use super::connections::Kept;
use super::exchange::{Asked, Fault, Https, Quic};

/// A connection for many queries; its clones are the same connection.
#[derive(Debug, Clone)]
pub(super) enum Channel {
    Https(Https),
    Quic(Quic),
}

/// The number of an opening: which of the connections that a slot had one after the other. Their addresses do not tell
/// them apart, as ports are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nth(u64);

/// A connection, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) channel: Channel,
    nth: Nth,
}

/// A connection that is being opened.
pub(super) type Opening = Shared<BoxFuture<'static, Result<Held, Fault>>>;

/// The connection of an upstream, or none.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Idle,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The number of the next opening.
    next: u64,
    /// Somebody comes back to expire it.
    is_watched: bool,
}

#[derive(Debug)]
enum State {
    Empty,
    Opening {
        nth: Nth,
        opening: Opening,
    },
    Open {
        held: Held,
        opened: Instant,
        used: Instant,
        /// When something last came over it.
        heard: Instant,
    },
}

/// What a query finds.
#[derive(Debug)]
pub(super) enum Taken {
    /// A connection.
    Open(Held),
    /// One that somebody else opens.
    Shared(Opening),
    /// One that is opened for it.
    New(Opening),
}

impl Channel {
    /// Our end.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Channel::Https(https) => https.local(),
            Channel::Quic(quic) => quic.local(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Channel::Https(https) => https.is_closed(),
            Channel::Quic(quic) => quic.is_closed(),
        }
    }

    /// Sends a query and waits for its reply until then.
    pub(super) async fn exchange(&self, asked: Asked<'_>, until: Instant) -> Result<Reply, Fault> {
        match self {
            Channel::Https(https) => https.exchange(asked, until).await,
            Channel::Quic(quic) => quic.exchange(asked, until).await,
        }
    }
}

impl Slot {
    /// No connection yet.
    pub(super) fn new(limits: Idle) -> Slot {
        Slot {
            limits,
            inner: Mutex::new(Inner {
                state: State::Empty,
                next: 0,
                is_watched: false,
            }),
        }
    }

    /// Takes the connection, if it may still be used; else `open` opens one, and says [`Slot::opened`] in the end,
    /// whether anybody waits for it or not.
    pub(super) fn take<Open>(&self, now: Instant, open: impl FnOnce(Nth) -> Open) -> Taken
    where
        Open: Future<Output = Result<Channel, Fault>> + Send + 'static,
    {
        let inner = &mut *self.lock();
        if self.is_good(&inner.state, now)
            && let State::Open { held, used, .. } = &mut inner.state
        {
            *used = now;
            return Taken::Open(held.clone());
        }
        // One that failed is still here only if its task ended before it could say so.
        if let State::Opening { opening, .. } = &inner.state
            && opening.peek().is_none_or(Result::is_ok)
        {
            return Taken::Shared(opening.clone());
        }
        let nth = Nth(inner.next);
        inner.next += 1;
        let held = move |channel| Held { channel, nth };
        let opening = open(nth).map(move |opened| opened.map(held));
        let opening = opening.boxed().shared();
        inner.state = State::Opening {
            nth,
            opening: opening.clone(),
        };
        Taken::New(opening)
    }

    /// Says what became of an opening. [`Kept::First`] says that somebody has to come back and [`Slot::expire`] it.
    pub(super) fn opened(&self, nth: Nth, opened: &Result<Channel, Fault>, now: Instant) -> Kept {
        let inner = &mut *self.lock();
        match &inner.state {
            State::Opening { nth: awaited, .. } if *awaited == nth => {}
            // Another one has taken its place.
            _ => return Kept::Another,
        }
        let Ok(channel) = opened else {
            inner.state = State::Empty;
            return Kept::Another;
        };
        let channel = channel.clone();
        inner.state = State::Open {
            held: Held { channel, nth },
            opened: now,
            used: now,
            heard: now,
        };
        match std::mem::replace(&mut inner.is_watched, true) {
            false => Kept::First,
            true => Kept::Another,
        }
    }

    /// A reply came over the connection.
    pub(super) fn answered(&self, by: &Held, now: Instant) {
        if let State::Open {
            held, used, heard, ..
        } = &mut self.lock().state
            && held.nth == by.nth
        {
            (*used, *heard) = (now, now);
        }
    }

    /// A query that was sent then got no reply. If no other got one since, the connection is not worth keeping: a new
    /// one may take another path.
    pub(super) fn unanswered(&self, failed: &Held, sent: Instant) {
        let is_silent = matches!(&self.lock().state, State::Open { heard, .. } if *heard <= sent);
        if is_silent {
            self.clear(failed);
        }
    }

    /// Lets go of this connection, unless there is another by now. Queries that are on it end on it.
    pub(super) fn clear(&self, failed: &Held) {
        let state = &mut self.lock().state;
        if let State::Open { held, .. } = state
            && held.nth == failed.nth
        {
            *state = State::Empty;
        }
    }

    /// Lets go of a connection that may no longer be used. Says whether there is one that may, or one that is being
    /// opened; if not, nobody needs to come back.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let inner = &mut *self.lock();
        if let State::Open { .. } = inner.state
            && !self.is_good(&inner.state, now)
        {
            inner.state = State::Empty;
        }
        inner.is_watched = !matches!(inner.state, State::Empty);
        inner.is_watched
    }

    /// The pause after which [`Slot::expire`] has something to do.
    pub(super) fn expire_after(&self) -> Duration {
        self.limits.expire
    }

    fn is_good(&self, state: &State, now: Instant) -> bool {
        let State::Open {
            held, opened, used, ..
        } = state
        else {
            return false;
        };
        let is_young = |max| now.saturating_duration_since(*opened) < max;
        now.saturating_duration_since(*used) < self.limits.expire
            && self.limits.max_age.is_none_or(is_young)
            && !held.channel.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The one connection of an upstream whose protocol carries many queries at a time: HTTPS, QUIC.
//!
//! Whoever comes first opens it, as a task of its own: a query that is given up, because another upstream was quicker,
//! leaves a connection for the next one. Whoever comes meanwhile waits for the same connection. When it may still be
//! used is decided here, with the time given.

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

/// A connection that is being opened.
pub(super) type Opening = Shared<BoxFuture<'static, Result<Channel, Fault>>>;

/// The connection of an upstream, or none.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Idle,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Somebody comes back to expire it.
    is_watched: bool,
}

#[derive(Debug)]
enum State {
    Empty,
    Opening(Opening),
    Open {
        channel: Channel,
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
    Open(Channel),
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
                is_watched: false,
            }),
        }
    }

    /// Takes the connection, if it may still be used; else `open` opens one.
    pub(super) fn take(
        &self,
        now: Instant,
        open: impl FnOnce() -> BoxFuture<'static, Result<Channel, Fault>>,
    ) -> Taken {
        let state = &mut self.lock().state;
        if self.is_good(state, now)
            && let State::Open { channel, used, .. } = state
        {
            *used = now;
            return Taken::Open(channel.clone());
        }
        if let State::Opening(opening) = state
            && opening.peek().is_none_or(Result::is_ok)
        {
            return Taken::Shared(opening.clone());
        }
        let opening = open().shared();
        *state = State::Opening(opening.clone());
        Taken::New(opening)
    }

    /// Says what became of a connection that was being opened. [`Kept::First`] says that somebody has to come back and
    /// [`Slot::expire`] it.
    pub(super) fn opened(&self, opened: &Result<Channel, Fault>, now: Instant) -> Kept {
        let inner = &mut *self.lock();
        match &inner.state {
            State::Opening(opening) if opening.peek().is_some() => {}
            // Somebody else has said so already.
            _ => return Kept::Another,
        }
        let Ok(channel) = opened else {
            inner.state = State::Empty;
            return Kept::Another;
        };
        inner.state = State::Open {
            channel: channel.clone(),
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
    pub(super) fn answered(&self, now: Instant) {
        if let State::Open { used, heard, .. } = &mut self.lock().state {
            (*used, *heard) = (now, now);
        }
    }

    /// A query that was sent then got no reply. If no other got one since, the connection is not worth keeping: a new
    /// one may take another path.
    pub(super) fn unanswered(&self, failed: &Channel, sent: Instant) {
        let is_silent = matches!(&self.lock().state, State::Open { heard, .. } if *heard <= sent);
        if is_silent {
            self.clear(failed);
        }
    }

    /// Lets go of this connection, unless there is another by now. Queries that are on it end on it.
    pub(super) fn clear(&self, failed: &Channel) {
        let state = &mut self.lock().state;
        if let State::Open { channel, .. } = state
            && channel.local() == failed.local()
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
            channel,
            opened,
            used,
            ..
        } = state
        else {
            return false;
        };
        let is_young = |max| now.saturating_duration_since(*opened) < max;
        now.saturating_duration_since(*used) < self.limits.expire
            && self.limits.max_age.is_none_or(is_young)
            && !channel.is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

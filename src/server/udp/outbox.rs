//! Queries of one socket that must wait, from the moment they do until their replies are sent.
//!
//! Replies that are ready in one turn of the thread's runtime leave by one system call, as those of queries that need
//! not wait do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::batch::Peer;
use crate::admission;
use crate::dns::Query;

/// What waits at one socket, and what has waited. All who use it are on the thread of the socket, so that the lock is
/// never waited for.
#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Queries that have not come to their ends.
    waiting: usize,
    ended: Vec<Ended>,
    /// Who sends.
    sender: Option<Waker>,
}

/// A query that has come to its end.
pub(super) struct Ended {
    pub(super) peer: Peer,
    /// For its memory.
    pub(super) query: Box<Query>,
    /// Empty, if there is none.
    pub(super) reply: Vec<u8>,
    /// Where the query waited: so these are no more than may wait, and a listener that ends waits for them.
    pub(super) _waited_in: admission::Place,
}

/// The place of a query that waits. Dropped without an end, as a panic does, it is given up.
pub(super) struct Place {
    outbox: Arc<Outbox>,
    ended: Option<Ended>,
}

impl Outbox {
    /// A place for one more.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        self.lock().waiting += 1;
        Place {
            outbox: self.clone(),
            ended: None,
        }
    }

    /// Whether nothing waits, and nothing is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.waiting == 0 && inner.ended.is_empty()
    }

    /// Those that have come to their ends; `None` when nothing waits any more. While some wait and none has come to its
    /// end this is pending.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Option<Vec<Ended>>> {
        let mut inner = self.lock();
        if !inner.ended.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut inner.ended)));
        }
        if inner.waiting == 0 {
            return Poll::Ready(None);
        }
        inner.sender = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The query has come to its end.
    pub(super) fn leave(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.outbox.lock();
        inner.waiting -= 1;
        inner.ended.extend(self.ended.take());
        let sender = inner.sender.take();
        drop(inner);
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

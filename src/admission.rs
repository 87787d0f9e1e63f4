//! Who may wait, when more would than there is room for.
//!
//! A flood is mostly one client's: a Pod that asks in a loop, or a scan. Room for what waits is shared out by the address
//! that a query comes from, so that such a client is in its own way and in nobody else's:
//!
//! ```text
//!                      ┌ there is room ───────────────────────────▶ it waits
//! one more must wait ──┤
//!                      └ none: another client has far more waiting ▶ it waits, and that client's oldest is displaced
//!                              nobody has                          ▶ refused
//! ```
//!
//! With all clients alike, the newest is refused and not the oldest displaced. What waits here has been asked for already;
//! were the oldest given up whenever one more comes, then with more coming in the time of an answer than there is room
//! for each would be given up before its answer is there, and none be answered. What has not been begun waits elsewhere,
//! and there the oldest goes first.
//!
//! Nothing is known here of queries but where they come from, nor of what they wait for; who is displaced is told by its
//! [`Place`], and says to its client what is right there.

pub(crate) mod by_source;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use self::by_source::BySource;

/// How many times as much as a client that wants a place another must hold to lose one to it. With less, clients that ask
/// alike would take the places from each other.
const FAR_MORE: usize = 2;

/// The part of the places that may be held beyond them by those who were displaced and have not gone yet, because their
/// replies are being written.
const DISPLACED_SHARE: usize = 8;

/// Room for so many that wait.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    /// How many there are, those included that were displaced and have not gone yet.
    present: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    is_closed: bool,
    places: BySource<Arc<Notice>>,
}

/// Whether a place is wanted back.
#[derive(Debug, Default)]
struct Notice {
    is_displaced: AtomicBool,
    waker: AtomicWaker,
}

/// The place of one that waits, which dropped is free.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    notice: Arc<Notice>,
    key: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many wait as may, and no client has far more waiting than this one.
    Full,
    /// Nobody may wait any more.
    Closed,
}

/// The place is another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Displaced;

impl Admission {
    /// Room for this many.
    pub(crate) fn new(max: usize) -> Arc<Admission> {
        Arc::new(Admission {
            max,
            present: AtomicUsize::new(0),
            waiting: Mutex::default(),
        })
    }

    /// For how many there is room.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many wait.
    pub(crate) fn present(&self) -> usize {
        self.present.load(Ordering::Acquire)
    }

    /// Whether so many wait that what is not needed is better left out.
    pub(crate) fn is_half_full(&self) -> bool {
        self.present() > self.max / 2
    }

    /// Whether one more from this client would be refused; by the time it comes it may be otherwise.
    pub(crate) fn refuses(&self, source: IpAddr) -> bool {
        self.present() >= self.max && self.lock().may_enter(source, self.max).is_err()
    }

    /// A place for one more from this client.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Result<Place, Refused> {
        let notice = Arc::new(Notice::default());
        let mut waiting = self.lock();
        let heavy = waiting.may_enter(source, self.max)?;
        if heavy.is_some() && self.present() > self.max + self.max / DISPLACED_SHARE {
            return Err(Refused::Full);
        }
        let displaced = heavy.and_then(|heavy| waiting.places.pop(heavy));
        if let Some(displaced) = &displaced {
            // While the lock is held: a place that is dropped looks whether it is in the table.
            displaced.is_displaced.store(true, Ordering::Release);
        }
        let key = waiting.places.push(source, notice.clone());
        self.present.fetch_add(1, Ordering::AcqRel);
        drop(waiting);
        if let Some(displaced) = displaced {
            displaced.waker.wake();
        }
        Ok(Place {
            admission: self.clone(),
            notice,
            key,
        })
    }

    /// From now on nobody gets a place.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Whether that is so.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Wants all places back, and returns how many that are.
    pub(crate) fn displace_all(&self) -> usize {
        let mut waiting = self.lock();
        let all = std::mem::take(&mut waiting.places).into_items();
        let told = |notice: &Arc<Notice>| notice.is_displaced.store(true, Ordering::Release);
        all.iter().for_each(told);
        drop(waiting);
        all.iter().for_each(|notice| notice.waker.wake());
        all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether one more from this client may wait, and who loses a place to it.
    fn may_enter(&mut self, source: IpAddr, max: usize) -> Result<Option<IpAddr>, Refused> {
        if self.is_closed {
            return Err(Refused::Closed);
        }
        if self.places.len() < max {
            return Ok(None);
        }
        let wanted = self.places.count(source) + 1;
        match self.places.heaviest() {
            Some((heavy, count)) if count > FAR_MORE * wanted => Ok(Some(heavy)),
            _ => Err(Refused::Full),
        }
    }
}

impl Place {
    /// What comes of `work`, unless the place is wanted back before that. The work stays where the caller has pinned it: a
    /// future that is handed on is held, and copied, once more for each hand.
    ///
    /// # Errors
    /// It was.
    pub(crate) async fn unless_displaced<F: Future>(
        &self,
        mut work: Pin<&mut F>,
    ) -> Result<F::Output, Displaced> {
        poll_fn(|context| match self.poll_displaced(context) {
            Poll::Ready(displaced) => Poll::Ready(Err(displaced)),
            Poll::Pending => work.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Whether it is wanted back.
    pub(crate) fn is_displaced(&self) -> bool {
        self.notice.is_displaced.load(Ordering::Acquire)
    }

    fn poll_displaced(&self, context: &Context<'_>) -> Poll<Displaced> {
        self.notice.waker.register(context.waker());
        if self.is_displaced() {
            Poll::Ready(Displaced)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.admission.lock();
        if !self.is_displaced() {
            waiting.places.remove(self.key);
        }
        self.admission.present.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;

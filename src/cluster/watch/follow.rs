//! What to ask the API server next and how long to wait before, from how the last request ended. No socket, no clock, no chance: durations
//! and jitter come in as arguments.
//!
//! ```text
//!            ┌──────── Expired, or a list that broke off ◀───┐
//!            ▼                                                │
//!     Empty ─── Ask::Stream ── initial events end ──▶ Synced ─┤ Ask::Watch(version)
//!       └────── Ask::Page ─▶ Paging ── last page ─────▶ ▲ └───┘ closed, cut, refused: again from the version
//!
//!     Synced ── Ordered ──▶ Empty, with the version kept
//!        ▲                    │
//!        └── the list does not come: on from the version that the watch had
//! ```

use std::time::Duration;

use crate::cluster::object::Trouble;

/// First wait after a failure; it doubles with each further one. client-go's figure.
const WAIT_FIRST: Duration = Duration::from_millis(800);

/// Longest wait while the server answers but refuses. client-go's figure.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest wait while there is no answer at all: an attempt to connect costs an absent server nothing, and changes wait for it.
const WAIT_UNREACHABLE_MAX: Duration = Duration::from_secs(5);

/// Shortest wait after the server says that we may not: only a human changes that.
const WAIT_FORBIDDEN_MIN: Duration = Duration::from_secs(5);

/// Longest wait that a server can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A request that lived this long before it ended was in good health: the next follows at once.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Spread of "at once", so that the watches of many servers do not return in the same instant.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Connections in a row that were made and soon cut, as far as they count: with one doubling, the wait is 1.6 s at most.
const CUTS_MAX: u32 = 1;

/// Streams that the server closes before their initial events end until it is taken not to know of them.
const STREAMS_UNFINISHED_MAX: u32 = 2;

/// Times that the server says it has not come as far as we have until that is taken for a restored backup: it never will.
const AHEAD_MAX: u32 = 5;

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// A watch with the initial events first.
    Stream,
    /// A page of a list.
    Page(Page),
    /// A watch from a version.
    Watch(Box<str>),
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    First(Freshness),
    /// With the token that the page before gave.
    Next(Box<str>),
}

/// How old a list may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever the server has at hand: for a start, when nothing newer has been seen.
    Any,
    /// Not older than this version, which another process has seen: the server may have it at hand.
    NotOlderThan(Box<str>),
    /// Not older than the question: going back in time would bring the dead to life.
    Consistent,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// A page came whole.
    Complete,
    /// The server closed the watch in good order.
    Closed,
    /// The answer broke off.
    Cut(String),
    /// Nothing came over a watch for too long.
    Silent,
    /// The initial events did not end.
    Unending,
    /// A new list was ordered, by the order of this number.
    Ordered(u64),
    /// The server refused.
    Refused(Refusal),
    /// The server had begun to answer and then said what is wrong: an ERROR event.
    Errored(Refusal),
    /// No answer.
    Unreachable(String),
    /// An answer that cannot be read.
    Unreadable(String),
}

/// The server's own word for why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// Its text.
    pub(super) message: Box<str>,
    /// When to ask again.
    pub(super) retry_after: Option<Duration>,
}

/// What follows from how a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Time until the next request.
    pub(super) wait: Duration,
    /// What keeps the resource from being followed.
    pub(super) trouble: Option<Trouble>,
    /// A list that was ordered and does not come: the watch goes on without.
    pub(super) unlisted: Option<Unlisted>,
}

/// A list that was ordered and does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unlisted {
    /// The number of the order.
    pub(super) order: u64,
    /// Why.
    pub(super) trouble: Trouble,
    /// How long the server wants to be left alone.
    pub(super) not_before: Duration,
}

/// Where the following of one resource stands.
#[derive(Debug)]
pub(super) struct Follow {
    stage: Stage,
    /// Whether the server is believed to send initial events; once lost, lost for good.
    streams: bool,
    streams_unfinished: u32,
    ahead: u32,
    failures: u32,
    cuts: u32,
    /// A watch that was left for a list which was ordered and has not come yet.
    left: Option<Left>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Empty(Freshness),
    Paging(Box<str>),
    Synced(Box<str>),
}

/// Where a watch was left, and for which order.
#[derive(Debug)]
struct Left {
    version: Box<str>,
    order: u64,
}

impl Follow {
    /// Nothing has been asked yet; the first list must be this fresh.
    pub(super) fn new(first: Freshness) -> Follow {
        Follow {
            stage: Stage::Empty(first),
            streams: true,
            streams_unfinished: 0,
            ahead: 0,
            failures: 0,
            cuts: 0,
            left: None,
        }
    }

    pub(super) fn ask(&self) -> Ask {
        match &self.stage {
            Stage::Empty(_) if self.streams => Ask::Stream,
            Stage::Empty(freshness) => Ask::Page(Page::First(freshness.clone())),
            Stage::Paging(token) => Ask::Page(Page::Next(token.clone())),
            Stage::Synced(version) => Ask::Watch(version.clone()),
        }
    }

    /// The initial events have ended at a version.
    pub(super) fn streamed(&mut self, version: Box<str>) {
        self.streams_unfinished = 0;
        self.left = None;
        self.stage = Stage::Synced(version);
    }

    /// A page has come; `true` if it was the last.
    pub(super) fn paged(&mut self, next: Option<Box<str>>, version: Box<str>) -> bool {
        let last = next.is_none();
        if last {
            self.left = None;
        }
        self.stage = match next {
            Some(token) => Stage::Paging(token),
            None => Stage::Synced(version),
        };
        last
    }

    /// The watch has come as far as a version.
    pub(super) fn advanced(&mut self, version: Box<str>) {
        self.ahead = 0;
        self.stage = Stage::Synced(version);
    }

    /// A request has ended, `lived` after it was sent. `jitter` is between 0 and 1.
    pub(super) fn ended(&mut self, end: End, lived: Duration, jitter: f64) -> Verdict {
        let healthy = lived >= HEALTHY_AFTER;
        if end == End::Closed && self.ask() == Ask::Stream {
            self.streams_unfinished += 1;
            self.streams = self.streams_unfinished < STREAMS_UNFINISHED_MAX;
        }
        if self.gives_up_list(&end)
            && let Some(Left { version, order }) = self.left.take()
        {
            // The watch was in good health, and the list alone is what the server does not give.
            self.stage = Stage::Synced(version);
            let unlisted = Unlisted {
                order,
                not_before: end.retry_after().unwrap_or_default(),
                trouble: end.into(),
            };
            return Verdict {
                unlisted: Some(unlisted),
                ..Verdict::wait(AT_ONCE.mul_f64(jitter))
            };
        }
        match end {
            End::Complete => Verdict::wait(Duration::ZERO),
            End::Closed => self.resume(healthy, None, jitter),
            End::Cut(text) => {
                self.restart_pages();
                self.resume(healthy, Some(Trouble::Unreachable(text.into())), jitter)
            }
            End::Silent => {
                self.restart_pages();
                self.at_once(jitter)
            }
            End::Unending => {
                self.streams = false;
                Verdict::wait(Duration::ZERO)
            }
            End::Ordered(order) => {
                let list = Stage::Empty(Freshness::Consistent);
                if let Stage::Synced(version) = std::mem::replace(&mut self.stage, list) {
                    self.left = Some(Left { version, order });
                }
                Verdict::wait(Duration::ZERO)
            }
            End::Refused(refusal) => self.refused(refusal, false, jitter),
            End::Errored(refusal) => {
                if healthy {
                    self.failures = 0;
                }
                self.refused(refusal, healthy, jitter)
            }
            End::Unreachable(text) => {
                self.restart_pages();
                let wait = self.back_off(WAIT_UNREACHABLE_MAX, jitter);
                Verdict::troubled(wait, Trouble::Unreachable(text.into()))
            }
            End::Unreadable(text) => {
                self.stage = Stage::Empty(Freshness::Consistent);
                let wait = self.back_off(WAIT_MAX, jitter);
                Verdict::troubled(wait, Trouble::Unreadable(text.into()))
            }
        }
    }

    fn refused(&mut self, refusal: Refusal, healthy: bool, jitter: f64) -> Verdict {
        if self.ask() == Ask::Stream && refusal.is_of_streaming() {
            self.streams = false;
            return Verdict::wait(Duration::ZERO);
        }
        if refusal.status == 410 {
            self.stage = Stage::Empty(Freshness::Consistent);
            // Lists are dear: a server that forgets at once is asked ever more rarely.
            return match healthy {
                true => self.at_once(jitter),
                false => Verdict::wait(self.back_off(WAIT_MAX, jitter)),
            };
        }
        match self.stage {
            // The version is not one of this server's.
            Stage::Synced(_) | Stage::Empty(Freshness::NotOlderThan(_))
                if matches!(refusal.status, 400 | 422) =>
            {
                self.stage = Stage::Empty(Freshness::Consistent)
            }
            Stage::Synced(_) | Stage::Empty(Freshness::NotOlderThan(_))
                if refusal.is_of_future() =>
            {
                self.ahead += 1;
                if self.ahead >= AHEAD_MAX {
                    self.ahead = 0;
                    self.stage = Stage::Empty(Freshness::Consistent);
                }
            }
            Stage::Synced(_) | Stage::Empty(_) | Stage::Paging(_) => self.restart_pages(),
        }
        let mut wait = self.back_off(WAIT_MAX, jitter);
        // The first 401 may be a token that was replaced a moment ago: the next request reads it anew.
        if refusal.status == 403 || refusal.status == 401 && self.failures > 1 {
            wait = wait.max(WAIT_FORBIDDEN_MIN.mul_f64(1.0 + jitter));
        }
        if let Some(asked) = refusal.retry_after() {
            // Later than asked for, never sooner.
            wait = wait.max(asked + AT_ONCE.mul_f64(jitter));
        }
        Verdict::troubled(wait, refusal.into())
    }

    /// After a connection that was made: at once if it lived, a little later if it did not.
    fn resume(&mut self, healthy: bool, trouble: Option<Trouble>, jitter: f64) -> Verdict {
        if healthy {
            return self.at_once(jitter);
        }
        let wait = doubled(self.cuts, WAIT_MAX, jitter);
        // One cut is what a restarted server looks like.
        let trouble = trouble.filter(|_| self.cuts > 0);
        self.cuts = (self.cuts + 1).min(CUTS_MAX);
        Verdict {
            trouble,
            ..Verdict::wait(wait)
        }
    }

    fn at_once(&mut self, jitter: f64) -> Verdict {
        self.failures = 0;
        self.cuts = 0;
        Verdict::wait(AT_ONCE.mul_f64(jitter))
    }

    /// Whether a list that is under way does not come to its end, in this way of asking or in another that is tried at
    /// once.
    fn gives_up_list(&self, end: &End) -> bool {
        match end {
            End::Complete | End::Unending | End::Ordered(_) => false,
            End::Refused(refusal) | End::Errored(refusal) => {
                self.ask() != Ask::Stream || !refusal.is_of_streaming()
            }
            End::Closed | End::Cut(_) | End::Silent | End::Unreachable(_) | End::Unreadable(_) => {
                true
            }
        }
    }

    /// A list goes on only from page to page; a hole in it would be a lie.
    fn restart_pages(&mut self) {
        if matches!(self.stage, Stage::Paging(_)) {
            self.stage = Stage::Empty(Freshness::Consistent);
        }
    }

    fn back_off(&mut self, max: Duration, jitter: f64) -> Duration {
        let wait = doubled(self.failures, max, jitter);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

/// Between half and all of the wait after this many failures.
fn doubled(failures: u32, max: Duration, jitter: f64) -> Duration {
    WAIT_FIRST
        .saturating_mul(1 << failures.min(16))
        .min(max)
        .mul_f64(0.5 + jitter / 2.0)
}

impl Verdict {
    fn wait(wait: Duration) -> Verdict {
        Verdict {
            wait,
            trouble: None,
            unlisted: None,
        }
    }

    fn troubled(wait: Duration, trouble: Trouble) -> Verdict {
        Verdict {
            trouble: Some(trouble),
            ..Verdict::wait(wait)
        }
    }
}

impl End {
    /// When the server wants to be asked again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            End::Refused(refusal) | End::Errored(refusal) => refusal.retry_after(),
            _ => None,
        }
    }
}

impl Refusal {
    /// When to ask again, as far as a server can ask for that.
    fn retry_after(&self) -> Option<Duration> {
        self.retry_after.map(|asked| asked.min(RETRY_AFTER_MAX))
    }

    /// Whether it is the way of asking that is refused: an older server, one on etcd 3.4, or something between that is not an API server.
    fn is_of_streaming(&self) -> bool {
        let named = [
            "RequestWatchProgress",
            "sendInitialEvents",
            "resourceVersionMatch",
            "WatchList",
        ];
        matches!(self.status, 400 | 405 | 406 | 415 | 422 | 501)
            || named.iter().any(|name| self.message.contains(name))
    }

    /// Whether the server has not come as far as we have.
    fn is_of_future(&self) -> bool {
        self.message.contains("Too large resource version")
    }
}

impl From<End> for Trouble {
    /// Why a request beside the watch, or in its place, has failed.
    fn from(end: End) -> Trouble {
        match end {
            End::Refused(refusal) | End::Errored(refusal) => refusal.into(),
            End::Cut(text) | End::Unreachable(text) => Trouble::Unreachable(text.into()),
            End::Unreadable(text) => Trouble::Unreadable(text.into()),
            End::Silent | End::Complete | End::Closed | End::Unending | End::Ordered(_) => {
                Trouble::Unreachable("the answer does not go on".into())
            }
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Trouble {
        match refusal.status {
            401 => Trouble::Unauthorized(refusal.message),
            403 => Trouble::Forbidden(refusal.message),
            status => Trouble::Refused {
                status,
                message: refusal.message,
            },
        }
    }
}

#[cfg(test)]
mod tests;

//! Follows the collections of an API server and says what it sees as events.
//!
//! ```text
//!     follow (what to ask next, how long to wait)   pure: no socket, no clock
//!        ▲ how it ended          │ what to ask
//!        └────── watch ──────────┘ ── events ──▶ index
//!                  │ request, frame: the API's own forms
//! ```
//!
//! Beside it an `audit` reads the same objects in another way when that is ordered.
//!
//! One task a resource, for the life of its [`Target`]. It streams lists where the server can (WatchList), else lists in pages and watches
//! with bookmarks; it resumes where it was cut, lists again only when the server has forgotten that place, and never gives up. A list is
//! read as it arrives: what is held of it is one object. It knows nothing of the index behind the channel.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::cluster::list::{ListReader, Piece};
use crate::cluster::object::{Audited, Event, Fault, Object, Order};
use crate::cluster::selector::Target;

mod audit;
mod cause;
mod follow;
mod frame;
mod log;
mod pulse;
mod request;
#[cfg(test)]
mod tests;

use audit::Auditor;
use cause::cause;
use follow::{Ask, End, Follow, Unlisted};

pub use follow::Freshness;
use frame::{Frame, Frames};
use log::Log;
use pulse::Pulse;

pub(crate) use audit::ORDER_TIME_MAX;

/// Without the head of an answer for this long the server does not answer. API servers hold a request in a queue for up to 15 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Without a byte of a list for this long it does not come any more.
const LIST_QUIET_MAX: Duration = Duration::from_secs(30);

/// Quiet before the end of the initial events after which the server is taken not to know of them: one that does sends without pause.
const INITIAL_QUIET_MAX: Duration = Duration::from_secs(3);

/// Time for all initial events together, for a server that does not know of them in a cluster that is never quiet.
const INITIAL_TIME_MAX: Duration = Duration::from_secs(120);

/// A watch that is quiet for longer than the server was asked to keep it open plus this is dead.
const WATCH_QUIET_MARGIN: Duration = Duration::from_secs(30);

/// Limit for the text of an error answer; the rest is cut off.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Objects as they are.
const WHOLE: &str = "application/json";

/// To a watch: the resource is to be listed anew, by the order of this number.
type Relist = watch::Sender<u64>;

/// Orders on their way, each with its number. They outlive a watch that has panicked.
pub type Orders = Arc<Mutex<mpsc::Receiver<(u64, Order)>>>;

/// Where a target is followed, and how.
pub struct Place {
    /// The API server.
    pub client: kube::Client,
    /// Its URL as the log has it.
    pub server: Arc<str>,
    /// How old the first list may be.
    pub fresh: Freshness,
    /// How late a bookmark may be before the watch is taken for dead.
    pub bookmark_margin: Duration,
}

/// Follows `target` until the receiver of `events` is dropped, and carries out `orders` beside. Whatever the server does is said as an
/// event, retried and logged.
pub async fn follow(place: Place, target: Target, events: mpsc::Sender<Event>, orders: Orders) {
    let unheard = events.clone();
    let (relist, relists) = watch::channel(0);
    let auditor = Auditor {
        client: place.client.clone(),
        target: target.clone(),
        events: events.clone(),
        relist,
    };
    let mut watch = Watch {
        client: place.client,
        log: Log::new(target.resource, place.server),
        target,
        events,
        follow: Follow::new(place.fresh),
        relists,
        bookmark_margin: place.bookmark_margin,
    };
    tokio::select! {
        () = unheard.closed() => {}
        () = async { loop { watch.once().await } } => {}
        () = auditor.attend(orders) => {}
    }
}

struct Watch {
    client: kube::Client,
    target: Target,
    events: mpsc::Sender<Event>,
    follow: Follow,
    log: Log,
    relists: watch::Receiver<u64>,
    bookmark_margin: Duration,
}

impl Watch {
    /// Asks once, deals with the answer to its end, waits as long as is due.
    async fn once(&mut self) {
        let began = Instant::now();
        let end = match self.follow.ask() {
            Ask::Page(page) => self.list(request::list(&self.target, &page)).await,
            Ask::Stream => self.watch(None).await,
            Ask::Watch(version) => self.watch(Some(version)).await,
        };
        tracing::debug!(target: "plugin/kubernetes", resource = %self.target.resource, ?end, "Request ended");
        if end != End::Complete {
            self.say(Event::Away(self.target.resource)).await;
        }
        let verdict = self.follow.ended(end, began.elapsed(), rand::random());
        if let Some(trouble) = verdict.trouble {
            self.log.trouble(&trouble);
            self.say(Event::Trouble(self.target.resource, trouble))
                .await;
        }
        if let Some(Unlisted {
            order,
            trouble,
            not_before,
        }) = verdict.unlisted
        {
            let answer = Audited::NotListed(trouble, not_before);
            self.say(Event::Audited(self.target.resource, order, answer))
                .await;
        }
        tokio::time::sleep(verdict.wait).await;
    }

    /// One page of a list, item by item as it arrives.
    async fn list(&mut self, (first, uri): (bool, String)) -> End {
        let resource = self.target.resource;
        let mut body = match open(&self.client, uri, WHOLE).await {
            Ok(body) => body,
            Err(end) => return end,
        };
        if first {
            self.say(Event::ListStarted(resource)).await;
        }
        let mut reader = ListReader::new();
        let mut page = None;
        loop {
            let bytes = match chunk(&mut body, LIST_QUIET_MAX).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(End::Silent) => return End::Unreachable("the list does not go on".to_owned()),
                Err(end) => return end,
            };
            let mut events = Vec::new();
            let fed = reader.feed(&bytes, |piece| match piece {
                Piece::Item { text, .. } => match frame::object(resource, text) {
                    Ok(object) => events.push(Event::Applied(object)),
                    Err(fault) => {
                        skipped(&fault);
                        events.extend(frame::identity(resource, text).ok().map(Event::Unreadable));
                    }
                },
                Piece::Document { text, .. } => page = Some(frame::page(text)),
            });
            for event in events {
                self.say(event).await;
            }
            if let Err(error) = fed {
                return End::Unreadable(error.to_string());
            }
        }
        match page {
            Some(Ok(page)) => {
                let version = page.version.clone();
                if self.follow.paged(page.next, page.version) {
                    self.log.recovered();
                    self.say(Event::Listed(resource)).await;
                    self.say(Event::Reached(resource, version)).await;
                }
                End::Complete
            }
            Some(Err(error)) => End::Unreadable(error.to_string()),
            None => End::Cut("the list broke off".to_owned()),
        }
    }

    /// A watch from a version, or from nothing with the initial events first.
    async fn watch(&mut self, from: Option<Box<str>>) -> End {
        let resource = self.target.resource;
        let open_for = Duration::from_secs(300 + (300.0 * rand::random::<f64>()) as u64);
        let uri = request::watch(&self.target, from.as_deref(), open_for);
        let mut body = match open(&self.client, uri, WHOLE).await {
            Ok(body) => body,
            Err(end) => return end,
        };
        let mut pulse = Pulse::new(self.bookmark_margin);
        let mut initial = from.is_none();
        if initial {
            self.say(Event::ListStarted(resource)).await;
        } else {
            self.log.recovered();
            self.say(Event::Current(resource)).await;
        }
        let began = Instant::now();
        let mut frames = Frames::new();
        loop {
            let open_max = open_for + WATCH_QUIET_MARGIN;
            let quiet_max = match initial {
                true => INITIAL_QUIET_MAX,
                false => pulse
                    .silence_max()
                    .map_or(open_max, |max| max.min(open_max)),
            };
            let heard = tokio::select! {
                heard = chunk(&mut body, quiet_max) => heard,
                Ok(()) = self.relists.changed(), if !initial => {
                    return End::Ordered(*self.relists.borrow());
                }
            };
            let bytes = match heard {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return End::Closed,
                Err(End::Silent) if initial => return End::Unending,
                Err(end) => return end,
            };
            if initial && began.elapsed() > INITIAL_TIME_MAX {
                return End::Unending;
            }
            frames.push(&bytes);
            loop {
                match frames.next(resource) {
                    Ok(Some(frame)) => {
                        if matches!(frame, Frame::Bookmark { .. }) {
                            pulse.bookmarked(Instant::now());
                        }
                        if let Some(end) = self.frame(frame, &mut initial).await {
                            return end;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return End::Unreadable(error.to_string()),
                }
            }
        }
    }

    /// One event of a watch; `Some` if it is the last.
    async fn frame(&mut self, frame: Frame, initial: &mut bool) -> Option<End> {
        let resource = self.target.resource;
        match frame {
            Frame::Applied(object) => {
                self.advance(&object, *initial);
                self.say(Event::Applied(object)).await;
            }
            Frame::Deleted(object) => {
                self.advance(&object, *initial);
                self.say(Event::Deleted(object)).await;
            }
            Frame::Faulty { fault, known } => {
                skipped(&fault);
                if let Some(object) = known {
                    self.advance(&object, *initial);
                    self.say(Event::Unreadable(object)).await;
                }
            }
            Frame::Bookmark {
                version,
                initial_end,
            } if *initial => {
                if initial_end {
                    *initial = false;
                    self.follow.streamed(version.clone());
                    self.log.recovered();
                    self.say(Event::Listed(resource)).await;
                    self.say(Event::Reached(resource, version)).await;
                }
            }
            Frame::Bookmark { version, .. } => {
                self.follow.advanced(version.clone());
                self.say(Event::Reached(resource, version)).await;
            }
            Frame::Error(refusal) => return Some(End::Errored(refusal)),
            Frame::Unknown => {}
        }
        None
    }

    fn advance(&mut self, object: &Object, initial: bool) {
        let version = &object.metadata().resource_version;
        if !initial && !version.is_empty() {
            self.follow.advanced(version.clone());
        }
    }

    /// Waits while the index is busy. If there is no index any more, `follow` ends.
    async fn say(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

/// Sends a request and waits for the head of a good answer.
async fn open(client: &kube::Client, uri: String, accept: &'static str) -> Result<Body, End> {
    let request = http::Request::get(uri)
        .header(http::header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|error| End::Unreadable(error.to_string()))?;
    let answer = match timeout(HEAD_TIMEOUT, client.send(request)).await {
        Err(_) => return Err(End::Unreachable("the server does not answer".to_owned())),
        Ok(Err(error)) => return Err(End::Unreachable(cause(&error))),
        Ok(Ok(answer)) => answer,
    };
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let (head, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while text.len() < REFUSAL_BYTES_MAX {
        match chunk(&mut body, LIST_QUIET_MAX).await {
            Ok(Some(bytes)) => text.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    Err(End::Refused(frame::refusal(&head, &text)))
}

/// The next bytes; `None` at the end.
async fn chunk(body: &mut Body, quiet_max: Duration) -> Result<Option<bytes::Bytes>, End> {
    loop {
        match timeout(quiet_max, body.frame()).await {
            Err(_) => return Err(End::Silent),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(End::Cut(cause(&error))),
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// An object that cannot be read is said so and costs itself only.
fn skipped(fault: &Fault) {
    tracing::warn!(target: "plugin/kubernetes", %fault, "Object skipped");
}

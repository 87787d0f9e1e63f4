//! WATCH: one open watch as a stream of frames, one event each.
//!
//! A session keeps its place in the log of the store and reads on whenever the bell rings. Which event comes next is
//! decided in `Session::step`, without waiting; `Session::next` only sleeps between steps.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::time::Instant;

use super::{
    faults::Cut,
    options::{ListOptions, Version},
    resource::{Resource, Target},
    state::{Future, OpenWatch, Order, Shared, State, TooOld, WatchList},
    status::Status,
    store::{Key, Object, Write},
    stream::{Frames, first_half, one},
    wire::{Break, Line},
};

/// Annotation of the bookmark that ends the initial events of WatchList.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Opens a watch, or says why not: by HTTP status, or by an ERROR event as the only frame.
pub(super) fn open(
    shared: &Arc<Shared>,
    line: &Arc<Line>,
    target: Target,
    options: ListOptions,
) -> Result<Frames, Status> {
    let opened = shared.change(|state| {
        let start = match start(state, &options)? {
            Ok(start) => start,
            Err(status) => return Ok(Err(status)),
        };
        Ok(Ok(Session::open(
            shared, line, state, target, options, start,
        )))
    })?;
    Ok(match opened {
        Ok(session) => Box::pin(stream::unfold(session, Session::next)),
        Err(status) => one(error_frame(&status)),
    })
}

/// Where a watch begins.
struct Start {
    /// Objects existing at this version come first, as ADDED.
    initial: bool,
    end_bookmark: bool,
    version: u64,
}

/// Outer error: the HTTP status. Inner error: the ERROR event.
fn start(state: &State, options: &ListOptions) -> Result<Result<Start, Status>, Status> {
    let asked = match (options.send_initial_events, state.switches.watch_list) {
        (_, WatchList::Ignored) => None,
        (Some(_), WatchList::Refused) => {
            return Err(Status::invalid_options(
                "sendInitialEvents",
                "is forbidden for watch unless the WatchList feature gate is enabled",
            ));
        }
        (Some(true), WatchList::WithoutWatchProgress) => {
            let message = "a watch stream was asked for, but the storage feature RequestWatchProgress is disabled";
            return Ok(Err(Status::new(500, "InternalError", message)));
        }
        (asked, _) => {
            options.check_watch()?;
            asked
        }
    };
    let (cached, newest) = (state.cached(), state.store.version());
    let initial = asked.unwrap_or(!matches!(options.version, Version::At(_)));
    let version = match options.version {
        Version::Newest => newest,
        Version::Any => cached,
        Version::At(version) if version > cached && state.switches.future == Future::TooLarge => {
            return Ok(Err(Status::too_large(version, cached)));
        }
        Version::At(_) if initial => cached,
        Version::At(version) => version,
    };
    if !initial && !state.store.remembers(version) {
        let status = Status::too_old(version, newest);
        return match state.switches.too_old {
            TooOld::Event => Ok(Err(status)),
            TooOld::Response => Err(status),
        };
    }
    Ok(Ok(Start {
        initial,
        end_bookmark: asked == Some(true) && options.bookmarks,
        version,
    }))
}

/// An open watch; dropping it closes the watch.
struct Session {
    shared: Arc<Shared>,
    line: Arc<Line>,
    number: u64,
    target: Target,
    options: ListOptions,
    initial: VecDeque<Arc<Object>>,
    end_bookmark: bool,
    /// Events up to this version were sent.
    position: u64,
    bookmarks_sent: u64,
    bookmarked: Instant,
    deadline: Option<Instant>,
    /// The answer is complete; the body ends.
    finished: bool,
    /// The connection is about to be dropped; nothing more is written.
    broken: bool,
}

enum Step {
    Send(Bytes),
    Cut(Cut),
    End,
    /// Nothing to do until the bell rings or this moment comes.
    Sleep(Option<Instant>),
}

impl Session {
    fn open(
        shared: &Arc<Shared>,
        line: &Arc<Line>,
        state: &mut State,
        target: Target,
        options: ListOptions,
        start: Start,
    ) -> Self {
        let number = state.watches_opened;
        state.watches_opened += 1;
        let opened = OpenWatch {
            resource: target.resource,
            delivered: 0,
            held: false,
            skips: 0,
            rewound: None,
            bookmarks_ordered: 0,
            order: None,
        };
        state.watches.insert(number, opened);
        let now = Instant::now();
        let mut session = Self {
            shared: Arc::clone(shared),
            line: Arc::clone(line),
            number,
            deadline: options.timeout.map(|timeout| now + timeout),
            target,
            options,
            initial: VecDeque::new(),
            end_bookmark: start.end_bookmark,
            position: start.version,
            bookmarks_sent: 0,
            bookmarked: now,
            finished: false,
            broken: false,
        };
        if start.initial {
            let existing =
                state
                    .store
                    .snapshot(session.target.resource, start.version, Key::default());
            session.initial = existing
                .filter(|object| session.selects(object))
                .cloned()
                .collect();
        }
        session
    }

    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut bell = self.shared.bell();
        loop {
            if self.broken {
                return std::future::pending().await;
            }
            bell.borrow_and_update();
            let shared = Arc::clone(&self.shared);
            let (step, heard) = shared.change_silently(|state| self.step(state, Instant::now()));
            if heard {
                shared.ring();
            }
            let wake = match step {
                Step::Send(frame) => return Some((frame, self)),
                Step::End | Step::Cut(Cut::End) => return None,
                Step::Cut(Cut::MidFrame) => {
                    self.line.arm(Break::Fin);
                    self.broken = true;
                    let frame = self.bookmark(false);
                    return Some((first_half(&frame), self));
                }
                Step::Cut(cut) => {
                    self.line.cut(if cut == Cut::Reset {
                        Break::Reset
                    } else {
                        Break::Fin
                    });
                    self.broken = true;
                    continue;
                }
                Step::Sleep(wake) => wake,
            };
            tokio::select! {
                changed = bell.changed() => changed.expect("the bell hangs in self"),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The next thing to do, and whether others must hear of it.
    fn step(&mut self, state: &mut State, now: Instant) -> (Step, bool) {
        let cached = state.cached();
        let every = state.switches.bookmark_every;
        let Some(watch) = state.watches.get_mut(&self.number) else {
            return (Step::End, false);
        };
        match watch.order.take() {
            Some(Order::Cut(cut)) => return (Step::Cut(cut), false),
            Some(Order::Expire) => {
                self.finished = true;
                return (
                    Step::Send(error_frame(&Status::too_old(self.position, cached))),
                    false,
                );
            }
            None => {}
        }
        if self.finished || (!watch.held && self.deadline.is_some_and(|deadline| deadline <= now)) {
            return (Step::End, false);
        }
        if watch.held {
            return (Step::Sleep(None), false);
        }
        if let Some(position) = watch.rewound.take() {
            self.position = position;
        }
        let bookmarks_ordered = watch.bookmarks_ordered;
        if let Some(frame) = self
            .initial_frame()
            .or_else(|| self.event_frame(state, cached))
        {
            return (Step::Send(frame), false);
        }
        let ordered = self.options.bookmarks && bookmarks_ordered > self.bookmarks_sent;
        let due = every
            .filter(|_| self.options.bookmarks)
            .map(|every| self.bookmarked + every);
        if ordered || due.is_some_and(|due| due <= now) {
            self.bookmarks_sent = bookmarks_ordered;
            self.bookmarked = now;
            return (Step::Send(self.bookmark(false)), false);
        }
        let heard = self.report(state);
        (
            Step::Sleep([self.deadline, due].into_iter().flatten().min()),
            heard,
        )
    }

    fn report(&self, state: &mut State) -> bool {
        let Some(watch) = state.watches.get_mut(&self.number) else {
            return false;
        };
        std::mem::replace(&mut watch.delivered, self.position) != self.position
    }

    fn initial_frame(&mut self) -> Option<Bytes> {
        if let Some(object) = self.initial.pop_front() {
            return Some(event_frame("ADDED", &object.whole(self.target.resource)));
        }
        std::mem::take(&mut self.end_bookmark).then(|| self.bookmark(true))
    }

    /// The next event that concerns this watch; moves on over those that do not.
    fn event_frame(&mut self, state: &mut State, cached: u64) -> Option<Bytes> {
        let watch = state.watches.get_mut(&self.number);
        let skips = watch.map_or(0, |watch| std::mem::take(&mut watch.skips));
        let mut skipped = 0;
        let frame = self.honest_frame(state, cached, skips, &mut skipped);
        if let Some(watch) = state.watches.get_mut(&self.number) {
            watch.skips += skips - skipped;
        }
        frame
    }

    /// Likewise, but for as many events as it is to leave out.
    fn honest_frame(
        &mut self,
        state: &State,
        cached: u64,
        skips: usize,
        skipped: &mut usize,
    ) -> Option<Bytes> {
        for write in state
            .store
            .writes(self.target.resource, self.position, cached)
        {
            self.position = write.version;
            if let Some((name, object)) = self.event(write) {
                if *skipped < skips {
                    *skipped += 1;
                    continue;
                }
                return Some(event_frame(name, &object.whole(self.target.resource)));
            }
        }
        self.position = self.position.max(cached);
        None
    }

    /// An object that enters the selection is ADDED, one that leaves it is DELETED, in its last state that was selected.
    fn event(&self, write: &Write) -> Option<(&'static str, Arc<Object>)> {
        let selected =
            |state: &Option<Arc<Object>>| state.clone().filter(|object| self.selects(object));
        match (selected(&write.before), selected(&write.after)) {
            (None, None) => None,
            (None, Some(after)) => Some(("ADDED", after)),
            (Some(_), Some(after)) => Some(("MODIFIED", after)),
            (Some(before), None) => Some(("DELETED", Arc::new(before.at(write.version)))),
        }
    }

    fn selects(&self, object: &Object) -> bool {
        self.target
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == object.namespace)
            && self.options.selector.matches(&object.value)
    }

    fn bookmark(&self, end_of_initial_events: bool) -> Bytes {
        let resource: &Resource = self.target.resource;
        let mut metadata =
            json!({ "resourceVersion": self.position.to_string(), "creationTimestamp": null });
        if end_of_initial_events {
            metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
        }
        let object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata });
        event_frame("BOOKMARK", &object.to_string())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared
            .change(|state| state.watches.remove(&self.number));
    }
}

fn event_frame(name: &str, object: &str) -> Bytes {
    Bytes::from(format!("{{\"type\":\"{name}\",\"object\":{object}}}\n"))
}

fn error_frame(status: &Status) -> Bytes {
    event_frame("ERROR", &status.json().to_string())
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

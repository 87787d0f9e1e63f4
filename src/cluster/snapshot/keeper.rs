//! Decides when a snapshot is written, and has it written. Belongs to the task that owns the index.
//!
//! The owner tells what it hears and gives the contents of the index, which share all with it; a thread of its own
//! writes them. Where there is none it has failed as with a full disk. So an event waits for a handful of reference counts, whatever the disk does. Each write is followed by a
//! rest, see `pace`. Where nothing has changed the file is marked instead: a quiet cluster keeps its file young for 40
//! octets.

use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::file::{self, Written};
use super::format::Times;
use super::heard::Heard;
use super::write::Draft;
use super::{OCTETS_MAX, Reached, ReachedAll, SnapshotEvent, SnapshotFile, pace};
use crate::blocking;
use crate::cluster::index::Index;
use crate::cluster::object::{Event, Resource};
use crate::cluster::{Observer, unix_seconds};
use crate::complaint::Complaint;

/// A resource that cannot be listed keeps the others from being written for this long, and no longer.
const PARTIAL_AFTER: Duration = Duration::from_secs(30);

/// When it is looked again, where what the index knows is not to be written yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an index is worth as a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Worth {
    /// It knows every resource that is wanted.
    Whole,
    /// It knows some of them, and no less than what is served.
    Partial,
    /// It knows less than what is served, or nothing.
    Nothing,
}

/// Keeps the snapshot of one cluster.
pub(in crate::cluster) struct Keeper {
    /// As an operator knows it.
    cluster: Arc<str>,
    /// As the file says it.
    identity: Arc<str>,
    observer: Arc<dyn Observer>,
    snapshot: Option<Arc<SnapshotFile>>,
    /// It has been told whether to keep one.
    told: bool,
    heard: Heard,
    /// The index has changed since it was last written.
    changed: bool,
    begun: Instant,
    next: Instant,
    /// The file on disk, if this process has written it and is not writing now.
    written: Option<Written>,
    elsewhere: Box<Elsewhere>,
    /// It has begun when it has been waited for.
    work: Option<Doing>,
    complaint: Complaint,
}

/// Does work where it may block, or says why it cannot be done there now.
pub(super) type Elsewhere = dyn Fn(Work) -> Doing + Send;
pub(super) type Work = Box<dyn FnOnce() -> Done + Send>;
pub(super) type Doing = BoxFuture<'static, io::Result<Done>>;

/// What has been done elsewhere.
#[derive(Debug)]
pub(super) struct Done {
    what: What,
    took: Duration,
}

#[derive(Debug)]
enum What {
    Wrote(io::Result<Written>),
    /// Whether the file is still where it was.
    Marked(Written, io::Result<bool>),
}

impl Keeper {
    /// A keeper of a cluster that was followed so far by the process before.
    pub(in crate::cluster) fn new(
        cluster: Arc<str>,
        identity: Arc<str>,
        observer: Arc<dyn Observer>,
        reached: ReachedAll,
    ) -> Keeper {
        let elsewhere = |work| blocking::run("snapshot", work).boxed();
        Keeper::by(Box::new(elsewhere), cluster, identity, observer, reached)
    }

    /// Likewise; `elsewhere` does what may block.
    pub(super) fn by(
        elsewhere: Box<Elsewhere>,
        cluster: Arc<str>,
        identity: Arc<str>,
        observer: Arc<dyn Observer>,
        reached: ReachedAll,
    ) -> Keeper {
        let now = Instant::now();
        Keeper {
            cluster,
            identity,
            observer,
            snapshot: None,
            told: false,
            heard: Heard::from(reached),
            changed: false,
            begun: now,
            next: now,
            written: None,
            elsewhere,
            work: None,
            complaint: Complaint::default(),
        }
    }

    /// Keeps this file from now on. What lies elsewhere is left there.
    pub(in crate::cluster) fn keep(&mut self, snapshot: Option<Arc<SnapshotFile>>) {
        let path =
            |snapshot: &Option<Arc<SnapshotFile>>| snapshot.as_ref().map(|at| at.path.clone());
        if path(&self.snapshot) != path(&snapshot) {
            self.written = None;
            // What is under way is of the other file, which is left as it becomes.
            self.work = None;
            if self.snapshot.is_some() {
                self.observer
                    .snapshot(&self.cluster, SnapshotEvent::NotKept);
            }
            // At the start there is nothing that the file does not have already.
            self.changed = self.told;
            self.next = Instant::now();
        }
        self.snapshot = snapshot;
        self.told = true;
    }

    /// An event that is about to be applied, `now` in seconds since 1970.
    pub(in crate::cluster) fn hear(&mut self, event: &Event, now: u64) {
        self.heard.hear(event, now);
    }

    /// How far a resource has been followed, by this process or by the one that left the snapshot.
    pub(in crate::cluster) fn reached(&self, resource: Resource) -> &Reached {
        &self.heard.reached[resource as usize]
    }

    /// Nobody needs this resource.
    pub(in crate::cluster) fn forget(&mut self, resource: Resource) {
        self.heard.forget(resource);
    }

    /// The index has changed.
    pub(in crate::cluster) fn changed(&mut self) {
        self.changed = true;
    }

    /// Returns when there may be something to do, which [`Keeper::work`] then does. Nothing is lost if it is dropped.
    pub(in crate::cluster) async fn due(&mut self) {
        if let Some(work) = &mut self.work {
            let done = work.await;
            self.work = None;
            return self.done(done);
        }
        match self.snapshot {
            Some(_) if self.has_news() => sleep_until(self.next).await,
            _ => pending().await,
        }
    }

    /// Begins what is due, if anything is.
    pub(in crate::cluster) fn work(&mut self, index: &Index, worth: Worth) {
        let now = Instant::now();
        if self.work.is_some() || now < self.next {
            return;
        }
        let is_early = now.duration_since(self.begun) < PARTIAL_AFTER;
        match worth {
            Worth::Whole => self.begin(index),
            Worth::Partial if !is_early => self.begin(index),
            Worth::Partial | Worth::Nothing => self.next = now + LOOK_AGAIN,
        }
    }

    /// Brings the file up to date, without a rest: the process is about to end.
    pub(in crate::cluster) async fn finish(&mut self, index: &Index, worth: Worth) {
        if self.work.is_some() {
            self.due().await;
        }
        if worth != Worth::Nothing && self.has_news() {
            self.begin(index);
        }
        if self.work.is_some() {
            self.due().await;
        }
    }

    /// Has the index written, or the file marked if that is enough.
    fn begin(&mut self, index: &Index) {
        let Some(snapshot) = self.snapshot.clone() else {
            return;
        };
        let work: Box<dyn FnOnce() -> What + Send> = match self.written.take() {
            Some(written) if !self.changed && !self.was_set_back(&written.times) => {
                let times = self.times(&written.times);
                if times == written.times {
                    self.written = Some(written);
                    return;
                }
                Box::new(move || mark(&snapshot.path, written, times))
            }
            _ => {
                let draft = Draft {
                    cluster: self.identity.to_string(),
                    reached: self.heard.reached.clone(),
                    contents: index.contents(),
                };
                Box::new(move || What::Wrote(file::write(&snapshot.path, &draft)))
            }
        };
        self.changed = false;
        self.work = Some((self.elsewhere)(Box::new(move || {
            let began = Instant::now();
            let what = work();
            let took = began.elapsed();
            Done { what, took }
        })));
    }

    fn done(&mut self, done: io::Result<Done>) {
        let (took, octets) = match done {
            Ok(Done {
                what: What::Wrote(Ok(written)),
                took,
            }) => (took, self.wrote(written)),
            Ok(Done {
                what: What::Marked(written, Ok(true)),
                took,
            }) => {
                self.tell_as_of(&written.times);
                self.written = Some(written);
                (took, 0)
            }
            // Somebody has taken the file away, or put another there.
            Ok(Done {
                what: What::Marked(_, Ok(false)),
                took,
            }) => {
                self.changed = true;
                (took, 0)
            }
            Ok(Done {
                what: What::Wrote(Err(fault)) | What::Marked(_, Err(fault)),
                took,
            }) => {
                self.failed(&fault.to_string());
                // What is too large was written up to the limit, and would be again.
                let is_too_large = fault.kind() == io::ErrorKind::FileTooLarge;
                (took, if is_too_large { OCTETS_MAX } else { 0 })
            }
            Err(fault) => {
                self.failed(&fault.to_string());
                (Duration::ZERO, 0)
            }
        };
        self.next = Instant::now() + pace::rest(took, octets, rand::random());
    }

    fn wrote(&mut self, written: Written) -> u64 {
        let octets = written.octets;
        tracing::debug!(target: "plugin/kubernetes", cluster = %self.cluster, octets, "Snapshot written");
        if self.complaint.succeeded() {
            tracing::info!(target: "plugin/kubernetes", cluster = %self.cluster, "The snapshot can be written again");
        }
        let at = unix_seconds();
        let event = SnapshotEvent::Written { octets, at };
        self.observer.snapshot(&self.cluster, event);
        self.tell_as_of(&written.times);
        self.written = Some(written);
        octets
    }

    fn failed(&mut self, reason: &str) {
        self.changed = true;
        self.observer
            .snapshot(&self.cluster, SnapshotEvent::WriteFailed);
        if self.complaint.failed(Instant::now()) {
            let path = self
                .snapshot
                .as_ref()
                .map(|at| at.path.display().to_string());
            tracing::error!(target: "plugin/kubernetes", cluster = %self.cluster, path, reason, "The snapshot cannot be written");
        }
    }

    /// The oldest of the resources counts.
    fn tell_as_of(&self, times: &Times) {
        let known = times.iter().copied().filter(|time| *time > 0);
        if let Some(as_of) = known.min() {
            self.observer
                .snapshot(&self.cluster, SnapshotEvent::CurrentAsOf(as_of));
        }
    }

    /// Whether the file says less than it could, or another time.
    fn has_news(&self) -> bool {
        let times = self.written.as_ref().map(|written| &written.times);
        self.changed || times.is_some_and(|times| self.times(times) != *times)
    }

    /// Whether the clock was set back since the file was written: a mark only ever makes it younger.
    fn was_set_back(&self, written: &Times) -> bool {
        let times = self.times(written);
        times
            .iter()
            .zip(written)
            .any(|(time, written)| time < written)
    }

    /// Until when what is in a file, which these times are of, has been current.
    fn times(&self, written: &Times) -> Times {
        std::array::from_fn(|at| match written[at] {
            0 => 0,
            _ => self.heard.reached[at].as_of,
        })
    }
}

fn mark(path: &Path, mut written: Written, times: Times) -> What {
    let marked = written.mark(path, times);
    What::Marked(written, marked)
}

//! A cluster without an API server: manifests in files and folders, as `kubectl get -o yaml` or `-o json` prints them.
//!
//! ```text
//!     files ─▶ read (yaml | list) ─▶ ledger ─▶ events ─▶ index
//!       ▲ notify, or a look every `LOOK_EVERY`
//! ```
//!
//! The source speaks the same events as the watch: one list at the start, then differences. Only files that have changed are read again,
//! and what is kept of a file is the names of its objects. A file that is at fault loses nothing that it had, and neither does one that
//! is left without any object, or is missing with the path that it was found under. One that is gone from a folder which is there loses
//! all; but if that is most of what is known, not at once.
//! It knows nothing of the index behind the channel.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::blocking;
use crate::cluster::object::{Event, Trouble};
use crate::cluster::selector::Target;

mod files;
mod ledger;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod yaml;

pub use read::{Damage, ManifestFault};

use ledger::{Ledger, Now};

/// Files are looked at this often even if nobody says that they changed: network file systems do not say.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Changes come in groups (write, rename, the next file); after this time without another the group is complete …
const QUIET_AFTER: Duration = Duration::from_millis(100);

/// … and after this time in any case.
const GROUP_TIME_MAX: Duration = Duration::from_secs(1);

/// Time in which a file that was replaced by deleting and writing it is back, and one that is being written is whole.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How long files that would take out most of what is known are doubted, as a list of an API server is.
const DOUBTED_FOR: Duration = Duration::from_secs(30);

/// A look that could not be done, as there was no thread for it, is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What was read from the files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Objects that are wanted.
    pub objects: usize,
    /// Files that were read.
    pub files: usize,
    /// What could not be read.
    pub faults: Vec<ManifestFault>,
}

/// Reads all files once: for `cairn check`.
pub fn check(paths: &[PathBuf], targets: &[Target]) -> Loaded {
    let mut ledger = Ledger::new(paths.to_vec(), targets.to_vec());
    ledger.look(now(), &mut |_| {}).loaded
}

/// Reads any octets as a file, for the fuzzer.
pub(crate) fn read_any(octets: &[u8], settled: bool) {
    let mut each = |object: super::object::Object| {
        assert!(!object.metadata().name.is_empty(), "an object has a name")
    };
    read::read(octets, settled, &|_| true, &mut each);
}

/// What came of a look at the files: when to look again, or the panic that ended it.
type Looked = thread::Result<Duration>;

/// Follows these targets in the files until the receiver of `events` is dropped. Faults are logged, and what they hold back stays as it
/// was.
///
/// # Panics
/// With the panic of a look at the files.
pub async fn follow(paths: Vec<PathBuf>, targets: Vec<Target>, events: mpsc::Sender<Event>) {
    let elsewhere = |look| blocking::run("manifests", look);
    follow_by(elsewhere, paths, targets, events).await;
}

/// Likewise; `elsewhere` does a look where it may block, or says why it cannot be done there now.
async fn follow_by<F: Future<Output = io::Result<Looked>>>(
    elsewhere: impl Fn(Box<dyn FnOnce() -> Looked + Send>) -> F,
    paths: Vec<PathBuf>,
    targets: Vec<Target>,
    events: mpsc::Sender<Event>,
) {
    // One place: many changes are one reason to look.
    let (wake, mut woken) = mpsc::channel(1);
    let mut alarm = Alarm::new(&paths, wake);
    // One look at a time has it. It is shared, because a look that is not done must not take it along.
    let known = Arc::new(Mutex::new(Known {
        ledger: Ledger::new(paths, targets.clone()),
        told: Vec::new(),
    }));
    loop {
        alarm.arm();
        let (sender, known) = (events.clone(), known.clone());
        let look = move || {
            // After a panic there is no further look.
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            catch_unwind(AssertUnwindSafe(|| known.look(&sender)))
        };
        let next = match elsewhere(Box::new(look)).await {
            Ok(Ok(next)) => next,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(fault) => {
                tracing::warn!(target: "plugin/kubernetes", %fault, "Manifests cannot be looked at, and are soon");
                for target in &targets {
                    let trouble = Trouble::Unreachable(format!("no look at them: {fault}").into());
                    // If nobody listens any more, it ends below.
                    let _ = events.send(Event::Trouble(target.resource, trouble)).await;
                }
                RETRY_AFTER
            }
        };
        tokio::select! {
            () = events.closed() => return,
            () = sleep(next) => {}
            () = changed(&mut woken) => {}
        }
    }
}

/// What the looks before have left.
struct Known {
    ledger: Ledger,
    /// The faults that the last look met: what is still unreadable is met again by every look and said once.
    told: Vec<String>,
}

impl Known {
    /// Looks at all files and sends what is new. Returns when to look again.
    fn look(&mut self, events: &mpsc::Sender<Event>) -> Duration {
        // If nobody listens any more, `follow` ends.
        let mut say = |event| {
            let _ = events.blocking_send(event);
        };
        let look = self.ledger.look(now(), &mut say);
        let faults: Vec<String> = look.loaded.faults.iter().map(ToString::to_string).collect();
        for fault in faults.iter().filter(|fault| !self.told.contains(fault)) {
            tracing::warn!(target: "plugin/kubernetes", "{fault}");
        }
        self.told = faults;
        if look.loaded.files > 0 {
            let Loaded { objects, files, .. } = look.loaded;
            tracing::info!(target: "plugin/kubernetes", "loaded {objects} objects from {files} files");
        }
        let outcome = |resource| match &look.absent {
            None => Event::Current(resource),
            Some(absent) => Event::Trouble(resource, Trouble::Missing(absent.clone())),
        };
        for target in self.ledger.targets() {
            say(outcome(target.resource));
        }
        if look.unsettled {
            SETTLED_AFTER
        } else {
            LOOK_EVERY
        }
    }
}

fn now() -> Now {
    Now {
        instant: std::time::Instant::now(),
        clock: SystemTime::now(),
    }
}

/// Waits for a change, and for the end of the group that it belongs to. Without an alarm, for ever.
async fn changed(woken: &mut mpsc::Receiver<()>) {
    if woken.recv().await.is_none() {
        return std::future::pending().await;
    }
    let began = Instant::now();
    while began.elapsed() < GROUP_TIME_MAX
        && matches!(timeout(QUIET_AFTER, woken.recv()).await, Ok(Some(())))
    {}
}

/// The kernel's word that something changed.
struct Alarm {
    watcher: Option<RecommendedWatcher>,
    /// Folders that are not watched yet, because they do not exist yet.
    waiting: Vec<(PathBuf, RecursiveMode)>,
}

impl Alarm {
    fn new(paths: &[PathBuf], wake: mpsc::Sender<()>) -> Alarm {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(&event.kind)) {
                let _ = wake.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(target: "plugin/kubernetes", %error, "Manifests are looked at now and then only"))
            .ok();
        let mut waiting = Vec::new();
        for path in paths {
            // A file is watched in its folder: what replaces it is another file of that name, or a link beside it that is turned.
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            waiting.push((parent.to_owned(), RecursiveMode::NonRecursive));
            waiting.push((path.clone(), RecursiveMode::Recursive));
        }
        Alarm { watcher, waiting }
    }

    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.waiting.retain(|(path, mode)| {
            let watched = match mode {
                RecursiveMode::Recursive if path.is_file() => return true,
                _ => watcher.watch(path, *mode),
            };
            watched.is_err()
        });
    }
}

/// Reading is no change: we would wake ourselves.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

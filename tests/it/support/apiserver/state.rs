//! Everything that the handle and the connections share, behind one lock, and the bell that rings after each change.
//!
//! Whoever waits (a watch, a held request, a test) sleeps on the bell and looks again; nobody polls. No lock is kept
//! across an await.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    faults::{Cut, Faults},
    ledger::Ledger,
    resource::Resource,
    store::Store,
    wire::Valve,
};

/// How the server answers a watch that asks for `sendInitialEvents`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WatchList {
    /// ADDED for all objects, then a bookmark annotated `k8s.io/initial-events-end`.
    #[default]
    Supported,
    /// 422 Invalid, as where the feature is off.
    Refused,
    /// The parameters are not known: a plain watch, without the end of the initial events.
    Ignored,
    /// 200 with an ERROR event that names RequestWatchProgress: a new API server on etcd 3.4.
    WithoutWatchProgress,
}

/// How the server answers a watch from a version that is compacted away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TooOld {
    /// 200 with an ERROR event of code 410.
    #[default]
    Event,
    /// HTTP status 410.
    Response,
}

/// How the server answers a watch from a version that is yet to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Future {
    /// 200 with an ERROR event of code 504, "Too large resource version".
    #[default]
    TooLarge,
    /// The watch is open, and silent until the version has come.
    Waits,
}

/// What `limit` means in a list with `resourceVersion=0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LimitAtZero {
    #[default]
    Obeyed,
    /// The whole collection comes in one page, as from a watch cache that cannot page.
    Ignored,
}

/// Which of the real servers this one is.
#[derive(Debug, Default)]
pub(super) struct Switches {
    pub(super) watch_list: WatchList,
    pub(super) too_old: TooOld,
    pub(super) limit_at_zero: LimitAtZero,
    pub(super) future: Future,
    pub(super) bookmark_every: Option<Duration>,
    /// Whole objects are sent where metadata was asked for.
    pub(super) no_metadata_lists: bool,
    /// Lists without a resourceVersion are as old as the watch cache.
    pub(super) stale_reads: bool,
    /// Custom resources that are served.
    pub(super) installed: BTreeSet<&'static str>,
}

/// What the test ordered an open watch to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Cut(Cut),
    /// ERROR event of code 410, then the end.
    Expire,
}

/// A watch whose answer is not finished.
#[derive(Debug)]
pub(super) struct OpenWatch {
    pub(super) resource: &'static Resource,
    /// The version up to which all its events were handed to the connection.
    pub(super) delivered: u64,
    pub(super) held: bool,
    /// Events that it will leave out.
    pub(super) skips: usize,
    /// It is to go on from this version.
    pub(super) rewound: Option<u64>,
    pub(super) bookmarks_ordered: u64,
    pub(super) order: Option<Order>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) switches: Switches,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
    /// By the number of the watch.
    pub(super) watches: BTreeMap<u64, OpenWatch>,
    pub(super) watches_opened: u64,
    /// Bearer token without which all is 401.
    pub(super) token: Option<String>,
    /// The version at which the watch cache of this server stands still.
    pub(super) lagging_at: Option<u64>,
}

impl State {
    /// The newest version that the watch cache knows.
    pub(super) fn cached(&self) -> u64 {
        self.lagging_at.unwrap_or_else(|| self.store.version())
    }

    /// Whether a request for `resource` finds anything.
    pub(super) fn serves(&self, resource: &Resource) -> bool {
        resource.built_in || self.switches.installed.contains(resource.plural)
    }

    pub(super) fn watches_of(
        &mut self,
        resource: &Resource,
    ) -> impl Iterator<Item = &mut OpenWatch> {
        self.watches
            .values_mut()
            .filter(|watch| watch.resource.plural == resource.plural)
    }
}

/// State, bell and valve; one per server, alive as long as a connection or the handle is.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    bell: watch::Sender<()>,
    pub(super) valve: Arc<Valve>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            bell: watch::Sender::new(()),
            valve: Arc::default(),
        }
    }

    pub(super) fn look<R>(&self, reader: impl FnOnce(&State) -> R) -> R {
        reader(&self.locked())
    }

    /// Runs `writer`, then wakes everyone who waits.
    pub(super) fn change<R>(&self, writer: impl FnOnce(&mut State) -> R) -> R {
        let outcome = writer(&mut self.locked());
        self.ring();
        outcome
    }

    /// As `change`, but wakes no one; for a writer that tells itself whether it must `ring`.
    pub(super) fn change_silently<R>(&self, writer: impl FnOnce(&mut State) -> R) -> R {
        writer(&mut self.locked())
    }

    pub(super) fn ring(&self) {
        self.bell.send_replace(());
    }

    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Returns once `condition` holds, looking at it after each change.
    pub(super) async fn until(&self, mut condition: impl FnMut(&State) -> bool) {
        let mut bell = self.bell();
        while !self.look(&mut condition) {
            bell.changed().await.expect("the bell hangs in self");
        }
    }

    // A test that fails while it looks must not fail its server too: the state holds no half-done write.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

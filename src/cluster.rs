//! What is known of a Kubernetes cluster, from the source that tells it to the view that queries read.
//!
//! ```text
//!     watch ─────┐                       (API server, over a `connection`)
//!                ├─ Event ─▶ index ─▶ view
//!     manifests ─┘                       (files and folders)
//! ```
//!
//! A source speaks in [`object::Event`]s only: objects cut to the fields that we serve, and the state of each
//! list. It does not know who listens; the index does not know which source speaks. [`registry`] leases resources to
//! generations, `follow` owns the index and has `sources` run for what is leased, and `supervise` begins anew what
//! fails. [`snapshot`] keeps what the index knows on disk, and gives it back at a start. What is worth counting is told to an [`Observer`].

mod addresses;
pub mod connection;
mod follow;
mod index;
mod list;
pub mod manifests;
pub mod object;
pub(crate) mod records;
pub mod registry;
mod seed;
pub mod selector;
pub mod snapshot;
mod sources;
mod supervise;
mod table;
pub(crate) mod view;
pub mod watch;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};

use object::{Resource, Trouble};
use view::View;

pub use registry::{ClusterKey, Lease, Source};

/// A cluster as the rest of the server holds it: the view, and what keeps it from being complete.
#[derive(Debug, Default)]
pub struct Cluster {
    view: ArcSwap<View>,
    troubles: Mutex<[Option<Trouble>; Resource::ALL.len()]>,
    /// When a snapshot was put in the place of a first list.
    restored: Option<Instant>,
}

/// Who counts what becomes of events. Called by the task that owns the index; must not wait.
pub trait Observer: connection::RequestObserver {
    /// So many objects of a resource of this cluster are known, and its first list has been applied or not.
    fn holds(&self, cluster: &str, resource: Resource, objects: usize, synced: bool);
    /// This resource of this cluster is no longer followed, or never was.
    fn forgets(&self, cluster: &str, resource: Resource);
    /// A change of endpoints that happened `elapsed` ago is answered from now on. `headless`: the Service has no
    /// addresses of its own.
    fn programmed(&self, headless: bool, elapsed: Duration);
    /// Something became of the snapshot of this cluster.
    fn snapshot(&self, _cluster: &str, _event: snapshot::SnapshotEvent) {}
    /// A task has panicked; it begins again.
    fn panicked(&self);
}

impl Cluster {
    /// A cluster that knows what these events told, and hears no more.
    #[cfg(test)]
    pub(crate) fn told(events: impl IntoIterator<Item = object::Event>) -> Cluster {
        let mut index = index::Index::default();
        for event in events {
            index.apply(event, 1_800_000_000);
        }
        Cluster {
            view: ArcSwap::from_pointee(index.view()),
            ..Cluster::default()
        }
    }

    /// As if this resource were known from a snapshot, which was current at `as_of`.
    #[cfg(test)]
    pub(crate) fn aged(self, resource: Resource, as_of: u64) -> Cluster {
        let mut view = View::clone(&self.view());
        view.stale[resource as usize] = Some(as_of);
        self.view.store(Arc::new(view));
        self
    }

    /// The latest view. It writes nothing that another thread reads.
    #[inline]
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// A line for each of these resources that has never been listed whole, with the reason where it is known.
    ///
    /// One that is served from a snapshot is ready as soon as the source has had its chance: it has told of a trouble, or
    /// `patience` has passed since the start.
    pub fn not_ready(&self, resources: &[Resource], patience: Duration) -> Vec<String> {
        let view = self.view();
        let is_early = self.restored.is_some_and(|at| at.elapsed() < patience);
        let troubles = self
            .troubles
            .lock()
            .expect("held for a copy only, which does not panic");
        let unsynced = resources.iter().filter(|resource| {
            let troubled = troubles[**resource as usize].is_some();
            let waits = view.is_stale(**resource) && is_early && !troubled;
            !view.is_synced(**resource) || waits
        });
        unsynced
            .map(|resource| match &troubles[*resource as usize] {
                Some(trouble) => format!("{resource}: {trouble}"),
                None => format!("{resource}: not listed yet"),
            })
            .collect()
    }

    /// A line for each of these resources that is served from a snapshot, with its age.
    pub fn from_snapshot(&self, resources: &[Resource]) -> Vec<String> {
        let (view, now) = (self.view(), unix_seconds());
        let stale = resources.iter().filter_map(|resource| {
            let age = now.saturating_sub(view.stale_since([*resource])?);
            Some(format!("{resource}: from a snapshot, {age} s old"))
        });
        stale.collect()
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

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
//! fails. That the index is what the API server has is proven beside: [`freshness`] says when each source was heard,
//! [`audit`] compares objects, `rewind` notices a server that was put back, `hold` doubts a list that would take out most,
//! [`inspect`] tells what an answer is made of. [`snapshot`] keeps what the index knows on disk, and gives it back at a start.
//! What is worth counting is told to an [`Observer`].

mod addresses;
pub mod audit;
pub mod connection;
mod follow;
pub mod freshness;
mod hold;
mod index;
pub mod inspect;
mod list;
pub mod manifests;
pub mod object;
mod pace;
pub(crate) mod records;
pub mod registry;
mod rewind;
mod seed;
pub mod selector;
pub mod snapshot;
mod sources;
mod supervise;
mod table;
pub(crate) mod view;
pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};

use tokio::time::Instant;

use audit::Repairs;
use freshness::{Heard, Standing};
use object::{Resource, Trouble};
use view::View;

pub use index::HeldEnds;
pub use pace::Pace;
pub use registry::{ClusterKey, Lease, Source};

/// A cluster as the rest of the server holds it: the view, and what keeps it from being complete and fresh.
#[derive(Debug, Default)]
pub struct Cluster {
    view: ArcSwap<View>,
    standings: Mutex<[Standing; Resource::ALL.len()]>,
    /// What of these an answer tells, for threads that take no lock. Written by the owner of the index alone.
    troubles: ArcSwap<Troubles>,
    /// When a snapshot was put in the place of a first list.
    restored: Option<Instant>,
}

/// What keeps each resource from being followed now.
pub(crate) type Troubles = [Option<Trouble>; Resource::ALL.len()];

/// Who counts what becomes of events. Called by the task that owns the index; must not wait.
pub trait Observer: connection::RequestObserver {
    /// So many objects of a resource of this cluster are known, and its first list has been applied or not.
    fn holds(&self, cluster: &str, resource: Resource, objects: usize, synced: bool);
    /// This resource of this cluster is no longer followed, or never was.
    fn forgets(&self, cluster: &str, resource: Resource);
    /// The source of this resource was heard.
    fn heard(&self, cluster: &str, resource: Resource, heard: &Heard);
    /// An audit of this resource has ended so.
    fn audited(&self, cluster: &str, resource: Resource, result: audit::Result);
    /// An audit has found so many differences that the watch had left out, and they are mended or being so.
    fn repaired(&self, cluster: &str, resource: Resource, repairs: Repairs);
    /// A list that would take out most of this resource is not believed for now.
    fn doubted(&self, cluster: &str, resource: Resource);
    /// The server of this resource has gone back in time, and it is listed anew.
    fn rewound(&self, cluster: &str, resource: Resource);
    /// A change of endpoints that happened `elapsed` ago is answered from now on. `headless`: the Service has no
    /// addresses of its own.
    fn programmed(&self, headless: bool, elapsed: Duration);
    /// So many endpoints that a slice of this cluster left out without a word have been held, or not, since it was
    /// told last.
    fn held(&self, cluster: &str, ends: HeldEnds);
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
            let now = index::Now {
                unix: 1_800_000_000,
                running: Duration::ZERO,
            };
            index.apply(event, now);
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

    /// What keeps each resource from being followed now, in the order of their numbers.
    pub(crate) fn troubles(&self) -> Guard<Arc<Troubles>> {
        self.troubles.load()
    }

    /// A line for each of these resources that has never been listed whole, with the reason where it is known.
    ///
    /// One that is served from a snapshot is ready as soon as the source has had its chance: it has told of a trouble, or
    /// `patience` has passed since the start.
    pub fn not_ready(&self, resources: &[Resource], patience: Duration) -> Vec<String> {
        let view = self.view();
        let standings = self.standings();
        let is_early = self.restored.is_some_and(|at| at.elapsed() < patience);
        let unsynced = resources.iter().filter(|resource| {
            let is_troubled = standings[**resource as usize].trouble().is_some();
            let waits = view.is_stale(**resource) && is_early && !is_troubled;
            !view.is_synced(**resource) || waits
        });
        unsynced
            .map(|resource| standings[*resource as usize].not_listed(*resource))
            .collect()
    }

    /// What is wrong with these resources though they are served, a line each: what was known before is answered.
    pub fn wrong(&self, resources: &[Resource]) -> Vec<String> {
        let view = self.view();
        let now = Instant::now();
        let standings = self.standings();
        let synced = resources
            .iter()
            .filter(|resource| view.is_synced(**resource));
        synced
            .flat_map(|resource| standings[*resource as usize].wrong(*resource, now))
            .collect()
    }

    /// Remembers how a resource stands.
    fn stand(&self, resource: Resource, standing: &Standing) {
        self.standings()[resource as usize] = standing.clone();
        self.note(resource, standing.trouble());
    }

    /// Remembers what keeps a resource from being followed.
    pub(crate) fn note(&self, resource: Resource, trouble: Option<&Trouble>) {
        let known = self.troubles.load();
        if known[resource as usize].as_ref() != trouble {
            let mut troubles = Troubles::clone(&known);
            troubles[resource as usize] = trouble.cloned();
            self.troubles.store(Arc::new(troubles));
        }
    }

    fn standings(&self) -> MutexGuard<'_, [Standing; Resource::ALL.len()]> {
        self.standings
            .lock()
            .expect("held for a copy only, which does not panic")
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

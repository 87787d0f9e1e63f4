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
//! [`audit`] compares objects, `hold` doubts a list that would take out most, [`inspect`] tells what an answer is made of.
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
pub mod selector;
mod sources;
mod supervise;
mod table;
pub(crate) mod view;
pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use tokio::time::Instant;

use audit::Repairs;
use freshness::{Heard, Standing};
use object::Resource;
use view::View;

pub use pace::Pace;
pub use registry::{ClusterKey, Lease, Source};

/// A cluster as the rest of the server holds it: the view, and what keeps it from being complete and fresh.
#[derive(Debug, Default)]
pub struct Cluster {
    view: ArcSwap<View>,
    standings: Mutex<[Standing; Resource::ALL.len()]>,
}

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
    /// A change of endpoints that happened `elapsed` ago is answered from now on. `headless`: the Service has no
    /// addresses of its own.
    fn programmed(&self, headless: bool, elapsed: Duration);
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

    /// The latest view. It writes nothing that another thread reads.
    #[inline]
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// A line for each of these resources that has never been listed whole, with the reason where it is known.
    pub fn not_ready(&self, resources: &[Resource]) -> Vec<String> {
        let view = self.view();
        let standings = self.standings();
        let unsynced = resources
            .iter()
            .filter(|resource| !view.is_synced(**resource));
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

    fn standings(&self) -> MutexGuard<'_, [Standing; Resource::ALL.len()]> {
        self.standings
            .lock()
            .expect("held for a copy only, which does not panic")
    }
}

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
//! fails. What is worth counting is told to an [`Observer`].

mod addresses;
pub mod connection;
mod follow;
mod index;
mod list;
pub mod manifests;
pub mod object;
pub(crate) mod records;
pub mod registry;
pub mod selector;
mod sources;
mod supervise;
mod table;
pub(crate) mod view;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use object::{Resource, Trouble};
use view::View;

pub use index::HeldEnds;
pub use registry::{ClusterKey, Lease, Source};

/// A cluster as the rest of the server holds it: the view, and what keeps it from being complete.
#[derive(Debug, Default)]
pub struct Cluster {
    view: ArcSwap<View>,
    /// Written by the owner of the index alone.
    troubles: ArcSwap<Troubles>,
}

/// What keeps each resource from being followed now.
pub(crate) type Troubles = [Option<Trouble>; Resource::ALL.len()];

/// Who counts what becomes of events. Called by the task that owns the index; must not wait.
pub trait Observer: connection::RequestObserver {
    /// So many objects of a resource of this cluster are known, and its first list has been applied or not.
    fn holds(&self, cluster: &str, resource: Resource, objects: usize, synced: bool);
    /// This resource of this cluster is no longer followed, or never was.
    fn forgets(&self, cluster: &str, resource: Resource);
    /// A change of endpoints that happened `elapsed` ago is answered from now on. `headless`: the Service has no
    /// addresses of its own.
    fn programmed(&self, headless: bool, elapsed: Duration);
    /// So many endpoints that a slice of this cluster left out without a word have been held, or not, since it was
    /// told last.
    fn held(&self, cluster: &str, ends: HeldEnds);
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
    pub fn not_ready(&self, resources: &[Resource]) -> Vec<String> {
        let view = self.view();
        let troubles = self.troubles();
        let unsynced = resources
            .iter()
            .filter(|resource| !view.is_synced(**resource));
        unsynced
            .map(|resource| match &troubles[*resource as usize] {
                Some(trouble) => format!("{resource}: {trouble}"),
                None => format!("{resource}: not listed yet"),
            })
            .collect()
    }
}

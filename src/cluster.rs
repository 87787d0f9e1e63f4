//! What is known of a Kubernetes cluster, from the source that tells it to the view that queries read.
//!
//! ```text
//!     watch ─────┐                       (API server, over a `connection`)
//!                ├─ Event ─▶ index ─▶ view
//!     manifests ─┘                       (files and folders)
//! ```
//!
//! A source speaks in [`object::Event`]s only: objects cut to the fields that we serve, and the state of each list. It does not know who
//! listens; the index does not know which source speaks.

pub mod connection;
mod index;
mod list;
pub mod manifests;
pub mod object;
pub(crate) mod records;
pub mod registry;
pub mod selector;
mod table;
pub(crate) mod view;
pub mod watch;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc;

use index::Index;
use object::{Event, Resource, Trouble};
use view::View;

pub use registry::{ClusterKey, Source};

/// A cluster as the rest of the server holds it: the view, and what keeps it from being complete.
#[derive(Debug, Default)]
pub struct Cluster {
    view: ArcSwap<View>,
    troubles: Mutex<[Option<Trouble>; Resource::ALL.len()]>,
}

impl Cluster {
    /// A cluster that knows what these events told, and hears no more.
    #[cfg(test)]
    pub(crate) fn told(events: impl IntoIterator<Item = Event>) -> Cluster {
        let mut index = Index::default();
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

    /// Whether the first list of each of these resources has been applied.
    pub fn is_synced(&self, resources: &[Resource]) -> bool {
        let view = self.view();
        resources.iter().all(|resource| view.is_synced(*resource))
    }

    /// A line for each of these resources that has never been listed whole, with the reason where it is known.
    pub fn not_ready(&self, resources: &[Resource]) -> Vec<String> {
        let view = self.view();
        let troubles = self
            .troubles
            .lock()
            .expect("held for a copy only, which does not panic");
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

    /// Applies events until the sources are gone, and publishes a view after each batch: whatever has arrived
    /// when the index gets to look. An event on its own is published at once.
    pub async fn follow(self: Arc<Cluster>, mut events: mpsc::Receiver<Event>) {
        let mut index = Index::default();
        while let Some(first) = events.recv().await {
            let mut next = Some(first);
            let mut changed = false;
            let now = unix_seconds(SystemTime::now());
            while let Some(event) = next {
                self.note(&event);
                changed |= index.apply(event, now);
                next = events.try_recv().ok();
            }
            if changed {
                self.view.store(Arc::new(index.view()));
            }
        }
    }

    fn note(&self, event: &Event) {
        let (resource, trouble) = match event {
            Event::Trouble(resource, trouble) => (*resource, Some(trouble.clone())),
            Event::Listed(resource) | Event::Current(resource) => (*resource, None),
            Event::ListStarted(_) | Event::Applied(_) | Event::Deleted(_) => return,
        };
        self.troubles
            .lock()
            .expect("held for a copy only, which does not panic")[resource as usize] = trouble;
    }
}

/// Seconds since 1970, as a SOA serial takes them (RFC 1982: they may wrap).
fn unix_seconds(now: SystemTime) -> u32 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

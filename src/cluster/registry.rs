//! The clusters that are followed, for as long as a generation needs them.
//!
//! Stanzas of all server blocks, and of the generation that a reload replaces, share a cluster if they name the
//! same source and selectors. A resource that a new generation needs is followed from then on; what nobody
//! needs any more is no longer followed. So a reload lists nothing again that is known already.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::connection::{Connection, ConnectionError, RequestObserver};
use super::object::{EVENTS_QUEUED_MAX, Event, Resource};
use super::selector::{Selector, Target};
use super::{Cluster, manifests, watch};

/// Which objects are followed, and where: stanzas with equal keys share them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterKey {
    /// Who tells of them.
    pub source: Source,
    /// Only Services, EndpointSlices and Pods with these labels.
    pub labels: Option<Selector>,
    /// Only Namespaces with these labels.
    pub namespace_labels: Option<Selector>,
}

/// Who tells of the objects of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// An API server.
    Api(Connection),
    /// Files and folders.
    Manifests(Vec<PathBuf>),
}

/// The clusters of the process.
pub struct Clusters {
    runtime: Handle,
    observer: Arc<dyn RequestObserver>,
    known: Mutex<HashMap<ClusterKey, Weak<Followed>>>,
}

/// A cluster that is followed until this is dropped.
pub struct Followed {
    cluster: Arc<Cluster>,
    events: mpsc::Sender<Event>,
    key: ClusterKey,
    client: Option<kube::Client>,
    /// What runs for each resource, so that none is followed twice.
    sources: Mutex<Vec<(Resource, AbortHandle)>>,
    index: AbortHandle,
}

impl Clusters {
    /// No cluster yet. Sources run on `runtime`; requests to API servers are told to `observer`.
    pub fn new(runtime: Handle, observer: Arc<dyn RequestObserver>) -> Clusters {
        Clusters {
            runtime,
            observer,
            known: Mutex::default(),
        }
    }

    /// The cluster of this key, followed in at least these resources.
    ///
    /// # Errors
    /// No client can be built for the API server.
    pub fn obtain(
        &self,
        key: &ClusterKey,
        resources: &[Resource],
    ) -> Result<Arc<Followed>, ConnectionError> {
        let mut known = self
            .known
            .lock()
            .expect("held for look-ups and spawning, which do not panic");
        known.retain(|_, followed| followed.strong_count() > 0);
        let followed = match known.get(key).and_then(Weak::upgrade) {
            Some(followed) => followed,
            None => {
                let followed = Arc::new(self.start(key)?);
                known.insert(key.clone(), Arc::downgrade(&followed));
                followed
            }
        };
        drop(known);
        followed.follow(&self.runtime, resources);
        Ok(followed)
    }

    fn start(&self, key: &ClusterKey) -> Result<Followed, ConnectionError> {
        // Building a client spawns its connection tasks.
        let _entered = self.runtime.enter();
        let client = match &key.source {
            Source::Api(connection) => Some(connection.client(self.observer.clone())?),
            Source::Manifests(_) => None,
        };
        let cluster = Arc::new(Cluster::default());
        let (events, received) = mpsc::channel(EVENTS_QUEUED_MAX);
        let index = self
            .runtime
            .spawn(cluster.clone().follow(received))
            .abort_handle();
        Ok(Followed {
            cluster,
            events,
            key: key.clone(),
            client,
            sources: Mutex::default(),
            index,
        })
    }
}

impl Followed {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn follow(&self, runtime: &Handle, resources: &[Resource]) {
        let mut sources = self
            .sources
            .lock()
            .expect("held for spawning, which does not panic");
        match (&self.key.source, &self.client) {
            (Source::Api(_), Some(client)) => {
                for resource in resources {
                    if sources.iter().all(|(known, _)| known != resource) {
                        let watch = watch::follow(
                            client.clone(),
                            self.target(*resource),
                            self.events.clone(),
                        );
                        sources.push((*resource, runtime.spawn(watch).abort_handle()));
                    }
                }
            }
            (Source::Manifests(paths), _) if sources.is_empty() => {
                // One reader for all resources: they stand in the same files.
                let targets = Resource::ALL.map(|resource| self.target(resource)).to_vec();
                let source = manifests::follow(paths.clone(), targets, self.events.clone());
                sources.push((Resource::Services, runtime.spawn(source).abort_handle()));
            }
            (Source::Api(_), None) | (Source::Manifests(_), _) => {}
        }
    }

    fn target(&self, resource: Resource) -> Target {
        let labels = match resource {
            Resource::Namespaces => &self.key.namespace_labels,
            Resource::Services | Resource::EndpointSlices | Resource::Pods => &self.key.labels,
        };
        Target {
            resource,
            labels: labels.clone().unwrap_or_default(),
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.index.abort();
        for (_, source) in self
            .sources
            .get_mut()
            .expect("held for spawning, which does not panic")
        {
            source.abort();
        }
    }
}

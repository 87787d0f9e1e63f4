//! The clusters that are followed, for as long as a generation needs them.
//!
//! Stanzas of all server blocks, and of the generation that a reload replaces, share a cluster if they name the
//! same source and selectors. A resource that a new generation needs is followed from then on, and a cluster that
//! nobody needs any more is no longer followed. So a reload lists nothing again that is known already.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection::{Connection, ConnectionError};
use super::object::{EVENTS_QUEUED_MAX, Event, Resource};
use super::selector::{Selector, Target};
use super::{Cluster, Observer, follow, manifests, watch as api_watch};

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
    observer: Arc<dyn Observer>,
    known: Mutex<HashMap<ClusterKey, Weak<Followed>>>,
}

/// A cluster that is followed until this is dropped.
pub struct Followed {
    cluster: Arc<Cluster>,
    key: ClusterKey,
    name: Arc<str>,
    feed: Feed,
    observer: Arc<dyn Observer>,
    /// The index and its sources.
    tasks: Mutex<JoinSet<()>>,
}

/// How another resource is followed.
enum Feed {
    /// By a task of its own.
    Api {
        client: kube::Client,
        events: mpsc::Sender<Event>,
        followed: Mutex<Vec<Resource>>,
    },
    /// By the one reader of all files.
    Manifests { targets: watch::Sender<Vec<Target>> },
}

impl Clusters {
    /// No cluster yet. Sources run on `runtime`; what happens is told to `observer`.
    pub fn new(runtime: Handle, observer: Arc<dyn Observer>) -> Clusters {
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
        let (cluster, name): (_, Arc<str>) = (Arc::new(Cluster::default()), key.to_string().into());
        let (events, received) = mpsc::channel(EVENTS_QUEUED_MAX);
        let mut tasks = JoinSet::new();
        let feed = match &key.source {
            Source::Api(connection) => {
                let observer: Arc<dyn Observer> = self.observer.clone();
                Feed::Api {
                    client: connection.client(observer)?,
                    events,
                    followed: Mutex::default(),
                }
            }
            Source::Manifests(paths) => {
                let (targets, wanted) = watch::channel(Vec::new());
                tasks.spawn_on(
                    manifests::follow(paths.clone(), wanted, events),
                    &self.runtime,
                );
                Feed::Manifests { targets }
            }
        };
        let index = follow::follow(
            cluster.clone(),
            name.clone(),
            received,
            self.observer.clone(),
        );
        tasks.spawn_on(index, &self.runtime);
        let (observer, tasks) = (self.observer.clone(), Mutex::new(tasks));
        Ok(Followed {
            cluster,
            key: key.clone(),
            name,
            feed,
            observer,
            tasks,
        })
    }
}

impl Followed {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Follows these resources too.
    fn follow(&self, runtime: &Handle, resources: &[Resource]) {
        match &self.feed {
            Feed::Api {
                client,
                events,
                followed,
            } => {
                let mut followed = followed
                    .lock()
                    .expect("held for spawning, which does not panic");
                let new: Vec<_> = resources
                    .iter()
                    .filter(|resource| !followed.contains(resource))
                    .collect();
                for resource in new {
                    let watch =
                        api_watch::follow(client.clone(), self.target(*resource), events.clone());
                    self.tasks
                        .lock()
                        .expect("held for spawning, which does not panic")
                        .spawn_on(watch, runtime);
                    followed.push(*resource);
                }
            }
            Feed::Manifests { targets } => {
                targets.send_if_modified(|targets| {
                    let known = targets.len();
                    for resource in resources {
                        if targets.iter().all(|target| target.resource != *resource) {
                            targets.push(self.target(*resource));
                        }
                    }
                    targets.len() > known
                });
            }
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
        self.observer.forgets(&self.name);
    }
}

impl fmt::Display for ClusterKey {
    /// As an operator tells clusters apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let selectors = [
            ("labels", &self.labels),
            ("namespace_labels", &self.namespace_labels),
        ];
        for (property, selector) in selectors {
            if let Some(selector) = selector {
                write!(f, " {property} {selector}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    /// As an operator tells clusters apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Api(connection) => connection.server.fmt(f),
            Source::Manifests(paths) => {
                let paths: Vec<String> = paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                f.write_str(&paths.join(" "))
            }
        }
    }
}

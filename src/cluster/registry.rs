//! The clusters that are followed, and the leases that keep them so.
//!
//! Stanzas of all server blocks, and of the generation that a reload replaces, share a cluster if they name the
//! same source and selectors. Each holds a [`Lease`] for the resources that it needs: a resource is followed while
//! some lease needs it, and forgotten after. A generation takes its leases while it is built, before the one that it
//! replaces drops its own; so a reload lists nothing again that is known already, and a generation that cannot be
//! built leaves nothing behind.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection::{Connection, ConnectionError};
use super::follow::{self, Following};
use super::inspect::{self, Inspection, NotFollowed, QUESTIONS_QUEUED_MAX, Question};
use super::object::Resource;
use super::pace::Pace;
use super::records::service_key;
use super::selector::{Selector, Target};
use super::sources::Feed;
use super::{Cluster, Observer};

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
    pace: Pace,
    known: Mutex<HashMap<ClusterKey, Weak<Followed>>>,
}

/// Some resources of a cluster are followed until this is dropped.
pub struct Lease {
    cluster: Arc<Cluster>,
    resources: Vec<Resource>,
    /// `None` for a cluster that hears no more.
    followed: Option<Arc<Followed>>,
}

/// A cluster that is followed while a lease holds it.
struct Followed {
    cluster: Arc<Cluster>,
    leased: watch::Sender<Leased>,
    questions: mpsc::Sender<Question>,
    /// The index and its sources; dropped, they end.
    _task: JoinSet<()>,
}

/// How many leases need each resource.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leased([usize; Resource::ALL.len()]);

impl Clusters {
    /// No cluster yet. Sources run on `runtime`; what happens is told to `observer`.
    pub fn new(runtime: Handle, observer: Arc<dyn Observer>) -> Clusters {
        Clusters {
            runtime,
            observer,
            pace: Pace::default(),
            known: Mutex::default(),
        }
    }

    /// Looks after clusters that are leased from now on at this pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The cluster of this key, followed in at least these resources. What another lease needs already is not listed
    /// anew.
    ///
    /// # Errors
    /// No client can be built for the API server.
    pub fn lease(
        &self,
        key: &ClusterKey,
        resources: &[Resource],
    ) -> Result<Lease, ConnectionError> {
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
        followed.leased.send_modify(|leased| leased.add(resources));
        Ok(Lease {
            cluster: followed.cluster.clone(),
            resources: resources.to_vec(),
            followed: Some(followed),
        })
    }

    fn start(&self, key: &ClusterKey) -> Result<Followed, ConnectionError> {
        // Building a client spawns its connection tasks.
        let _entered = self.runtime.enter();
        let feed = match &key.source {
            Source::Api(connection) => {
                let observer: Arc<dyn Observer> = self.observer.clone();
                Feed::Api {
                    client: connection.client(observer, self.pace)?,
                    server: connection.url()?.into(),
                }
            }
            Source::Manifests(paths) => Feed::Manifests(paths.clone()),
        };
        let cluster = Arc::new(Cluster::default());
        let following = Arc::new(Following {
            cluster: cluster.clone(),
            key: key.clone(),
            name: key.to_string().into(),
            feed,
            observer: self.observer.clone(),
            pace: self.pace,
        });
        let (leased, wanted) = watch::channel(Leased::default());
        let (questions, asked) = mpsc::channel(QUESTIONS_QUEUED_MAX);
        let asked = Arc::new(tokio::sync::Mutex::new(asked));
        let mut task = JoinSet::new();
        task.spawn(follow::follow(following, wanted, asked));
        Ok(Followed {
            cluster,
            leased,
            questions,
            _task: task,
        })
    }
}

impl ClusterKey {
    /// What is followed of a resource.
    pub(super) fn target(&self, resource: Resource) -> Target {
        let labels = match resource {
            Resource::Namespaces => &self.namespace_labels,
            Resource::Services | Resource::EndpointSlices | Resource::Pods => &self.labels,
        };
        Target {
            resource,
            labels: labels.clone().unwrap_or_default(),
        }
    }
}

impl Leased {
    /// The resources that some lease needs.
    pub(super) fn resources(&self) -> Vec<Resource> {
        let needed = |resource: &Resource| self.0[*resource as usize] > 0;
        Resource::ALL.into_iter().filter(needed).collect()
    }

    fn add(&mut self, resources: &[Resource]) {
        for resource in resources {
            self.0[*resource as usize] += 1;
        }
    }

    fn remove(&mut self, resources: &[Resource]) {
        for resource in resources {
            self.0[*resource as usize] -= 1;
        }
    }
}

impl Lease {
    /// What the answers about a Service are made of; `None` for names that cannot be a Service's.
    ///
    /// # Errors
    /// Nobody can tell.
    pub async fn inspect(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Option<Inspection>, NotFollowed> {
        let followed = self.followed.as_ref().ok_or(NotFollowed)?;
        match service_key(namespace, service) {
            Some(key) => inspect::ask(&followed.questions, key).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(followed) = &self.followed {
            followed
                .leased
                .send_modify(|leased| leased.remove(&self.resources));
        }
    }
}

impl Deref for Lease {
    type Target = Cluster;

    #[inline]
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

#[cfg(test)]
impl From<Cluster> for Lease {
    fn from(cluster: Cluster) -> Lease {
        Lease {
            cluster: Arc::new(cluster),
            resources: vec![],
            followed: None,
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.resources).finish()
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

//! The clusters that are followed, and the leases that keep them so.
//!
//! Stanzas of all server blocks, and of the generation that a reload replaces, share a cluster if they name the
//! same source and selectors. Each holds a [`Lease`] for the resources that it needs: a resource is followed while
//! some lease needs it, and forgotten after. A generation takes its leases while it is built, before the one that it
//! replaces drops its own; so a reload lists nothing again that is known already, and a generation that cannot be
//! built leaves nothing behind.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::{Connection, ConnectionError};
use super::follow::{self, Following};
use super::inspect::{self, Inspection, NotFollowed, QUESTIONS_QUEUED_MAX, Question};
use super::object::Resource;
use super::pace::Pace;
use super::records::ServiceKey;
use super::selector::{Selector, Target};
use super::snapshot::{self, Restored, SnapshotFile};
use super::sources::Feed;
use super::watch::Freshness;
use super::{Cluster, Observer};

/// How long the end of the process waits for all snapshots to be written.
const SAVE_TIME_MAX: Duration = Duration::from_secs(5);

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
    number: u64,
    /// `None` for a cluster that hears no more.
    followed: Option<Arc<Followed>>,
}

/// A cluster that is followed while a lease holds it.
struct Followed {
    cluster: Arc<Cluster>,
    leased: watch::Sender<Leased>,
    questions: mpsc::Sender<Question>,
    saves: mpsc::Sender<oneshot::Sender<()>>,
    /// The index and its sources; dropped, they end.
    _task: JoinSet<()>,
}

/// What is asked of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// What must be followed.
    pub resources: Vec<Resource>,
    /// Where it is kept for the next process.
    pub snapshot: Option<SnapshotFile>,
}

/// What each lease needs, by its number.
#[derive(Debug, Default)]
pub(super) struct Leased {
    needs: BTreeMap<u64, (Vec<Resource>, Option<Arc<SnapshotFile>>)>,
    numbers: u64,
}

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

    /// The cluster of this key, followed in at least the resources that are needed. What another lease needs already is
    /// not listed anew. If nobody follows the cluster yet, its snapshot is read before this returns.
    ///
    /// # Errors
    /// No client can be built for the API server.
    pub fn lease(&self, key: &ClusterKey, need: &Need) -> Result<Lease, ConnectionError> {
        let mut known = self
            .known
            .lock()
            .expect("held for look-ups and spawning, which do not panic");
        known.retain(|_, followed| followed.strong_count() > 0);
        let mut number = 0;
        let followed = match known.get(key).and_then(Weak::upgrade) {
            Some(followed) => {
                let count = |leased: &mut Leased| number = leased.add(need);
                followed.leased.send_modify(count);
                followed
            }
            None => {
                // What was restored is forgotten unless somebody needs it from the first moment.
                let mut leased = Leased::default();
                number = leased.add(need);
                let followed = Arc::new(self.start(key, need.snapshot.as_ref(), leased)?);
                known.insert(key.clone(), Arc::downgrade(&followed));
                followed
            }
        };
        drop(known);
        Ok(Lease {
            cluster: followed.cluster.clone(),
            number,
            followed: Some(followed),
        })
    }

    /// Brings all snapshots up to date, for the end of the process. A disk that does not answer is not waited for.
    pub async fn save(&self) {
        let followed: Vec<Arc<Followed>> = {
            let known = self.known.lock();
            let known = known.expect("held for look-ups and spawning, which do not panic");
            known.values().filter_map(Weak::upgrade).collect()
        };
        let saving = async {
            for followed in followed {
                let (done, saved) = oneshot::channel();
                if followed.saves.send(done).await.is_ok() {
                    let _ = saved.await;
                }
            }
        };
        if timeout(SAVE_TIME_MAX, saving).await.is_err() {
            tracing::warn!(target: "plugin/kubernetes", "The snapshot could not be written in time; the last one stays");
        }
    }

    fn start(
        &self,
        key: &ClusterKey,
        snapshot: Option<&SnapshotFile>,
        leased: Leased,
    ) -> Result<Followed, ConnectionError> {
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
        let name = key.to_string();
        // The same kubeconfig may lead to another cluster today.
        let identity = match &feed {
            Feed::Api { server, .. } => format!("{name} at {server}"),
            Feed::Manifests(_) => name.clone(),
        };
        let restored = snapshot
            .and_then(|snapshot| snapshot::restore(snapshot, &name, &identity, &*self.observer));
        let cluster = Arc::new(Cluster::restored(restored.as_ref()));
        let (saves, saves_wanted) = mpsc::channel(1);
        let following = Arc::new(Following {
            cluster: cluster.clone(),
            key: key.clone(),
            name: name.into(),
            identity: identity.into(),
            feed,
            observer: self.observer.clone(),
            pace: self.pace,
            fresh: freshness(restored.as_ref()),
            served: Default::default(),
            restored: Mutex::new(restored),
            saves: tokio::sync::Mutex::new(saves_wanted),
        });
        let (leased, wanted) = watch::channel(leased);
        let (questions, asked) = mpsc::channel(QUESTIONS_QUEUED_MAX);
        let asked = Arc::new(tokio::sync::Mutex::new(asked));
        let mut task = JoinSet::new();
        task.spawn(follow::follow(following, wanted, asked));
        Ok(Followed {
            cluster,
            leased,
            questions,
            saves,
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
        let needs = || self.needs.values();
        let needed = |resource: &Resource| needs().any(|(needed, _)| needed.contains(resource));
        Resource::ALL.into_iter().filter(needed).collect()
    }

    /// Where the youngest lease that says so wants it to be kept.
    pub(super) fn snapshot(&self) -> Option<Arc<SnapshotFile>> {
        let mut youngest_first = self.needs.values().rev();
        youngest_first.find_map(|(_, snapshot)| snapshot.clone())
    }

    /// Counts a lease, and returns its number.
    fn add(&mut self, need: &Need) -> u64 {
        self.numbers += 1;
        let snapshot = need.snapshot.clone().map(Arc::new);
        self.needs
            .insert(self.numbers, (need.resources.clone(), snapshot));
        self.numbers
    }

    fn remove(&mut self, number: u64) {
        self.needs.remove(&number);
    }
}

impl Cluster {
    /// A cluster that serves what was restored, from before the first query.
    fn restored(restored: Option<&Restored>) -> Cluster {
        let cluster = Cluster::default();
        match restored {
            Some(restored) => Cluster {
                view: ArcSwap::from_pointee(restored.index.view()),
                restored: Some(Instant::now()),
                ..cluster
            },
            None => cluster,
        }
    }
}

impl Lease {
    /// What the answers about a Service are made of.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(crate) async fn inspect(&self, service: ServiceKey) -> Result<Inspection, NotFollowed> {
        let followed = self.followed.as_ref().ok_or(NotFollowed)?;
        inspect::ask(&followed.questions, service).await
    }
}

/// How old the first lists may be: not older than what is served.
fn freshness(restored: Option<&Restored>) -> [Freshness; Resource::ALL.len()] {
    std::array::from_fn(|at| match restored.map(|restored| &restored.reached[at]) {
        Some(reached) if reached.as_of > 0 && reached.version.is_empty() => Freshness::Consistent,
        Some(reached) if reached.as_of > 0 => Freshness::NotOlderThan(reached.version.clone()),
        _ => Freshness::Any,
    })
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(followed) = &self.followed {
            followed
                .leased
                .send_modify(|leased| leased.remove(self.number));
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
            number: 0,
            followed: None,
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.number).finish()
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

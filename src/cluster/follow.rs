//! The task that owns an index: starts and ends sources, takes their events, publishes views, tells what is worth
//! counting.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::index::Index;
use super::object::{EVENTS_QUEUED_MAX, Event, Object, Resource, Trouble};
use super::records::{ServiceKind, service_key};
use super::registry::{ClusterKey, Leased};
use super::snapshot::{Keeper, Restored, SnapshotEvent, Worth};
use super::sources::{Feed, Sources};
use super::supervise::supervise;
use super::view::View;
use super::watch::Freshness;
use super::{Cluster, Observer};

/// Which cluster is followed, from where, and who is told.
pub(super) struct Following {
    pub(super) cluster: Arc<Cluster>,
    pub(super) key: ClusterKey,
    /// As an operator knows the cluster.
    pub(super) name: Arc<str>,
    /// Which cluster a snapshot is of: the name, and where it led when the process started.
    pub(super) identity: Arc<str>,
    pub(super) feed: Feed,
    pub(super) observer: Arc<dyn Observer>,
    /// How old the first list of each resource may be.
    pub(super) fresh: [Freshness; Resource::ALL.len()],
    /// What a snapshot told, for the first index.
    pub(super) restored: std::sync::Mutex<Option<Restored>>,
    /// Who wants the snapshot to be brought up to date, and is told when it is.
    pub(super) saves: Mutex<mpsc::Receiver<oneshot::Sender<()>>>,
}

/// Follows the resources that are leased until it is dropped. If the index panics, it is made anew from what the
/// sources list anew; until it knows as much as what is served, that stays served.
pub(super) async fn follow(following: Arc<Following>, leased: watch::Receiver<Leased>) {
    let _stated = Stated(following.clone());
    let own = || Owner::new(following.clone()).run(leased.clone());
    supervise("index", &following.name, &*following.observer, own).await;
}

/// Takes back what was stated of a cluster, after the task that states it.
struct Stated(Arc<Following>);

impl Drop for Stated {
    fn drop(&mut self) {
        for resource in Resource::ALL {
            self.0.observer.forgets(&self.0.name, resource);
        }
    }
}

struct Owner {
    following: Arc<Following>,
    sources: Sources,
    wanted: Vec<Resource>,
    index: Index,
    keeper: Keeper,
    /// Changes of endpoints that the next view answers.
    changes: Vec<(bool, SystemTime)>,
}

impl Owner {
    fn new(following: Arc<Following>) -> Owner {
        let restored = following
            .restored
            .lock()
            .expect("held for a move only, which does not panic")
            .take()
            .unwrap_or_default();
        let (name, observer) = (following.name.clone(), following.observer.clone());
        let identity = following.identity.clone();
        Owner {
            sources: Sources::new(following.clone()),
            keeper: Keeper::new(name, identity, observer, restored.reached),
            following,
            wanted: Vec::new(),
            index: restored.index,
            changes: Vec::new(),
        }
    }

    /// A view is published after each batch: whatever has arrived when the index gets to look. An event on its own
    /// is published at once.
    async fn run(mut self, mut leased: watch::Receiver<Leased>) {
        let following = self.following.clone();
        let mut saves = following.saves.lock().await;
        self.want(&leased.borrow_and_update());
        if self.index.latest().stale_since(Resource::ALL).is_some() {
            self.publish();
        }
        loop {
            tokio::select! {
                Ok(()) = leased.changed() => self.want(&leased.borrow_and_update()),
                event = self.sources.next() => self.apply(event),
                () = self.keeper.due() => {
                    let worth = self.worth();
                    self.keeper.work(&self.index, worth);
                }
                Some(saved) = saves.recv() => {
                    let worth = self.worth();
                    self.keeper.finish(&self.index, worth).await;
                    // Whoever asked may have gone.
                    let _ = saved.send(());
                }
            }
        }
    }

    /// Follows the resources that are leased from now on, and forgets the others: nobody can ask for them.
    fn want(&mut self, leased: &Leased) {
        let resources = leased.resources();
        self.keeper.keep(leased.snapshot());
        self.sources.want(&resources);
        let unwanted = Resource::ALL
            .into_iter()
            .filter(|resource| !resources.contains(resource));
        let mut changed = false;
        for resource in unwanted {
            changed |= self.index.forget(resource, unix_seconds(SystemTime::now()));
            self.keeper.forget(resource);
            self.following.cluster.note(resource, None);
            self.following
                .observer
                .forgets(&self.following.name, resource);
        }
        self.wanted = resources;
        if changed {
            self.keeper.changed();
            self.publish();
        }
    }

    fn apply(&mut self, first: Event) {
        let now = unix_seconds(SystemTime::now());
        let heard = super::unix_seconds();
        let (mut next, mut changed, mut applied) = (Some(first), false, 0);
        while let Some(event) = next {
            match &event {
                Event::Trouble(resource, trouble) => {
                    self.following.cluster.note(*resource, Some(trouble));
                }
                Event::Listed(resource)
                | Event::Current(resource)
                | Event::Reached(resource, _) => {
                    self.following.cluster.note(*resource, None);
                }
                Event::ListStarted(_) | Event::Applied(_) | Event::Deleted(_) => {}
            }
            self.keeper.hear(&event, heard);
            self.changes.extend(trigger(&event, self.index.latest()));
            changed |= self.index.apply(event, now);
            applied += 1;
            // A stream of events that never ends must not keep what is known already from being published.
            next = (applied < EVENTS_QUEUED_MAX)
                .then(|| self.sources.try_next())
                .flatten();
        }
        if changed {
            self.keeper.changed();
            self.publish();
        }
        for (headless, happened) in self.changes.drain(..) {
            // A clock that is behind the API server's makes changes that have not happened yet.
            if let Ok(elapsed) = SystemTime::now().duration_since(happened) {
                self.following.observer.programmed(headless, elapsed);
            }
        }
    }

    /// Publishes what the index knows, unless more is served: an index that was made anew is not heard before it has
    /// been told all that the one before was told.
    fn publish(&self) {
        if !self.knows_what_is_served() {
            return;
        }
        let view = self.index.view();
        let (name, observer) = (&self.following.name, &self.following.observer);
        for resource in &self.wanted {
            let (objects, stale) = (self.index.count(*resource), view.stale_since([*resource]));
            let synced = view.is_synced(*resource) && stale.is_none();
            observer.holds(name, *resource, objects, synced);
            observer.snapshot(name, SnapshotEvent::Serves(*resource, stale));
        }
        self.following.cluster.view.store(Arc::new(view));
    }

    /// Whether the index has been told each resource whole that is served.
    fn knows_what_is_served(&self) -> bool {
        let (latest, served) = (self.index.latest(), self.following.cluster.view());
        let mut wanted = self.wanted.iter();
        wanted.all(|resource| latest.is_synced(*resource) || !served.is_synced(*resource))
    }

    /// What the index is worth as a snapshot.
    fn worth(&self) -> Worth {
        let is_synced = |resource: &Resource| self.index.latest().is_synced(*resource);
        if self.wanted.iter().all(is_synced) && !self.wanted.is_empty() {
            Worth::Whole
        } else if self.knows_what_is_served() && self.wanted.iter().any(is_synced) {
            Worth::Partial
        } else {
            Worth::Nothing
        }
    }
}

/// For a change of endpoints that is news: whether its Service is headless, and when the change happened. What
/// the first list tells happened long ago, and a slice without a Service serves nobody.
fn trigger(event: &Event, view: &View) -> Option<(bool, SystemTime)> {
    let Event::Applied(Object::EndpointSlice(slice)) = event else {
        return None;
    };
    let happened = slice.last_change?;
    if !view.is_synced(Resource::EndpointSlices) || view.is_stale(Resource::EndpointSlices) {
        return None;
    }
    let key = service_key(&slice.metadata.namespace, slice.service()?)?;
    match view.service(&key)?.kind() {
        ServiceKind::ClusterIps(_) => Some((false, happened)),
        ServiceKind::Headless => Some((true, happened)),
        ServiceKind::ExternalName(_) => None,
    }
}

impl Cluster {
    /// Remembers what keeps a resource from being followed, until it is followed again.
    fn note(&self, resource: Resource, trouble: Option<&Trouble>) {
        let mut troubles = self
            .troubles
            .lock()
            .expect("held for a copy only, which does not panic");
        troubles[resource as usize] = trouble.cloned();
    }
}

/// Seconds since 1970, as a SOA serial takes them (RFC 1982: they may wrap).
fn unix_seconds(now: SystemTime) -> u32 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs() as u32
}

#[cfg(test)]
mod tests;

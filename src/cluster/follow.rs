//! The task that owns an index: starts and ends sources, takes their events, publishes views, answers questions about
//! it, tells what is worth counting. What it does beside, when its time comes, is in `oversight`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::freshness::{Heard, Standing};
use super::index::{HeldEnds, Index, Now};
use super::inspect::Question;
use super::object::{EVENTS_QUEUED_MAX, Event, Object, Resource, Trouble};
use super::pace::Pace;
use super::records::{ServiceKind, service_key};
use super::registry::{ClusterKey, Leased};
use super::snapshot::{Keeper, Restored, SnapshotEvent, Worth};
use super::sources::{Feed, Sources};
use super::supervise::supervise;
use super::watch::Freshness;
use super::{Cluster, Observer, unix_seconds};

mod oversight;
mod relist;

use oversight::Oversight;

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
    pub(super) pace: Pace,
    /// How old the first list of each resource may be.
    pub(super) fresh: [Freshness; Resource::ALL.len()],
    /// How many objects of each resource are served.
    pub(super) served: [AtomicUsize; Resource::ALL.len()],
    /// What a snapshot told, for the first index.
    pub(super) restored: std::sync::Mutex<Option<Restored>>,
    /// Who wants the snapshot to be brought up to date, and is told when it is.
    pub(super) saves: Mutex<mpsc::Receiver<oneshot::Sender<()>>>,
}

impl Following {
    /// How old the first list of a resource may be. What this process was told may not be taken back.
    pub(super) fn freshness(&self, resource: Resource) -> Freshness {
        let view = self.cluster.view();
        if view.is_synced(resource) && !view.is_stale(resource) {
            return Freshness::Consistent;
        }
        self.fresh[resource as usize].clone()
    }
}

/// Follows the resources that are leased until it is dropped. If the index panics, it is made anew from what the
/// sources list anew; until it knows as much as what is served, that stays served.
pub(super) async fn follow(
    following: Arc<Following>,
    leased: watch::Receiver<Leased>,
    questions: Questions,
) {
    let _stated = Stated(following.clone());
    let own = || Owner::new(following.clone()).run(leased.clone(), questions.clone());
    supervise("index", &following.name, &*following.observer, own).await;
}

/// Takes back what was stated of a cluster, after the task that states it.
struct Stated(Arc<Following>);

impl Drop for Stated {
    fn drop(&mut self) {
        for resource in Resource::ALL {
            self.0.observer.forgets(&self.0.name, resource);
        }
        let Following { observer, name, .. } = &*self.0;
        observer.snapshot(name, SnapshotEvent::NotKept);
    }
}

/// Questions to the owner. They outlive an index that has panicked.
pub(super) type Questions = Arc<Mutex<mpsc::Receiver<Question>>>;

struct Owner {
    following: Arc<Following>,
    sources: Sources,
    wanted: Vec<Resource>,
    index: Index,
    /// When the index was new.
    began: Instant,
    keeper: Keeper,
    /// Changes of endpoints that the next view answers.
    changes: Vec<(bool, SystemTime)>,
    standings: [Standing; Resource::ALL.len()],
    oversight: Oversight,
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
            began: Instant::now(),
            changes: Vec::new(),
            standings: Default::default(),
            oversight: Oversight::default(),
        }
    }

    /// A view is published after each batch: whatever has arrived when the index gets to look. An event on its own
    /// is published at once.
    async fn run(mut self, mut leased: watch::Receiver<Leased>, questions: Questions) {
        let following = self.following.clone();
        let (mut questions, mut saves) = (questions.lock().await, following.saves.lock().await);
        self.want(&leased.borrow_and_update());
        if self.index.latest().stale_since(Resource::ALL).is_some() {
            self.publish();
        }
        loop {
            let due = self.due();
            let end = self.index.next_end().map(|end| self.began + end);
            tokio::select! {
                Ok(()) = leased.changed() => self.want(&leased.borrow_and_update()),
                event = self.sources.next() => self.apply(event),
                Some(question) = questions.recv() => self.answer(question),
                () = oversight::until(due) => {}
                () = reached(end) => self.end_held(),
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
            self.oversee(Instant::now());
        }
    }

    fn now(&self) -> Now {
        Now {
            // As a SOA serial takes them (RFC 1982: they may wrap).
            unix: unix_seconds() as u32,
            running: self.began.elapsed(),
        }
    }

    fn end_held(&mut self) {
        if self.index.end_held(self.now()) {
            self.publish();
        }
        self.tell_held_ends();
    }

    fn tell_held_ends(&mut self) {
        let ends = self.index.take_held_ends();
        if ends != HeldEnds::default() {
            let Following { observer, name, .. } = &*self.following;
            observer.held(name, ends);
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
        let (mut changed, now) = (false, self.now());
        for resource in unwanted {
            changed |= self.index.forget(resource, now.unix);
            self.oversight.forget(resource);
            self.standings[resource as usize] = Standing::default();
            self.keeper.forget(resource);
            self.following
                .observer
                .forgets(&self.following.name, resource);
        }
        self.state(&Resource::ALL);
        self.wanted = resources;
        if changed {
            self.keeper.changed();
            self.publish();
        }
    }

    fn apply(&mut self, first: Event) {
        let (clock, instant) = (SystemTime::now(), Instant::now());
        let (now, heard_at) = (self.now(), unix_seconds());
        let (mut next, mut changed, mut applied) = (Some(first), false, 0);
        let mut heard = [false; Resource::ALL.len()];
        while let Some(event) = next {
            let resource = event.resource();
            heard[resource as usize] = true;
            if let Some(rewound) = self.standings[resource as usize].note(&event, instant, clock) {
                self.rewound(resource, rewound, instant);
            }
            self.keeper.hear(&event, heard_at);
            self.changes.extend(trigger(&event, &self.index));
            changed |= match event {
                Event::ListStarted(_) => {
                    self.oversight.list_started(resource);
                    self.index.apply(event, now)
                }
                Event::Listed(_) => self.listed(resource, instant, now),
                Event::Audited(_, number, audited) => {
                    self.audited(resource, number, audited, instant, now)
                }
                event => self.index.apply(event, now),
            };
            applied += 1;
            // A stream of events that never ends must not keep what is known already from being published.
            next = (applied < EVENTS_QUEUED_MAX)
                .then(|| self.sources.try_next())
                .flatten();
        }
        changed |= self.index.end_held(now);
        let heard = Resource::ALL
            .into_iter()
            .filter(|resource| heard[*resource as usize]);
        self.state(&heard.collect::<Vec<_>>());
        if changed {
            self.keeper.changed();
            self.publish();
        }
        self.tell_held_ends();
        for (headless, happened) in self.changes.drain(..) {
            // A clock that is behind the API server's makes changes that have not happened yet.
            if let Ok(elapsed) = SystemTime::now().duration_since(happened) {
                self.following.observer.programmed(headless, elapsed);
            }
        }
    }

    /// Tells how these resources stand.
    fn state(&self, resources: &[Resource]) {
        let Following {
            cluster,
            name,
            observer,
            ..
        } = &*self.following;
        for resource in resources {
            let standing = &self.standings[*resource as usize];
            if standing.heard != Heard::default() {
                observer.heard(name, *resource, &standing.heard);
            }
            cluster.stand(*resource, standing);
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
        for resource in &self.wanted {
            let objects = self.index.count(*resource);
            self.following.served[*resource as usize].store(objects, Ordering::Relaxed);
        }
    }

    /// Whether the index has been told each resource whole that is served; but one that we may not list any more must not
    /// keep the others from being heard.
    fn knows_what_is_served(&self) -> bool {
        let (latest, served) = (self.index.latest(), self.following.cluster.view());
        let is_denied = |resource: &Resource| {
            let trouble = self.standings[*resource as usize].trouble();
            matches!(
                trouble,
                Some(Trouble::Forbidden(_) | Trouble::Unauthorized(_))
            )
        };
        let mut wanted = self.wanted.iter();
        wanted.all(|resource| {
            latest.is_synced(*resource) || !served.is_synced(*resource) || is_denied(resource)
        })
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

/// Waits for this moment; without one, for ever.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// For a change of endpoints that is news: whether its Service is headless, and when the change happened. What
/// the first list tells happened long ago, as what a watch repeats; and a slice without a Service serves nobody.
fn trigger(event: &Event, index: &Index) -> Option<(bool, SystemTime)> {
    let Event::Applied(object @ Object::EndpointSlice(slice)) = event else {
        return None;
    };
    let view = index.latest();
    let happened = slice.last_change?;
    if !view.is_synced(Resource::EndpointSlices)
        || view.is_stale(Resource::EndpointSlices)
        || index.is_overtaken(object)
    {
        return None;
    }
    let key = service_key(&slice.metadata.namespace, slice.service()?)?;
    match view.service(&key)?.kind() {
        ServiceKind::ClusterIps(_) => Some((false, happened)),
        ServiceKind::Headless => Some((true, happened)),
        ServiceKind::ExternalName(_) => None,
    }
}

#[cfg(test)]
mod tests;

//! The task that owns an index: starts and ends sources, takes their events, publishes views, answers questions about
//! it, tells what is worth counting. What it does beside, when its time comes, is in `oversight`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::freshness::{Heard, Standing};
use super::index::Index;
use super::inspect::Question;
use super::object::{EVENTS_QUEUED_MAX, Event, Object, Resource};
use super::pace::Pace;
use super::records::{ServiceKind, service_key};
use super::registry::{ClusterKey, Leased};
use super::sources::{Feed, Sources};
use super::supervise::supervise;
use super::view::View;
use super::{Cluster, Observer};

mod oversight;

use oversight::Oversight;

/// Which cluster is followed, from where, and who is told.
pub(super) struct Following {
    pub(super) cluster: Arc<Cluster>,
    pub(super) key: ClusterKey,
    /// As an operator knows the cluster.
    pub(super) name: Arc<str>,
    pub(super) feed: Feed,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) pace: Pace,
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
    }
}

/// Questions to the owner. They outlive an index that has panicked.
pub(super) type Questions = Arc<Mutex<mpsc::Receiver<Question>>>;

struct Owner {
    following: Arc<Following>,
    sources: Sources,
    wanted: Vec<Resource>,
    index: Index,
    /// Changes of endpoints that the next view answers.
    changes: Vec<(bool, SystemTime)>,
    standings: [Standing; Resource::ALL.len()],
    oversight: Oversight,
}

impl Owner {
    fn new(following: Arc<Following>) -> Owner {
        Owner {
            sources: Sources::new(following.clone()),
            following,
            wanted: Vec::new(),
            index: Index::default(),
            changes: Vec::new(),
            standings: Default::default(),
            oversight: Oversight::default(),
        }
    }

    /// A view is published after each batch: whatever has arrived when the index gets to look. An event on its own
    /// is published at once.
    async fn run(mut self, mut leased: watch::Receiver<Leased>, questions: Questions) {
        let mut questions = questions.lock().await;
        self.want(leased.borrow_and_update().resources());
        loop {
            let due = self.due();
            tokio::select! {
                Ok(()) = leased.changed() => self.want(leased.borrow_and_update().resources()),
                event = self.sources.next() => self.apply(event),
                Some(question) = questions.recv() => self.answer(question),
                () = oversight::until(due) => {}
            }
            self.oversee(Instant::now());
        }
    }

    /// Follows these resources from now on, and forgets the others: nobody can ask for them.
    fn want(&mut self, resources: Vec<Resource>) {
        self.sources.want(&resources);
        let unwanted = Resource::ALL
            .into_iter()
            .filter(|resource| !resources.contains(resource));
        let mut changed = false;
        for resource in unwanted {
            changed |= self.index.forget(resource, unix_seconds(SystemTime::now()));
            self.oversight.forget(resource);
            self.standings[resource as usize] = Standing::default();
            self.following
                .observer
                .forgets(&self.following.name, resource);
        }
        self.state(&Resource::ALL);
        self.wanted = resources;
        if changed {
            self.publish();
        }
    }

    fn apply(&mut self, first: Event) {
        let (clock, instant) = (SystemTime::now(), Instant::now());
        let now = unix_seconds(clock);
        let (mut next, mut changed, mut applied) = (Some(first), false, 0);
        let mut heard = [false; Resource::ALL.len()];
        while let Some(event) = next {
            let resource = event.resource();
            heard[resource as usize] = true;
            self.standings[resource as usize].note(&event, instant, clock);
            self.changes.extend(trigger(&event, self.index.latest()));
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
        let heard = Resource::ALL
            .into_iter()
            .filter(|resource| heard[*resource as usize]);
        self.state(&heard.collect::<Vec<_>>());
        if changed {
            self.publish();
        }
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
            cluster.standings()[*resource as usize] = standing.clone();
        }
    }

    /// Publishes what the index knows, unless more is served: an index that was made anew is not heard before it has
    /// been told all that the one before was told.
    fn publish(&self) {
        let (view, cluster) = (self.index.view(), &self.following.cluster);
        let served = cluster.view();
        let is_news =
            |resource: &Resource| view.is_synced(*resource) || !served.is_synced(*resource);
        if !self.wanted.iter().all(is_news) {
            return;
        }
        for resource in &self.wanted {
            let (objects, synced) = (self.index.count(*resource), view.is_synced(*resource));
            let name = &self.following.name;
            self.following
                .observer
                .holds(name, *resource, objects, synced);
        }
        drop(served);
        cluster.view.store(Arc::new(view));
    }
}

/// For a change of endpoints that is news: whether its Service is headless, and when the change happened. What
/// the first list tells happened long ago, and a slice without a Service serves nobody.
fn trigger(event: &Event, view: &View) -> Option<(bool, SystemTime)> {
    let Event::Applied(Object::EndpointSlice(slice)) = event else {
        return None;
    };
    let happened = slice.last_change?;
    if !view.is_synced(Resource::EndpointSlices) {
        return None;
    }
    let key = service_key(&slice.metadata.namespace, slice.service()?)?;
    match view.service(&key)?.kind() {
        ServiceKind::ClusterIps(_) => Some((false, happened)),
        ServiceKind::Headless => Some((true, happened)),
        ServiceKind::ExternalName(_) => None,
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

//! The sources of one cluster that run now, and what they say.
//!
//! Each source has a channel of its own, which ends with it: what a source said that is no longer wanted can never
//! be heard later, when the same resource is wanted again. They run under supervision and feed the one task that
//! owns the index; they are dropped with it and begin anew with it.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::follow::Following;
use super::object::{EVENTS_QUEUED_MAX, Event, ORDERS_QUEUED_MAX, Order, Resource};
use super::selector::Target;
use super::supervise::supervise;
use super::{manifests, watch};

/// Where sources read.
pub(super) enum Feed {
    /// An API server, where each resource is followed by a task of its own.
    Api {
        client: kube::Client,
        /// Its URL.
        server: Arc<str>,
    },
    /// Files and folders, where one reader follows all resources.
    Manifests(Vec<PathBuf>),
}

/// The sources that run.
pub(super) struct Sources {
    following: Arc<Following>,
    running: Vec<Running>,
    /// Whose turn it is to be heard first, so that a busy source does not silence the others.
    turn: usize,
}

/// A source; dropped, it ends.
struct Running {
    resources: Vec<Resource>,
    events: mpsc::Receiver<Event>,
    orders: mpsc::Sender<(u64, Order)>,
    _task: JoinSet<()>,
}

impl Sources {
    /// None yet.
    pub(super) fn new(following: Arc<Following>) -> Sources {
        Sources {
            following,
            running: Vec::new(),
            turn: 0,
        }
    }

    /// Lets sources run for these resources and for no others. Must be called on a runtime.
    pub(super) fn want(&mut self, resources: &[Resource]) {
        let wanted: Vec<Vec<Resource>> = match &self.following.feed {
            Feed::Api { .. } => resources.iter().map(|resource| vec![*resource]).collect(),
            Feed::Manifests(_) if resources.is_empty() => vec![],
            Feed::Manifests(_) => vec![resources.to_vec()],
        };
        self.running
            .retain(|running| wanted.contains(&running.resources));
        for resources in wanted {
            if !self
                .running
                .iter()
                .any(|known| known.resources == resources)
            {
                self.running.push(self.start(resources));
            }
        }
    }

    /// The next event. Never, where nothing runs.
    pub(super) async fn next(&mut self) -> Event {
        poll_fn(|context| {
            let sources = self.running.len();
            for at in (0..sources).map(|step| (self.turn + step) % sources) {
                if let Poll::Ready(Some(event)) = self.running[at].events.poll_recv(context) {
                    self.turn = at + 1;
                    return Poll::Ready(event);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// An event that is there already.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        self.running
            .iter_mut()
            .find_map(|running| running.events.try_recv().ok())
    }

    /// Orders something of the source of a resource. Says whether there was room for it; manifests are not asked.
    pub(super) fn order(&self, resource: Resource, number: u64, order: Order) -> bool {
        let mut running = self.running.iter();
        let source = running.find(|running| running.resources == [resource]);
        let is_api = matches!(self.following.feed, Feed::Api { .. });
        is_api && source.is_some_and(|source| source.orders.try_send((number, order)).is_ok())
    }

    fn start(&self, resources: Vec<Resource>) -> Running {
        let (send, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (orders, ordered) = mpsc::channel(ORDERS_QUEUED_MAX);
        let ordered = Arc::new(Mutex::new(ordered));
        let (following, wanted) = (self.following.clone(), resources.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { run(&following, &wanted, send, ordered).await });
        Running {
            resources,
            events,
            orders,
            _task: task,
        }
    }
}

/// Follows these resources until nobody listens.
async fn run(
    following: &Following,
    resources: &[Resource],
    events: mpsc::Sender<Event>,
    orders: watch::Orders,
) {
    let targets: Vec<Target> = resources
        .iter()
        .map(|resource| following.key.target(*resource))
        .collect();
    let names: Vec<String> = resources.iter().map(ToString::to_string).collect();
    let (name, observer) = (&following.name, &*following.observer);
    let work = || async {
        match &following.feed {
            Feed::Api { client, server } => {
                let watches = targets.iter().map(|target| {
                    let place = watch::Place {
                        client: client.clone(),
                        server: server.clone(),
                        fresh: following.freshness(target.resource),
                        bookmark_margin: following.pace.bookmark_margin,
                    };
                    watch::follow(place, target.clone(), events.clone(), orders.clone())
                });
                join_all(watches).await;
            }
            Feed::Manifests(paths) => {
                manifests::follow(paths.clone(), targets.clone(), events.clone()).await;
            }
        }
    };
    tokio::select! {
        () = events.closed() => {}
        () = supervise(names.join(" "), name, observer, work) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::stream;
    use http::{Request, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::cluster::Cluster;
    use crate::cluster::pace::Pace;
    use crate::cluster::registry::{ClusterKey, Source};
    use crate::cluster::supervise::tests::Panics;

    /// A client whose first answer panics when it is read; the others are never complete.
    fn client() -> kube::Client {
        let asked = Arc::new(AtomicUsize::new(0));
        let service = service_fn(move |_: Request<Body>| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let body =
                stream::poll_fn(move |_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                    if first {
                        panic!("an answer that nobody foresaw");
                    }
                    Poll::Pending
                });
            async move { Ok::<_, Infallible>(Response::new(StreamBody::new(body))) }
        });
        kube::Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_panics_begins_again_and_one_that_is_not_wanted_is_not_heard() {
        let panics = Arc::<Panics>::default();
        let mut sources = Sources::new(Arc::new(Following {
            cluster: Arc::new(Cluster::default()),
            key: ClusterKey {
                source: Source::Manifests(vec![]),
                labels: None,
                namespace_labels: None,
            },
            name: "test".into(),
            identity: "test".into(),
            feed: Feed::Api {
                client: client(),
                server: "https://api".into(),
            },
            observer: panics.clone(),
            pace: Pace::default(),
            fresh: std::array::from_fn(|_| crate::cluster::watch::Freshness::Any),
            served: Default::default(),
            restored: std::sync::Mutex::default(),
            saves: tokio::sync::Mutex::new(mpsc::channel(1).1),
        }));
        sources.want(&[Resource::Services]);
        for begun in 0..2 {
            let event = sources.next().await;
            assert_eq!(event, Event::ListStarted(Resource::Services), "{begun}");
        }
        assert_eq!(panics.0.load(Ordering::Relaxed), 1);

        sources.want(&[Resource::Services, Resource::Pods]);
        while sources.running[1].events.is_empty() {
            tokio::task::yield_now().await;
        }
        sources.want(&[Resource::Services]);
        sources.want(&[Resource::Services, Resource::Pods]);
        assert_eq!(
            sources.try_next(),
            None,
            "what the first watch said is gone"
        );
        assert_eq!(sources.next().await, Event::ListStarted(Resource::Pods));
    }
}

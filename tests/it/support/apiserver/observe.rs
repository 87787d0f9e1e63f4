//! The part of the handle that looks: what was asked, what is open, and waiting for either.

use std::time::Duration;

use super::{ApiServer, Request, Verb, resource::Resource};

/// How long a wait may last before the test fails; generous, because only a failing test pays it.
const DEADLINE: Duration = Duration::from_secs(20);

impl ApiServer {
    /// How many requests of this kind came, refused ones and faults included.
    pub(crate) fn count(&self, resource: &str, verb: Verb) -> usize {
        self.shared
            .look(|state| state.ledger.count(Resource::named(resource).plural, verb))
    }

    /// The latest requests, oldest first.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared
            .look(|state| state.ledger.requests().cloned().collect())
    }

    /// Of the latest requests those of this kind, oldest first.
    pub(crate) fn requests_for(&self, resource: &str, verb: Verb) -> Vec<Request> {
        let plural = Resource::named(resource).plural;
        let mut requests = self.requests();
        requests.retain(|request| request.resource() == Some(plural) && request.verb == verb);
        requests
    }

    /// Forgets requests, their counts, and the count of connections.
    pub(crate) fn clear_requests(&self) {
        self.shared.change(|state| state.ledger.clear());
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.look(|state| state.ledger.connections)
    }

    /// How many watches of the resource are open.
    pub(crate) fn open_watches(&self, resource: &str) -> usize {
        let resource = Resource::named(resource);
        self.shared
            .change_silently(|state| state.watches_of(resource).count())
    }

    /// Waits until so many requests of this kind have come, since the start or since they were cleared.
    pub(crate) async fn wait_for_requests(&self, resource: &str, verb: Verb, count: usize) {
        let what = format!("{count} requests to {verb:?} {resource}");
        self.wait_until(&what, |server| server.count(resource, verb) >= count)
            .await;
    }

    /// Waits until a watch of the resource is open.
    pub(crate) async fn wait_for_watch(&self, resource: &str) {
        self.wait_until(&format!("a watch of {resource}"), |server| {
            server.open_watches(resource) > 0
        })
        .await;
    }

    /// Waits until every open watch of the resource was handed all its events: written to the socket or about to be,
    /// which does not mean that the client has read them.
    pub(crate) async fn wait_for_delivery(&self, resource: &str) {
        let row = Resource::named(resource);
        let delivered = |server: &Self| {
            server.shared.change_silently(|state| {
                let cached = state.cached();
                state.watches_of(row).all(|watch| watch.delivered >= cached)
            })
        };
        self.wait_until(&format!("delivery of {resource}"), delivered)
            .await;
    }

    /// Waits until `condition` holds, looking at it after each change of the server; panics after 20 seconds, naming
    /// `what` was waited for and what came instead.
    pub(crate) async fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut bell = self.shared.bell();
        let holds = async {
            loop {
                bell.borrow_and_update();
                if condition(self) {
                    return;
                }
                bell.changed().await.expect("the bell hangs in self");
            }
        };
        if tokio::time::timeout(DEADLINE, holds).await.is_err() {
            let seen = self
                .requests()
                .into_iter()
                .map(|request| format!("{:?} {}", request.verb, request.path));
            panic!(
                "waited in vain for {what}; requests: {:#?}",
                seen.collect::<Vec<_>>()
            );
        }
    }
}

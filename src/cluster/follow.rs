//! The task that owns an index: takes events, publishes views, tells what is worth counting.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::index::Index;
use super::object::{EVENTS_QUEUED_MAX, Event, Object, Resource};
use super::records::{ServiceKind, service_key};
use super::view::View;
use super::{Cluster, Observer};

/// Applies events to the view of `cluster` until their senders are gone. A view is published after each batch:
/// whatever has arrived when the index gets to look. An event on its own is published at once.
pub(super) async fn follow(
    cluster: Arc<Cluster>,
    name: Arc<str>,
    mut events: mpsc::Receiver<Event>,
    observer: Arc<dyn Observer>,
) {
    let mut index = Index::default();
    let mut changes = Vec::new();
    while let Some(first) = events.recv().await {
        let mut next = Some(first);
        let mut changed = false;
        let now = SystemTime::now();
        let mut applied = 0;
        while let Some(event) = next {
            cluster.note(&event);
            changes.extend(trigger(&event, index.latest()));
            changed |= index.apply(event, unix_seconds(now));
            applied += 1;
            // A stream of events that never ends must not keep what is known already from being published.
            next = (applied < EVENTS_QUEUED_MAX)
                .then(|| events.try_recv().ok())
                .flatten();
        }
        if changed {
            let view = index.view();
            publish(&name, &view, &index, &*observer);
            cluster.view.store(Arc::new(view));
        }
        for (headless, happened) in changes.drain(..) {
            // A clock that is behind the API server's makes changes that have not happened yet.
            if let Ok(elapsed) = SystemTime::now().duration_since(happened) {
                observer.programmed(headless, elapsed);
            }
        }
    }
}

fn publish(name: &str, view: &View, index: &Index, observer: &dyn Observer) {
    for resource in Resource::ALL {
        observer.holds(
            name,
            resource,
            index.count(resource),
            view.is_synced(resource),
        );
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
    match view.service(&key)?.kind {
        ServiceKind::ClusterIps(_) => Some((false, happened)),
        ServiceKind::Headless => Some((true, happened)),
        ServiceKind::ExternalName(_) => None,
    }
}

impl Cluster {
    /// Remembers what keeps a resource from being followed, until it is followed again.
    fn note(&self, event: &Event) {
        let (resource, trouble) = match event {
            Event::Trouble(resource, trouble) => (*resource, Some(trouble.clone())),
            Event::Listed(resource) | Event::Current(resource) => (*resource, None),
            Event::ListStarted(_) | Event::Applied(_) | Event::Deleted(_) => return,
        };
        let mut troubles = self
            .troubles
            .lock()
            .expect("held for a copy only, which does not panic");
        troubles[resource as usize] = trouble;
    }
}

/// Seconds since 1970, as a SOA serial takes them (RFC 1982: they may wrap).
fn unix_seconds(now: SystemTime) -> u32 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs() as u32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_delay_of_a_change_is_told_for_services_that_answer_with_it() {
        let service = |name: &str, spec: serde_json::Value| {
            let value = json!({"metadata": {"namespace": "demo", "name": name}, "spec": spec});
            Event::Applied(Object::read(Resource::Services, &value).unwrap())
        };
        let slice = |service: &str, annotations: serde_json::Value| {
            let labels = json!({"kubernetes.io/service-name": service});
            let metadata = json!({"namespace": "demo", "name": service, "labels": labels, "annotations": annotations});
            let value =
                json!({"metadata": metadata, "addressType": "IPv4", "endpoints": [], "ports": []});
            Event::Applied(Object::read(Resource::EndpointSlices, &value).unwrap())
        };
        let services = [
            service(
                "web",
                json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}),
            ),
            service("db", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
            service(
                "out",
                json!({"type": "ExternalName", "externalName": "example.com"}),
            ),
        ];
        let synced = [
            Event::ListStarted(Resource::EndpointSlices),
            Event::Listed(Resource::EndpointSlices),
        ];
        let stamp =
            json!({"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"});
        for (fact, name, annotations, synced, expected) in [
            (
                "a ClusterIP",
                "web",
                stamp.clone(),
                &synced[..],
                Some(false),
            ),
            ("headless", "db", stamp.clone(), &synced, Some(true)),
            ("an alias", "out", stamp.clone(), &synced, None),
            ("no Service", "nosuch", stamp.clone(), &synced, None),
            ("no stamp", "web", json!({}), &synced, None),
            ("the first list", "web", stamp, &[], None),
        ] {
            let mut index = Index::default();
            for event in services.iter().chain(synced) {
                index.apply(event.clone(), 0);
            }
            let told = trigger(&slice(name, annotations), index.latest());
            assert_eq!(told.map(|(headless, _)| headless), expected, "{fact}");
        }
    }
}

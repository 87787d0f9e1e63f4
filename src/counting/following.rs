//! What is told of clusters and their API servers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::panicked;
use crate::cluster::audit::{self, Repairs};
use crate::cluster::connection::{Request, RequestObserver};
use crate::cluster::freshness::Heard;
use crate::cluster::object::Resource;
use crate::cluster::snapshot::SnapshotEvent;
use crate::cluster::{HeldEnds, Observer};
use crate::telemetry::{KubernetesMetrics, Metrics, ServiceKind};

/// Counts what is asked of API servers and what is known of clusters.
pub(crate) struct Following {
    metrics: Arc<Metrics>,
    panics_end_it: Arc<AtomicBool>,
}

impl Following {
    pub(crate) fn new(metrics: Arc<Metrics>, panics_end_it: Arc<AtomicBool>) -> Following {
        Following {
            metrics,
            panics_end_it,
        }
    }

    fn room(&self) -> &KubernetesMetrics {
        self.metrics.kubernetes()
    }
}

impl Observer for Following {
    fn holds(&self, cluster: &str, resource: Resource, objects: usize, synced: bool) {
        self.room()
            .holds(cluster, &resource.to_string(), objects as u64, synced);
    }

    fn forgets(&self, cluster: &str, resource: Resource) {
        self.room().forgets(cluster, &resource.to_string());
    }

    fn heard(&self, cluster: &str, resource: Resource, heard: &Heard) {
        let resource = resource.to_string();
        for (way, at) in [
            ("event", heard.event),
            ("bookmark", heard.bookmark),
            ("list", heard.list),
            ("contact", heard.contact),
        ] {
            if let Some(at) = at {
                self.room().freshness().heard(cluster, &resource, way, at);
            }
        }
        if let Ok(version) = heard.version.parse() {
            self.room().freshness().reached(cluster, &resource, version);
        }
    }

    fn audited(&self, cluster: &str, resource: Resource, result: audit::Result) {
        let result = match result {
            audit::Result::Same => "same",
            audit::Result::Repaired => "repaired",
            audit::Result::Failed => "failed",
            audit::Result::Older => "older",
        };
        self.room()
            .freshness()
            .audited(cluster, &resource.to_string(), result);
    }

    fn repaired(&self, cluster: &str, resource: Resource, repairs: Repairs) {
        for (kind, count) in repairs.each() {
            let kind = match kind {
                audit::Kind::Missing => "missing",
                audit::Kind::Changed => "changed",
                audit::Kind::Extra => "extra",
            };
            self.room()
                .freshness()
                .repaired(cluster, &resource.to_string(), kind, count);
        }
    }

    fn doubted(&self, cluster: &str, resource: Resource) {
        self.room()
            .freshness()
            .doubted(cluster, &resource.to_string());
    }

    fn rewound(&self, cluster: &str, resource: Resource) {
        self.room()
            .freshness()
            .rewound(cluster, &resource.to_string());
    }

    fn programmed(&self, headless: bool, elapsed: Duration) {
        let kind = if headless {
            ServiceKind::HeadlessWithSelector
        } else {
            ServiceKind::ClusterIp
        };
        self.room().programmed(kind, elapsed);
    }

    fn held(&self, cluster: &str, ends: HeldEnds) {
        let HeldEnds {
            moved,
            gone,
            no_room,
        } = ends;
        for (outcome, endpoints) in [("moved", moved), ("gone", gone), ("no_room", no_room)] {
            self.room().held(cluster, outcome, endpoints);
        }
    }

    fn snapshot(&self, cluster: &str, event: SnapshotEvent) {
        let snapshot = self.room().snapshot();
        match event {
            SnapshotEvent::Written { octets, at } => snapshot.written(cluster, octets, at),
            SnapshotEvent::CurrentAsOf(time) => snapshot.current_as_of(cluster, time),
            SnapshotEvent::NotKept => snapshot.not_kept(cluster),
            SnapshotEvent::WriteFailed => snapshot.write_failed(cluster),
            SnapshotEvent::ReadFailed(reason) => snapshot.read_failed(cluster, reason),
            SnapshotEvent::Serves(resource, as_of) => {
                snapshot.serves(cluster, &resource.to_string(), as_of)
            }
        }
    }

    fn panicked(&self) {
        panicked(&self.metrics, &self.panics_end_it);
    }
}

impl RequestObserver for Following {
    fn answered(&self, request: &Request<'_>) {
        let (host, method) = (request.host, request.method.as_str());
        let code = request
            .code
            .map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.room().requested(host, method, &code, request.duration);
        self.room().held_back(host, method, request.waited);
    }
}

//! What is counted of clusters: requests to their API servers, the objects that are known, and how late changes are served.

use std::time::Duration;

use prometheus::{CounterVec, DEFAULT_BUCKETS, GaugeVec, HistogramVec, Opts, exponential_buckets};

use super::freshness::FreshnessMetrics;
use super::rooms::Rooms;
use super::snapshot::SnapshotMetrics;

/// Which kind of Service an endpoint change was for; `service_kind` on `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// With a cluster IP.
    ClusterIp,
    /// Headless, with a selector.
    HeadlessWithSelector,
}

/// What the cluster room counts of its API client and of the objects it holds.
#[derive(Clone)]
pub struct KubernetesMetrics {
    programming: HistogramVec,
    request_duration: HistogramVec,
    rate_limiter_duration: HistogramVec,
    requests: CounterVec,
    objects: GaugeVec,
    synced: GaugeVec,
    freshness: FreshnessMetrics,
    held: CounterVec,
    snapshot: SnapshotMetrics,
}

impl KubernetesMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        let doubling =
            exponential_buckets(0.001, 2.0, 20).expect("20 buckets from a positive start");
        Self {
            programming: rooms.histograms(
                "coredns_kubernetes_dns_programming_duration_seconds",
                "Histogram of the time (in seconds) it took to program a dns instance.",
                doubling,
                &["service_kind"],
            ),
            request_duration: rooms.histograms(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb and host.",
                DEFAULT_BUCKETS.to_vec(),
                &["verb", "host"],
            ),
            rate_limiter_duration: rooms.histograms(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Client side rate limiter latency in seconds. Broken down by verb and host.",
                DEFAULT_BUCKETS.to_vec(),
                &["verb", "host"],
            ),
            requests: rooms.add(CounterVec::new(
                Opts::new(
                    "coredns_kubernetes_rest_client_requests_total",
                    "Number of HTTP requests, partitioned by status code, method, and host.",
                ),
                &["code", "method", "host"],
            )),
            objects: rooms.gauges(
                "cairn_cluster_objects",
                "Objects of the cluster that names are served from, by resource.",
                &["cluster", "resource"],
            ),
            synced: rooms.gauges(
                "cairn_cluster_synced",
                "Whether the resource has been listed whole and is being watched (1) or not (0). One from a snapshot has not been listed.",
                &["cluster", "resource"],
            ),
            freshness: FreshnessMetrics::new(rooms),
            held: rooms.add(CounterVec::new(
                Opts::new(
                    "cairn_cluster_endpoints_held_total",
                    "Ready endpoints that a slice left out without a word, by what became of them.",
                ),
                &["cluster", "outcome"],
            )),
            snapshot: SnapshotMetrics::new(rooms),
        }
    }

    /// How fresh what is known of clusters is.
    pub fn freshness(&self) -> &FreshnessMetrics {
        &self.freshness
    }

    /// What is counted of the snapshots of clusters.
    pub fn snapshot(&self) -> &SnapshotMetrics {
        &self.snapshot
    }

    /// Observes how long after its trigger a change of endpoints is served.
    pub fn programmed(&self, kind: ServiceKind, elapsed: Duration) {
        let kind = match kind {
            ServiceKind::ClusterIp => "cluster_ip",
            ServiceKind::HeadlessWithSelector => "headless_with_selector",
        };
        self.programming
            .with_label_values(&[kind])
            .observe(elapsed.as_secs_f64());
    }

    /// Counts a request to the API server: `code` is the HTTP status, or `<error>` where none came; `method` is the
    /// HTTP method, in capitals. As in client-go, the method stands for the verb too.
    pub fn requested(&self, host: &str, method: &str, code: &str, elapsed: Duration) {
        self.requests.with_label_values(&[code, method, host]).inc();
        self.request_duration
            .with_label_values(&[method, host])
            .observe(elapsed.as_secs_f64());
    }

    /// Observes how long a request was held back by our own limit before it was sent.
    pub fn held_back(&self, host: &str, method: &str, elapsed: Duration) {
        self.rate_limiter_duration
            .with_label_values(&[method, host])
            .observe(elapsed.as_secs_f64());
    }

    /// States how many objects of `resource` (`services`, `endpointslices`, …) of a cluster are held, and whether it
    /// is synced.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    pub fn holds(&self, cluster: &str, resource: &str, objects: u64, synced: bool) {
        let labels = [cluster, resource];
        self.objects.with_label_values(&labels).set(objects as f64);
        self.synced
            .with_label_values(&labels)
            .set(f64::from(u8::from(synced)));
    }

    /// Counts endpoints that a slice left out without a word, by what became of them: `moved`, `gone` or `no_room`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    pub fn held(&self, cluster: &str, outcome: &str, endpoints: u64) {
        let counter = self.held.with_label_values(&[cluster, outcome]);
        counter.inc_by(endpoints as f64);
    }

    /// States nothing more of `resource` of a cluster.
    pub fn forgets(&self, cluster: &str, resource: &str) {
        // What was never stated need not be taken back.
        let _ = self.objects.remove_label_values(&[cluster, resource]);
        let _ = self.synced.remove_label_values(&[cluster, resource]);
        self.freshness.forgets(cluster, resource);
        self.snapshot.serves(cluster, resource, None);
    }
}

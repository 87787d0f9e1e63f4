//! How fresh what is known of a cluster is, and what was mended: stated by the room that follows clusters.
//!
//! Times are Unix times and not ages, as Prometheus has it: an age that nobody updates any more would look young.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{GaugeVec, IntCounterVec, Opts};

use super::rooms::Rooms;

/// The ways in which a source is heard, as the label has them.
const WAYS: [&str; 4] = ["event", "bookmark", "list", "contact"];

/// By `cluster` and `resource` (`services`, `endpointslices`, …).
#[derive(Clone)]
pub struct FreshnessMetrics {
    heard: GaugeVec,
    version: GaugeVec,
    audits: IntCounterVec,
    repairs: IntCounterVec,
    doubts: IntCounterVec,
    rewinds: IntCounterVec,
}

impl FreshnessMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        let mut counters = |name: &str, help: &str, labels: &[&str]| {
            rooms.add(IntCounterVec::new(Opts::new(name, help), labels))
        };
        Self {
            audits: counters(
                "cairn_cluster_audits_total",
                "Comparisons of what is known of a resource with what the API server has, by how they ended.",
                &["cluster", "resource", "result"],
            ),
            repairs: counters(
                "cairn_cluster_repairs_total",
                "Objects that a watch had left out, by what was wrong with what was known.",
                &["cluster", "resource", "kind"],
            ),
            doubts: counters(
                "cairn_cluster_lists_doubted_total",
                "Lists that would have taken out most of a resource and were asked for again.",
                &["cluster", "resource"],
            ),
            rewinds: counters(
                "cairn_cluster_rewinds_total",
                "Times that the API server was found to have gone back in time, as from a backup.",
                &["cluster", "resource"],
            ),
            heard: rooms.gauges(
                "cairn_cluster_heard_timestamp_seconds",
                "Unix time at which the source of the resource was last heard, by way.",
                &["cluster", "resource", "way"],
            ),
            version: rooms.gauges(
                "cairn_cluster_resource_version",
                "The resourceVersion up to which everything of the resource is known.",
                &["cluster", "resource"],
            ),
        }
    }

    /// States when the source was heard in this way.
    pub fn heard(&self, cluster: &str, resource: &str, way: &str, at: SystemTime) {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let gauge = self.heard.with_label_values(&[cluster, resource, way]);
        gauge.set(at.as_secs_f64());
    }

    /// States how far the source has come.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats; etcd counts to 2^53 in no lifetime"
    )]
    pub fn reached(&self, cluster: &str, resource: &str, version: u64) {
        let gauge = self.version.with_label_values(&[cluster, resource]);
        gauge.set(version as f64);
    }

    /// Counts a comparison: `same`, `repaired`, `failed` or `older`.
    pub fn audited(&self, cluster: &str, resource: &str, result: &str) {
        self.audits
            .with_label_values(&[cluster, resource, result])
            .inc();
    }

    /// Counts objects: `missing`, `changed` or `extra`.
    pub fn repaired(&self, cluster: &str, resource: &str, kind: &str, count: u64) {
        self.repairs
            .with_label_values(&[cluster, resource, kind])
            .inc_by(count);
    }

    /// Counts a list that is not believed for now.
    pub fn doubted(&self, cluster: &str, resource: &str) {
        self.doubts.with_label_values(&[cluster, resource]).inc();
    }

    /// Counts a server that has gone back in time.
    pub fn rewound(&self, cluster: &str, resource: &str) {
        self.rewinds.with_label_values(&[cluster, resource]).inc();
    }

    /// States nothing more of a resource; what was counted stays.
    pub(super) fn forgets(&self, cluster: &str, resource: &str) {
        // What was never stated need not be taken back.
        for way in WAYS {
            let _ = self.heard.remove_label_values(&[cluster, resource, way]);
        }
        let _ = self.version.remove_label_values(&[cluster, resource]);
    }
}

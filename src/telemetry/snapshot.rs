//! What is counted of the snapshots of clusters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{GaugeVec, IntCounterVec, Opts};

use super::family::{Schema, gauge, texts};
use super::rooms::Rooms;

/// Files that are written and read, and what is served from them.
#[derive(Clone)]
pub struct SnapshotMetrics {
    served: ServedAges,
    written: GaugeVec,
    current: GaugeVec,
    size: GaugeVec,
    write_failures: IntCounterVec,
    read_failures: IntCounterVec,
}

impl SnapshotMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        Self {
            served: rooms.add(Ok(ServedAges::default())),
            written: rooms.gauges(
                "cairn_kubernetes_snapshot_written_timestamp_seconds",
                "When the snapshot of the cluster was last written, in seconds since 1970.",
                &["cluster"],
            ),
            current: rooms.gauges(
                "cairn_kubernetes_snapshot_current_timestamp_seconds",
                "Until when the snapshot on disk was current, in seconds since 1970; of its resources the oldest counts.",
                &["cluster"],
            ),
            size: rooms.gauges(
                "cairn_kubernetes_snapshot_size_bytes",
                "Size of the snapshot that was last written.",
                &["cluster"],
            ),
            write_failures: rooms.add(IntCounterVec::new(
                Opts::new(
                    "cairn_kubernetes_snapshot_write_failures_total",
                    "Times that the snapshot of the cluster could not be written.",
                ),
                &["cluster"],
            )),
            read_failures: rooms.add(IntCounterVec::new(
                Opts::new(
                    "cairn_kubernetes_snapshot_read_failures_total",
                    "Times that a snapshot was there at a start and was not served, by the reason.",
                ),
                &["cluster", "reason"],
            )),
        }
    }

    /// States that a file of this size has been written, at this time in seconds since 1970.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    pub fn written(&self, cluster: &str, octets: u64, at: u64) {
        self.written.with_label_values(&[cluster]).set(at as f64);
        self.size.with_label_values(&[cluster]).set(octets as f64);
    }

    /// States until when the file on disk has been current, in seconds since 1970.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    pub fn current_as_of(&self, cluster: &str, time: u64) {
        self.current.with_label_values(&[cluster]).set(time as f64);
    }

    /// The snapshot that was kept is not any more: what was stated of its file is taken back.
    pub fn not_kept(&self, cluster: &str) {
        for gauges in [&self.written, &self.current, &self.size] {
            // One that was never stated has nothing to be taken back.
            let _ = gauges.remove_label_values(&[cluster]);
        }
    }

    /// Counts a file that could not be written.
    pub fn write_failed(&self, cluster: &str) {
        self.write_failures.with_label_values(&[cluster]).inc();
    }

    /// Counts a file that was refused.
    pub fn read_failed(&self, cluster: &str, reason: &str) {
        self.read_failures
            .with_label_values(&[cluster, reason])
            .inc();
    }

    /// States that a resource is served from a snapshot that was current at this time, in seconds since 1970; `None`:
    /// from the API server.
    pub fn serves(&self, cluster: &str, resource: &str, as_of: Option<u64>) {
        let mut served = self.served.lock();
        // Told with each view that is published, and nearly always that there is none.
        if as_of.is_none() && served.is_empty() {
            return;
        }
        let series = vec![cluster.to_owned(), resource.to_owned()];
        if let Some(as_of) = as_of {
            served.insert(series, as_of);
        } else {
            served.remove(&series);
        }
    }
}

/// Ages of what is served from snapshots: they grow by themselves, so they are reckoned when somebody looks.
#[derive(Clone)]
struct ServedAges {
    schema: Arc<Schema>,
    as_of: Arc<Mutex<AsOf>>,
}

/// Seconds since 1970 by cluster and resource.
type AsOf = BTreeMap<Vec<String>, u64>;

impl Default for ServedAges {
    fn default() -> Self {
        let schema = Schema::new(
            MetricType::GAUGE,
            "cairn_kubernetes_snapshot_served_age_seconds",
            "Age of what is served from a snapshot, as long as the resource has not been listed since the start.",
            &["cluster", "resource"],
        );
        Self {
            schema: Arc::new(schema),
            as_of: Arc::default(),
        }
    }
}

impl ServedAges {
    fn lock(&self) -> std::sync::MutexGuard<'_, AsOf> {
        self.as_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ServedAges {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.schema.desc()]
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    fn collect(&self) -> Vec<MetricFamily> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.unwrap_or_default().as_secs();
        let as_of = self.lock();
        let series = as_of.iter().map(|(values, as_of)| {
            let age = now.saturating_sub(*as_of);
            gauge(self.schema.pairs(&texts(values)), age as f64)
        });
        vec![self.schema.family(series.collect())]
    }
}

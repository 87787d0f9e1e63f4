//! What is counted off the path of a query: a small struct for each room, made of the `prometheus` crate's own metrics.
//!
//! Families without labels are on `/metrics` from the start, at zero, as CoreDNS's are; families with labels appear with
//! their first series.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, Opts,
};

use super::family::GaugeFamily;

/// Buckets of the health self-poll in seconds, CoreDNS's `SlimTimeBuckets`.
const SLIM_BUCKETS: [f64; 5] = [0.000_25, 0.002_5, 0.025, 0.25, 2.5];

const CONSTANT: &str = "names of metrics and labels are constants that the text format allows";

/// Hands out metrics and remembers them for the registry.
#[derive(Default)]
pub(super) struct Rooms {
    pub(super) collectors: Vec<Box<dyn Collector>>,
}

impl Rooms {
    pub(super) fn add<C: Collector + Clone + 'static>(
        &mut self,
        collector: prometheus::Result<C>,
    ) -> C {
        let collector = collector.expect(CONSTANT);
        self.collectors.push(Box::new(collector.clone()));
        collector
    }

    fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
        labels: &[&str],
    ) -> HistogramVec {
        self.add(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets),
            labels,
        ))
    }
}

/// What the server counts beside queries.
pub struct ServerMetrics {
    panics: IntCounter,
}

impl ServerMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        Self {
            panics: rooms.counter(
                "coredns_panics_total",
                "A metrics that counts the number of panics.",
            ),
        }
    }

    /// Counts a panic that was contained.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

/// What `health` counts of its own endpoint.
pub struct HealthMetrics {
    duration: Histogram,
    failures: IntCounter,
}

impl HealthMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        let duration = HistogramOpts::new(
            "coredns_health_request_duration_seconds",
            "Histogram of the time (in seconds) each request took.",
        );
        Self {
            duration: rooms.add(Histogram::with_opts(
                duration.buckets(SLIM_BUCKETS.to_vec()),
            )),
            failures: rooms.counter(
                "coredns_health_request_failures_total",
                "The number of times the health check failed.",
            ),
        }
    }

    /// Counts one request of the server to itself.
    pub fn polled(&self, elapsed: Duration, succeeded: bool) {
        self.duration.observe(elapsed.as_secs_f64());
        if !succeeded {
            self.failures.inc();
        }
    }
}

/// What `reload` counts.
pub struct ReloadMetrics {
    failed: IntCounter,
    version: GaugeFamily,
    failing: Gauge,
    last_good: Gauge,
    last_good_write_failures: IntCounter,
}

impl ReloadMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        let help = "A metric with a constant '1' value labeled by hash and value of the running configuration.";
        Self {
            failed: rooms.counter(
                "coredns_reload_failed_total",
                "Counter of the number of failed reload attempts.",
            ),
            version: rooms.add(Ok(GaugeFamily::new(
                "coredns_reload_version_info",
                help,
                &["hash", "value"],
            ))),
            failing: rooms.add(Gauge::new(
                "cairn_reload_failing",
                "Whether the Corefile is not what is served, because it cannot be (1), or is (0).",
            )),
            last_good: rooms.add(Gauge::new(
                "cairn_config_last_good",
                "Whether the last good Corefile is served, because at the start the real one could not be (1), or the real one (0).",
            )),
            last_good_write_failures: rooms.counter(
                "cairn_config_last_good_write_failures_total",
                "Times that the copy of the last good Corefile could not be written.",
            ),
        }
    }

    /// States whether the Corefile cannot be served, and whether the last good one is served in its place.
    pub fn failing(&self, is_failing: bool, is_last_good: bool) {
        self.failing.set(f64::from(u8::from(is_failing)));
        self.last_good.set(f64::from(u8::from(is_last_good)));
    }

    /// Counts a copy of the last good Corefile that could not be written.
    pub fn last_good_write_failed(&self) {
        self.last_good_write_failures.inc();
    }

    /// Counts a configuration that could not be put to work.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// States the SHA-512, in hex, of the configuration that runs. (CoreDNS states the refused one after a failure.)
    pub fn running(&self, sha512: &str) {
        self.version
            .replace([(vec!["sha512".to_owned(), sha512.to_owned()], 1.0)]);
    }
}

/// What `loop` counts.
pub struct LoopMetrics {
    found: CounterVec,
    looping: GaugeFamily,
}

impl LoopMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        const LABELS: &[&str] = &["server", "zone"];
        Self {
            found: rooms.add(CounterVec::new(
                Opts::new(
                    "cairn_loop_detected_total",
                    "Times that forwarded queries were found to come back.",
                ),
                LABELS,
            )),
            looping: rooms.add(Ok(GaugeFamily::new(
                "cairn_loop_detected",
                "Whether forwarded queries come back (1), so that nothing is forwarded, or did before (0).",
                LABELS,
            ))),
        }
    }

    /// A loop was found on `server` for `zone`, as in [`Metrics::block`](super::Metrics::block).
    pub fn found(&self, server: &str, zone: &str) {
        self.found.with_label_values(&[server, zone]).inc();
        self.looping.set(&[server, zone], 1.0);
    }

    /// It is gone.
    pub fn gone(&self, server: &str, zone: &str) {
        self.looping.set(&[server, zone], 0.0);
    }

    /// A new configuration is served, which has found none yet.
    pub fn forget(&self) {
        self.looping.replace([]);
    }
}

/// What `forward` counts of all its stanzas together.
pub struct ForwardMetrics {
    healthcheck_broken: IntCounter,
    max_concurrent_rejects: IntCounter,
    joined: IntCounter,
}

impl ForwardMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        Self {
            healthcheck_broken: rooms.counter(
                "coredns_forward_healthcheck_broken_total",
                "Counter of the number of complete failures of the healthchecks.",
            ),
            max_concurrent_rejects: rooms.counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.",
            ),
            joined: rooms.counter(
                "cairn_forward_joined_total",
                "Queries that were not sent because the same was under way.",
            ),
        }
    }

    /// Counts a query that found all upstreams down.
    pub fn healthcheck_broken(&self) {
        self.healthcheck_broken.inc();
    }

    /// Counts a query refused by `max_concurrent`.
    pub fn rejected(&self) {
        self.max_concurrent_rejects.inc();
    }

    /// Counts a query that waited for the answer to another.
    pub fn joined(&self) {
        self.joined.inc();
    }
}

/// What `hosts` states of its files.
pub struct HostsMetrics {
    entries: GaugeVec,
    reloaded: Gauge,
}

impl HostsMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        Self {
            // A family of no labels: not shown until the first file is read, as CoreDNS's.
            entries: rooms.gauges(
                "coredns_hosts_entries",
                "The combined number of entries in hosts and Corefile.",
                &[],
            ),
            reloaded: rooms.add(Gauge::new(
                "coredns_hosts_reload_timestamp_seconds",
                "The timestamp of the last reload of hosts file.",
            )),
        }
    }

    /// States how many entries are served, and since when: the time in seconds since the epoch.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    pub fn read(&self, entries: u64, at_seconds: f64) {
        self.entries
            .with_label_values::<&str>(&[])
            .set(entries as f64);
        self.reloaded.set(at_seconds);
    }
}

/// What `local` counts.
pub struct LocalMetrics {
    localhost: IntCounter,
}

impl LocalMetrics {
    pub(super) fn new(rooms: &mut Rooms) -> Self {
        Self {
            localhost: rooms.counter(
                "coredns_local_localhost_requests_total",
                "Counter of localhost.<domain> requests.",
            ),
        }
    }

    /// Counts a query for `localhost.<domain>`.
    pub fn localhost_asked(&self) {
        self.localhost.inc();
    }
}

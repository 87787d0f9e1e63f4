//! What `forward` counts of each upstream: the `coredns_proxy_*` families.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;

use super::family::{CounterFamily, DurationFamily, GaugeFamily, Series};
use super::histogram::Durations;
use super::labels::{RCODES, rcode_slot};
use super::old_names;
use super::sharded::Counter;

/// The protocol of a pooled connection to an upstream; `proto` on `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProto {
    /// `udp`
    Udp,
    /// `tcp`
    Tcp,
    /// DNS over TLS, `tcp-tls`
    Tls,
    /// DNS over HTTPS, `https`
    Https,
    /// DNS over QUIC, `quic`; CoreDNS asks nobody over it
    Quic,
}

const PROTOS: [&str; 5] = ["udp", "tcp", "tcp-tls", "https", "quic"];

/// The counters of one upstream of one plugin; they go on over a reload that keeps the upstream.
pub struct UpstreamMetrics {
    proxy_name: String,
    to: String,
    families: Families,
    // A series of 18 cells for each rcode: made when the upstream first answers with it.
    durations: [OnceLock<Arc<Durations>>; RCODES.len()],
    connection_hits: [Arc<Counter>; PROTOS.len()],
    connection_misses: [Arc<Counter>; PROTOS.len()],
    healthcheck_failures: Arc<Counter>,
    hedges: Arc<Counter>,
    answers_discarded: Arc<Counter>,
    /// How many of those that ask it hold it for down: server blocks may ask it in their own ways.
    down: Mutex<usize>,
}

impl UpstreamMetrics {
    /// Counts an answer: `rcode` with its extended bits, `elapsed` from the query's sending.
    pub fn answered(&self, rcode: u16, elapsed: Duration) {
        let slot = rcode_slot(rcode);
        let series = self.durations[slot].get_or_init(|| {
            self.families
                .durations
                .with(&[&self.proxy_name, &self.to, RCODES[slot]])
        });
        series.observe(elapsed);
    }

    /// Counts a query that went over a pooled connection.
    pub fn connection_reused(&self, proto: UpstreamProto) {
        self.connection_hits[proto as usize].increment();
    }

    /// Counts a query for which a connection had to be made.
    pub fn connection_made(&self, proto: UpstreamProto) {
        self.connection_misses[proto as usize].increment();
    }

    /// Counts a failed health check.
    pub fn healthcheck_failed(&self) {
        self.healthcheck_failures.increment();
    }

    /// It is down for one more of those that ask it.
    pub fn went_down(&self) {
        self.set_down(|down| down + 1);
    }

    /// It is down for one less.
    pub fn came_up(&self) {
        self.set_down(|down| down.saturating_sub(1));
    }

    fn set_down(&self, change: impl FnOnce(usize) -> usize) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        *down = change(*down);
        let up = if *down == 0 { 1.0 } else { 0.0 };
        self.families.up.set(&[&self.proxy_name, &self.to], up);
    }

    /// Counts a message that was no answer to what was asked.
    pub fn answer_discarded(&self) {
        self.answers_discarded.increment();
    }

    /// Counts a query that was sent beside another for the same.
    pub fn hedged(&self) {
        self.hedges.increment();
    }
}

/// All upstreams of the process.
pub(super) struct Upstreams {
    upstreams: Series<UpstreamMetrics>,
    families: Families,
}

#[derive(Clone)]
struct Families {
    durations: DurationFamily,
    connection_hits: CounterFamily,
    connection_misses: CounterFamily,
    healthcheck_failures: CounterFamily,
    hedges: CounterFamily,
    answers_discarded: CounterFamily,
    up: GaugeFamily,
}

impl Upstreams {
    pub(super) fn new() -> Self {
        const BY_PROTO: &[&str] = &["proxy_name", "to", "proto"];
        let families = Families {
            durations: DurationFamily::new(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each request took.",
                &["proxy_name", "to", "rcode"],
            ),
            connection_hits: CounterFamily::new(
                "coredns_proxy_conn_cache_hits_total",
                "Counter of connection cache hits per upstream and protocol.",
                BY_PROTO,
            ),
            connection_misses: CounterFamily::new(
                "coredns_proxy_conn_cache_misses_total",
                "Counter of connection cache misses per upstream and protocol.",
                BY_PROTO,
            ),
            healthcheck_failures: CounterFamily::new(
                "coredns_proxy_healthcheck_failures_total",
                "Counter of the number of failed healthchecks.",
                &["proxy_name", "to"],
            ),
            hedges: CounterFamily::new(
                "cairn_proxy_hedges_total",
                "Queries sent beside one that was late.",
                &["proxy_name", "to"],
            ),
            answers_discarded: CounterFamily::new(
                "cairn_proxy_answers_discarded_total",
                "Datagrams from the upstream that were no answer to what was asked.",
                &["proxy_name", "to"],
            ),
            up: GaugeFamily::new(
                "cairn_proxy_up",
                "0 while the health checks of the upstream fail, else 1.",
                &["proxy_name", "to"],
            ),
        };
        Self {
            upstreams: Series::default(),
            families,
        }
    }

    pub(super) fn with(&self, proxy_name: &str, to: &str) -> Arc<UpstreamMetrics> {
        let families = &self.families;
        let by_proto =
            |family: &CounterFamily| PROTOS.map(|proto| family.with(&[proxy_name, to, proto]));
        self.upstreams.with(&[proxy_name, to], || {
            families.up.set(&[proxy_name, to], 1.0);
            UpstreamMetrics {
                proxy_name: proxy_name.to_owned(),
                to: to.to_owned(),
                families: families.clone(),
                durations: [const { OnceLock::new() }; RCODES.len()],
                connection_hits: by_proto(&families.connection_hits),
                connection_misses: by_proto(&families.connection_misses),
                healthcheck_failures: families.healthcheck_failures.with(&[proxy_name, to]),
                hedges: families.hedges.with(&[proxy_name, to]),
                answers_discarded: families.answers_discarded.with(&[proxy_name, to]),
                down: Mutex::new(0),
            }
        })
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Families {
            durations,
            connection_hits,
            connection_misses,
            healthcheck_failures,
            hedges,
            answers_discarded,
            up,
        } = self.families.clone();
        let mut collectors = old_names::of_forward(
            &durations,
            &connection_hits,
            &connection_misses,
            &healthcheck_failures,
        );
        collectors.extend([
            Box::new(durations) as Box<dyn Collector>,
            Box::new(connection_hits),
            Box::new(connection_misses),
            Box::new(healthcheck_failures),
            Box::new(hedges),
            Box::new(answers_discarded),
            Box::new(up),
        ]);
        collectors
    }
}

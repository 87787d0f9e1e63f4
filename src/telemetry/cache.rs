//! What the `cache` plugin counts: one `CacheMetrics` for each server, list of zones and view.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::family::{CounterFamily, Schema, Series, gauge, texts};
use super::sharded::Counter;

/// Which of its two stores a cache answers from, stores into or evicts from; `type` on `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// Positive answers.
    Success,
    /// NXDOMAIN, NODATA and failures.
    Denial,
}

const TYPES: [&str; 2] = ["success", "denial"];

/// Entries that a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheEntries {
    /// Entries of [`CacheType::Success`].
    pub success: u64,
    /// Entries of [`CacheType::Denial`].
    pub denial: u64,
    /// Octets of both.
    pub octets: u64,
}

/// Tells how many entries a cache holds when somebody scrapes; `None` once the cache has gone.
pub type CountEntries = Box<dyn Fn() -> Option<CacheEntries> + Send + Sync>;

/// The counters of one cache; they go on over a reload that keeps server, zones and view.
pub struct CacheMetrics {
    hits: [Arc<Counter>; 2],
    evictions: [Arc<Counter>; 2],
    entries: Mutex<Option<CountEntries>>,
    /// Answers not found in the cache, or found and expired.
    pub misses: Arc<Counter>,
    /// Queries that were looked up.
    pub requests: Arc<Counter>,
    /// Entries refreshed before they expire.
    pub prefetches: Arc<Counter>,
    /// Replies not stored because they did not match the question.
    pub drops: Arc<Counter>,
    /// Answers given from expired entries.
    pub served_stale: Arc<Counter>,
    /// Entries not refreshed because too many refreshes were under way.
    pub refreshes_left_out: Arc<Counter>,
}

impl CacheMetrics {
    /// Counts an answer from the cache.
    #[inline]
    pub fn hit(&self, kind: CacheType) {
        self.hits[kind as usize].increment();
    }

    /// Counts an entry thrown out to make room.
    #[inline]
    pub fn evicted(&self, kind: CacheType) {
        self.evictions[kind as usize].increment();
    }

    /// Takes the number of entries from `count` from now on; the cache of a new generation replaces that of the last.
    pub fn count_entries_with(&self, count: CountEntries) {
        *self.entries.lock().unwrap_or_else(PoisonError::into_inner) = Some(count);
    }

    fn entries(&self) -> Option<CacheEntries> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(|count| count())
    }
}

/// All caches of the process.
pub(super) struct Caches {
    caches: Arc<Series<CacheMetrics>>,
    hits: CounterFamily,
    evictions: CounterFamily,
    misses: CounterFamily,
    requests: CounterFamily,
    prefetches: CounterFamily,
    drops: CounterFamily,
    served_stale: CounterFamily,
    refreshes_left_out: CounterFamily,
}

impl Caches {
    pub(super) fn new() -> Self {
        const BY_TYPE: &[&str] = &["server", "type", "zones", "view"];
        const PLAIN: &[&str] = &["server", "zones", "view"];
        Self {
            caches: Arc::default(),
            hits: CounterFamily::new(
                "coredns_cache_hits_total",
                "The count of cache hits.",
                BY_TYPE,
            ),
            evictions: CounterFamily::new(
                "coredns_cache_evictions_total",
                "The count of cache evictions.",
                BY_TYPE,
            ),
            misses: CounterFamily::new(
                "coredns_cache_misses_total",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
                PLAIN,
            ),
            requests: CounterFamily::new(
                "coredns_cache_requests_total",
                "The count of cache requests.",
                PLAIN,
            ),
            prefetches: CounterFamily::new(
                "coredns_cache_prefetch_total",
                "The number of times the cache has prefetched a cached item.",
                PLAIN,
            ),
            drops: CounterFamily::new(
                "coredns_cache_drops_total",
                "The number of responses that are not cached, because the reply is malformed.",
                PLAIN,
            ),
            served_stale: CounterFamily::new(
                "coredns_cache_served_stale_total",
                "The number of requests served from stale cache entries.",
                PLAIN,
            ),
            refreshes_left_out: CounterFamily::new(
                "cairn_cache_refreshes_left_out_total",
                "Refreshes of cache entries not made because as many as may be under way were.",
                PLAIN,
            ),
        }
    }

    pub(super) fn with(&self, server: &str, zones: &str, view: &str) -> Arc<CacheMetrics> {
        let plain = [server, zones, view];
        let by_type =
            |family: &CounterFamily| TYPES.map(|kind| family.with(&[server, kind, zones, view]));
        self.caches.with(&plain, || CacheMetrics {
            hits: by_type(&self.hits),
            evictions: by_type(&self.evictions),
            entries: Mutex::new(None),
            misses: self.misses.with(&plain),
            requests: self.requests.with(&plain),
            prefetches: self.prefetches.with(&plain),
            drops: self.drops.with(&plain),
            served_stale: self.served_stale.with(&plain),
            refreshes_left_out: self.refreshes_left_out.with(&plain),
        })
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let families = [
            &self.hits,
            &self.evictions,
            &self.misses,
            &self.requests,
            &self.prefetches,
            &self.drops,
            &self.served_stale,
            &self.refreshes_left_out,
        ];
        let mut collectors: Vec<Box<dyn Collector>> =
            vec![Box::new(Entries::new(Arc::clone(&self.caches)))];
        for family in families {
            collectors.push(Box::new(family.clone()));
        }
        collectors
    }
}

/// Asks each cache for its size at the scrape, so that storing an entry costs no gauge.
struct Entries {
    caches: Arc<Series<CacheMetrics>>,
    entries: Schema,
    memory: Schema,
}

impl Entries {
    fn new(caches: Arc<Series<CacheMetrics>>) -> Self {
        Self {
            caches,
            entries: Schema::new(
                MetricType::GAUGE,
                "coredns_cache_entries",
                "The number of elements in the cache.",
                &["server", "zones", "view", "type"],
            ),
            memory: Schema::new(
                MetricType::GAUGE,
                "cairn_cache_memory_bytes",
                "What the elements in the cache take.",
                &["server", "zones", "view"],
            ),
        }
    }
}

impl Collector for Entries {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.entries.desc(), self.memory.desc()]
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    fn collect(&self) -> Vec<MetricFamily> {
        let (mut entries, mut memory) = (Vec::new(), Vec::new());
        for (labels, cache) in self.caches.all() {
            let Some(held) = cache.entries() else {
                continue;
            };
            let plain = texts(&labels);
            for (kind, count) in TYPES.iter().zip([held.success, held.denial]) {
                let pairs = self.entries.pairs(&[&plain[..], &[kind]].concat());
                entries.push(gauge(pairs, count as f64));
            }
            memory.push(gauge(self.memory.pairs(&plain), held.octets as f64));
        }
        vec![self.entries.family(entries), self.memory.family(memory)]
    }
}

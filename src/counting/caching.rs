//! What a cache tells.

use std::sync::Arc;

use crate::plugin::cache::{Counters, Kind};
use crate::telemetry::{CacheMetrics, CacheType};

/// Counts what a cache does.
pub(crate) struct Caching(pub(crate) Arc<CacheMetrics>);

impl Counters for Caching {
    fn requested(&self) {
        self.0.requests.increment();
    }

    fn hit(&self, kind: Kind) {
        self.0.hit(cache_type(kind));
    }

    fn missed(&self) {
        self.0.misses.increment();
    }

    fn evicted(&self, kind: Kind) {
        self.0.evicted(cache_type(kind));
    }

    fn dropped(&self) {
        self.0.drops.increment();
    }

    fn refreshed(&self) {
        self.0.prefetches.increment();
    }

    fn refresh_left_out(&self) {
        self.0.refreshes_left_out.increment();
    }

    fn served_stale(&self) {
        self.0.served_stale.increment();
    }
}

impl std::fmt::Debug for Caching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caching")
    }
}

fn cache_type(kind: Kind) -> CacheType {
    match kind {
        Kind::Success => CacheType::Success,
        Kind::Denial => CacheType::Denial,
    }
}

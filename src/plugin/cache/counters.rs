//! What a cache counts; who keeps the numbers is not its business.

use std::fmt::Debug;

/// Which of its two halves a cache answers from, keeps in or throws out of; the label `type` of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Positive answers.
    Success,
    /// NXDOMAIN, NODATA and failures.
    Denial,
}

/// The counters of one cache; called on the path of a query, from any thread.
pub trait Counters: Debug + Send + Sync {
    /// A query was looked up (`coredns_cache_requests_total`).
    fn requested(&self);
    /// It was answered (`coredns_cache_hits_total`).
    fn hit(&self, kind: Kind);
    /// It was not (`coredns_cache_misses_total`).
    fn missed(&self);
    /// An answer made room for another (`coredns_cache_evictions_total`).
    fn evicted(&self, kind: Kind);
    /// A reply was not kept because of its form (`coredns_cache_drops_total`).
    fn dropped(&self);
    /// Those below are asked for the successor of an answer (`coredns_cache_prefetch_total`).
    fn refreshed(&self);
    /// They were not, because as many refreshes as may be under way were.
    fn refresh_left_out(&self);
    /// An answer was given after its time (`coredns_cache_served_stale_total`).
    fn served_stale(&self);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncounted;

impl Counters for Uncounted {
    fn requested(&self) {}
    fn hit(&self, _kind: Kind) {}
    fn missed(&self) {}
    fn evicted(&self, _kind: Kind) {}
    fn dropped(&self) {}
    fn refreshed(&self) {}
    fn refresh_left_out(&self) {}
    fn served_stale(&self) {}
}

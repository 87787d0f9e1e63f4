//! What the cache says of a query that is traced.

use std::time::Instant;

use super::entry::{Entry, Standing};
use super::{CACHE, Cache, is_cacheable};
use crate::dns::{Query, Verdict};

impl Cache {
    /// It is not looked up at all.
    #[inline]
    pub(super) fn tell_not_kept(&self, query: &Query) {
        query.note(CACHE.name(), Verdict::Looks, || {
            let name = &query.question.name;
            if !is_cacheable(query) {
                "not a question whose answer is kept".to_owned()
            } else if let Some((zone, _)) = self.uncached.matching(name) {
                format!("names of {zone} are not kept: kubernetes knows them without asking")
            } else {
                "not in the zones of this cache".to_owned()
            }
        });
    }

    #[inline]
    pub(super) fn tell_missed(&self, query: &Query) {
        let words = || "nothing kept that can be given".to_owned();
        query.note(CACHE.name(), Verdict::Looks, words);
    }

    #[inline]
    pub(super) fn tell_found(
        &self,
        query: &Query,
        entry: &Entry,
        standing: Standing,
        now: Instant,
    ) {
        query.note(CACHE.name(), Verdict::Looks, || {
            format!("kept {}", age(entry, standing, now))
        });
    }

    /// What is known takes the place of what those below say, or do not say in time.
    pub(super) fn tell_put(&self, query: &Query, entry: &Entry, standing: Standing, now: Instant) {
        query.note(CACHE.name(), Verdict::Shapes, || {
            format!("gives instead what was kept {}", age(entry, standing, now))
        });
    }

    pub(super) fn tell_kept(&self, query: &Query, entry: &Entry) {
        query.note(CACHE.name(), Verdict::Shapes, || {
            format!("keeps {} for {} s", entry.rcode(), entry.ttl())
        });
    }
}

fn age(entry: &Entry, standing: Standing, now: Instant) -> String {
    let (age, ttl) = (entry.age(now).as_secs(), entry.ttl());
    let good = match standing {
        Standing::Fresh(left) => format!("{left} s left"),
        Standing::Stale => format!("stale for {} s", age.saturating_sub(ttl.into())),
        Standing::Gone => "which is over".to_owned(),
    };
    let failing = if entry.rests(now) {
        "; those below failed just before and are left alone"
    } else {
        ""
    };
    format!(
        "{age} s ago for {ttl} s, {good}: {}{failing}",
        entry.rcode()
    )
}

//! `POST /cache/show` and `POST /cache/flush`: what the caches of all server blocks keep, and that they forget it.

use std::time::Instant;

use super::Served;
use super::explain::{self, RECORDS_MAX};
use super::page::Refused;
use super::words::{self, CacheEntry, CacheReport, CacheRequest, CacheText, Flushed};
use crate::dns::Name;
use crate::plugin::cache::{Keeping, Kept, Which};

/// Entries of a cache that are told; a name seldom has more than ten.
const ENTRIES_MAX: usize = 1000;

pub(super) async fn show(served: &Served, asked: CacheRequest) -> Result<CacheReport, Refused> {
    let which = which(&asked)?;
    let now = Instant::now();
    let mut caches = Vec::with_capacity(served.caches.len());
    for cache in &served.caches {
        caches.push(shown(cache, which, now).await);
    }
    Ok(CacheReport { caches })
}

pub(super) async fn flush(served: &Served, asked: CacheRequest) -> Result<Flushed, Refused> {
    let which = which(&asked)?;
    let mut flushed = Flushed {
        entries: 0,
        caches: served.caches.len(),
    };
    for cache in &served.caches {
        flushed.entries += cache.forget(which).await;
    }
    tracing::info!(target: "plugin/cache", "{} entries were taken out by an operator: {}", flushed.entries, meant(which));
    Ok(flushed)
}

fn which(asked: &CacheRequest) -> Result<Which, Refused> {
    Ok(match asked {
        CacheRequest::Name(name) => Which::Name(words::name(name)?),
        CacheRequest::Zone(zone) => Which::Zone(words::name(zone)?),
        CacheRequest::All => Which::All,
    })
}

fn meant(which: Which) -> String {
    match which {
        Which::Name(name) => name.to_string(),
        Which::Zone(zone) => format!("zone {zone}"),
        Which::All => "all".to_owned(),
    }
}

async fn shown(cache: &Keeping, which: Which, now: Instant) -> CacheText {
    let (kept, count) = cache.kept(which, now, ENTRIES_MAX).await;
    CacheText {
        server: cache.server.clone(),
        never: never(cache, which),
        entries: kept.iter().map(entry).collect(),
        count,
    }
}

/// Why nothing of this name is ever kept.
fn never(cache: &Keeping, which: Which) -> Option<String> {
    let Which::Name(name) = which else {
        return None;
    };
    let name: Name = name.lower();
    if let Some((zone, _)) = cache.uncached.matching(&name) {
        let why = format!("names of {zone} are not kept: kubernetes knows them without asking");
        return Some(why);
    }
    let is_kept = cache.config.zones.contains(&name);
    (!is_kept).then(|| "not in the zones of this cache".to_owned())
}

fn entry(kept: &Kept) -> CacheEntry {
    let flags = [
        (kept.recursion_desired, "rd"),
        (kept.dnssec_ok, "do"),
        (kept.checking_disabled, "cd"),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    let flags: Vec<&str> = flags.map(|(_, text)| *text).collect();
    let records = kept.records.entries().iter().take(RECORDS_MAX);
    let ttl = kept.left.unwrap_or_default();
    CacheEntry {
        name: kept.name.to_string(),
        rtype: kept.rtype.to_string(),
        class: kept.class.to_string(),
        flags: flags.join(" "),
        rcode: kept.rcode.to_string(),
        age: kept.age.as_secs(),
        ttl: kept.ttl,
        left: kept.left,
        stale: kept.is_stale,
        octets: kept.octets,
        records: records
            .map(|record| explain::record(&kept.records, record, &kept.name, ttl))
            .collect(),
        why: kept.why.clone(),
    }
}

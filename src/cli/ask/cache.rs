//! `cairn cache show NAME` and `cairn cache flush`: what is kept of answers, and that it is forgotten.

use std::fmt::Write;

use super::request::Server;
use super::text::{age, printable, table};
use super::{Told, Which};
use crate::admin::words::{CacheEntry, CacheReport, CacheRequest, CacheText, Flushed};

pub(super) fn show(server: &Server, name: &str) -> Result<Told<CacheReport>, String> {
    let answer: CacheReport = server.ask("/cache/show", &CacheRequest::Name(name.to_owned()))?;
    let text = text(&answer);
    Ok(Told { answer, text })
}

pub(super) fn flush(server: &Server, which: &Which) -> Result<Told<Flushed>, String> {
    let asked = match (&which.name, &which.zone) {
        (Some(name), _) => CacheRequest::Name(name.clone()),
        (None, Some(zone)) => CacheRequest::Zone(zone.clone()),
        (None, None) => CacheRequest::All,
    };
    let answer: Flushed = server.ask("/cache/flush", &asked)?;
    let text = format!(
        "{} removed from {}\n",
        counted(answer.entries, "entry", "entries"),
        counted(answer.caches, "cache", "caches")
    );
    Ok(Told { answer, text })
}

fn text(report: &CacheReport) -> String {
    if report.caches.is_empty() {
        return "No server block has a cache\n".to_owned();
    }
    let caches = report.caches.iter().map(cache);
    caches.collect::<Vec<_>>().join("\n")
}

fn cache(cache: &CacheText) -> String {
    let server = printable(&cache.server);
    if cache.entries.is_empty() {
        let why = match &cache.never {
            Some(why) => format!("nothing: {}", printable(why)),
            None => "nothing".to_owned(),
        };
        return format!("Cache of {server}: {why}\n");
    }
    let rows: Vec<[String; 8]> = cache.entries.iter().flat_map(entry).collect();
    let mut text = format!("Cache of {server}:\n");
    text += &table(
        ["NAME", "TYPE", "FOR", "RCODE", "AGE", "TTL", "LEFT", "DATA"],
        &rows,
    );
    if cache.count > cache.entries.len() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "... and {} more", cache.count - cache.entries.len());
    }
    text
}

/// A row for each record of an entry, or one for none.
fn entry(entry: &CacheEntry) -> Vec<[String; 8]> {
    let left = match entry.left {
        Some(left) => format!("{left}s"),
        None if entry.stale => "stale".to_owned(),
        None => "over".to_owned(),
    };
    let row = |data: String| {
        [
            entry.name.clone(),
            entry.rtype.clone(),
            entry.flags.clone(),
            entry.rcode.clone(),
            age(entry.age),
            format!("{}s", entry.ttl),
            left.clone(),
            data,
        ]
    };
    let records = entry.records.iter();
    let mut data: Vec<String> = records
        .map(|record| match record.name == entry.name {
            true => format!("{} {}", record.rtype, record.data),
            false => format!("{} {} {}", record.name, record.rtype, record.data),
        })
        .collect();
    if !entry.why.is_empty() {
        data.push(entry.why.clone());
    }
    if data.is_empty() {
        data.push(String::new());
    }
    data.into_iter().map(row).collect()
}

fn counted(count: usize, one: &str, many: &str) -> String {
    let of = if count == 1 { one } else { many };
    format!("{count} {of}")
}

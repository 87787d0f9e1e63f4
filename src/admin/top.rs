//! `POST /top`: who asks most.

use std::time::Instant;

use super::words::{TopEntry, TopReport, TopRequest};
use crate::server::SAMPLED_EVERY;
use crate::top::{Ranked, Top};

/// Of each kind.
const COUNT_MAX: usize = 256;

pub(super) fn report(top: &Top, asked: &TopRequest) -> TopReport {
    let report = top.report(Instant::now(), asked.count.min(COUNT_MAX));
    TopReport {
        seconds: report.span.as_secs_f64(),
        samples: report.samples,
        left_out: report.left_out,
        sampled_every: SAMPLED_EVERY,
        names: entries(report.names),
        namespaces: entries(report.namespaces),
        clients: entries(report.clients),
        rcodes: entries(report.rcodes),
    }
}

fn entries(ranked: Vec<Ranked>) -> Vec<TopEntry> {
    let entries = ranked.into_iter().map(|ranked| TopEntry {
        what: ranked.what,
        at_least: ranked.at_least,
        at_most: ranked.at_most,
    });
    entries.collect()
}

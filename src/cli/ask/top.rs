//! `cairn top`: who asks most.

use super::request::Server;
use super::text::{printable, table};
use super::{Kind, Told, Top};
use crate::admin::words::{TopEntry, TopReport, TopRequest};

const KINDS: [Kind; 4] = [Kind::Name, Kind::Namespace, Kind::Client, Kind::Rcode];

pub(super) fn run(server: &Server, asked: &Top) -> Result<Told<TopReport>, String> {
    let request = TopRequest { count: asked.count };
    let mut answer: TopReport = server.ask("/top", &request)?;
    let is_asked = |kind: &Kind| asked.by.is_empty() || asked.by.contains(kind);
    let (kinds, others): (Vec<Kind>, Vec<Kind>) = KINDS.into_iter().partition(is_asked);
    for other in others {
        of(&mut answer, other).clear();
    }
    let text = text(&answer, &kinds);
    Ok(Told { answer, text })
}

fn of(report: &mut TopReport, kind: Kind) -> &mut Vec<TopEntry> {
    match kind {
        Kind::Name => &mut report.names,
        Kind::Namespace => &mut report.namespaces,
        Kind::Client => &mut report.clients,
        Kind::Rcode => &mut report.rcodes,
    }
}

fn text(report: &TopReport, kinds: &[Kind]) -> String {
    let mut text = format!(
        "{:.0} queries a second in the last {:.0} s, by {} samples, one in {}\n",
        rate(report, report.samples),
        report.seconds,
        report.samples,
        report.sampled_every,
    );
    for kind in kinds {
        let (title, entries) = match kind {
            Kind::Name => ("NAME", &report.names),
            Kind::Namespace => ("NAMESPACE", &report.namespaces),
            Kind::Client => ("CLIENT", &report.clients),
            Kind::Rcode => ("RCODE", &report.rcodes),
        };
        if entries.is_empty() {
            continue;
        }
        let rows: Vec<[String; 4]> = entries.iter().map(|entry| row(report, entry)).collect();
        text.push('\n');
        text += &table([title, "QUERIES/S", "SHARE", "AT MOST"], &rows);
    }
    text
}

fn row(report: &TopReport, entry: &TopEntry) -> [String; 4] {
    let share = |samples: u64| match report.samples {
        0 => "0.0%".to_owned(),
        all => format!("{:.1}%", samples as f64 * 100.0 / all as f64),
    };
    [
        printable(&entry.what),
        format!("{:.1}", rate(report, entry.at_least)),
        share(entry.at_least),
        share(entry.at_most),
    ]
}

/// Queries a second that so many samples stand for.
fn rate(report: &TopReport, samples: u64) -> f64 {
    let queries = samples as f64 * f64::from(report.sampled_every);
    // A server that has just started would make much of its first query.
    queries / report.seconds.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_as_rates_and_shares() {
        let entry = |what: &str, at_least, at_most| TopEntry {
            what: what.to_owned(),
            at_least,
            at_most,
        };
        let mut report = TopReport {
            seconds: 40.0,
            samples: 1000,
            left_out: 0,
            sampled_every: 16,
            names: vec![
                entry("web.shop.svc.cluster.local.", 500, 500),
                entry("a.", 10, 13),
            ],
            namespaces: vec![],
            clients: vec![entry("10.0.0.1", 1, 1)],
            rcodes: vec![],
        };
        let expected = "\
400 queries a second in the last 40 s, by 1000 samples, one in 16

NAME                          QUERIES/S   SHARE   AT MOST
web.shop.svc.cluster.local.   200.0       50.0%   50.0%
a.                            4.0         1.0%    1.3%
";
        assert_eq!(text(&report, &[Kind::Name, Kind::Rcode]), expected);
        report.samples = 0;
        assert_eq!(row(&report, &entry("a.", 0, 0))[2], "0.0%");
    }
}

//! Corefiles, right and wrong: the verdict is CoreDNS's, and what is refused is refused for the same fault.
//!
//! A row that needs what is not built yet is pending: it is counted, by what it needs, and not judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use cairn_dns::{
    config::{self, Block, listen::DNS_PORT},
    corefile::{Diagnostic, Location, Memory},
    dns::Name,
};
use serde::Deserialize;

use super::{differences::Findings, pending::absent};

const ROWS: &str = include_str!("../../data/conformance/corefile-verdicts.jsonl");

/// A start of CoreDNS.
#[derive(Deserialize)]
struct Row {
    name: String,
    files: BTreeMap<String, String>,
    accepted: bool,
    /// The last lines that it said.
    says: Vec<String>,
}

/// What is not built, with the number of rows that wait for it.
const PENDING: &[(&str, usize)] = &[
    ("acl", 7),
    ("any", 2),
    ("auto", 1),
    ("autopath", 2),
    ("cancel", 2),
    ("chaos", 2),
    ("dns64", 4),
    ("erratic", 1),
    ("file", 4),
    ("header", 3),
    ("hosts", 7),
    ("k8s_external", 3),
    ("local", 1),
    ("minimal", 1),
    ("multicluster", 1),
    ("multisocket", 1),
    ("nsid", 2),
    ("pprof", 1),
    ("rewrite", 18),
    ("secondary", 1),
    ("template", 8),
    ("timeouts", 2),
    ("tls", 2),
    ("transfer", 1),
    ("view", 1),
];

/// Rows whose fault we name in other words, and what we say.
const REWORDED: &[(&str, &str)] = &[
    (
        "missing close",
        "Unexpected end of file after 'whoami', expecting '}'",
    ),
    ("unterminated quote", "expecting '}'"),
    (
        "errors consolidate bad level",
        "unknown option in consolidate: loud",
    ),
    (
        "errors consolidate bad regex",
        "error parsing regexp: unclosed group",
    ),
    ("errors unknown", "unknown property 'foo'"),
    ("log unknown prop", "unknown property 'foo'"),
    ("health unknown", "unknown property 'foo'"),
    ("bufsize low", "size must be a number from 512 to 4096"),
    ("cache unknown", "unknown property 'foo'"),
    ("bind unknown", "unknown property 'foo'"),
    ("import self", "the file 'Corefile' imports itself"),
];

#[test]
fn verdicts_are_those_of_coredns() {
    let mut findings = Findings::of("corefile-verdicts");
    let mut pending: BTreeMap<String, usize> = BTreeMap::new();
    let mut judged = 0;
    for line in ROWS.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let verdict = Verdict::of(&row);
        for word in &verdict.absent {
            *pending.entry(word.clone()).or_default() += 1;
        }
        if verdict.absent.is_empty() {
            judged += 1;
            findings.add(row.name.clone(), &verdict.differences(&row));
        }
    }
    findings.judge(judged);
    let expected = PENDING
        .iter()
        .map(|(word, rows)| ((*word).to_owned(), *rows));
    assert_eq!(pending, expected.collect(), "what is not built, by row");
}

/// What we make of a row.
struct Verdict {
    blocks: Option<Vec<Block>>,
    /// What the row needs and is not built.
    absent: BTreeSet<String>,
    /// Those that refuse it.
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Verdict {
    fn of(row: &Row) -> Verdict {
        let outside = Memory::new()
            .file("/etc/resolv.conf", "nameserver 127.0.0.1\n")
            .set("LAB_P", "15500")
            .set("LAB_TWO", "127.0.0.1 127.0.0.2")
            .set("LAB_W", "whoami");
        let outside = row.files.iter().fold(outside, |outside, (path, text)| {
            outside.file(path, text.as_str())
        });
        let loaded = config::load(&outside, &Location::Default, DNS_PORT);
        let said = |diagnostic: &Diagnostic| diagnostic.one_line(&loaded.sources);
        let absent = loaded.diagnostics.iter().filter_map(absent);
        let (errors, warnings): (Vec<_>, Vec<_>) = loaded
            .diagnostics
            .iter()
            .partition(|fault| fault.is_error());
        Verdict {
            blocks: loaded.config.map(|config| config.blocks),
            absent: absent.map(str::to_owned).collect(),
            errors: errors.into_iter().map(said).collect(),
            warnings: warnings.into_iter().map(said).collect(),
        }
    }

    fn differences(&self, row: &Row) -> Vec<String> {
        match (&self.blocks, row.accepted) {
            (Some(blocks), true) => self.unsaid(row, blocks),
            (None, false) => self.other_fault(row).into_iter().collect(),
            (None, true) => vec![format!("CoreDNS starts; we say {:?}", self.errors)],
            (Some(_), false) => vec![format!("CoreDNS says {:?}; we start", row.says)],
        }
    }

    /// Lines of a start that we would not say: a zone that is served, or a warning of the Corefile.
    fn unsaid(&self, row: &Row, blocks: &[Block]) -> Vec<String> {
        let served: Vec<Served> = blocks.iter().flat_map(served).collect();
        let unsaid = row
            .says
            .iter()
            .filter(|line| match line.strip_prefix("[WARNING] ") {
                Some(doubt) if !doubt.starts_with("plugin/") => {
                    self.warnings.iter().all(|warning| !warning.contains(doubt))
                }
                // How the work goes on after the start.
                _ if line.starts_with('[') || line.starts_with("Warning: ") => false,
                _ => !served.contains(&read_banner(line)),
            });
        unsaid
            .map(|line| {
                format!(
                    "CoreDNS says {line:?}; we serve {served:?}, {:?}",
                    self.warnings
                )
            })
            .collect()
    }

    fn other_fault(&self, row: &Row) -> Option<String> {
        let reworded = REWORDED.iter().find(|(name, _)| *name == row.name);
        let fault = reworded.map_or_else(|| fault(row), |(_, words)| (*words).to_owned());
        let found = self
            .errors
            .iter()
            .any(|error| plain(error).contains(&plain(&fault)));
        (!found).then(|| format!("fault: want {fault:?}\nfault: got  {:?}", self.errors))
    }
}

/// Words without what is free in them: letter case, and which quotes stand around them.
fn plain(words: &str) -> String {
    words.to_lowercase().replace('"', "'")
}

/// The fault that CoreDNS names, without the place and the plugin.
fn fault(row: &Row) -> String {
    let lines = row.says.iter().filter(|line| !line.starts_with('['));
    let said = lines.map(String::as_str).collect::<Vec<_>>().join("\n");
    let mut fault = said.as_str();
    while let Some(("plugin", rest)) = fault.split_once('/') {
        fault = rest.split_once(": ").map_or("", |(_, fault)| fault);
    }
    for marker in [" - Error during parsing: ", " - Syntax error: "] {
        fault = fault.split_once(marker).map_or(fault, |(_, fault)| fault);
    }
    fault.to_owned()
}

/// A zone, its port and the address that it is bound to.
type Served = (Name, u16, Option<IpAddr>);

fn served(block: &Block) -> Vec<Served> {
    let served = block.addresses();
    served
        .map(|(key, address)| (key.zone, address.port, address.ip))
        .collect()
}

/// `zone:port[ on address]`, by which CoreDNS tells what it serves.
fn read_banner(line: &str) -> Served {
    let (zone_port, ip) = match line.split_once(" on ") {
        Some((zone_port, ip)) => (zone_port, Some(ip.parse().unwrap())),
        None => (line, None),
    };
    let (zone, port) = zone_port.rsplit_once(':').unwrap();
    (zone.parse().unwrap(), port.parse().unwrap(), ip)
}

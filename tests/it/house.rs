//! The order of the house: which room may know which, how long a file may be, where unsafe code may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms that each room may name, itself not counted.
const KNOWS: &[(&str, &[&str])] = &[
    (
        "admin",
        &["config", "dns", "ops", "plugin", "server", "top"],
    ),
    ("admission", &[]),
    (
        "app",
        &["admin", "config", "counting", "generation", "ops", "server"],
    ),
    ("blocking", &[]),
    ("chain", &["dns", "plugin", "server"]),
    (
        "cli",
        &[
            "admin",
            "app",
            "config",
            "corefile",
            "generation",
            "plugin",
            "reload",
            "telemetry",
        ],
    ),
    ("cluster", &["blocking", "complaint", "dns"]),
    ("complaint", &[]),
    ("config", &["corefile", "dns", "ops", "plugin"]),
    ("corefile", &[]),
    (
        "counting",
        &[
            "cluster",
            "config",
            "dns",
            "plugin",
            "server",
            "telemetry",
            "top",
        ],
    ),
    ("dns", &[]),
    ("fuzz", &["cluster", "corefile", "dns", "plugin"]),
    (
        "generation",
        &[
            "chain",
            "cluster",
            "config",
            "counting",
            "dns",
            "ops",
            "plugin",
            "server",
            "telemetry",
            "top",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
    ("ops", &["blocking", "telemetry"]),
    (
        "plugin",
        &[
            "admission",
            "blocking",
            "chain",
            "cluster",
            "config",
            "corefile",
            "counting",
            "dns",
            "ops",
            "telemetry",
        ],
    ),
    (
        "reload",
        &["app", "blocking", "complaint", "config", "corefile"],
    ),
    ("server", &["admission", "chain", "dns"]),
    ("telemetry", &[]),
    ("top", &["dns", "server"]),
];

/// Past this a file has a second thing living in it.
const LINES_MAX: usize = 600;

/// The one module that calls the system without a safe wrapper.
const UNSAFE: &str = "server/udp/batch.rs";

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_owned(), text)
    };
    files.into_iter().map(read).collect()
}

/// The room that a file is in: the first part of its path.
fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file that is not a test.
fn without_tests<'a>(path: &Path, text: &'a str) -> &'a str {
    let is_test = path.iter().any(|part| {
        matches!(
            part.to_str(),
            Some("tests.rs" | "tests" | "scripted.rs" | "case.rs")
        )
    });
    if is_test {
        ""
    } else {
        text.split("#[cfg(test)]\nmod tests").next().unwrap()
    }
}

#[test]
fn rooms_know_only_the_rooms_that_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = KNOWS.iter().copied().collect();
    let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let from = room(&path);
        for part in without_tests(&path, &text).split("crate::").skip(1) {
            let to: String = part
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if to != from && !to.is_empty() {
                met.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    for (from, tos) in &met {
        let may = allowed
            .get(from.as_str())
            .unwrap_or_else(|| panic!("{from} is not in the table"));
        let unknown: Vec<&String> = tos
            .iter()
            .filter(|to| !may.contains(&to.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{from} knows {unknown:?}");
    }
    for (from, may) in KNOWS {
        let unused: Vec<_> = may
            .iter()
            .filter(|to| !met.get(*from).is_some_and(|tos| tos.contains(**to)))
            .collect();
        assert!(
            unused.is_empty(),
            "{from} does not know {unused:?} any more"
        );
    }
}

#[test]
fn no_file_is_so_long_that_two_things_live_in_it() {
    for (path, text) in sources() {
        let lines = without_tests(&path, &text).lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines", path.display());
    }
}

#[test]
fn unsafe_code_stands_in_one_module() {
    for (path, text) in sources() {
        let says = text
            .lines()
            .any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert_eq!(says, path == Path::new(UNSAFE), "{}", path.display());
    }
}

//! `cairn check`: what the start would say about a Corefile, without starting.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Config, Loaded};
use crate::corefile::{Filesystem, Location, Outside, Severity, Unreadable};

/// Checks each file, or `./Corefile`, as in a Pod, and prints every fault; fails if one of them cannot be served.
/// `stdin` and `-` are standard input.
///
pub(super) fn run(files: &[PathBuf], dns_port: u16) -> ExitCode {
    let mut out = String::new();
    let locations: Vec<Location> = match files {
        [] => vec![Location::Path(Location::DEFAULT.into())],
        files => files
            .iter()
            .map(|file| match file.to_str() {
                Some("stdin" | "-") => Location::Stdin,
                _ => Location::Path(file.clone()),
            })
            .collect(),
    };
    let mut refused = false;
    for location in &locations {
        let loaded = config::load(&InPod, location, dns_port);
        refused |= loaded.config.is_none();
        out.push_str(&report(location, &loaded));
    }
    match std::io::stdout().write_all(out.as_bytes()) {
        Ok(()) if !refused => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The world as it is, and what every Pod finds in its own where this is none: a Corefile is mostly checked
/// elsewhere than where it will run.
struct InPod;

/// Where the kubelet mounts the credentials of a Pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl Outside for InPod {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        match Filesystem.read(path) {
            Err(Unreadable::Missing) if path.starts_with(SERVICE_ACCOUNT) => Ok(Vec::new()),
            read => read,
        }
    }

    fn stdin(&self) -> Result<Vec<u8>, Unreadable> {
        Filesystem.stdin()
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        Filesystem.glob(pattern)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let known = Filesystem.variable(name);
        known.or_else(|| match name {
            "KUBERNETES_SERVICE_HOST" => Some("kubernetes.default.svc".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        })
    }
}

/// The faults of a file, then one line that sums up.
fn report(location: &Location, loaded: &Loaded) -> String {
    let mut text: String = loaded
        .diagnostics
        .iter()
        .map(|fault| fault.render(&loaded.sources))
        .collect();
    let path = location.path().display();
    let count = |severity| {
        loaded
            .diagnostics
            .iter()
            .filter(|fault| fault.severity == severity)
            .count()
    };
    let summary = match (&loaded.config, count(Severity::Warning)) {
        (Some(config), 0) => format!("{path}: ok, {}\n", served(config)),
        (Some(config), warnings) => format!(
            "{path}: ok, {}, {}\n",
            served(config),
            counted(warnings, "warning")
        ),
        (None, _) => format!("{path}: {}\n", counted(count(Severity::Error), "error")),
    };
    text.push_str(&summary);
    text
}

fn served(config: &Config) -> String {
    let zones = config
        .blocks
        .iter()
        .map(|block| block.addresses().count())
        .sum();
    counted(zones, "zone")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

//! The line as one JSON object, with the keys that CoreDNS's `-log-format=json` has.

use std::fmt;
use std::io::Write as _;
use std::time::SystemTime;

use super::time::Rfc3339;
use super::{Severity, Target};

/// Keys of the line itself; a field of that name gets an underscore, because a key may stand in an object once.
const KEYS: [&str; 5] = ["time", "level", "msg", "plugin", "target"];

/// Appends members to the object of a line.
pub struct JsonFields<'a>(&'a mut Vec<u8>);

impl<'a> JsonFields<'a> {
    pub(super) fn new(line: &'a mut Vec<u8>) -> Self {
        Self(line)
    }

    /// Appends a string.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.0, value);
    }

    /// Appends a whole number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.bare(name, value);
    }

    /// Appends a duration in seconds.
    pub fn seconds(&mut self, name: &str, value: std::time::Duration) {
        self.bare(name, value.as_secs_f64());
    }

    /// Appends `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.bare(name, value);
    }

    /// Appends `null`: known to be missing.
    pub fn none(&mut self, name: &str) {
        self.bare(name, "null");
    }

    /// Appends a value whose text is JSON.
    pub(super) fn bare(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        // Writing to a `Vec` does not fail.
        let _ = write!(self.0, "{value}");
    }

    fn name(&mut self, name: &str) {
        self.0.push(b',');
        if KEYS.contains(&name) {
            string(self.0, &format!("{name}_"));
        } else {
            string(self.0, name);
        }
        self.0.push(b':');
    }
}

/// Appends the line of an event; `fields` are members as [`JsonFields`] appends them.
pub(super) fn line(
    line: &mut Vec<u8>,
    time: SystemTime,
    severity: Severity,
    target: Target<'_>,
    message: &str,
    fields: &[u8],
) {
    open(line, time, level(severity), message);
    let origin = match target {
        Target::Plugin(name) => Some(("plugin", name)),
        Target::Cairn => None,
        Target::Other(module) => Some(("target", module)),
    };
    if let Some((key, value)) = origin {
        let _ = write!(line, ",\"{key}\":");
        string(line, value);
    }
    line.extend_from_slice(fields);
    line.extend_from_slice(b"}\n");
}

/// Appends a line that is not an event: one of the query log, or of the log about itself.
pub(in crate::telemetry) fn record(
    line: &mut Vec<u8>,
    time: SystemTime,
    level: &str,
    message: &str,
    fields: impl FnOnce(&mut JsonFields<'_>),
) {
    open(line, time, level, message);
    fields(&mut JsonFields::new(line));
    line.extend_from_slice(b"}\n");
}

fn open(line: &mut Vec<u8>, time: SystemTime, level: &str, message: &str) {
    let _ = write!(
        line,
        "{{\"time\":\"{}\",\"level\":\"{level}\",\"msg\":",
        Rfc3339(time)
    );
    string(line, message);
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "DEBUG",
        Severity::Info => "INFO",
        Severity::Warning => "WARN",
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    }
}

/// Appends a string with its quotes (RFC 8259 section 7).
fn string(line: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(line, value)
        .expect("a string is JSON, and a vector takes all that is written");
}

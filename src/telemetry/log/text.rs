//! The line as CoreDNS writes it: `[LEVEL] plugin/name: message key=value`.

use super::{Severity, Target};

/// Appends one line. Control characters are escaped: whatever a name or an error holds, an event is one line.
pub(super) fn line(
    line: &mut Vec<u8>,
    severity: Severity,
    target: Target<'_>,
    message: &str,
    fields: &str,
) {
    line.extend_from_slice(prefix(severity).as_bytes());
    match target {
        Target::Plugin(name) => {
            line.extend_from_slice(b"plugin/");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b": ");
        }
        Target::Cairn => {}
        Target::Other(module) => {
            line.extend_from_slice(module.as_bytes());
            line.extend_from_slice(b": ");
        }
    }
    escape(line, message);
    line.extend_from_slice(fields.as_bytes());
    line.push(b'\n');
}

/// Appends ` name=value`, quoted where the value's end would not be seen otherwise.
pub(super) fn field(fields: &mut String, name: &str, value: &str) {
    fields.push(' ');
    fields.push_str(name);
    fields.push('=');
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !value.is_empty() && value.chars().all(plain) {
        fields.push_str(value);
    } else {
        fields.push_str(&format!("{value:?}"));
    }
}

fn prefix(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "[DEBUG] ",
        Severity::Info => "[INFO] ",
        Severity::Warning => "[WARNING] ",
        Severity::Error => "[ERROR] ",
        Severity::Fatal => "[FATAL] ",
    }
}

fn escape(line: &mut Vec<u8>, message: &str) {
    if !message.chars().any(char::is_control) {
        line.extend_from_slice(message.as_bytes());
        return;
    }
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default().map(|c| c as u8));
        } else {
            line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

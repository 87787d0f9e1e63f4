//! Whole texts: trees, faults, verdicts, and what no text may do.

mod imports;
mod mutation;
mod rendering;
mod trees;
mod verdicts;

use std::path::Path;

use super::*;

/// Parses `text` as the file `Corefile` of a world.
fn parse_in(outside: &Memory, text: &str) -> Parsed {
    parse(outside, Path::new("Corefile"), text.as_bytes())
}

/// The tree on one line: `key key { name arg arg { inner; inner }; name }`.
fn shown(parsed: &Parsed) -> String {
    let blocks = parsed.corefile.blocks.iter().map(|block| {
        let keys: Vec<_> = block.keys.iter().map(word).collect();
        format!("{} {{{}}}", keys.join(" "), lines(&block.directives))
    });
    blocks.collect::<Vec<_>>().join(" ")
}

fn lines(lines: &[Line]) -> String {
    let lines = lines.iter().map(|line| {
        let words: Vec<_> = line.words().map(word).collect();
        let body = line
            .body
            .as_ref()
            .map(|body| format!(" {{{}}}", self::lines(&body.lines)));
        words.join(" ") + &body.unwrap_or_default()
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn word(word: &Word) -> String {
    match word.text.is_empty() || word.text.contains(char::is_whitespace) {
        true => format!("{:?}", word.text),
        false => word.text.clone(),
    }
}

/// The log lines of all that is refused, or of all that is doubted.
fn said(parsed: &Parsed, severity: Severity) -> Vec<String> {
    let of_severity = |fault: &&Diagnostic| fault.severity == severity;
    let faults = parsed.diagnostics.iter().filter(of_severity);
    faults
        .map(|fault| fault.one_line(&parsed.sources))
        .collect()
}

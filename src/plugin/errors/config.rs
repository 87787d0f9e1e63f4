//! What the Corefile says about errors.

use std::time::Duration;

use regex::Regex;

use crate::config::{Scope, value};
use crate::corefile::reader::{self, Reader};
use crate::corefile::{Directive, Faults, Word};

/// Octets of a pattern; CoreDNS's bound.
const PATTERN_OCTETS_MAX: usize = 10_000;

/// What the Corefile says about errors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Errors that are counted and not told one by one, in the order in which they are tried.
    pub patterns: Vec<Pattern>,
    /// Clients are not told why there is no better answer (RFC 8914).
    pub no_extended_errors: bool,
}

/// `consolidate`: errors that are told together.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What they look like.
    pub regex: Regex,
    /// How long they are counted.
    pub period: Duration,
    /// How loud they are told.
    pub level: Level,
    /// Whether the first of a period is told in full.
    pub show_first: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
            && self.period == other.period
            && self.level == other.level
            && self.show_first == other.show_first
    }
}

impl Eq for Pattern {}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `[ERROR]`
    Error,
    /// `[WARNING]`
    Warning,
    /// `[INFO]`
    Info,
    /// `[DEBUG]`
    Debug,
}

/// Reads `errors [stdout] { ... }`.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let mut sound = output(&reader);
    let mut config = Config::default();
    for line in reader.lines() {
        let read = match line.name().text.as_str() {
            // The stack of a panic is in the log anyway.
            "stacktrace" => line.none().and(line.no_block()),
            "consolidate" => consolidate(&line).map(|pattern| config.patterns.push(pattern)),
            "no_extended_errors" => {
                config.no_extended_errors = true;
                line.none().and(line.no_block())
            }
            _ => line.unknown(["stacktrace", "consolidate", "no_extended_errors"]),
        };
        sound = read.and(sound);
    }
    sound.map(|()| config)
}

fn output(reader: &Reader<'_>) -> Option<()> {
    match reader.optional()? {
        Some(word) if word.text != "stdout" => {
            reader.refuse(word, format!("invalid log file: {}", word.text))
        }
        _ => Some(()),
    }
}

/// `DURATION REGEXP [LEVEL] [show_first]`
fn consolidate(line: &Reader<'_>) -> Option<Pattern> {
    line.no_block()?;
    let (period, rest) = line.between(2, 4)?.split_first()?;
    let (pattern, options) = rest.split_first()?;
    let period = period_of(period, line)?;
    let regex = regex_of(pattern, line)?;
    let (level, show_first) = options_of(options, line)?;
    Some(Pattern {
        regex,
        period,
        level,
        show_first,
    })
}

/// CoreDNS takes a negative period for one that is over at once.
fn period_of(word: &Word, line: &Reader<'_>) -> Option<Duration> {
    let period = line.value(word, value::duration)?;
    Some(period.unwrap_or(Duration::ZERO))
}

fn regex_of(word: &Word, line: &Reader<'_>) -> Option<Regex> {
    let octets = word.text.len();
    if octets > PATTERN_OCTETS_MAX {
        let message = format!("regex pattern too long: {octets} > {PATTERN_OCTETS_MAX}");
        return line.refuse(word, message);
    }
    line.value(word, |text| {
        Regex::new(text).map_err(|error| format!("error parsing regexp: {}", last_line(&error)))
    })
}

/// A fault of a pattern has several lines, which draw where it is; the last says what it is.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

fn options_of(words: &[Word], line: &Reader<'_>) -> Option<(Level, bool)> {
    let (mut level, mut show_first) = (None, false);
    for word in words {
        let said = match word.text.as_str() {
            "error" => Level::Error,
            "warning" => Level::Warning,
            "info" => Level::Info,
            "debug" => Level::Debug,
            "show_first" => {
                show_first = true;
                continue;
            }
            other => {
                let message = format!("unknown option in consolidate: {other}");
                return line.refuse(word, message);
            }
        };
        if level.is_some() {
            return line.refuse(word, "multiple log levels specified in consolidate");
        }
        if show_first {
            return line.refuse(word, "log level must come before show_first in consolidate");
        }
        level = Some(said);
    }
    Some((level.unwrap_or(Level::Error), show_first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::case;

    fn read(text: &str) -> Result<Config, String> {
        case::read("errors", text, parse)
    }

    #[test]
    fn patterns_are_read_in_their_order() {
        let config = read(
            "errors stdout {\n consolidate 5m \".* i/o timeout$\"\n stacktrace\n consolidate 30s ^x warning show_first\n }",
        );
        let expected = Config {
            patterns: vec![
                Pattern {
                    regex: Regex::new(".* i/o timeout$").unwrap(),
                    period: Duration::from_secs(300),
                    level: Level::Error,
                    show_first: false,
                },
                Pattern {
                    regex: Regex::new("^x").unwrap(),
                    period: Duration::from_secs(30),
                    level: Level::Warning,
                    show_first: true,
                },
            ],
            no_extended_errors: false,
        };
        assert_eq!(config, Ok(expected));
        let silent = Config {
            no_extended_errors: true,
            ..Config::default()
        };
        assert_eq!(read("errors {\n no_extended_errors\n }"), Ok(silent));
        assert_eq!(read("errors"), Ok(Config::default()));
    }

    #[test]
    fn faults_are_told_as_coredns_tells_them() {
        let long = format!("errors {{\n consolidate 1s {}\n }}", "x".repeat(10_001));
        for (text, fault) in [
            ("errors /x.log", "invalid log file: /x.log"),
            (
                "errors a b",
                "Wrong argument count or unexpected line ending after 'b'",
            ),
            (
                "errors\nerrors",
                "this plugin can only be used once per Server Block",
            ),
            ("errors {\n foo\n }", "unknown property 'foo'"),
            (
                "errors {\n no_extended_errors yes\n }",
                "Wrong argument count or unexpected line ending after 'yes'",
            ),
            (
                "errors {\n consolidate 5m\n }",
                "Wrong argument count or unexpected line ending after '5m'",
            ),
            (
                "errors {\n consolidate often x\n }",
                "time: invalid duration \"often\"",
            ),
            (
                "errors {\n consolidate 5m (\n }",
                "error parsing regexp: unclosed group",
            ),
            (
                "errors {\n consolidate 5m x loud\n }",
                "unknown option in consolidate: loud",
            ),
            (
                "errors {\n consolidate 5m x info debug\n }",
                "multiple log levels specified in consolidate",
            ),
            (
                "errors {\n consolidate 5m x show_first info\n }",
                "log level must come before show_first in consolidate",
            ),
            (&long, "regex pattern too long: 10001 > 10000"),
        ] {
            assert_eq!(read(text), Err(fault.to_owned()), "{text}");
        }
    }
}

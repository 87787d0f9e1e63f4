//! One fault of a configuration, and how people see it: with a caret on a terminal, on one line in a log.

use std::fmt::Write as _;
use std::ops::Range;

use super::substitute::unset;
use super::{Outside, Sources, Span};

/// Characters of a source line that are shown. Longer lines are cut around the caret.
const EXCERPT_MAX: usize = 100;

/// Characters shown before the caret where a line is cut.
const EXCERPT_LEAD: usize = 30;

/// Characters of a word that a message repeats; a word may be a megabyte.
const QUOTED_MAX: usize = 60;

/// What a tab is shown as; its real width depends on the terminal.
const TAB: &str = "    ";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It runs, though perhaps not as meant.
    Warning,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the configuration is refused for it.
    pub severity: Severity,
    /// What is wrong, in CoreDNS's words where it has them, and in its letter case.
    pub message: String,
    /// The plugin whose parser found it.
    pub plugin: Option<String>,
    /// Where; none if it is not in any text, such as a Corefile that cannot be read.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A fault that refuses the configuration.
    pub fn error(message: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        Self::new(Severity::Error, message.into(), span.into())
    }

    /// A doubt that does not.
    pub fn warning(message: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        Self::new(Severity::Warning, message.into(), span.into())
    }

    fn new(severity: Severity, message: String, span: Option<Span>) -> Self {
        Self {
            severity,
            message,
            plugin: None,
            span,
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds `did you mean 'x'?`, if there is a nearest word.
    #[must_use]
    pub fn with_nearest(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(nearest) => self.with_hint(format!("did you mean '{nearest}'?")),
            None => self,
        }
    }

    /// Adds that a variable of the word is not set, where that is so and nothing better is known.
    pub fn hint_at_unset(&mut self, sources: &Sources, outside: &dyn Outside) {
        if let (None, Some(span)) = (&self.hint, self.span) {
            let (line, at) = sources.line(span);
            let name = line.get(at).and_then(|word| unset(outside, word));
            self.hint = name.map(|name| format!("{name} is not set in the environment"));
        }
    }

    /// Names the plugin whose parser found it.
    #[must_use]
    pub fn with_plugin(mut self, plugin: impl Into<String>) -> Self {
        self.plugin = Some(plugin.into());
        self
    }

    /// Whether the configuration is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// For people: place, message, the line with a caret under the word, where the file was imported, and the hint.
    /// Several lines, the last one ended too.
    pub fn render(&self, sources: &Sources) -> String {
        let mut out = String::new();
        if let Some(span) = self.span {
            let at = sources.position(span);
            out.push_str(&printable(&format!(
                "{}:{}:{}: ",
                at.path.display(),
                at.line,
                at.column
            )));
        }
        out.push_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        });
        out.push_str(&printable(&uncapitalized(&self.message)));
        out.push('\n');
        if let Some(span) = self.span {
            let (line, covered) = sources.line(span);
            out.push_str(&excerpt(line, covered));
            imported(&mut out, sources, span);
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("hint: {}\n", printable(hint)));
        }
        out
    }

    /// For a log: one line, in the form of CoreDNS, such as
    /// `plugin/forward: Corefile:3 - Error during parsing: unknown property 'foo'`.
    pub fn one_line(&self, sources: &Sources) -> String {
        let place = self.span.map(|span| {
            let at = sources.position(span);
            format!("{}:{}", at.path.display(), at.line)
        });
        let mut out = String::new();
        if let Some(plugin) = &self.plugin {
            out.push_str(&format!("plugin/{plugin}: "));
        }
        match (self.severity, place) {
            (Severity::Error, Some(place)) => {
                out.push_str(&format!("{place} - Error during parsing: {}", self.message));
            }
            (Severity::Warning, Some(place)) => {
                out.push_str(&format!("{} ({place})", self.message));
            }
            (_, None) => out.push_str(&self.message),
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!(" ({hint})"));
        }
        printable(&out)
    }
}

/// A word as a message repeats it: in single quotes, and cut if it is long.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((cut, _)) => format!("'{}…'", &text[..cut]),
        None => format!("'{text}'"),
    }
}

/// CoreDNS begins some of its sentences with a capital; after `error: ` none is due. Acronyms keep theirs.
fn uncapitalized(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second))
            if first.is_ascii_uppercase() && second.is_ascii_lowercase() =>
        {
            format!("{}{}", first.to_ascii_lowercase(), &message[1..])
        }
        _ => message.to_owned(),
    }
}

/// The text with everything that would move or hide the characters around it written as an escape.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        push_printable(&mut out, character);
        out
    })
}

fn push_printable(out: &mut String, character: char) {
    match character {
        '\t' => out.push_str(TAB),
        '"' | '\'' | '\\' => out.push(character),
        _ => out.extend(character.escape_debug()),
    }
}

/// The line and, below it, carets under the covered bytes; at least one caret.
fn excerpt(line: &str, covered: Range<usize>) -> String {
    let caret_at = line[..floor(line, covered.start)].chars().count();
    let skipped = if line.chars().count() > EXCERPT_MAX {
        caret_at.saturating_sub(EXCERPT_LEAD)
    } else {
        0
    };
    let mut shown = String::new();
    let (mut before, mut width) = (0, 0);
    if skipped > 0 {
        shown.push('…');
        before = 1;
    }
    let mut rest = line.char_indices().skip(skipped);
    for (at, character) in rest.by_ref().take(EXCERPT_MAX) {
        let from = shown.len();
        push_printable(&mut shown, character);
        let columns = shown[from..].chars().count();
        if at < covered.start {
            before += columns;
        } else if at < covered.end {
            width += columns;
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    format!(
        "  {}\n  {}{}\n",
        shown.trim_end(),
        " ".repeat(before),
        "^".repeat(width.max(1))
    )
}

/// The greatest character boundary not after `at`.
fn floor(line: &str, at: usize) -> usize {
    (0..=at.min(line.len()))
        .rev()
        .find(|&at| line.is_char_boundary(at))
        .unwrap_or(0)
}

fn imported(out: &mut String, sources: &Sources, span: Span) {
    let Some((&first, more)) = sources.imported_at(span).split_first() else {
        return;
    };
    let at = sources.position(first);
    let place = printable(&format!("{}:{}", at.path.display(), at.line));
    let _ = match more.is_empty() {
        true => writeln!(out, "imported at {place}"),
        false => writeln!(out, "imported at {place} and elsewhere"),
    };
}

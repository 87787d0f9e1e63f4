//! Text → tokens: words, quotes, comments, lines.
//!
//! A word ends at a blank. A `"` at its start quotes it: newlines are allowed inside and `\"` is the one escape.
//! `#` outside quotes begins a comment. Carriage returns and a byte order mark are as if not there.

use std::path::Path;

use super::source::offset;
use super::{Diagnostic, Faults, FileId, Span};

/// A word as written, environment not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) quoted: bool,
    /// Line of its first character.
    pub(super) line: u32,
    /// Line of its last character; later than `line` if a quoted word holds newlines.
    pub(super) end_line: u32,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// Bytes as text, each invalid sequence replaced by U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) text: String,
    /// Offset in `text` and in the bytes of each replacement.
    pub(super) replaced: Vec<(u32, usize)>,
}

/// Decodes UTF-8.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        decoded.text.push_str(chunk.valid());
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            decoded.replaced.push((offset(decoded.text.len()), at));
            decoded.text.push(char::REPLACEMENT_CHARACTER);
            at += chunk.invalid().len();
        }
    }
    decoded
}

/// CoreDNS reads bytes that are not UTF-8 as U+FFFD. In a comment that harms nobody; a word that silently became
/// another one is refused here.
pub(super) fn report_replaced(
    file: FileId,
    path: &Path,
    replaced: &[(u32, usize)],
    tokens: &[Token],
    faults: &Faults,
) {
    let within_word = |at: u32| {
        let before = tokens.partition_point(|token| token.span.start <= at);
        before > 0 && at < tokens[before - 1].span.end
    };
    let in_word = replaced.iter().find(|(at, _)| within_word(*at));
    let Some(&(at, byte)) = in_word.or(replaced.first()) else {
        return;
    };
    let span = Span {
        file,
        start: at,
        end: at + offset(char::REPLACEMENT_CHARACTER.len_utf8()),
    };
    let message = format!("{} is not UTF-8 at byte {byte}", path.display());
    faults.push(match in_word {
        Some(_) => Diagnostic::error(message, span),
        None => Diagnostic::warning(message, span),
    });
}

/// The tokens of one file. Doubts of the lexer are warnings: it refuses nothing, as CoreDNS's does not.
pub(super) fn lex(file: FileId, text: &str, faults: &Faults) -> Vec<Token> {
    let mut lexer = Lexer {
        file,
        text,
        at: 0,
        line: 1,
    };
    if text.starts_with('\u{feff}') {
        lexer.bump();
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut cut = None;
    while let Some(found) = lexer.next() {
        if cut == Some(found.token.line) {
            let before = tokens.last().map_or("", |token| token.text.as_str());
            let warning = format!(
                "a comment that touches {} ends at the next blank",
                super::diagnostic::quoted(before)
            );
            faults.push(
                Diagnostic::warning(warning, found.token.span)
                    .with_hint("put a blank before '#', or this word is read"),
            );
        }
        if found.end == End::Unterminated {
            faults.push(Diagnostic::warning(
                "this quote is never closed: it swallows the rest of the file",
                Span {
                    end: found.token.span.start + 1,
                    ..found.token.span
                },
            ));
        }
        cut = (found.end == End::Comment).then_some(found.token.end_line);
        tokens.push(found.token);
    }
    tokens
}

struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    line: u32,
}

struct Found {
    token: Token,
    end: End,
}

/// What ended a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Blank,
    Quote,
    /// A `#` in the middle of the word.
    Comment,
    /// The end of the file, inside quotes.
    Unterminated,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        self.line += u32::from(character == '\n');
        Some(character)
    }

    fn next(&mut self) -> Option<Found> {
        self.skip_blanks_and_comments();
        let (start, line) = (self.at, self.line);
        let quoted = self.peek()? == '"';
        let (text, end) = if quoted { self.quoted()? } else { self.bare() };
        // A comment that touches a word is not a part of it; the carriage return before a newline is not either.
        let written = self.text[start..self.at]
            .find('#')
            .filter(|_| end == End::Comment);
        let stop = written.map_or(self.at, |length| start + length);
        let span = Span {
            file: self.file,
            start: offset(start),
            end: offset(start + self.text[start..stop].trim_end_matches('\r').len()),
        };
        let end_line = self.line;
        Some(Found {
            token: Token {
                text,
                span,
                quoted,
                line,
                end_line,
            },
            end,
        })
    }

    fn skip_blanks_and_comments(&mut self) {
        while let Some(character) = self.peek() {
            if character == '#' {
                while self.peek().is_some_and(|character| character != '\n') {
                    self.bump();
                }
            } else if character.is_whitespace() {
                self.bump();
            } else {
                return;
            }
        }
    }

    /// The word from its first character up to a blank, which is left.
    fn bare(&mut self) -> (String, End) {
        let mut text = String::new();
        let mut end = End::Blank;
        while let Some(character) = self.peek() {
            match character {
                '\r' => {}
                _ if character.is_whitespace() => break,
                '#' => end = End::Comment,
                // CoreDNS forgets the comment with the word that it cut, so it ends at a blank and not at the line.
                _ if end == End::Comment => {}
                _ => text.push(character),
            }
            self.bump();
        }
        (text, end)
    }

    /// The word between quotes; none for a quote that nothing follows.
    fn quoted(&mut self) -> Option<(String, End)> {
        self.bump();
        let mut text = String::new();
        let mut escaped = false;
        while let Some(character) = self.bump() {
            match character {
                '"' if !escaped => return Some((text, End::Quote)),
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' => {}
                _ if escaped => text.push('\\'),
                _ => {}
            }
            text.push(character);
            escaped = false;
        }
        (!text.is_empty()).then_some((text, End::Unterminated))
    }
}

#[cfg(test)]
mod tests;

//! The tokens of one directive → lines and blocks.
//!
//! CoreDNS hands a plugin the bare tokens and lets it find the lines; here they are found once, the way its plugins
//! would: a line is a word and what follows on the same line, `{` at its end opens a block, and tokens that are left
//! when the block is closed are read as the same directive again.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::diagnostic::quoted;
use super::{Body, Diagnostic, Directive, Faults, Line, NESTING_MAX, Span, Word};

/// A word in its place. Braces are told before the environment is put in: a value never opens a block.
pub(super) struct Item {
    pub(super) word: Word,
    pub(super) is_open: bool,
    pub(super) is_close: bool,
    pub(super) new_line: bool,
}

/// Adds the directive, and any occurrences that its left-over tokens make.
pub(super) fn arrange(
    name: Word,
    items: Vec<Item>,
    directives: &mut Vec<Directive>,
    faults: &Faults,
) {
    let mut arranger = Arranger {
        items: items.into_iter().peekable(),
        faults,
    };
    let text = name.text.clone();
    directives.push(arranger.line(name, 0).0);
    if let Some(left) = arranger.items.peek() {
        let message = format!(
            "{} is read as another {}",
            quoted(&left.word.text),
            quoted(&text)
        );
        let hint = match left.is_open {
            true => format!(
                "'{{' must stand at the end of the line of {}",
                quoted(&text)
            ),
            false => "nothing may follow '}' on its line".to_owned(),
        };
        faults.push(Diagnostic::warning(message, left.word.span).with_hint(hint));
    }
    while let Some(left) = arranger.items.next() {
        let name = Word {
            text: text.clone(),
            ..left.word
        };
        directives.push(arranger.line(name, 0).0);
    }
}

struct Arranger<'a> {
    items: Peekable<IntoIter<Item>>,
    faults: &'a Faults,
}

impl Arranger<'_> {
    /// The rest of a line whose first word is taken, and whether a `}` on it closed the block that it stands in.
    fn line(&mut self, name: Word, depth: usize) -> (Line, bool) {
        let mut args = Vec::new();
        let mut closed = false;
        while let Some(item) = self.items.next_if(|item| !item.new_line) {
            if closed {
                let message = "Unexpected '}' in the middle of a line";
                let hint = "put '}' on a line of its own";
                self.faults
                    .push(Diagnostic::error(message, item.word.span).with_hint(hint));
            }
            if item.is_open {
                let body = self.body(item.word.span, depth + 1);
                let body = Some(body);
                return (Line { name, args, body }, closed);
            }
            closed |= item.is_close && depth > 0;
            args.push(item.word);
        }
        let body = None;
        (Line { name, args, body }, closed)
    }

    /// The lines up to the brace that closes this block.
    fn body(&mut self, open: Span, depth: usize) -> Body {
        let mut lines = Vec::new();
        if depth > NESTING_MAX {
            let message = format!("more than {NESTING_MAX} blocks inside each other");
            self.faults.push(Diagnostic::error(message, open));
            self.items.by_ref().for_each(drop);
        }
        while let Some(item) = self.items.next() {
            if item.is_close {
                break;
            }
            if item.is_open {
                let message = "Unexpected token '{' at the beginning of a line";
                let hint = "'{' must stand at the end of the line whose block it opens";
                self.faults
                    .push(Diagnostic::error(message, item.word.span).with_hint(hint));
                self.body(item.word.span, depth + 1);
                continue;
            }
            let (line, closed) = self.line(item.word, depth);
            lines.push(line);
            if closed {
                break;
            }
        }
        Body { open, lines }
    }
}

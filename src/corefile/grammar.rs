//! Tokens → server blocks: keys, braces, snippets, and which tokens belong to which directive.
//!
//! Follows the grammar of CoreDNS in all it accepts, its accidents too, for a Corefile that starts there must start
//! here; what it accepts though it can hardly be meant gets a warning. After a fault reading goes on where the next
//! line, block or file makes sense again.

use std::path::Path;

use super::body::{self, Item};
use super::diagnostic::quoted;
use super::expand::Stream;
use super::lexer::Token;
use super::{Corefile, Diagnostic, Directive, Outside, Parsed, ServerBlock, Span, Word};

pub(super) fn parse(outside: &dyn Outside, path: &Path, bytes: &[u8]) -> Parsed {
    let mut parser = Parser {
        stream: Stream::new(outside, path, bytes),
        corefile: Corefile::default(),
    };
    while parser.stream.peek().is_some() {
        parser.server_block();
    }
    let (faults, sources) = parser.stream.finish();
    Parsed {
        corefile: parser.corefile,
        diagnostics: faults.into_sorted(),
        sources,
    }
}

struct Parser<'a> {
    stream: Stream<'a>,
    corefile: Corefile,
}

/// How the keys of a block ended.
enum Keys {
    /// A brace or a line of directives follows.
    Open(Vec<Word>),
    /// Nothing follows: a file may be one line of keys.
    End(Vec<Word>),
}

/// Whether a server block goes on after a directive.
enum Flow {
    Continues,
    Ended,
}

impl Parser<'_> {
    fn server_block(&mut self) {
        match self.keys() {
            Keys::End(keys) => self.push(keys, Vec::new(), None),
            Keys::Open(keys) => match snippet_name(&keys) {
                Some(name) => {
                    let (name, span) = (name.to_owned(), keys[0].span);
                    self.snippet(&name, span);
                }
                None => {
                    let open = self.open_brace();
                    let directives = self.directives(open);
                    self.push(keys, directives, open);
                }
            },
        }
    }

    fn push(&mut self, keys: Vec<Word>, directives: Vec<Directive>, open: Option<Span>) {
        if !keys.is_empty() {
            self.corefile.blocks.push(ServerBlock { keys, directives });
            return;
        }
        let at = open.or(directives.first().map(|directive| directive.name.span));
        if let Some(at) = at {
            let message = "a server block without a key is not served";
            self.fault(Diagnostic::warning(message, at));
        }
    }

    fn keys(&mut self) -> Keys {
        let mut keys = Vec::new();
        let mut comma = None;
        loop {
            if self.stream.next_is("{") {
                if let Some(comma) = comma {
                    let message = "Expected another address but had '{' - check for extra comma";
                    self.fault(Diagnostic::error(message, comma));
                }
                return Keys::Open(keys);
            }
            let Some(placed) = self.stream.next() else {
                return Keys::End(keys);
            };
            let mut word = self.stream.word(placed.token);
            if word.text == "import" && placed.new_line {
                self.stream.import();
                continue;
            }
            if !word.text.is_empty() {
                comma = word.text.ends_with(',').then_some(word.span);
                if comma.is_some() {
                    word.text.pop();
                }
                keys.push(word);
            }
            match self.stream.peek() {
                None => {
                    self.expect_key(comma);
                    return Keys::End(keys);
                }
                Some((_, true)) if comma.is_none() => return Keys::Open(keys),
                Some(_) => {}
            }
        }
    }

    fn expect_key(&self, comma: Option<Span>) {
        if let Some(comma) = comma.filter(|_| !self.stream.is_stopped()) {
            let message = "Unexpected EOF, expecting another key after ','";
            self.fault(Diagnostic::error(message, comma));
        }
    }

    fn open_brace(&mut self) -> Option<Span> {
        match self.stream.next_is("{") {
            true => self.stream.next().map(|placed| placed.token.span),
            false => None,
        }
    }

    fn snippet(&mut self, name: &str, at: Span) {
        let Some(open) = self.open_brace() else {
            let found = self
                .stream
                .peek()
                .map(|(token, _)| (quoted(&token.text), token.span));
            let (found, span) = found.unwrap_or_else(|| (quoted(""), at));
            let message = format!("Unexpected token {found}, expecting '{{'");
            let hint = format!("the snippet ({name}) needs braces around its lines");
            self.fault(Diagnostic::error(message, span).with_hint(hint));
            return self.stream.skip_line();
        };
        let tokens = self.snippet_tokens(open);
        if let Some(span) = self.stream.imports_itself(name, &tokens) {
            let message = format!(
                "maximum snippet import depth ({}) exceeded",
                super::SNIPPET_EXPANSIONS_MAX
            );
            let hint = format!("the snippet {} imports itself", quoted(name));
            self.fault(Diagnostic::error(message, span).with_hint(hint));
        }
        if !self.stream.define(name, tokens) {
            let message = format!("redeclaration of previously declared snippet {name}");
            self.fault(Diagnostic::error(message, at));
        }
    }

    /// Everything up to the brace that closes the snippet.
    fn snippet_tokens(&mut self, open: Span) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut nesting = 1_usize;
        while let Some(placed) = self.stream.next() {
            match placed.token.text.as_str() {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                _ => {}
            }
            if nesting == 0 {
                return tokens;
            }
            tokens.push(placed.token);
        }
        self.unclosed(open);
        tokens
    }

    /// The lines of a server block, up to `}` or the end of the text.
    fn directives(&mut self, open: Option<Span>) -> Vec<Directive> {
        let mut directives = Vec::new();
        loop {
            let Some(placed) = self.stream.next() else {
                self.end_of_text(open);
                return directives;
            };
            if placed.token.is("}") {
                if open.is_none() {
                    let message = "this '}' ends a server block that no '{' began";
                    self.fault(Diagnostic::warning(message, placed.token.span));
                }
                return directives;
            }
            if placed.token.is("import") {
                self.stream.import();
                continue;
            }
            if let Flow::Ended = self.directive(placed.token, &mut directives) {
                return directives;
            }
        }
    }

    fn end_of_text(&self, open: Option<Span>) {
        let Some(open) = open else {
            return;
        };
        if !self.stream.last().is_some_and(|token| token.is("}")) {
            return self.unclosed(open);
        }
        // CoreDNS looks at the last token only, and takes the brace of the last plugin for the one of the block.
        if !self.stream.is_stopped() {
            let message = "this server block is never closed: one '}' is missing at the end";
            self.fault(Diagnostic::warning(message, open));
        }
    }

    fn unclosed(&self, open: Span) {
        if self.stream.is_stopped() {
            return;
        }
        let (found, span) = match self.stream.last() {
            Some(last) => (quoted(&last.text), last.span),
            None => (quoted("{"), open),
        };
        let at = self.stream.sources().position(open);
        let hint = format!(
            "the block that opens at {}:{}:{} is never closed",
            at.path.display(),
            at.line,
            at.column
        );
        let message = format!("Unexpected end of file after {found}, expecting '}}'");
        self.fault(Diagnostic::error(message, span).with_hint(hint));
    }

    /// Gathers the tokens of one directive: the rest of its line, and every line up to the brace that closes what
    /// was opened on the way.
    fn directive(&mut self, name: Token, directives: &mut Vec<Directive>) -> Flow {
        let name = self.stream.word(name);
        let mut items = Vec::new();
        let mut opened: Vec<Span> = Vec::new();
        let flow = loop {
            let Some((token, new_line)) = self.stream.peek() else {
                break self.end_of_directive(opened.last());
            };
            let (span, is_open, is_close) = (token.span, token.is("{"), token.is("}"));
            let is_import = new_line && token.is("import");
            if is_open {
                opened.push(span);
            } else if new_line && opened.is_empty() {
                break Flow::Continues;
            } else if is_close && opened.pop().is_none() {
                self.stream.next();
                let message = "Unexpected '}' because no matching opening brace";
                let hint = "put '}' on a line of its own";
                self.fault(Diagnostic::error(message, span).with_hint(hint));
                break Flow::Ended;
            } else if is_import {
                self.stream.next();
                self.stream.import();
                continue;
            }
            if let Some(placed) = self.stream.next() {
                items.push(Item {
                    is_open,
                    is_close,
                    new_line,
                    word: self.stream.word(placed.token),
                });
            }
        };
        body::arrange(name, items, directives, &self.stream.faults);
        flow
    }

    fn end_of_directive(&self, opened: Option<&Span>) -> Flow {
        match opened {
            None => Flow::Continues,
            Some(&open) => {
                self.unclosed(open);
                Flow::Ended
            }
        }
    }

    fn fault(&self, diagnostic: Diagnostic) {
        self.stream.faults.push(diagnostic);
    }
}

/// The name in `(name)`, if that is all there is.
fn snippet_name(keys: &[Word]) -> Option<&str> {
    match keys {
        [key] => key.text.strip_prefix('(')?.strip_suffix(')'),
        _ => None,
    }
}

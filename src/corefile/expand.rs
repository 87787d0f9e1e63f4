//! Tokens of the whole configuration in reading order: `import` puts the tokens of a snippet or of files in its own
//! place.
//!
//! What is being read is a stack of frames, one for each import that is under way; nothing is copied into a list.
//! The grammar decides where the word `import` is an import, this how it is carried out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::lexer::{self, Token};
use super::substitute::substitute;
use super::{Diagnostic, Faults, FileId, Outside, Sources, Unreadable, WORDS_MAX, Word};

mod import;

/// The tokens, imports carried out on demand.
pub(super) struct Stream<'a> {
    outside: &'a dyn Outside,
    pub(super) faults: Faults,
    sources: Sources,
    frames: Vec<Frame>,
    frames_opened: u64,
    snippets: BTreeMap<String, Rc<[Token]>>,
    lexed: HashMap<PathBuf, (FileId, Rc<[Token]>)>,
    snippet_expansions: usize,
    file_expansions: usize,
    words: usize,
    /// The token handed out last and the one before it; an import takes its own two back.
    last: Option<Last>,
    before_last: Option<Last>,
    /// What is being imported at the token handed out last.
    chain: Option<Rc<Link>>,
    stopped: bool,
}

/// Tokens under way.
struct Frame {
    id: u64,
    tokens: Rc<[Token]>,
    next: usize,
    chain: Option<Rc<Link>>,
}

/// What the place of the next token is told from.
struct Last {
    token: Token,
    frame: u64,
}

/// The frame of what stood before an import: none has this number, so what follows begins a line of its own.
const BEFORE_IMPORT: u64 = 0;

/// One import inside others.
struct Link {
    origin: Origin,
    depth: usize,
    within: Option<Rc<Link>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Snippet(String),
}

/// A token, and whether it is the first of its line. The first one of an import always is, as is the one behind it.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) new_line: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(outside: &'a dyn Outside, path: &Path, bytes: &[u8]) -> Self {
        let mut stream = Self {
            outside,
            faults: Faults::new(),
            sources: Sources::default(),
            frames: Vec::new(),
            frames_opened: 0,
            snippets: BTreeMap::new(),
            lexed: HashMap::new(),
            snippet_expansions: 0,
            file_expansions: 0,
            words: 0,
            last: None,
            before_last: None,
            chain: None,
            stopped: false,
        };
        match bytes.len() > super::FILE_BYTES_MAX {
            true => {
                let message = format!(
                    "Could not read {}: {}",
                    path.display(),
                    Unreadable::TooLarge
                );
                stream.faults.push(Diagnostic::error(message, None));
            }
            false => {
                let (_, tokens) = stream.lex(path, bytes);
                stream.open(tokens, Origin::File(path.to_path_buf()));
            }
        }
        stream
    }

    pub(super) fn finish(self) -> (Faults, Sources) {
        (self.faults, self.sources)
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether a bound ended the text early, so that what is missing at its end is no fault of its own.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The next token, left where it is.
    pub(super) fn peek(&mut self) -> Option<(&Token, bool)> {
        while self
            .frames
            .last()
            .is_some_and(|frame| frame.next == frame.tokens.len())
        {
            self.frames.pop();
        }
        let frame = self.frames.last()?;
        let token = &frame.tokens[frame.next];
        let new_line = match &self.last {
            Some(last) => {
                last.frame != frame.id
                    || last.token.span.file != token.span.file
                    || last.token.end_line != token.line
            }
            None => true,
        };
        Some((token, new_line))
    }

    /// Whether the next token is this one.
    pub(super) fn next_is(&mut self, text: &str) -> bool {
        self.peek().is_some_and(|(token, _)| token.is(text))
    }

    /// Whether a next token stands on the line of the last one.
    pub(super) fn has_arg(&mut self) -> bool {
        self.peek().is_some_and(|(_, new_line)| !new_line)
    }

    pub(super) fn next(&mut self) -> Option<Placed> {
        let (token, new_line) = self.peek()?;
        let token = token.clone();
        if self.words == WORDS_MAX {
            let message = format!("the configuration has more than {WORDS_MAX} words");
            self.stop(Diagnostic::error(message, token.span));
            return None;
        }
        self.words += 1;
        let frame = self.frames.last_mut().expect("peek found a token in it");
        frame.next += 1;
        self.chain.clone_from(&frame.chain);
        self.before_last = self.last.replace(Last {
            token: token.clone(),
            frame: frame.id,
        });
        Some(Placed { token, new_line })
    }

    /// The last token that was handed out, imports aside.
    pub(super) fn last(&self) -> Option<&Token> {
        self.last.as_ref().map(|last| &last.token)
    }

    /// The token as its reader shall see it.
    pub(super) fn word(&self, token: Token) -> Word {
        let Token {
            text, span, quoted, ..
        } = token;
        let text = substitute(self.outside, text).unwrap_or_else(|_| {
            self.faults.push(Diagnostic::error(
                "the environment variables of this word refer to themselves without end",
                span,
            ));
            String::new()
        });
        Word { text, span, quoted }
    }

    /// Passes over the rest of the line of the last token.
    pub(super) fn skip_line(&mut self) {
        while self.has_arg() {
            self.next();
        }
    }

    /// Defines a snippet; false if there is one of that name.
    pub(super) fn define(&mut self, name: &str, tokens: Vec<Token>) -> bool {
        let free = !self.snippets.contains_key(name);
        if free {
            self.snippets.insert(name.to_owned(), tokens.into());
        }
        free
    }

    fn lex(&mut self, path: &Path, bytes: &[u8]) -> (FileId, Rc<[Token]>) {
        let decoded = lexer::decode(bytes);
        let file = self.sources.add(path.to_path_buf(), decoded.text);
        let tokens = lexer::lex(file, self.sources.text(file), &self.faults);
        lexer::report_replaced(file, path, &decoded.replaced, &tokens, &self.faults);
        let tokens: Rc<[Token]> = tokens.into();
        self.lexed
            .insert(path.to_path_buf(), (file, Rc::clone(&tokens)));
        (file, tokens)
    }

    fn open(&mut self, tokens: Rc<[Token]>, origin: Origin) {
        if self.stopped {
            return;
        }
        self.frames_opened += 1;
        let depth = self.chain.as_ref().map_or(0, |link| link.depth + 1);
        self.frames.push(Frame {
            id: self.frames_opened,
            tokens,
            next: 0,
            chain: Some(Rc::new(Link {
                origin,
                depth,
                within: self.chain.clone(),
            })),
        });
    }

    fn stop(&mut self, diagnostic: Diagnostic) {
        self.faults.push(diagnostic);
        self.frames.clear();
        self.stopped = true;
    }
}

//! Tokens of the whole configuration in reading order: `import` puts the tokens of a snippet or of files in its own
//! place.
//!
//! What is being read is a stack of frames, one for each import that is under way; nothing is copied into a list.
//! The grammar decides where the word `import` is an import, this how it is carried out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::diagnostic::quoted;
use super::lexer::{self, Token};
use super::pattern::{self, Malformed};
use super::substitute::substitute;
use super::{
    Diagnostic, FILE_EXPANSIONS_MAX, Faults, FileId, IMPORT_DEPTH_MAX, Outside,
    SNIPPET_EXPANSIONS_MAX, Sources, Span, Unreadable, WORDS_MAX, Word,
};

/// The tokens, imports carried out on demand.
pub(super) struct Stream<'a> {
    outside: &'a dyn Outside,
    pub(super) faults: Faults,
    sources: Sources,
    frames: Vec<Frame>,
    frames_opened: u64,
    snippets: HashMap<String, Rc<[Token]>>,
    lexed: HashMap<PathBuf, (FileId, Rc<[Token]>)>,
    snippet_expansions: usize,
    file_expansions: usize,
    words: usize,
    /// The token handed out last that was not part of an import, and its frame.
    last: Option<(Token, u64)>,
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
            snippets: HashMap::new(),
            lexed: HashMap::new(),
            snippet_expansions: 0,
            file_expansions: 0,
            words: 0,
            last: None,
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
            Some((last, id)) => {
                *id != frame.id || last.span.file != token.span.file || last.end_line != token.line
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
        self.last = Some((token.clone(), frame.id));
        Some(Placed { token, new_line })
    }

    /// The last token that was handed out, imports aside.
    pub(super) fn last(&self) -> Option<&Token> {
        self.last.as_ref().map(|(token, _)| token)
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

    /// Whether the tokens of a snippet import that snippet: CoreDNS refuses it even if nobody uses it.
    pub(super) fn imports_itself(&self, name: &str, tokens: &[Token]) -> Option<Span> {
        let starts = (0..tokens.len()).filter(|&at| {
            at == 0
                || tokens[at - 1].span.file != tokens[at].span.file
                || tokens[at - 1].end_line != tokens[at].line
        });
        let mut imports = starts.filter(|&at| tokens[at].is("import"));
        imports.find_map(|at| {
            let argument = tokens.get(at + 1)?;
            (self.word(argument.clone()).text == name).then_some(argument.span)
        })
    }

    /// Carries out `import X`; the token `import` was the last one.
    pub(super) fn import(&mut self, before: Option<(Token, u64)>) {
        let import = self.last.take();
        let keyword = import.as_ref().map(|(token, _)| token.span);
        self.last = import;
        let target = match self.has_arg() {
            true => self.next(),
            false => None,
        };
        if let Some(target) = target {
            let word = self.word(target.token);
            if self.has_arg() {
                let message = "Import takes only one argument (glob pattern or file)";
                let extra = self.peek().map(|(token, _)| token.span);
                self.faults.push(Diagnostic::error(message, extra));
                self.skip_line();
            } else if word.text.is_empty() {
                let message = "Import requires a non-empty filepath";
                self.faults.push(Diagnostic::error(message, word.span));
            } else {
                self.expand(&word);
            }
        } else {
            let message = "Wrong argument count or unexpected line ending after 'import'";
            self.faults.push(Diagnostic::error(message, keyword));
        }
        // What follows begins a line of its own whatever comes: frame 0 is never used.
        self.last = before.map(|(token, _)| (token, 0));
    }

    /// The state to hand to [`Stream::import`], taken before the token `import` is.
    pub(super) fn mark(&self) -> Option<(Token, u64)> {
        self.last.clone()
    }

    fn expand(&mut self, word: &Word) {
        if let Some(tokens) = self.snippets.get(&word.text).cloned() {
            self.snippet_expansions += 1;
            if self.snippet_expansions > SNIPPET_EXPANSIONS_MAX {
                let message =
                    format!("maximum snippet import depth ({SNIPPET_EXPANSIONS_MAX}) exceeded");
                return self.stop(Diagnostic::error(message, word.span));
            }
            let origin = Origin::Snippet(word.text.clone());
            if self.is_acyclic(&origin, word) {
                self.open(tokens, origin);
            }
            return;
        }
        self.file_expansions += 1;
        if self.file_expansions > FILE_EXPANSIONS_MAX {
            let message = format!("maximum file import depth ({FILE_EXPANSIONS_MAX}) exceeded");
            return self.stop(Diagnostic::error(message, word.span));
        }
        self.expand_files(word);
    }

    fn expand_files(&mut self, word: &Word) {
        let pattern = pattern::resolve(self.sources.path(word.span.file), &word.text);
        let refused = match pattern::check(&pattern) {
            Ok(()) => None,
            Err(Malformed::TooManyWildcards) => {
                Some("Glob pattern may only contain one wildcard (*), but has others")
            }
            Err(Malformed::Unfinished) => {
                Some("Failed to use import pattern: syntax error in pattern")
            }
        };
        if let Some(message) = refused {
            let message = format!("{message}: {}", word.text);
            self.faults.push(Diagnostic::error(message, word.span));
            return;
        }
        self.sources.watch(Path::new(&pattern));
        let paths = self.outside.glob(&pattern);
        if paths.is_empty() {
            self.nothing_found(word, &pattern);
        }
        // The frame opened last is read first.
        for path in paths.iter().rev() {
            self.expand_file(word, path);
        }
    }

    fn nothing_found(&self, word: &Word, pattern: &str) {
        self.faults.push(if pattern::may_be_empty(pattern) {
            let message = format!("No files matching import glob pattern: {}", word.text);
            Diagnostic::warning(message, word.span)
        } else {
            let message = format!("File to import not found: {}", word.text);
            let known = self.snippets.keys().map(String::as_str);
            Diagnostic::error(message, word.span).with_nearest(super::nearest(&word.text, known))
        });
    }

    fn expand_file(&mut self, word: &Word, path: &Path) {
        let origin = Origin::File(path.to_path_buf());
        if !self.is_acyclic(&origin, word) {
            return;
        }
        let (file, tokens) = match self.lexed.get(path) {
            Some((file, tokens)) => (*file, Rc::clone(tokens)),
            None => match self.outside.read(path) {
                Ok(bytes) => self.lex(path, &bytes),
                Err(why) => {
                    let message = format!("Could not import {}: {why}", path.display());
                    self.faults.push(Diagnostic::error(message, word.span));
                    return;
                }
            },
        };
        self.sources.import(file, word.span);
        self.open(tokens, origin);
    }

    fn lex(&mut self, path: &Path, bytes: &[u8]) -> (FileId, Rc<[Token]>) {
        let decoded = lexer::decode(bytes);
        let file = self.sources.add(path.to_path_buf(), decoded.text);
        let tokens = lexer::lex(file, self.sources.text(file), &self.faults);
        report_replaced(file, path, &decoded.replaced, &tokens, &self.faults);
        let tokens: Rc<[Token]> = tokens.into();
        self.lexed
            .insert(path.to_path_buf(), (file, Rc::clone(&tokens)));
        (file, tokens)
    }

    /// Refuses what is already being imported around this place. Snippets and files do not change while they are
    /// read, so such an import could never end.
    fn is_acyclic(&mut self, origin: &Origin, word: &Word) -> bool {
        let links = std::iter::successors(self.chain.as_deref(), |link| link.within.as_deref());
        let mut depth = 0;
        let mut cyclic = false;
        for link in links {
            depth = depth.max(link.depth);
            cyclic |= link.origin == *origin;
        }
        if cyclic {
            let name = quoted(&word.text);
            let (message, hint) = match origin {
                Origin::Snippet(_) => (
                    format!("maximum snippet import depth ({SNIPPET_EXPANSIONS_MAX}) exceeded"),
                    format!("the snippet {name} imports itself"),
                ),
                Origin::File(_) => (
                    format!("maximum file import depth ({FILE_EXPANSIONS_MAX}) exceeded"),
                    format!("the file {name} imports itself"),
                ),
            };
            self.faults
                .push(Diagnostic::error(message, word.span).with_hint(hint));
        } else if depth >= IMPORT_DEPTH_MAX {
            let message = format!("more than {IMPORT_DEPTH_MAX} imports inside each other");
            self.stop(Diagnostic::error(message, word.span));
        }
        !cyclic && depth < IMPORT_DEPTH_MAX
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

/// CoreDNS reads bytes that are not UTF-8 as U+FFFD. In a comment that harms nobody; a word that silently became
/// another one is refused here.
fn report_replaced(
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
        end: at + super::source::offset(char::REPLACEMENT_CHARACTER.len_utf8()),
    };
    let message = format!("{} is not UTF-8 at byte {byte}", path.display());
    faults.push(match in_word {
        Some(_) => Diagnostic::error(message, span),
        None => Diagnostic::warning(message, span),
    });
}

//! `import X`: a snippet of that name, or else files; what stands for it is opened as frames of the stream.

use std::path::Path;
use std::rc::Rc;

use super::{BEFORE_IMPORT, Last, Origin, Stream};
use crate::corefile::diagnostic::quoted;
use crate::corefile::lexer::Token;
use crate::corefile::pattern::{self, Malformed};
use crate::corefile::{
    Diagnostic, FILE_EXPANSIONS_MAX, IMPORT_DEPTH_MAX, SNIPPET_EXPANSIONS_MAX, Span, Word, nearest,
};

impl Stream<'_> {
    /// Carries out `import X`; the token `import` was the last one.
    pub(in crate::corefile) fn import(&mut self) {
        let before = self.before_last.take();
        match self.target() {
            Ok(word) => self.expand(&word),
            Err(fault) => {
                self.faults.push(fault);
                self.skip_line();
            }
        }
        self.last = before.map(|last| Last {
            frame: BEFORE_IMPORT,
            ..last
        });
    }

    /// The one argument of the import whose first token was the last one.
    fn target(&mut self) -> Result<Word, Diagnostic> {
        let keyword = self.last().map(|token| token.span);
        let target = match self.has_arg() {
            true => self.next(),
            false => None,
        };
        let Some(target) = target else {
            let message = "Wrong argument count or unexpected line ending after 'import'";
            return Err(Diagnostic::error(message, keyword));
        };
        let word = self.word(target.token);
        if word.text.is_empty() {
            let message = "Import requires a non-empty filepath";
            return Err(Diagnostic::error(message, word.span));
        }
        match self.peek() {
            Some((extra, false)) => Err(Diagnostic::error(
                "Import takes only one argument (glob pattern or file)",
                extra.span,
            )),
            _ => Ok(word),
        }
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
            Diagnostic::error(message, word.span).with_nearest(nearest(&word.text, known))
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

    /// Refuses what is already being imported around this place. Snippets and files do not change while they are
    /// read, so such an import could never end.
    fn is_acyclic(&mut self, origin: &Origin, word: &Word) -> bool {
        let chain = self.chain.as_deref();
        let depth = chain.map_or(0, |link| link.depth);
        let cyclic = std::iter::successors(chain, |link| link.within.as_deref())
            .any(|link| link.origin == *origin);
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

    /// Whether the tokens of a snippet import that snippet: CoreDNS refuses it even if nobody uses it.
    pub(in crate::corefile) fn imports_itself(&self, name: &str, tokens: &[Token]) -> Option<Span> {
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
}

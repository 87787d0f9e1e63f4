//! The Corefile: text in, a tree and what is wrong with it out.
//!
//! ```text
//! bytes ── lexer ──▶ tokens ── expand (import, snippets) ──▶ grammar (keys, blocks, {$ENV}) ──▶ tree::Corefile
//!                                        └──────────── diagnostics of every stage ────────────▶ Vec<Diagnostic>
//! ```
//!
//! The syntax is the one of CoreDNS 1.14: a text that CoreDNS reads is read here to the same words on the same
//! lines, and a text that it refuses is refused, though all faults are told at once and not only the first.
//! This room knows no DNS and no plugin: whether a key is a zone or a directive exists is for `config` to say, and
//! what stands in a plugin's block for that plugin's parser, which reads it through [`reader`].
//!
//! Files and environment are reached through [`Outside`] alone, so that a reload, `cairn check` and a test read
//! the same way.

mod body;
mod copy;
mod diagnostic;
mod expand;
mod fault;
mod grammar;
mod lexer;
mod nearest;
mod outside;
mod pattern;
pub mod reader;
mod source;
mod substitute;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Severity, quoted};
pub use fault::Faults;
pub use nearest::nearest;
pub use outside::{Filesystem, Memory, Outside, Unreadable};
pub use source::{FileId, Position, Sources, Span};
pub use tree::{Body, Corefile, Directive, Line, ServerBlock, Word};

/// Bytes of one file: a ConfigMap carries at most 1 MiB; a Corefile on a disk may list some more hosts.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Words of a whole configuration, imports included: a snippet of a thousand words used at every cap of CoreDNS
/// would otherwise fill the memory. The largest hosts lists seen are a tenth of it.
pub const WORDS_MAX: usize = 1_000_000;

/// Blocks inside blocks. No plugin goes deeper than two; the bound keeps the recursion over the tree short.
pub const NESTING_MAX: usize = 16;

/// Snippets expanded in one configuration; the cap of CoreDNS.
pub const SNIPPET_EXPANSIONS_MAX: usize = 10_000;

/// Files expanded in one configuration; the cap of CoreDNS.
pub const FILE_EXPANSIONS_MAX: usize = 100_000;

/// Imports inside imports. What refers to itself is found before; this bounds chains of files that are all
/// different, and with them the recursion that drops the chain.
pub const IMPORT_DEPTH_MAX: usize = 1_000;

/// Where the configuration comes from: the flag `-conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// No flag: the file `Corefile` of the working directory, which need not exist.
    Default,
    /// A file, absolute or relative to the working directory.
    Path(PathBuf),
    /// `-conf stdin`. It can be read once only: keep the bytes and call [`parse`] for a reload.
    Stdin,
}

impl Location {
    /// The name of the file that is read when no flag names one.
    pub const DEFAULT: &'static str = "Corefile";

    /// Reads the value of `-conf`; an empty value counts as none, as CoreDNS has it.
    pub fn from_flag(value: Option<&str>) -> Self {
        match value {
            None | Some("") => Self::Default,
            Some("stdin") => Self::Stdin,
            Some(path) => Self::Path(PathBuf::from(path)),
        }
    }

    /// The path that messages name and that relative imports start from.
    pub fn path(&self) -> &Path {
        match self {
            Self::Default => Path::new(Self::DEFAULT),
            Self::Path(path) => path,
            Self::Stdin => Path::new("stdin"),
        }
    }
}

/// What a configuration text came to.
#[derive(Debug)]
pub struct Parsed {
    /// The tree; where there are errors, what could be made of the rest.
    pub corefile: Corefile,
    /// Everything that is wrong or doubtful, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the spans point into.
    pub sources: Sources,
}

impl Parsed {
    /// Whether CoreDNS's parser would have refused this text: warnings do not count.
    pub fn is_refused(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads the configuration at `location` and all that it imports.
///
/// A missing default file is an empty configuration; a missing named one is an error.
pub fn load(outside: &dyn Outside, location: &Location) -> Parsed {
    let read = match location {
        Location::Stdin => outside.stdin(),
        Location::Default | Location::Path(_) => outside.read(location.path()),
    };
    match (read, location) {
        (Ok(bytes), _) => parse(outside, location.path(), &bytes),
        (Err(Unreadable::Missing), Location::Default) => parse(outside, location.path(), b""),
        (Err(why), _) => Parsed {
            corefile: Corefile::default(),
            diagnostics: vec![Diagnostic::error(
                format!("Could not read {}: {why}", location.path().display()),
                None,
            )],
            sources: Sources::default(),
        },
    }
}

/// Parses `bytes`, the content of the file `path`, and all that it imports.
///
/// `path` is what messages name and what relative imports start from; it is not read.
pub fn parse(outside: &dyn Outside, path: &Path, bytes: &[u8]) -> Parsed {
    grammar::parse(outside, path, bytes)
}

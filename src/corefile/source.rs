//! The texts of a configuration and places in them.
//!
//! A [`Span`] is three numbers; line, column and the text around it are worked out here when a message needs them.

use std::path::{Path, PathBuf};

/// Import sites kept for a file. A message names the first ones; a file may be imported 100,000 times.
const IMPORT_SITES_MAX: usize = 8;

/// One text of [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

/// A stretch of one file, in bytes of its decoded text: `start` included, `end` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// First byte after it.
    pub end: u32,
}

/// A place as people count: lines and columns from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The file, as the configuration names it.
    pub path: &'a Path,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Every text that a configuration is made of.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    patterns: Vec<PathBuf>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    /// Offset of the first byte of each line.
    lines: Vec<u32>,
    imported_at: Vec<Span>,
}

impl Sources {
    /// Paths of all files read, the Corefile first: a change in any of them may change the configuration.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Glob patterns of imports, resolved: a file that comes or goes under one may change the configuration.
    pub fn patterns(&self) -> impl Iterator<Item = &Path> {
        self.patterns.iter().map(PathBuf::as_path)
    }

    /// The path of a file.
    pub fn path(&self, file: FileId) -> &Path {
        &self.source(file).path
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position<'_> {
        let source = self.source(span.file);
        let line = source.line_of(span.start);
        let start = source.lines[line] as usize;
        let before = source
            .text
            .get(start..span.start as usize)
            .unwrap_or_default();
        Position {
            path: &source.path,
            line: line + 1,
            column: before.chars().count() + 1,
        }
    }

    /// Where the file of a span was imported; empty for the Corefile itself. At most the first few places.
    pub fn imported_at(&self, span: Span) -> &[Span] {
        &self.source(span.file).imported_at
    }

    /// The line that a span begins on, without its end, and the bytes of it that the span covers.
    pub(super) fn line(&self, span: Span) -> (&str, std::ops::Range<usize>) {
        let source = self.source(span.file);
        let line = source.line_of(span.start);
        let start = source.lines[line] as usize;
        let end = source
            .lines
            .get(line + 1)
            .map_or(source.text.len(), |&next| next as usize);
        let text = source.text.get(start..end).unwrap_or_default();
        let text = text.trim_end_matches(['\n', '\r']);
        let within = |offset: u32| (offset as usize).saturating_sub(start).min(text.len());
        (text, within(span.start)..within(span.end))
    }

    pub(super) fn add(&mut self, path: PathBuf, text: String) -> FileId {
        let id = u32::try_from(self.files.len()).expect("the import cap is far below 2^32 files");
        let breaks = text.match_indices('\n').map(|(at, _)| offset(at + 1));
        let lines = std::iter::once(0).chain(breaks).collect();
        self.files.push(Source {
            path,
            text,
            lines,
            imported_at: Vec::new(),
        });
        FileId(id)
    }

    pub(super) fn text(&self, file: FileId) -> &str {
        &self.source(file).text
    }

    pub(super) fn import(&mut self, file: FileId, at: Span) {
        let sites = &mut self.files[file.0 as usize].imported_at;
        if sites.len() < IMPORT_SITES_MAX {
            sites.push(at);
        }
    }

    pub(super) fn watch(&mut self, pattern: &Path) {
        if !self.patterns.iter().any(|known| known == pattern) {
            self.patterns.push(pattern.to_path_buf());
        }
    }

    fn source(&self, file: FileId) -> &Source {
        &self.files[file.0 as usize]
    }
}

impl Source {
    /// Index of the line that holds the byte at `offset`.
    fn line_of(&self, offset: u32) -> usize {
        self.lines.partition_point(|&start| start <= offset) - 1
    }
}

/// A byte offset as spans keep it.
pub(super) fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("FILE_BYTES_MAX is far below 4 GiB")
}

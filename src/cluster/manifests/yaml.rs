//! Takes YAML text apart at the lines where documents and the items of lists begin, so that each is parsed on its own.
//!
//! The rules that make lines enough (YAML 1.2.2): a line that begins with `---` or `...` ends a document wherever it stands (section 9.1.2);
//! what belongs to an item of a block sequence is indented deeper than its dash (section 8.2.1). A list that is not written so stays one
//! piece. The lines are told apart here; what they mean is the parser's business.

use crate::cluster::list::PIECE_BYTES_MAX;

/// A part of the text that can be parsed on its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// YAML.
    pub(super) text: String,
    /// Line of the file on which it begins, from 1.
    pub(super) line: usize,
    /// Whether it stood in `items`.
    pub(super) item: bool,
}

/// Lines on their way to pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The item or the document that is being collected.
    text: String,
    began: usize,
    /// What a list says of itself, while `text` holds its items.
    around: String,
    place: Place,
    line: usize,
    /// Lists that ended without saying what they are.
    broken: Option<usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Document,
    /// After `items:`; the column of the dashes is known from the first one on.
    Items(Option<usize>),
    /// After the items of a list.
    Listed,
}

/// How a text ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// The last piece: nothing after it shows that it is whole.
    pub(super) last: Option<Piece>,
    /// Line on which a list begins or ends that does not say its kind: kubectl writes that last, so something is missing.
    pub(super) broken: Option<usize>,
}

impl Pieces {
    /// Takes the next line, without its end. Returns the piece that the line shows to be whole.
    pub(super) fn line(&mut self, line: &str) -> Option<Piece> {
        self.line += 1;
        if let Some(rest) = marker(line) {
            let whole = self.end_document();
            self.push(&format!("   {rest}"), is_blank(rest));
            return whole;
        }
        let blank = is_blank(line);
        let indent = line.len() - line.trim_start_matches(' ').len();
        match self.place {
            Place::Items(column) if !blank => self.in_items(line, indent, column),
            Place::Document if key(line) == Some(("items", "")) => {
                self.push(line, false);
                self.around = std::mem::take(&mut self.text);
                self.place = Place::Items(None);
                None
            }
            Place::Document | Place::Items(_) | Place::Listed => {
                self.push(line, blank);
                None
            }
        }
    }

    /// Says what is left at the end of the file.
    pub(super) fn finish(mut self) -> Rest {
        let last = self.end_document();
        Rest {
            last,
            broken: self.broken,
        }
    }

    /// Whether the piece that is being collected is more than any object can be.
    pub(super) fn is_too_large(&self) -> bool {
        self.text.len() > PIECE_BYTES_MAX
    }

    fn in_items(&mut self, line: &str, indent: usize, column: Option<usize>) -> Option<Piece> {
        let content = &line[indent..];
        let dash = content == "-" || content.starts_with("- ");
        match column {
            Some(column) if indent > column => {
                self.push(line, false);
                None
            }
            Some(column) if dash && indent == column => {
                let whole = self.end_item();
                self.begin_item(content, indent);
                whole
            }
            None if dash => {
                self.text.clear();
                self.place = Place::Items(Some(indent));
                self.begin_item(content, indent);
                None
            }
            // No block sequence: the list is one document like any other.
            None => {
                let comments = std::mem::take(&mut self.text);
                self.text = std::mem::take(&mut self.around) + &comments;
                self.place = Place::Document;
                self.push(line, false);
                None
            }
            Some(_) => {
                let whole = self.end_item();
                self.place = Place::Listed;
                self.text = std::mem::take(&mut self.around);
                self.push(line, false);
                whole
            }
        }
    }

    /// The dash becomes a blank, so that all lines of the item are indented alike.
    fn begin_item(&mut self, content: &str, indent: usize) {
        self.began = self.line;
        self.text.extend(std::iter::repeat_n(' ', indent + 1));
        self.text.push_str(&content[1..]);
        self.text.push('\n');
    }

    fn end_item(&mut self) -> Option<Piece> {
        let text = std::mem::take(&mut self.text);
        Some(Piece {
            text,
            line: self.began,
            item: true,
        })
    }

    fn end_document(&mut self) -> Option<Piece> {
        let place = std::mem::take(&mut self.place);
        let around = match place {
            Place::Document => None,
            Place::Items(_) => Some(std::mem::take(&mut self.around)),
            Place::Listed => Some(std::mem::take(&mut self.text)),
        };
        if around.is_some_and(|around| {
            !around
                .lines()
                .any(|line| matches!(key(line), Some(("kind", _))))
        }) {
            self.broken.get_or_insert(self.line);
        }
        let text = std::mem::take(&mut self.text);
        let item = place != Place::Document;
        let empty = text.lines().all(is_blank);
        (!empty).then_some(Piece {
            text,
            line: self.began,
            item,
        })
    }

    fn push(&mut self, line: &str, blank: bool) {
        // Blank lines before a piece are not part of it; within one they may be part of a text.
        if self.text.is_empty() {
            if blank {
                return;
            }
            self.began = self.line;
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// What follows a document marker on its line.
fn marker(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."))?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(rest)
}

/// Key and plain value of a line that begins a mapping entry in the first column.
fn key(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let value = if value.starts_with([' ', '\t']) || value.is_empty() {
        value
    } else {
        return None;
    };
    let value = if value.trim_start().starts_with('#') {
        ""
    } else {
        value.trim()
    };
    (!key.starts_with([' ', '-', '#', '"', '\''])).then_some((key, value))
}

fn is_blank(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || text.starts_with('#')
}

/// Value of a key of the outermost mapping of a piece, read by its line alone; `None` if it is not written plainly.
pub(super) fn outermost<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let indent = indent(text);
    let (_, value) = text
        .lines()
        .filter_map(|line| entry(line, indent))
        .find(|(key, _)| *key == wanted)?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let value = value.trim_matches(|quote| matches!(quote, '"' | '\''));
    (!value.is_empty()).then_some(value)
}

/// The piece with what is under a key of its outermost mapping made blank, so that lines keep their numbers.
pub(super) fn without(text: &str, unwanted: &str) -> String {
    let indent = indent(text);
    let mut under = false;
    let mut kept = String::new();
    for line in text.lines() {
        if let Some((key, _)) = entry(line, indent) {
            under = key == unwanted;
        }
        if !under {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

/// Column of the outermost mapping of a piece.
fn indent(text: &str) -> usize {
    let first = text
        .lines()
        .find(|line| !is_blank(line))
        .unwrap_or_default();
    first.len() - first.trim_start_matches(' ').len()
}

/// Key and plain value of a line that begins an entry in this column.
fn entry(line: &str, indent: usize) -> Option<(&str, &str)> {
    let (before, rest) = line.split_at_checked(indent)?;
    key(rest).filter(|_| before.trim().is_empty())
}

#[cfg(test)]
mod tests;

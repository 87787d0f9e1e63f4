//! Takes a JSON list apart while it arrives, so that no list is ever held whole.
//!
//! Bytes go in, in pieces of any size; out come the items of the top-level array `items`, one at a time, and what is left of the document
//! once they are taken out. A document that is no list is all "what is left". Bytes are only told apart here (strings, brackets); what they
//! mean is read elsewhere, so that one bad item costs one item.

use memchr::memchr3;

#[cfg(test)]
mod tests;

/// Limit for one item, and for what is left without the items. etcd refuses objects above 1.5 MiB unless told otherwise.
pub(crate) const PIECE_BYTES_MAX: usize = 8 << 20;

/// The reader of a stream of JSON documents.
#[derive(Debug)]
pub(crate) struct ListReader {
    /// The document without its items.
    rest: Vec<u8>,
    item: Vec<u8>,
    place: Place,
    /// Open brackets and braces.
    depth: usize,
    quoted: Quoted,
    line: usize,
    /// Line on which the document began.
    document_line: usize,
    /// Line on which the item began.
    item_line: usize,
}

/// A part of the stream that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// One item of `items`.
    Item {
        /// Its text.
        text: &'a [u8],
        /// The document up to the item, without earlier items.
        before: &'a [u8],
        /// Line of the stream on which it begins, from 1.
        line: usize,
    },
    /// A whole document, its `items` empty.
    Document {
        /// Its text.
        text: &'a [u8],
        /// Line of the stream on which it begins, from 1.
        line: usize,
    },
}

/// Why the rest of the stream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// More than [`PIECE_BYTES_MAX`].
    #[error("line {line}: an object of more than {PIECE_BYTES_MAX} bytes")]
    TooLarge {
        /// Where it begins.
        line: usize,
    },
    /// The stream ends inside of a document.
    #[error("line {line}: the document is not complete")]
    Incomplete {
        /// Where the stream ends.
        line: usize,
    },
    /// A bracket is closed that is not open, or text stands where a document must begin.
    #[error("line {line}: not JSON")]
    NotJson {
        /// Where it stands.
        line: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between documents.
    Between,
    /// In a document, outside of `items`.
    Outside,
    /// In `items`, before an item or after one.
    Items,
    /// In an item.
    Item,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    No,
    Yes,
    /// In a string, after a backslash.
    Escaped,
}

impl ListReader {
    /// A reader at the beginning of a stream.
    pub(crate) fn new() -> ListReader {
        ListReader {
            rest: Vec::new(),
            item: Vec::new(),
            place: Place::Between,
            depth: 0,
            quoted: Quoted::No,
            line: 1,
            document_line: 1,
            item_line: 1,
        }
    }

    /// Takes the next bytes of the stream and hands over every piece that they complete.
    ///
    /// # Errors
    /// The stream cannot be followed further; what was handed over is good.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Piece<'_>),
    ) -> Result<(), ListError> {
        let mut bytes = bytes;
        while let Some((&byte, after)) = bytes.split_first() {
            // An item counts its own lines.
            if byte == b'\n' && self.place != Place::Item {
                self.line += 1;
            }
            bytes = match self.place {
                Place::Between => self.between(byte).map(|()| after)?,
                Place::Outside => self.outside(byte, &mut each).map(|()| after)?,
                Place::Items => self.items(byte).map(|()| after)?,
                Place::Item => self.item(bytes, &mut each)?,
            };
        }
        Ok(())
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// It ends inside of a document.
    pub(crate) fn finish(&self) -> Result<(), ListError> {
        match self.place {
            Place::Between => Ok(()),
            Place::Outside | Place::Items | Place::Item => {
                Err(ListError::Incomplete { line: self.line })
            }
        }
    }

    fn between(&mut self, byte: u8) -> Result<(), ListError> {
        // Documents in a file of YAML are set apart by `---`, also where they are JSON.
        if byte.is_ascii_whitespace() || byte == b'-' {
            return Ok(());
        }
        if byte != b'{' {
            return Err(ListError::NotJson { line: self.line });
        }
        self.rest.clear();
        self.rest.push(byte);
        self.document_line = self.line;
        self.depth = 1;
        self.place = Place::Outside;
        Ok(())
    }

    fn outside(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) -> Result<(), ListError> {
        if self.rest.len() >= PIECE_BYTES_MAX {
            return Err(ListError::TooLarge {
                line: self.document_line,
            });
        }
        let opens_items = byte == b'['
            && self.depth == 1
            && self.quoted == Quoted::No
            && ends_with_key(&self.rest);
        self.rest.push(byte);
        self.count(byte)?;
        if opens_items {
            self.place = Place::Items;
        } else if self.depth == 0 {
            each(Piece::Document {
                text: &self.rest,
                line: self.document_line,
            });
            self.place = Place::Between;
        }
        Ok(())
    }

    fn items(&mut self, byte: u8) -> Result<(), ListError> {
        match byte {
            b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            b']' => {
                self.rest.push(byte);
                self.count(byte)?;
                self.place = Place::Outside;
            }
            byte => {
                self.item.clear();
                self.item.push(byte);
                self.item_line = self.line;
                self.count(byte)?;
                self.place = Place::Item;
            }
        }
        Ok(())
    }

    /// Takes what belongs to the item, and returns the bytes behind it. Nearly all of a list goes this way: taken byte by
    /// byte it was a third of a start from manifests.
    fn item<'a>(
        &mut self,
        bytes: &'a [u8],
        each: &mut impl FnMut(Piece<'_>),
    ) -> Result<&'a [u8], ListError> {
        let room = PIECE_BYTES_MAX - self.item.len();
        if room == 0 {
            return Err(ListError::TooLarge {
                line: self.item_line,
            });
        }
        let (is_whole, octets) = self.end_of_item(&bytes[..room.min(bytes.len())])?;
        let (text, after) = bytes.split_at(octets);
        self.item.extend_from_slice(text);
        if is_whole {
            each(Piece::Item {
                text: &self.item,
                before: &self.rest,
                line: self.item_line,
            });
            self.place = Place::Items;
        }
        Ok(after)
    }

    /// Whether the item ends in these bytes, and how many of them are of it.
    fn end_of_item(&mut self, bytes: &[u8]) -> Result<(bool, usize), ListError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // `items` is opened at depth 2: a bracket that would go below closes it, a comma there ends an item without
            // brackets.
            let is_between = |reader: &ListReader| reader.depth == 2 && reader.quoted == Quoted::No;
            if is_between(self) && matches!(byte, b',' | b']') {
                return Ok((true, at));
            }
            self.line += usize::from(byte == b'\n');
            self.count(byte)?;
            at += 1;
            if is_between(self) && matches!(byte, b'}' | b']') {
                return Ok((true, at));
            }
            if self.quoted == Quoted::Yes {
                let rest = &bytes[at..];
                at += memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
            }
        }
        Ok((false, at))
    }

    fn count(&mut self, byte: u8) -> Result<(), ListError> {
        match (self.quoted, byte) {
            (Quoted::No, b'"') => self.quoted = Quoted::Yes,
            (Quoted::No, b'{' | b'[') => self.depth += 1,
            (Quoted::No, b'}' | b']') => match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => return Err(ListError::NotJson { line: self.line }),
            },
            (Quoted::No, _) => {}
            (Quoted::Yes, b'"') => self.quoted = Quoted::No,
            (Quoted::Yes, b'\\') => self.quoted = Quoted::Escaped,
            (Quoted::Yes, _) => {}
            (Quoted::Escaped, _) => self.quoted = Quoted::Yes,
        }
        Ok(())
    }
}

/// Whether the text ends with the key `"items":`.
fn ends_with_key(text: &[u8]) -> bool {
    let Some(key) = text.trim_ascii_end().strip_suffix(b":") else {
        return false;
    };
    match key.trim_ascii_end().strip_suffix(b"\"items\"") {
        Some(before) => !before.ends_with(b"\\"),
        None => false,
    }
}

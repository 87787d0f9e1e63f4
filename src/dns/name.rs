//! Domain names in wire form (RFC 1035 section 3.1), uncompressed, at most 255 octets.
//!
//! A [`Name`] holds its octets inline, so that parsing, copying and dropping one never allocates. Case is kept
//! as given; comparisons say whether they fold it. `lower` makes the look-up key once per query.

use std::fmt;
use std::str::FromStr;

/// The most octets of a name, root label included (RFC 1035 section 2.3.4).
pub const NAME_MAX: usize = 255;
/// The most octets of a label (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;
/// The most compression pointers followed in one name. A name of 255 octets has at most 127 labels, so more
/// pointers than that can only be a loop.
const POINTERS_MAX: usize = 126;
/// Octets that are changed in case at once.
const CHUNK: usize = 16;

/// A domain name: labels, then the root label.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    wire: [u8; NAME_MAX],
}

/// Why octets or text are no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The message ends inside the name.
    #[error("name is cut off")]
    Cut,
    /// More than 255 octets.
    #[error("name is longer than 255 octets")]
    TooLong,
    /// A label of more than 63 octets, or of a type that is not defined (RFC 6891 section 5).
    #[error("label is longer than 63 octets or of an unknown type")]
    BadLabel,
    /// An empty label before the end.
    #[error("name has an empty label")]
    EmptyLabel,
    /// Compression pointers that lead nowhere or in a circle.
    #[error("compression pointers form a loop")]
    PointerLoop,
    /// A backslash with no character or no valid number behind it.
    #[error("bad escape in name")]
    BadEscape,
}

impl Name {
    /// The root.
    pub const fn root() -> Name {
        Name {
            len: 1,
            wire: [0; NAME_MAX],
        }
    }

    /// Reads the name at `offset` of a message, following compression pointers (RFC 1035 section 4.1.4), and
    /// returns it with the offset behind it.
    pub fn read(message: &[u8], offset: usize) -> Result<(Name, usize), NameError> {
        let mut name = Name::root();
        let behind = name.read_from(message, offset)?;
        Ok((name, behind))
    }

    /// Becomes the name at `offset` of a message, likewise, and returns the offset behind it. After an error it is some
    /// name or other.
    #[inline]
    pub(super) fn read_from(&mut self, message: &[u8], offset: usize) -> Result<usize, NameError> {
        let mut end = offset;
        loop {
            match *message.get(end).ok_or(NameError::Cut)? {
                0 => break,
                len @ 1..=63 => end += 1 + usize::from(len),
                _ => return self.read_compressed(message, offset),
            }
        }
        // Nearly every name stands there whole, and is copied at once.
        let wire = &message[offset..=end];
        if wire.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        self.wire[..wire.len()].copy_from_slice(wire);
        self.len = wire.len() as u8;
        Ok(end + 1)
    }

    fn read_compressed(&mut self, message: &[u8], offset: usize) -> Result<usize, NameError> {
        *self = Name::root();
        let mut len = 0;
        let mut at = offset;
        let mut behind = None;
        let mut pointers = 0;
        loop {
            let octet = *message.get(at).ok_or(NameError::Cut)?;
            match octet {
                0 => break,
                1..=63 => {
                    let end = at + 1 + octet as usize;
                    let label = message.get(at..end).ok_or(NameError::Cut)?;
                    // The root label wants the last octet.
                    if len + label.len() >= NAME_MAX {
                        return Err(NameError::TooLong);
                    }
                    self.wire[len..len + label.len()].copy_from_slice(label);
                    len += label.len();
                    at = end;
                }
                0xc0.. => {
                    let low = *message.get(at + 1).ok_or(NameError::Cut)?;
                    behind.get_or_insert(at + 2);
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return Err(NameError::PointerLoop);
                    }
                    at = usize::from(octet & 0x3f) << 8 | usize::from(low);
                }
                64..=0xbf => return Err(NameError::BadLabel),
            }
        }
        self.wire[len] = 0;
        self.len = (len + 1) as u8;
        Ok(behind.unwrap_or(at + 1))
    }

    /// Takes labels in wire form without the root, and the name they stand in front of.
    pub fn join(labels: &[u8], suffix: &Name) -> Result<Name, NameError> {
        let len = labels.len() + suffix.wire().len();
        if len > NAME_MAX {
            return Err(NameError::TooLong);
        }
        let mut name = Name::root();
        name.wire[..labels.len()].copy_from_slice(labels);
        name.wire[labels.len()..len].copy_from_slice(suffix.wire());
        name.len = len as u8;
        Ok(name)
    }

    /// The octets, root label included.
    #[inline]
    pub fn wire(&self) -> &[u8] {
        &self.wire[..self.len as usize]
    }

    /// The labels in wire form, without the root label.
    #[inline]
    pub fn labels_wire(&self) -> &[u8] {
        &self.wire[..self.len as usize - 1]
    }

    /// Whether this is the root.
    #[inline]
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// Iterates over the labels from the left, each without its length octet.
    pub fn labels(&self) -> Labels<'_> {
        Labels {
            rest: self.labels_wire(),
        }
    }

    /// This name in lower case (ASCII letters only, RFC 4343).
    #[inline]
    pub fn lower(&self) -> Name {
        let mut lower = Name::root();
        lower.set_lower(self);
        lower
    }

    /// Becomes `name` in lower case.
    #[inline]
    pub(super) fn set_lower(&mut self, name: &Name) {
        self.len = name.len;
        let len = usize::from(name.len);
        // Length octets are at most 63 and so never in the range of letters. Whole chunks become vector instructions;
        // what stands behind the end does not matter.
        let (to, to_rest) = self.wire.as_chunks_mut::<CHUNK>();
        let (from, from_rest) = name.wire.as_chunks::<CHUNK>();
        for (to, from) in to.iter_mut().zip(from).take(len.div_ceil(CHUNK)) {
            *to = from.map(|octet| octet.to_ascii_lowercase());
        }
        if len > NAME_MAX - to_rest.len() {
            to_rest.copy_from_slice(from_rest);
            to_rest.make_ascii_lowercase();
        }
    }

    /// This name with the case of those letters changed whose bit is set; the first octet of the name has the lowest bit
    /// of the first octet of `flips`.
    pub fn flip_case(&self, flips: &[u8; NAME_MAX.div_ceil(8)]) -> Name {
        let mut flipped = *self;
        for (at, octet) in flipped.wire[..self.len as usize].iter_mut().enumerate() {
            // As with lower case, length octets are no letters.
            if octet.is_ascii_alphabetic() && flips[at / 8] >> (at % 8) & 1 == 1 {
                *octet ^= 0x20;
            }
        }
        flipped
    }

    /// The name that starts at this octet; `at` must be the start of a label.
    pub fn suffix(&self, at: usize) -> Name {
        let mut suffix = Name::root();
        let wire = &self.wire()[at..];
        suffix.wire[..wire.len()].copy_from_slice(wire);
        suffix.len = wire.len() as u8;
        suffix
    }

    /// Where `zone` starts in this name, if this name is `zone` or below it; case is folded.
    pub fn offset_of(&self, zone: &Name) -> Option<usize> {
        let at = self.wire().len().checked_sub(zone.wire().len())?;
        (self.wire[at..self.len as usize].eq_ignore_ascii_case(zone.wire())
            && self.is_label_start(at))
        .then_some(at)
    }

    /// Likewise, of names in the same case.
    #[inline]
    pub(super) fn offset_to_letter(&self, zone: &Name) -> Option<usize> {
        let at = self.wire().len().checked_sub(zone.wire().len())?;
        // The root ends every name.
        let ends = zone.is_root() || self.wire().ends_with(zone.wire()) && self.is_label_start(at);
        ends.then_some(at)
    }

    /// Whether this name is `zone` or below it; case is folded.
    pub fn is_within(&self, zone: &Name) -> bool {
        self.offset_of(zone).is_some()
    }

    /// Appends the name in master file format (RFC 1035 section 5.1), with the final dot.
    pub fn append_text(&self, text: &mut Vec<u8>) {
        if self.is_root() {
            text.push(b'.');
        }
        for label in self.labels() {
            if label.iter().all(|octet| is_plain(*octet)) {
                text.extend_from_slice(label);
            } else {
                label.iter().for_each(|octet| append_escaped(*octet, text));
            }
            text.push(b'.');
        }
    }

    /// Whether a label (or the root) starts at this octet.
    fn is_label_start(&self, at: usize) -> bool {
        let mut start = 0;
        while start < at {
            start += 1 + self.wire[start] as usize;
        }
        start == at
    }
}

impl PartialEq for Name {
    /// Names are equal when they differ in case alone (RFC 4343).
    fn eq(&self, other: &Name) -> bool {
        self.wire().eq_ignore_ascii_case(other.wire())
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.lower().wire().hash(state);
    }
}

impl Default for Name {
    fn default() -> Name {
        Name::root()
    }
}

impl fmt::Display for Name {
    /// Master file format (RFC 1035 section 5.1), with the final dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(NAME_MAX);
        self.append_text(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads master file format; a missing final dot is added.
    fn from_str(text: &str) -> Result<Name, NameError> {
        let mut builder = Builder::new();
        let octets = text.as_bytes();
        if octets == b"." || octets.is_empty() {
            return Ok(Name::root());
        }
        let mut at = 0;
        while at < octets.len() {
            match octets[at] {
                b'.' => builder.end_label()?,
                b'\\' => {
                    let (octet, used) = unescape(&octets[at + 1..])?;
                    builder.push(octet)?;
                    at += used;
                }
                octet => builder.push(octet)?,
            }
            at += 1;
        }
        builder.finish()
    }
}

/// Whether an octet of a label stands for itself in a master file.
fn is_plain(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'.' | b'(' | b')' | b';' | b'@' | b'"' | b'\\')
}

fn append_escaped(octet: u8, text: &mut Vec<u8>) {
    if is_plain(octet) {
        text.push(octet);
    } else if octet.is_ascii_graphic() || octet == b' ' {
        text.extend_from_slice(&[b'\\', octet]);
    } else {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        text.push(b'\\');
        text.extend_from_slice(&digits.map(|digit| b'0' + digit));
    }
}

/// `\DDD` is an octet by number, `\X` the character itself.
fn unescape(rest: &[u8]) -> Result<(u8, usize), NameError> {
    match rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Ok((u8::try_from(value).map_err(|_| NameError::BadEscape)?, 3))
        }
        [b'0'..=b'9', ..] | [] => Err(NameError::BadEscape),
        [octet, ..] => Ok((*octet, 1)),
    }
}

/// Builds a name octet by octet.
struct Builder {
    name: Name,
    label: usize,
    at: usize,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            name: Name::root(),
            label: 0,
            at: 1,
        }
    }

    fn push(&mut self, octet: u8) -> Result<(), NameError> {
        if self.at - self.label > LABEL_MAX {
            return Err(NameError::BadLabel);
        }
        *self.name.wire.get_mut(self.at).ok_or(NameError::TooLong)? = octet;
        self.at += 1;
        Ok(())
    }

    fn end_label(&mut self) -> Result<(), NameError> {
        let len = self.at - self.label - 1;
        if len == 0 {
            return Err(NameError::EmptyLabel);
        }
        self.name.wire[self.label] = len as u8;
        if self.at >= NAME_MAX {
            return Err(NameError::TooLong);
        }
        self.label = self.at;
        self.at += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Name, NameError> {
        if self.at - self.label > 1 {
            self.end_label()?;
        }
        self.name.wire[self.label] = 0;
        self.name.len = (self.label + 1) as u8;
        Ok(self.name)
    }
}

/// The labels of a name, from the left.
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Labels<'a> {
    /// The labels of a run in wire form that ends at a label's end, as [`Name::labels_wire`] gives.
    pub fn of(wire: &'a [u8]) -> Labels<'a> {
        Labels { rest: wire }
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.rest.split_first()?;
        let (label, rest) = rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_letters_is_flipped_and_nothing_else() {
        let name: Name = "aB-1.[z".parse().unwrap();
        for (flips, expected) in [
            ([0; 32], b"\x04aB-1\x02[z\0"),
            ([0xff; 32], b"\x04Ab-1\x02[Z\0"),
        ] {
            assert_eq!(name.flip_case(&flips).wire(), expected);
        }
        let mut first = [0; 32];
        first[0] = 0b10;
        assert_eq!(name.flip_case(&first).wire(), b"\x04AB-1\x02[z\0");
    }

    #[test]
    fn text_becomes_wire_form_and_reads_back() {
        for (text, wire, back) in [
            (".", &b"\0"[..], "."),
            ("", b"\0", "."),
            ("a", b"\x01a\0", "a."),
            ("web.Demo.", b"\x03web\x04Demo\0", "web.Demo."),
            (r"a\.b.c", b"\x03a.b\x01c\0", r"a\.b.c."),
            (r"\000\255", b"\x02\0\xff\0", r"\000\255."),
            (r"a\ b", b"\x03a b\0", r"a\ b."),
        ] {
            let name: Name = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(name.wire(), wire, "{text}");
            assert_eq!(name.to_string(), back, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_name_is_refused_with_its_fault() {
        let label64 = "a".repeat(64);
        let long = vec!["a".repeat(49); 6].join(".");
        for (text, fault) in [
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("..", NameError::EmptyLabel),
            (label64.as_str(), NameError::BadLabel),
            (long.as_str(), NameError::TooLong),
            ("a\\", NameError::BadEscape),
            (r"\256", NameError::BadEscape),
            (r"\1x", NameError::BadEscape),
        ] {
            assert_eq!(text.parse::<Name>().unwrap_err(), fault, "{text}");
        }
    }

    #[test]
    fn a_name_of_255_octets_is_read_and_one_of_256_is_not() {
        let four = vec!["a".repeat(49); 5].join(".");
        assert_eq!(
            format!("{four}.aaa")
                .parse::<Name>()
                .map(|n| n.wire().len()),
            Ok(255)
        );
        assert_eq!(
            format!("{four}.aaaa").parse::<Name>().unwrap_err(),
            NameError::TooLong
        );
    }

    #[test]
    fn pointers_are_followed_and_bounded() {
        let message = b"\x03www\x07example\0\x03foo\xc0\x04\xc0\x11\x01";
        let (name, behind) = Name::read(message, 13).unwrap();
        assert_eq!((name.to_string().as_str(), behind), ("foo.example.", 19));
        for (fault, offset, expected) in [
            ("a pointer to itself", 19, None),
            ("a label that is cut", 21, Some(NameError::Cut)),
            ("behind the end", 99, Some(NameError::Cut)),
        ] {
            let got = Name::read(b"\x03www\x07example\0\x03foo\xc0\x04\xc0\x13\x01", offset);
            assert_eq!(
                got.unwrap_err(),
                expected.unwrap_or(NameError::PointerLoop),
                "{fault}"
            );
        }
        assert_eq!(
            Name::read(b"\x80aaaa\0", 0).unwrap_err(),
            NameError::BadLabel
        );
    }

    #[test]
    fn a_zone_is_matched_at_label_boundaries_and_in_any_case() {
        let name: Name = "web.demo.SVC.cluster.local".parse().unwrap();
        for (zone, expected) in [
            ("cluster.local.", Some(13)),
            ("CLUSTER.LOCAL.", Some(13)),
            (".", Some(27)),
            ("web.demo.svc.cluster.local.", Some(0)),
            ("uster.local.", None),
            ("x.web.demo.svc.cluster.local.", None),
        ] {
            assert_eq!(name.offset_of(&zone.parse().unwrap()), expected, "{zone}");
        }
        // A label whose content looks like the zone's wire form is no zone.
        let tricky = Name::read(b"\x06a\x01b\x01c\0\0", 0).map(|(n, _)| n);
        assert!(tricky.is_ok_and(|n| !n.is_within(&"c".parse().unwrap())));
    }
}

//! One file of manifests to objects and faults. Reads as it goes: what is held of a file is one object.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::Options;

use super::yaml::{self, Pieces};
use crate::cluster::list::{self, ListError, ListReader, PIECE_BYTES_MAX};
use crate::cluster::object::{Fault, Object, Resource};

/// Faults of a file that are told one by one; of more, only the number is.
const FAULTS_MAX: usize = 20;

const BLOCK_BYTES: usize = 64 << 10;

/// Something in a file that cannot be read.
#[derive(Debug)]
pub struct ManifestFault {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1; `None` if the fault is of the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub damage: Damage,
}

/// What is wrong with a file or a part of it.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The file or folder cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// The text is neither YAML nor JSON, or not such an object; the parser's own words.
    #[error("{0}")]
    Text(Box<str>),
    /// The text breaks off.
    #[error("the document is not complete")]
    Incomplete,
    /// A document that says no `kind`.
    #[error("kind is missing")]
    NoKind,
    /// More than any object can be.
    #[error("an object of more than {PIECE_BYTES_MAX} bytes")]
    TooLarge,
    /// One of the objects cannot be served.
    #[error(transparent)]
    Object(#[from] Fault),
    /// An object was in it before, and none of any kind is now.
    #[error("no object is left in it; what it had is kept")]
    Emptied,
    /// Most of what was known is in no file any more.
    #[error("{missing} of {before} objects are gone; they are kept for half a minute")]
    MostGone {
        /// Objects that were known.
        before: usize,
        /// Those that are gone.
        missing: usize,
    },
    /// Further faults of the same file.
    #[error("{0} more faults")]
    More(usize),
}

/// What a file held besides its objects.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By line.
    pub(super) faults: Vec<(Option<usize>, Damage)>,
    more: usize,
    /// There is an object in it, of whatever kind: it is not empty.
    pub(super) has_objects: bool,
    /// The last object was not handed over, because the file may still be written to.
    pub(super) held: bool,
}

impl Contents {
    /// A file that cannot be opened.
    pub(super) fn unreadable(error: io::Error) -> Contents {
        Contents {
            faults: vec![(None, error.into())],
            ..Contents::default()
        }
    }
}

/// Reads a file: objects of the `wanted` resources. If it is not `settled`, an object at its very end that nothing shows to be whole is
/// held back.
pub(super) fn read(
    file: impl Read,
    settled: bool,
    wanted: &dyn Fn(Resource) -> bool,
    each: &mut dyn FnMut(Object),
) -> Contents {
    let mut reading = Reading {
        contents: Contents::default(),
        wanted,
        each,
    };
    let mut file = BufReader::with_capacity(BLOCK_BYTES, file);
    let outcome = match is_json(&mut file) {
        Ok(true) => reading.json(&mut file),
        Ok(false) => reading.yaml(&mut file, settled),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        reading.fault(None, error.into());
    }
    let mut contents = reading.contents;
    if contents.more > 0 {
        contents.faults.push((None, Damage::More(contents.more)));
    }
    contents
}

struct Reading<'a> {
    contents: Contents,
    wanted: &'a dyn Fn(Resource) -> bool,
    each: &'a mut dyn FnMut(Object),
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct KindWire<'a> {
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    api_version: Option<Cow<'a, str>>,
}

/// Whether the text begins as JSON: a brace and a quoted key, or nothing, in it. (A JSON document is YAML too, but for
/// that it would be held whole. A mapping of YAML in braces whose keys are not quoted is no JSON.)
fn is_json(file: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = file.fill_buf()?;
        let Some(first) = bytes.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            match bytes.len() {
                0 => return Ok(false),
                length => file.consume(length),
            }
            continue;
        };
        let mut rest = bytes[first + 1..]
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace());
        return Ok(bytes[first] == b'{' && matches!(rest.next(), None | Some(b'"' | b'}')));
    }
}

impl Reading<'_> {
    fn json(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        let mut reader = ListReader::new();
        let end = loop {
            let bytes = file.fill_buf()?;
            let length = bytes.len();
            if length == 0 {
                break reader.finish();
            }
            let fed = reader.feed(bytes, |piece| match piece {
                list::Piece::Item { text, before, line } => {
                    self.json_object(text, Some(before), line)
                }
                list::Piece::Document { text, line } => self.json_object(text, None, line),
            });
            if fed.is_err() {
                break fed;
            }
            file.consume(length);
        };
        match end {
            Ok(()) => {}
            Err(ListError::Incomplete { line }) => self.fault(Some(line), Damage::Incomplete),
            Err(ListError::TooLarge { line }) => self.fault(Some(line), Damage::TooLarge),
            Err(ListError::NotJson { line }) => {
                self.fault(Some(line), Damage::Text("not JSON".into()))
            }
        }
        Ok(())
    }

    fn json_object(&mut self, text: &[u8], list: Option<&[u8]>, line: usize) {
        let broken = |error: serde_json::Error| {
            let text = error.to_string();
            let what = text
                .rsplit_once(" at line ")
                .map_or(&*text, |(what, _)| what);
            (
                Some(line + error.line().saturating_sub(1)),
                Damage::Text(what.into()),
            )
        };
        self.contents.has_objects |= list.is_some();
        // Once for all strings of it, and as leniently as in YAML.
        let text = String::from_utf8_lossy(text);
        let head: KindWire<'_> = match serde_json::from_str(&text) {
            Ok(head) => head,
            Err(error) => return self.fault_at(broken(error)),
        };
        let resource = match (&head.kind, list) {
            (None, Some(before)) => match item_resource(before) {
                Ok(resource) => resource,
                Err(damage) => return self.fault(Some(line), damage),
            },
            (None, None) => return self.fault(Some(line), Damage::NoKind),
            (Some(kind), _) => {
                self.contents.has_objects |= !is_list(kind);
                Resource::of_kind(head.api_version.as_deref().unwrap_or_default(), kind)
            }
        };
        let Some(resource) = resource.filter(|resource| (self.wanted)(*resource)) else {
            return;
        };
        match Object::read_text(resource, &mut serde_json::Deserializer::from_str(&text)) {
            Ok(object) => self.object(object, line),
            Err(error) => self.fault_at(broken(error)),
        }
    }

    fn yaml(&mut self, file: &mut impl BufRead, settled: bool) -> io::Result<()> {
        let mut pieces = Pieces::default();
        let mut line = Vec::new();
        let mut number = 0;
        let mut whole_line = true;
        loop {
            line.clear();
            let limit = u64::try_from(PIECE_BYTES_MAX).expect("a limit of megabytes fits");
            if file.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            whole_line = line.ends_with(b"\n");
            let text = String::from_utf8_lossy(&line);
            let text = if number == 1 {
                text.trim_start_matches('\u{feff}')
            } else {
                &text
            };
            if let Some(piece) = pieces.line(text.trim_end_matches(['\n', '\r'])) {
                self.yaml_piece(&piece);
            }
            if pieces.is_too_large() {
                self.fault(Some(number), Damage::TooLarge);
                return Ok(());
            }
        }
        let rest = pieces.finish();
        if let Some(line) = rest.broken {
            self.fault(Some(line), Damage::Incomplete);
        }
        match rest.last {
            // A line without an end is what a write that is under way looks like; many editors leave it so for good.
            Some(_) if !whole_line && !settled => self.contents.held = true,
            Some(piece) => self.yaml_piece(&piece),
            None => {}
        }
        Ok(())
    }

    fn yaml_piece(&mut self, piece: &yaml::Piece) {
        let plain = |name| yaml::outermost(&piece.text, name);
        match (plain("apiVersion"), plain("kind")) {
            (Some(version), Some(kind)) if piece.item || !is_list(kind) => {
                self.contents.has_objects = true;
                let resource = Resource::of_kind(version, kind);
                let Some(resource) = resource.filter(|resource| (self.wanted)(*resource)) else {
                    return;
                };
                // Most of a Pod is its spec, of which nothing is served.
                let text = match resource {
                    Resource::Pods => Cow::Owned(yaml::without(&piece.text, "spec")),
                    Resource::Services | Resource::EndpointSlices | Resource::Namespaces => {
                        Cow::Borrowed(&*piece.text)
                    }
                };
                let read = |deserializer: serde_saphyr::Deserializer<'_, '_>| {
                    Object::read_text(resource, deserializer)
                };
                match serde_saphyr::with_deserializer_from_str_with_options(&text, options(), read)
                {
                    Ok(object) => self.object(object, piece.line),
                    Err(error) => self.yaml_fault(piece, &error),
                }
            }
            _ => self.yaml_value(piece),
        }
    }

    /// A piece that is not written as kubectl writes it: what it is, is known once it is parsed.
    fn yaml_value(&mut self, piece: &yaml::Piece) {
        match serde_saphyr::from_str_with_options::<serde_json::Value>(&piece.text, options()) {
            Err(error) => self.yaml_fault(piece, &error),
            Ok(value) => match value.get("items").and_then(|items| items.as_array()) {
                Some(items) if !piece.item => {
                    let list = list_resource(text(&value, "apiVersion"), text(&value, "kind"));
                    items
                        .iter()
                        .for_each(|item| self.value(item, list, piece.line));
                }
                _ => self.value(&value, None, piece.line),
            },
        }
    }

    fn value(&mut self, value: &serde_json::Value, list: Option<Resource>, line: usize) {
        let resource = match (text(value, "kind"), list) {
            ("", None) => return self.fault(Some(line), Damage::NoKind),
            ("", Some(resource)) => Some(resource),
            (kind, _) => Resource::of_kind(text(value, "apiVersion"), kind),
        };
        self.contents.has_objects |= list.is_some() || !is_list(text(value, "kind"));
        if let Some(resource) = resource.filter(|resource| (self.wanted)(*resource)) {
            self.object(Object::read(resource, value), line);
        }
    }

    fn object(&mut self, object: Result<Object, Fault>, line: usize) {
        match object {
            Ok(object) => (self.each)(object),
            Err(fault) => self.fault(Some(line), fault.into()),
        }
    }

    fn yaml_fault(&mut self, piece: &yaml::Piece, error: &serde_saphyr::Error) {
        let error = error.without_snippet();
        let within = error
            .location()
            .and_then(|location| usize::try_from(location.line()).ok())
            .unwrap_or(1);
        let text = error.to_string();
        let what = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(what, _)| what);
        self.fault(
            Some(piece.line + within.saturating_sub(1)),
            Damage::Text(what.into()),
        );
    }

    fn fault_at(&mut self, (line, damage): (Option<usize>, Damage)) {
        self.fault(line, damage);
    }

    fn fault(&mut self, line: Option<usize>, damage: Damage) {
        if self.contents.faults.len() < FAULTS_MAX {
            self.contents.faults.push((line, damage));
        } else {
            self.contents.more += 1;
        }
    }
}

/// What the items of a list are that do not say it themselves, as in an answer of the API: what the list says, so far.
fn item_resource(before: &[u8]) -> Result<Option<Resource>, Damage> {
    let mut text = before.to_vec();
    text.extend_from_slice(b"]}");
    let list: KindWire<'_> = serde_json::from_slice(&text).unwrap_or_default();
    match list.kind {
        Some(kind) => Ok(list_resource(&list.api_version.unwrap_or_default(), &kind)),
        None => Err(Damage::NoKind),
    }
}

fn is_list(kind: &str) -> bool {
    kind.ends_with("List")
}

fn list_resource(api_version: &str, kind: &str) -> Option<Resource> {
    Resource::of_kind(api_version, kind.strip_suffix("List")?)
}

fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value
        .get(key)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

/// The parser's limits (events, nodes, nesting) are for one object each; its defaults are a hundred times what one needs.
fn options() -> Options {
    serde_saphyr::options! { with_snippet: false }
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.damage),
            None => write!(f, "{}: {}", self.path.display(), self.damage),
        }
    }
}

#[cfg(test)]
mod tests;

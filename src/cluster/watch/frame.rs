//! What an API server sends: the lines of a watch, what surrounds the items of a list, and its refusals.

use std::borrow::Cow;
use std::time::Duration;

use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::follow::Refusal;
use crate::cluster::list::PIECE_BYTES_MAX;
use crate::cluster::object::{Fault, Object, Resource};

const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One event of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// ADDED or MODIFIED.
    Applied(Object),
    Deleted(Object),
    /// An object that cannot be read, and its metadata if that can; the watch has still come as far as its version.
    Faulty {
        fault: Fault,
        known: Option<Object>,
    },
    Bookmark {
        version: Box<str>,
        initial_end: bool,
    },
    Error(Refusal),
    /// A type of event that the API did not have when this was written.
    Unknown,
}

/// Why the frames that follow cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("an event of more than {PIECE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("not an event: {0}")]
    NotAnEvent(#[from] serde_json::Error),
}

/// Bytes of a watch on their way to frames, one a line.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// What is before has been read.
    read: usize,
    /// What is before has no line feed.
    searched: usize,
}

/// The end of a page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageEnd {
    /// Token for the next page; `None` after the last one.
    pub(super) next: Option<Box<str>>,
    /// Version that the whole list has.
    pub(super) version: Box<str>,
}

#[derive(Deserialize)]
struct FrameWire<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct BookmarkWire {
    metadata: BookmarkMetaWire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetaWire {
    resource_version: Box<str>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct ListWire {
    metadata: ListMetaWire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetaWire {
    resource_version: Box<str>,
    #[serde(default)]
    r#continue: Option<Box<str>>,
}

/// `metav1.Status`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct StatusWire {
    code: Option<u16>,
    message: Option<Box<str>>,
    details: Option<StatusDetailsWire>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct StatusDetailsWire {
    retry_after_seconds: Option<u32>,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames::default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete line, if there is one.
    pub(super) fn next(&mut self, resource: Resource) -> Result<Option<Frame>, FrameError> {
        loop {
            let Some(length) = self.bytes[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            else {
                self.searched = self.bytes.len();
                return match self.bytes.len() - self.read {
                    length if length > PIECE_BYTES_MAX => Err(FrameError::TooLarge),
                    _ => Ok(None),
                };
            };
            let line = self.read..self.searched + length;
            self.read = line.end + 1;
            self.searched = self.read;
            let line = self.bytes[line].trim_ascii();
            if !line.is_empty() {
                return frame(resource, line).map(Some);
            }
        }
    }
}

fn frame(resource: Resource, line: &[u8]) -> Result<Frame, FrameError> {
    let wire: FrameWire<'_> = serde_json::from_slice(line)?;
    let text = wire.object.get();
    let read = match &*wire.r#type {
        "ADDED" | "MODIFIED" => object(resource, text.as_bytes()).map(Frame::Applied),
        "DELETED" => identity(resource, text.as_bytes()).map(Frame::Deleted),
        "BOOKMARK" => return Ok(bookmark(serde_json::from_str(text)?)),
        "ERROR" => return Ok(Frame::Error(status(None, text.as_bytes()))),
        _ => return Ok(Frame::Unknown),
    };
    Ok(read.unwrap_or_else(|fault| Frame::Faulty {
        fault,
        known: identity(resource, text.as_bytes()).ok(),
    }))
}

/// Reads one object; a fault in its shape still says whose it is, if that can be read.
pub(super) fn object(resource: Resource, text: &[u8]) -> Result<Object, Fault> {
    Object::read(resource, &mut Deserializer::from_slice(text)).map_err(|fault| {
        match identity(resource, text) {
            Ok(known) => Fault {
                namespace: known.metadata().namespace.clone(),
                name: known.metadata().name.clone(),
                ..fault
            },
            Err(_) => fault,
        }
    })
}

/// Reads who an object is and nothing else of it.
pub(super) fn identity(resource: Resource, text: &[u8]) -> Result<Object, Fault> {
    Object::read_identity(resource, &mut Deserializer::from_slice(text))
}

fn bookmark(wire: BookmarkWire) -> Frame {
    let annotations = wire.metadata.annotations.unwrap_or_default();
    Frame::Bookmark {
        version: wire.metadata.resource_version,
        initial_end: annotations
            .get(INITIAL_EVENTS_END)
            .is_some_and(|value| value == "true"),
    }
}

/// What a list says of itself once its items are taken out.
pub(super) fn page(text: &[u8]) -> Result<PageEnd, serde_json::Error> {
    let list: ListWire = serde_json::from_slice(text)?;
    Ok(PageEnd {
        next: list.metadata.r#continue.filter(|token| !token.is_empty()),
        version: list.metadata.resource_version,
    })
}

/// An answer that is not a success; its text is a `Status`, or whatever a proxy in between says.
pub(super) fn refusal(head: &http::response::Parts, text: &[u8]) -> Refusal {
    let seconds = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let refusal = status(Some(head.status.as_u16()), text);
    Refusal {
        retry_after: seconds.map(Duration::from_secs).or(refusal.retry_after),
        ..refusal
    }
}

fn status(code: Option<u16>, text: &[u8]) -> Refusal {
    let status: Result<StatusWire, _> = serde_json::from_slice(text);
    let (status, message) = match status {
        Ok(mut status) => {
            let message = status.message.take();
            (status, message)
        }
        Err(_) => (
            StatusWire::default(),
            Some(String::from_utf8_lossy(text).trim().into()),
        ),
    };
    Refusal {
        status: code.or(status.code).unwrap_or(500),
        message: message.unwrap_or_default(),
        retry_after: status
            .details
            .and_then(|details| details.retry_after_seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into())),
    }
}

#[cfg(test)]
mod tests;

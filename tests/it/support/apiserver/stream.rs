//! Bodies of answers as streams of frames, and what faults do to such a stream.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

use super::{
    faults::Cut,
    wire::{Break, Line},
};

/// The body of any answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Frames of a body: one event of a watch each, or a whole list.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

pub(super) const GARBAGE: &[u8] = b"<html>502 Bad Gateway</html>\n";

/// A body whose length is known.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body of unknown length.
pub(super) fn streamed(frames: Frames) -> Body {
    StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

pub(super) fn one(bytes: Bytes) -> Frames {
    Box::pin(stream::iter([bytes]))
}

/// `after` frames whole, then the cut.
pub(super) fn cut_after(frames: Frames, line: Arc<Line>, cut: Cut, after: usize) -> Frames {
    let numbered = frames.enumerate();
    match cut {
        Cut::End => Box::pin(numbered.map(|(_, bytes)| bytes).take(after)),
        Cut::Fin | Cut::Reset => {
            let how = if cut == Cut::Fin {
                Break::Fin
            } else {
                Break::Reset
            };
            let passing = numbered.map(move |(place, bytes)| {
                if place + 1 == after {
                    line.arm(how);
                }
                bytes
            });
            Box::pin(passing.take(after).chain(stream::pending()))
        }
        Cut::MidFrame => {
            let passing = numbered.map(move |(place, bytes)| {
                if place < after {
                    return bytes;
                }
                line.arm(Break::Fin);
                first_half(&bytes)
            });
            Box::pin(passing.take(after + 1).chain(stream::pending()))
        }
    }
}

/// `after` frames whole, then one that is no JSON, then the rest.
pub(super) fn spoil_after(frames: Frames, after: usize) -> Frames {
    let garbage = move |place| (place == after).then(|| Bytes::from_static(GARBAGE));
    if after == 0 {
        return Box::pin(stream::iter(garbage(0)).chain(frames));
    }
    let spoiled = frames.enumerate().flat_map(move |(place, bytes)| {
        stream::iter([Some(bytes), garbage(place + 1)].into_iter().flatten())
    });
    Box::pin(spoiled)
}

/// The same bytes in pieces, with a pause before each.
pub(super) fn trickle(frames: Frames, bytes: usize, every: Duration) -> Frames {
    let pieces = frames.flat_map(move |frame| {
        let starts = (0..frame.len()).step_by(bytes);
        stream::iter(starts.map(move |start| frame.slice(start..frame.len().min(start + bytes))))
    });
    Box::pin(pieces.then(move |piece| async move {
        tokio::time::sleep(every).await;
        piece
    }))
}

pub(super) fn first_half(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

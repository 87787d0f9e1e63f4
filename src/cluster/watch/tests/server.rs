//! The API server of these tests: it gives answers in turn, and knows what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use kube::client::Body;
use tower::service_fn;

/// How an answer ends.
enum Then {
    Close,
    Cut,
    Hang,
}

/// An answer of the server.
pub(super) struct Answer {
    status: u16,
    text: String,
    then: Then,
}

fn answer(lines: impl IntoIterator<Item = String>, then: Then) -> Answer {
    Answer {
        status: 200,
        text: lines.into_iter().collect(),
        then,
    }
}

/// A good answer that is complete.
pub(super) fn whole(lines: impl IntoIterator<Item = String>) -> Answer {
    answer(lines, Then::Close)
}

/// One that breaks off after this.
pub(super) fn cut(lines: impl IntoIterator<Item = String>) -> Answer {
    answer(lines, Then::Cut)
}

/// One that does not go on after this.
pub(super) fn hangs(lines: impl IntoIterator<Item = String>) -> Answer {
    answer(lines, Then::Hang)
}

/// An answer that is none.
pub(super) fn refused(status: u16, text: &str) -> Answer {
    Answer {
        status,
        ..whole([text.to_owned()])
    }
}

/// A Status.
pub(super) fn status(code: u16, message: &str) -> String {
    serde_json::json!({"kind": "Status", "code": code, "message": message}).to_string()
}

/// The ERROR event of a Status.
pub(super) fn error(code: u16, message: &str) -> String {
    let status = status(code, message);
    format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n")
}

pub(super) fn object(name: &str, version: u32) -> String {
    format!(r#"{{"metadata":{{"namespace":"n","name":"{name}","resourceVersion":"{version}"}}}}"#)
}

pub(super) fn event(kind: &str, name: &str, version: u32) -> String {
    format!(
        "{{\"type\":\"{kind}\",\"object\":{}}}\n",
        object(name, version)
    )
}

pub(super) fn bookmark(version: u32) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}\n"
    )
}

pub(super) fn initial_end(version: u32) -> String {
    bookmark(version).replace(
        "\"}",
        "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}",
    )
}

pub(super) fn page(items: &[String], version: u32, next: &str) -> String {
    let items = items.join(",");
    format!(
        r#"{{"kind":"ServiceList","metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#
    )
}

/// What was asked, in brief.
pub(super) type Asked = Arc<Mutex<Vec<String>>>;

/// A client of a server that gives these answers in turn, and then accepts and says nothing.
pub(super) fn client(answers: Vec<Answer>, asked: Asked) -> kube::Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = service_fn(move |request: Request<Body>| {
        asked
            .lock()
            .unwrap()
            .push(brief_uri(&request.uri().to_string()));
        let next = answers.lock().unwrap().pop_front();
        let Answer { status, text, then } = next.unwrap_or_else(|| hangs([]));
        // In small pieces: no answer comes in one.
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(40)
            .map(Bytes::copy_from_slice)
            .collect();
        let pieces = stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
        let end = match then {
            Then::Close => stream::empty().boxed(),
            Then::Cut => stream::iter([Err(std::io::Error::other("connection reset"))]).boxed(),
            Then::Hang => stream::pending().boxed(),
        };
        let body = StreamBody::new(pieces.chain(end));
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
    });
    kube::Client::new(service, "default")
}

/// What distinguishes the requests: stream, list, a further page, a watch from a version.
pub(super) fn brief_uri(uri: &str) -> String {
    let value = |name: &str| {
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    match (
        value("sendInitialEvents"),
        value("watch"),
        value("continue"),
        value("resourceVersion"),
    ) {
        (Some(_), ..) => "stream".to_owned(),
        (_, Some(_), _, version) => format!("watch {}", version.unwrap_or_default()),
        (_, _, Some(token), _) => format!("page {token}"),
        (_, _, _, version) => format!("list {}", version.unwrap_or_default()),
    }
}

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use tower::service_fn;

use super::*;
use crate::cluster::object::{Audited, Resource};

mod orders;
mod quiet;

/// How an answer ends.
enum Then {
    Close,
    Cut,
    Hang,
}

/// An answer of the server.
struct Answer {
    status: u16,
    text: String,
    then: Then,
}

fn answer(status: u16, text: &str, then: Then) -> Answer {
    Answer {
        status,
        text: text.to_owned(),
        then,
    }
}

fn object(name: &str, version: u32) -> String {
    format!(r#"{{"metadata":{{"namespace":"n","name":"{name}","resourceVersion":"{version}"}}}}"#)
}

fn event(kind: &str, name: &str, version: u32) -> String {
    format!(
        "{{\"type\":\"{kind}\",\"object\":{}}}\n",
        object(name, version)
    )
}

fn bookmark(version: u32) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}\n"
    )
}

fn initial_end(version: u32) -> String {
    bookmark(version).replace(
        "\"}",
        "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}",
    )
}

fn page(items: &[String], version: u32, next: &str) -> String {
    let items = items.join(",");
    format!(
        r#"{{"kind":"ServiceList","metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#
    )
}

type Asked = Arc<std::sync::Mutex<Vec<String>>>;

/// A client of a server that gives these answers in turn, and then accepts and says nothing.
fn client(answers: Vec<Answer>, asked: Asked) -> kube::Client {
    let answers = Arc::new(std::sync::Mutex::new(VecDeque::from(answers)));
    let service = service_fn(move |request: Request<Body>| {
        asked
            .lock()
            .unwrap()
            .push(brief_uri(&request.uri().to_string()));
        let next = answers.lock().unwrap().pop_front();
        let Answer { status, text, then } = next.unwrap_or(answer(200, "", Then::Hang));
        // In small pieces: no answer comes in one.
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(40)
            .map(Bytes::copy_from_slice)
            .collect();
        let pieces = stream::iter(pieces).map(|piece| Ok(BodyFrame::data(piece)));
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
fn brief_uri(uri: &str) -> String {
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

/// What is said next; that nothing is heard for a moment is left out, being said whenever a request has ended.
async fn next(receive: &mut mpsc::Receiver<Event>) -> Option<String> {
    loop {
        match brief(receive.recv().await?) {
            event if event == "away" => {}
            event => return Some(event),
        }
    }
}

fn brief(event: Event) -> String {
    match event {
        Event::ListStarted(_) => "started".to_owned(),
        Event::Applied(object) => format!("applied {}", object.metadata().name),
        Event::Deleted(object) => format!("deleted {}", object.metadata().name),
        Event::Listed(_) => "listed".to_owned(),
        Event::Current(_) => "current".to_owned(),
        Event::Away(_) => "away".to_owned(),
        Event::Reached(_, version) => format!("reached {version}"),
        Event::Unreadable(object) => format!("unreadable {}", object.metadata().name),
        Event::Audited(_, number, audited) => format!("{number}: {}", brief_audited(audited)),
        Event::Trouble(_, trouble) => format!("trouble {trouble}"),
    }
}

fn brief_audited(audited: Audited) -> String {
    match audited {
        Audited::Page(page) => {
            let named = page.iter();
            let named = named.map(|named| format!("{}@{}", named.name, named.version));
            format!("named {}", named.collect::<Vec<_>>().join(" "))
        }
        Audited::Complete(version) => format!("complete {version}"),
        Audited::Object(named, object) => {
            let version = object.map(|object| object.metadata().resource_version.clone());
            format!("object {} {version:?}", named.name)
        }
        Audited::Fetched => "fetched".to_owned(),
        Audited::Failed(trouble) => format!("failed {trouble}"),
        Audited::NotListed(trouble, not_before) => {
            format!("not listed {trouble}, {} s", not_before.as_secs())
        }
    }
}

fn place(client: kube::Client) -> Place {
    Place {
        client,
        server: "https://api".into(),
        fresh: Freshness::Any,
        bookmark_margin: Duration::from_secs(5),
    }
}

/// Orders that never come.
fn unordered() -> Orders {
    let (_, orders) = mpsc::channel(1);
    Arc::new(Mutex::new(orders))
}

struct Case {
    name: &'static str,
    answers: Vec<Answer>,
    asked: &'static [&'static str],
    events: &'static [&'static str],
}

async fn run(case: Case) {
    let asked = Asked::default();
    let (send, mut receive) = mpsc::channel(4);
    let target = Target {
        resource: Resource::Services,
        labels: "".parse().unwrap(),
    };
    let place = place(client(case.answers, Arc::clone(&asked)));
    let task = tokio::spawn(follow(place, target, send, unordered()));
    let mut events = Vec::new();
    for _ in case.events {
        let event = timeout(Duration::from_secs(3600), next(&mut receive))
            .await
            .expect("an event within the hour");
        events.push(event.expect("the watch goes on"));
    }
    assert_eq!(events, case.events, "{}", case.name);
    drop(receive);
    task.await.expect("the watch ends when nobody listens");
    let asked = asked.lock().unwrap();
    assert_eq!(asked[..case.asked.len()], *case.asked, "{}", case.name);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_streams_is_streamed() {
    let stream = [
        event("ADDED", "a", 1),
        event("ADDED", "b", 2),
        initial_end(3),
    ]
    .concat();
    let goes_on = [
        event("MODIFIED", "a", 4),
        event("DELETED", "b", 5),
        bookmark(9),
    ]
    .concat();
    run(Case {
        name: "stream, then cut, then on from the bookmark",
        answers: vec![
            answer(200, &(stream + &goes_on), Then::Cut),
            answer(200, &event("ADDED", "c", 10), Then::Hang),
        ],
        asked: &["stream", "watch 9"],
        events: &[
            "started",
            "applied a",
            "applied b",
            "listed",
            "reached 3",
            "applied a",
            "deleted b",
            "reached 9",
            "current",
            "applied c",
        ],
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_before_its_end_begins_again_and_lists_nothing() {
    let whole = [event("ADDED", "b", 2), initial_end(3)].concat();
    run(Case {
        name: "cut in the initial events",
        answers: vec![
            answer(200, &event("ADDED", "a", 1), Then::Cut),
            answer(200, &whole, Then::Hang),
        ],
        asked: &["stream", "stream"],
        events: &[
            "started",
            "applied a",
            "started",
            "applied b",
            "listed",
            "reached 3",
        ],
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_is_listed_in_pages() {
    let unknown =
        r#"{"kind":"Status","code":422,"message":"sendInitialEvents is forbidden for watch"}"#;
    let progress = r#"{"type":"ERROR","object":{"code":500,"message":"etcd: RequestWatchProgress unsupported"}}"#.to_owned() + "\n";
    let ignored = event("ADDED", "z", 1);
    for (name, first) in [
        ("refused as invalid", answer(422, unknown, Then::Close)),
        (
            "refused by an old etcd",
            answer(200, &progress, Then::Close),
        ),
    ] {
        let pages = [
            page(&[object("a", 1)], 5, "t"),
            page(&[object("b", 2)], 5, ""),
        ];
        let [one, two] = pages.map(|page| answer(200, &page, Then::Close));
        let started: &[&str] = match first.status {
            200 => &[
                "started",
                "started",
                "applied a",
                "applied b",
                "listed",
                "reached 5",
                "current",
            ],
            _ => &[
                "started",
                "applied a",
                "applied b",
                "listed",
                "reached 5",
                "current",
            ],
        };
        run(Case {
            name,
            answers: vec![first, one, two],
            asked: &["stream", "list 0", "page t", "watch 5"],
            events: started,
        })
        .await;
    }
    run(Case {
        name: "parameter ignored: a watch without end of the initial events",
        answers: vec![
            answer(200, &ignored, Then::Hang),
            answer(200, &page(&[object("a", 1)], 5, ""), Then::Close),
        ],
        asked: &["stream", "list 0", "watch 5"],
        events: &[
            "started",
            "applied z",
            "started",
            "applied a",
            "listed",
            "reached 5",
            "current",
        ],
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_begins_again_with_a_consistent_read() {
    let first = || answer(200, &page(&[object("a", 1)], 5, "t"), Then::Close);
    let whole = || answer(200, &page(&[object("a", 1)], 6, ""), Then::Close);
    let half = |then| Answer {
        text: page(&[object("b", 2)], 5, "")[..120].to_owned(),
        status: 200,
        then,
    };
    for (name, broken) in [
        ("cut", half(Then::Cut)),
        ("closed in the middle", half(Then::Close)),
        ("silent", half(Then::Hang)),
        ("too old", answer(410, "", Then::Close)),
        ("ill", answer(500, "", Then::Close)),
    ] {
        let asked = Asked::default();
        let (send, mut receive) = mpsc::channel(4);
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        let answers = vec![answer(400, "", Then::Close), first(), broken, whole()];
        let place = place(client(answers, Arc::clone(&asked)));
        let task = tokio::spawn(follow(place, target, send, unordered()));
        let mut lists = Vec::new();
        while let Some(event) = receive.recv().await {
            match brief(event) {
                event if event == "started" || event == "listed" => lists.push(event),
                event if event == "current" => break,
                _ => {}
            }
        }
        task.abort();
        assert_eq!(lists, ["started", "started", "listed"], "{name}");
        assert_eq!(
            asked.lock().unwrap()[..],
            ["stream", "list 0", "page t", "list ", "watch 6"],
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_has_forgotten_is_listed_again() {
    let gone = r#"{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old resource version"}}"#.to_owned() + "\n";
    for (name, expired) in [
        ("as a status", answer(410, "", Then::Close)),
        ("as an event", answer(200, &gone, Then::Close)),
    ] {
        let list = [event("ADDED", "a", 1), initial_end(3)].concat();
        let again = [event("ADDED", "b", 8), initial_end(9)].concat();
        let events: &[&str] = match expired.status {
            200 => &[
                "started",
                "applied a",
                "listed",
                "reached 3",
                "current",
                "started",
                "applied b",
                "listed",
                "reached 9",
            ],
            _ => &[
                "started",
                "applied a",
                "listed",
                "reached 3",
                "started",
                "applied b",
                "listed",
                "reached 9",
            ],
        };
        let answers = vec![
            answer(200, &list, Then::Close),
            expired,
            answer(200, &again, Then::Hang),
        ];
        run(Case {
            name,
            answers,
            asked: &["stream", "watch 3", "stream"],
            events,
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_in_the_servers_words_and_ends_when_it_answers() {
    let forbidden =
        r#"{"kind":"Status","code":403,"message":"services is forbidden: User \"x\" cannot list"}"#;
    run(Case {
        name: "forbidden, unauthorized, ill, then well",
        answers: vec![
            answer(403, forbidden, Then::Close),
            answer(401, "Unauthorized", Then::Close),
            answer(503, "", Then::Close),
            answer(200, &initial_end(3), Then::Cut),
        ],
        asked: &["stream", "stream", "stream", "stream", "watch 3"],
        events: &[
            "trouble 403 Forbidden: services is forbidden: User \"x\" cannot list",
            "trouble 401 Unauthorized: Unauthorized",
            "trouble 503: ",
            "started",
            "listed",
            "reached 3",
            "current",
        ],
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_object_costs_itself_only() {
    let bad = r#"{"type":"ADDED","object":{"metadata":{"name":"bad","resourceVersion":"4"},"spec":{"clusterIP":"x"}}}"#.to_owned() + "\n";
    let stream = [
        event("ADDED", "a", 1),
        bad.clone(),
        initial_end(3),
        bad,
        event("ADDED", "b", 2),
    ]
    .concat();
    run(Case {
        name: "in a stream",
        answers: vec![answer(200, &stream, Then::Hang)],
        asked: &["stream"],
        events: &[
            "started",
            "applied a",
            "unreadable bad",
            "listed",
            "reached 3",
            "unreadable bad",
            "applied b",
        ],
    })
    .await;
    let items = [
        object("a", 1),
        r#"{"metadata":{"name":7}}"#.to_owned(),
        r#"{"metadata":{"name":"bad"},"spec":{"clusterIP":"x"}}"#.to_owned(),
        "null".to_owned(),
        object("b", 2),
    ];
    run(Case {
        name: "in a list",
        answers: vec![
            answer(422, "", Then::Close),
            answer(200, &page(&items, 5, ""), Then::Close),
        ],
        asked: &["stream", "list 0"],
        events: &[
            "started",
            "applied a",
            "unreadable bad",
            "applied b",
            "listed",
            "reached 5",
        ],
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_asked_for_again() {
    let began = Instant::now();
    run(Case {
        name: "silent for longer than the watch may last",
        answers: vec![
            answer(200, &initial_end(3), Then::Hang),
            answer(200, "", Then::Hang),
        ],
        asked: &["stream", "watch 3"],
        events: &["started", "listed", "reached 3", "current"],
    })
    .await;
    let quiet = began.elapsed();
    assert!(
        quiet >= Duration::from_secs(330) && quiet <= Duration::from_secs(632),
        "{quiet:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_trouble() {
    let service =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let (send, mut receive) = mpsc::channel(1);
    let target = Target {
        resource: Resource::Pods,
        labels: "".parse().unwrap(),
    };
    let place = place(kube::Client::new(service, "default"));
    let task = tokio::spawn(follow(place, target, send, unordered()));
    let event = next(&mut receive).await;
    task.abort();
    assert_eq!(event.as_deref(), Some("trouble the server does not answer"));
}

#[tokio::test(start_paused = true)]
async fn the_first_list_of_what_is_known_already_is_consistent() {
    let answers = vec![
        answer(422, "", Then::Close),
        answer(200, &page(&[], 6, ""), Then::Close),
    ];
    let (send, mut receive) = mpsc::channel(4);
    let asked = Asked::default();
    let target = Target {
        resource: Resource::Services,
        labels: "".parse().unwrap(),
    };
    let place = Place {
        fresh: Freshness::Consistent,
        ..place(client(answers, asked.clone()))
    };
    let task = tokio::spawn(follow(place, target, send, unordered()));
    while next(&mut receive).await.as_deref() != Some("listed") {}
    assert_eq!(asked.lock().unwrap()[..2], ["stream", "list "]);
    task.abort();
}

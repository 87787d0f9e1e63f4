//! Faults that a test orders.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use futures_util::TryStreamExt;
use hyper::header;
use serde_json::json;

use super::{body, client, code, get, names, next, request, service, watch};
use crate::support::apiserver::{ApiServer, Cut, Fault, Verb};

const LIST: &str = "/api/v1/services";
const WATCH: &str = "/api/v1/services?watch=true";

/// a/one, b/two.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    server.apply(service("a", "one", json!({})));
    server.apply(service("b", "two", json!({})));
    server
}

#[tokio::test]
async fn a_fault_answers_so_many_requests_with_its_code() {
    let server = cluster();
    let client = client(&server).await;
    for expected in [400, 401, 403, 404, 410, 422, 429, 500, 503, 504] {
        server.inject(Fault::answer(expected).times(2));
        for _ in 0..2 {
            assert_eq!(code(&get(&client, LIST).await), expected);
        }
        assert_eq!(code(&get(&client, LIST).await), 0, "after {expected}");
    }
}

#[tokio::test]
async fn a_fault_hits_only_what_it_is_meant_for() {
    let server = cluster();
    let client = client(&server).await;
    server.inject(Fault::answer(403).of("services").watches());
    server.inject(Fault::answer(500).of("pods").lists().always());
    assert_eq!(code(&get(&client, LIST).await), 0);
    for _ in 0..3 {
        assert_eq!(code(&get(&client, "/api/v1/pods").await), 500);
    }
    assert_eq!(
        code(&watch(&client, "/api/v1/pods?watch=true").await.map(drop)),
        0
    );
    assert_eq!(code(&watch(&client, WATCH).await.map(drop)), 403);
    assert_eq!(code(&watch(&client, WATCH).await.map(drop)), 0);
    server.clear_faults();
    assert_eq!(code(&get(&client, "/api/v1/pods").await), 0);
}

#[tokio::test]
async fn too_many_requests_says_when_to_retry() {
    let server = cluster();
    server.inject(Fault::too_many_requests(7));
    let response = client(&server)
        .await
        .send(request(LIST).map(kube::client::Body::from))
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[header::RETRY_AFTER], "7");
}

#[tokio::test]
async fn a_cut_before_the_answer_is_a_fault_of_the_transport() {
    let server = cluster();
    for cut in [Cut::Fin, Cut::Reset] {
        // A client of its own: one that has used its connection before would try again on a new one.
        let client = client(&server).await;
        server.inject(Fault::cut(cut));
        let outcome = get(&client, LIST).await;
        assert!(
            outcome.is_err() && code(&outcome) == 0,
            "{cut:?}: {outcome:?}"
        );
        assert_eq!(
            names(&get(&client, LIST).await.unwrap()).len(),
            2,
            "{cut:?}"
        );
    }
}

#[tokio::test]
async fn a_list_is_cut_in_its_middle() {
    let server = cluster();
    let client = client(&server).await;
    let (whole, _) = body(&client, LIST).await;
    server.inject(Fault::cut(Cut::MidFrame).lists());
    let (half, complete) = body(&client, LIST).await;
    assert_eq!(
        (half.as_str(), complete),
        (&whole[..whole.len() / 2], false)
    );
}

#[tokio::test]
async fn a_watch_is_cut_after_so_many_events() {
    let rows = [
        ("the end of the body", Cut::End, 1, 0, true),
        ("closed between events", Cut::Fin, 1, 0, false),
        ("reset between events", Cut::Reset, 1, 0, false),
        ("closed in the first event", Cut::MidFrame, 0, 1, false),
        ("closed in the second event", Cut::MidFrame, 1, 1, false),
    ];
    let server = cluster();
    let client = client(&server).await;
    for (name, cut, events, halves, expected) in rows {
        server.inject(Fault::cut(cut).after_events(events).watches());
        let (text, complete) = body(&client, WATCH).await;
        assert_eq!(text.matches('\n').count(), events, "{name}: {text}");
        assert_eq!(
            usize::from(!text.is_empty() && !text.ends_with('\n')),
            halves,
            "{name}: {text}"
        );
        assert_eq!(complete, expected, "{name}");
    }
}

#[tokio::test]
async fn an_open_watch_is_cut_when_ordered() {
    let rows = [
        ("the end of the body", Cut::End, true, ""),
        ("closed", Cut::Fin, false, ""),
        ("reset", Cut::Reset, false, ""),
        (
            "closed in an event",
            Cut::MidFrame,
            false,
            r#"{"type":"BOOKMARK","object":"#,
        ),
    ];
    let server = cluster();
    let path = format!("{WATCH}&resourceVersion={}", server.version());
    for (name, cut, expected, beginning) in rows {
        let (client, path) = (client(&server).await, path.clone());
        let reading = tokio::spawn(async move { body(&client, &path).await });
        server.wait_for_watch("services").await;
        server.cut_watches("services", cut);
        let (text, complete) = reading.await.unwrap();
        assert_eq!(complete, expected, "{name}");
        assert!(
            text.starts_with(beginning) && !text.ends_with('\n'),
            "{name}: {text}"
        );
        server
            .wait_until("the watch to be closed", |server| {
                server.open_watches("services") == 0
            })
            .await;
    }
}

#[test]
fn a_reset_is_a_reset_and_a_close_is_none() {
    let rows = [
        ("closed before the answer", LIST, Cut::Fin, 0, None),
        (
            "reset before the answer",
            LIST,
            Cut::Reset,
            0,
            Some(ErrorKind::ConnectionReset),
        ),
        ("closed in the list", LIST, Cut::MidFrame, 0, None),
        ("closed behind an event", WATCH, Cut::Fin, 1, None),
        (
            "reset behind an event",
            WATCH,
            Cut::Reset,
            1,
            Some(ErrorKind::ConnectionReset),
        ),
    ];
    let server = cluster();
    for (name, path, cut, events, expected) in rows {
        server.inject(Fault::cut(cut).after_events(events));
        let (answer, fault) = read_raw(&server, path);
        assert_eq!(fault, expected, "{name}");
        assert_eq!(answer.matches("ADDED").count(), events, "{name}: {answer}");
        assert!(!answer.ends_with("\r\n0\r\n\r\n"), "{name}: {answer}");
    }
}

#[test]
fn a_trickling_body_comes_in_pieces() {
    let server = cluster();
    server.inject(Fault::trickle(16, Duration::ZERO));
    let pieces = read_raw(&server, LIST).0.matches("\r\n10\r\n").count();
    assert!(pieces > 10, "{pieces} pieces of 16 bytes");
}

/// All that comes before the connection ends, and how it ends; None: closed.
fn read_raw(server: &ApiServer, path: &str) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let fault = stream
        .read_to_end(&mut answer)
        .err()
        .map(|fault| fault.kind());
    (String::from_utf8(answer).unwrap(), fault)
}

#[tokio::test]
async fn garbage_is_no_json() {
    let server = cluster();
    let client = client(&server).await;
    server.inject(Fault::garbage());
    let outcome = get(&client, LIST).await;
    assert!(
        matches!(outcome, Err(kube::Error::SerdeError(_))),
        "{outcome:?}"
    );

    for passing in [0, 1] {
        server.inject(Fault::garbage().after_events(passing));
        let mut events = watch(&client, WATCH).await.unwrap();
        for _ in 0..passing {
            assert_eq!(next(&mut events).await, "ADDED a/one");
        }
        let fault = events.try_next().await;
        assert!(
            matches!(fault, Err(kube::Error::SerdeError(_))),
            "{fault:?}"
        );
        assert_eq!(
            next(&mut events).await,
            ["ADDED a/one", "ADDED b/two"][passing],
            "it goes on"
        );
    }
}

#[tokio::test]
async fn a_held_request_is_answered_when_released() {
    let server = cluster();
    server.inject(Fault::hold().of("services").lists());
    let client = client(&server).await;
    let held = tokio::spawn({
        let client = client.clone();
        async move { get(&client, LIST).await }
    });
    server.wait_for_requests("services", Verb::List, 1).await;
    assert_eq!(
        code(&get(&client, "/api/v1/pods").await),
        0,
        "others are answered"
    );
    assert!(!held.is_finished());
    server.release();
    assert_eq!(names(&held.await.unwrap().unwrap()).len(), 2);
}

#[tokio::test]
async fn a_trickling_body_is_complete() {
    let server = cluster();
    let client = client(&server).await;
    let (whole, _) = body(&client, LIST).await;
    server.inject(Fault::trickle(100, Duration::from_millis(1)));
    assert_eq!(body(&client, LIST).await, (whole, true));
    server.inject(Fault::trickle(40, Duration::ZERO).watches());
    let mut events = watch(&client, WATCH).await.unwrap();
    assert_eq!(
        [next(&mut events).await, next(&mut events).await],
        ["ADDED a/one", "ADDED b/two"]
    );
}

//! When nothing is heard.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use tower::service_fn;

use super::server::brief_uri;
use super::*;

#[tokio::test(start_paused = true)]
async fn whenever_nothing_is_heard_that_is_said() {
    for (name, end, expected) in [
        ("a watch that is closed", whole([]), "current away"),
        ("one that is cut", cut([]), "current away"),
        (
            "one that is refused",
            refused(500, "ill"),
            "away trouble 500: ill",
        ),
    ] {
        let stream = whole([event("ADDED", "a", 1), initial_end(3)]);
        let mut followed = Followed::new(vec![stream, end]);
        let mut told = Vec::new();
        while told.len() < 7 {
            told.push(followed.next_of_all().await);
        }
        let first = ["started", "applied a", "listed", "reached 3", "away"];
        assert_eq!(told[..5], first, "{name}");
        assert_eq!(told[5..].join(" "), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_asked_for_again() {
    let began = Instant::now();
    run(Case {
        name: "silent for longer than the watch may last",
        answers: vec![hangs([initial_end(3)]), hangs([])],
        asked: "stream; watch 3",
        events: "started; listed; reached 3; current",
    })
    .await;
    let quiet = began.elapsed();
    assert!(
        quiet >= Duration::from_secs(330) && quiet <= Duration::from_secs(632),
        "{quiet:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_bookmarks_do_not_come_any_more_is_asked_for_again() {
    // The third bookmark comes a minute after the second, and then none.
    let paced = || {
        let pause = || async { tokio::time::sleep(Duration::from_secs(60)).await };
        let bookmarks = stream::iter(4..7).then(move |version| async move {
            pause().await;
            Ok::<_, std::io::Error>(BodyFrame::data(Bytes::from(bookmark(version))))
        });
        let first = stream::iter([Ok(BodyFrame::data(Bytes::from(initial_end(3))))]);
        StreamBody::new(first.chain(bookmarks).chain(stream::pending()).boxed())
    };
    let asked = Asked::default();
    let asks = asked.clone();
    let service = service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        asks.lock().unwrap().push(brief_uri(&uri));
        async move { Ok::<_, Infallible>(Response::new(paced())) }
    });
    let client = kube::Client::new(service, "default");
    let mut followed = Followed::by(client, asked, Freshness::Any);
    let began = Instant::now();
    let events = "started; listed; reached 3; reached 4; reached 5; reached 6; current";
    followed.says(events, "").await;
    let silent = began.elapsed() - Duration::from_secs(180);
    assert_eq!(followed.questions(), "stream; watch 6");
    // A quarter more than a minute, the margin, and what "at once" is spread over.
    let expected = Duration::from_millis(80_000)..Duration::from_millis(80_200);
    assert!(expected.contains(&silent), "{silent:?}");
}

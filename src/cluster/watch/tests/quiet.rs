//! When nothing is heard.

use super::*;

#[tokio::test(start_paused = true)]
async fn whenever_nothing_is_heard_that_is_said() {
    let stream = [event("ADDED", "a", 1), initial_end(3)].concat();
    for (name, end, expected) in [
        (
            "a watch that is closed",
            answer(200, "", Then::Close),
            "current away",
        ),
        (
            "one that is cut",
            answer(200, "", Then::Cut),
            "current away",
        ),
        (
            "one that is refused",
            answer(500, "ill", Then::Close),
            "away trouble 500: ill",
        ),
    ] {
        let (send, mut receive) = mpsc::channel(4);
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        let answers = vec![answer(200, &stream, Then::Close), end];
        let place = place(client(answers, Asked::default()));
        let task = tokio::spawn(follow(place, target, send, unordered()));
        let mut told = Vec::new();
        while told.len() < 7 {
            told.push(brief(receive.recv().await.unwrap()));
        }
        task.abort();
        let first = ["started", "applied a", "listed", "reached 3", "away"];
        assert_eq!(told[..5], first, "{name}");
        assert_eq!(told[5..].join(" "), expected, "{name}");
    }
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
        asks.lock()
            .unwrap()
            .push(brief_uri(&request.uri().to_string()));
        async move { Ok::<_, Infallible>(Response::new(paced())) }
    });
    let (send, mut receive) = mpsc::channel(16);
    let target = Target {
        resource: Resource::Services,
        labels: "".parse().unwrap(),
    };
    let place = place(kube::Client::new(service, "default"));
    let task = tokio::spawn(follow(place, target, send, unordered()));
    let mut told = Vec::new();
    let began = Instant::now();
    while told.last().is_none_or(|event| event != "current") {
        told.push(next(&mut receive).await.unwrap());
    }
    let silent = began.elapsed() - Duration::from_secs(180);
    task.abort();
    assert_eq!(
        told[3..],
        ["reached 4", "reached 5", "reached 6", "current"]
    );
    assert_eq!(asked.lock().unwrap()[..], ["stream", "watch 6"]);
    // A quarter more than a minute, the margin, and what "at once" is spread over.
    let expected = Duration::from_millis(80_000)..Duration::from_millis(80_200);
    assert!(expected.contains(&silent), "{silent:?}");
}

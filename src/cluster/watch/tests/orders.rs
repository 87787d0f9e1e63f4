//! What a source does that is ordered beside its watch.

use super::*;
use crate::cluster::object::Named;

fn fetch(name: &str) -> Order {
    Order::Fetch(
        [Named {
            namespace: "n".into(),
            name: name.into(),
            version: "1".into(),
        }]
        .into(),
    )
}

#[tokio::test(start_paused = true)]
async fn orders_are_carried_out_beside_the_watch() {
    let stream = || {
        answer(
            200,
            &[event("ADDED", "a", 1), initial_end(3)].concat(),
            Then::Hang,
        )
    };
    let refused = r#"{"kind":"Status","code":500,"message":"ill"}"#;
    for (name, given, answers, asked, events) in [
        (
            "names, page by page",
            vec![Order::Audit],
            vec![
                answer(
                    200,
                    &page(&[object("a", 1), object("b", 2)], 5, "t"),
                    Then::Close,
                ),
                answer(200, &page(&[object("c", 3)], 5, ""), Then::Close),
            ],
            &["stream", "list ", "page t"][..],
            &["1: named a@1 b@2", "1: named c@3", "1: complete 5"][..],
        ),
        (
            "names that cannot be had, then those that can",
            vec![Order::Audit, Order::Audit],
            vec![
                answer(500, refused, Then::Close),
                answer(200, &page(&[], 6, ""), Then::Close),
            ],
            &["stream", "list ", "list "],
            &["1: failed 500: ill", "2: complete 6"],
        ),
        (
            "names that break off",
            vec![Order::Audit],
            vec![answer(
                200,
                &page(&[object("a", 1)], 5, "")[..80],
                Then::Close,
            )],
            &["stream", "list "],
            &["1: failed the list broke off"],
        ),
        (
            "names that do not go on",
            vec![Order::Audit],
            vec![answer(
                200,
                &page(&[object("a", 1)], 5, "")[..80],
                Then::Hang,
            )],
            &["stream", "list "],
            &["1: failed the answer does not go on"],
        ),
        (
            "one object, and one that is gone",
            vec![fetch("a"), fetch("b")],
            vec![
                answer(200, &page(&[object("a", 7)], 8, ""), Then::Close),
                answer(200, &page(&[], 9, ""), Then::Close),
            ],
            &["stream", "list ", "list "],
            &[
                r#"1: object a Some("7")"#,
                "1: fetched",
                "2: object b None",
                "2: fetched",
            ],
        ),
    ] {
        let first = ["started", "applied a", "listed", "reached 3"];
        let (orders, ordered) = mpsc::channel(4);
        let (send, mut receive) = mpsc::channel(4);
        let asks = Asked::default();
        let answers = [stream()].into_iter().chain(answers).collect();
        let place = place(client(answers, asks.clone()));
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        let ordered = Arc::new(Mutex::new(ordered));
        let task = tokio::spawn(follow(place, target, send, ordered));
        for expected in first {
            assert_eq!(next(&mut receive).await.as_deref(), Some(expected));
        }
        for (number, order) in (1..).zip(given) {
            orders.send((number, order)).await.unwrap();
        }
        for expected in events {
            let event = next(&mut receive).await;
            assert_eq!(event.as_deref(), Some(*expected), "{name}");
        }
        assert_eq!(asks.lock().unwrap()[..], *asked, "{name}");
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_ordered_and_does_not_come_is_told_and_the_watch_goes_on_from_where_it_was()
{
    let stream = [event("ADDED", "a", 1), initial_end(3), bookmark(5)].concat();
    let half = event("ADDED", "b", 9);
    let (unwatched, goes_on) = (r#"{"message":"too many"}"#, event("MODIFIED", "a", 6));
    for (name, answers, asked, events) in [
        (
            "refused",
            vec![
                answer(200, &stream, Then::Hang),
                answer(429, unwatched, Then::Close),
                answer(200, &goes_on, Then::Hang),
            ],
            &["stream", "stream", "watch 5"][..],
            &["1: not listed 429: too many, 0 s", "current", "applied a"][..],
        ),
        (
            "cut in the middle",
            vec![
                answer(200, &stream, Then::Hang),
                answer(200, &half, Then::Cut),
                answer(200, &goes_on, Then::Hang),
            ],
            &["stream", "stream", "watch 5"],
            &[
                "started",
                "applied b",
                "1: not listed connection reset, 0 s",
                "current",
                "applied a",
            ],
        ),
        (
            "not streamed, and then refused",
            vec![
                answer(200, &stream, Then::Hang),
                answer(422, "", Then::Close),
                answer(503, "ill", Then::Close),
                answer(200, &goes_on, Then::Hang),
            ],
            &["stream", "stream", "list ", "watch 5"],
            &["1: not listed 503: ill, 0 s", "current", "applied a"],
        ),
        (
            "a version that is forgotten meanwhile",
            vec![
                answer(200, &stream, Then::Hang),
                answer(500, "ill", Then::Close),
                answer(410, "too old", Then::Close),
                answer(200, &(half.clone() + &initial_end(9)), Then::Hang),
            ],
            &["stream", "stream", "watch 5", "stream"],
            &[
                "1: not listed 500: ill, 0 s",
                "started",
                "applied b",
                "listed",
                "reached 9",
            ],
        ),
    ] {
        let (orders, ordered) = mpsc::channel(4);
        let (send, mut receive) = mpsc::channel(4);
        let asks = Asked::default();
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        let place = place(client(answers, asks.clone()));
        let task = tokio::spawn(follow(place, target, send, Arc::new(Mutex::new(ordered))));
        for expected in ["started", "applied a", "listed", "reached 3", "reached 5"] {
            assert_eq!(next(&mut receive).await.as_deref(), Some(expected));
        }
        orders.send((1, Order::List)).await.unwrap();
        for expected in events {
            let event = next(&mut receive).await;
            assert_eq!(event.as_deref(), Some(*expected), "{name}");
        }
        assert_eq!(asks.lock().unwrap()[..], *asked, "{name}");
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_ordered_begins_when_the_watch_is_whole_and_is_consistent() {
    let pages = |name, version| answer(200, &page(&[object(name, 1)], version, ""), Then::Close);
    let answers = vec![
        answer(422, "", Then::Close),
        pages("a", 5),
        answer(200, "", Then::Hang),
        pages("b", 6),
    ];
    let (orders, ordered) = mpsc::channel(4);
    orders.send((1, Order::List)).await.unwrap();
    let (send, mut receive) = mpsc::channel(4);
    let asked = Asked::default();
    let target = Target {
        resource: Resource::Services,
        labels: "".parse().unwrap(),
    };
    let place = place(client(answers, asked.clone()));
    let task = tokio::spawn(follow(place, target, send, Arc::new(Mutex::new(ordered))));
    for expected in [
        "started",
        "applied a",
        "listed",
        "reached 5",
        "current",
        "started",
        "applied b",
        "listed",
        "reached 6",
        "current",
    ] {
        assert_eq!(next(&mut receive).await.as_deref(), Some(expected));
    }
    assert_eq!(
        asked.lock().unwrap()[..],
        ["stream", "list 0", "watch 5", "list ", "watch 6"]
    );
    task.abort();
}

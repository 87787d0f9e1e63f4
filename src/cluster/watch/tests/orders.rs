//! What a source does that is ordered beside its watch.

use super::*;
use crate::cluster::object::Named;

fn fetch(name: &str) -> Order {
    let named = Named {
        namespace: "n".into(),
        name: name.into(),
        version: "1".into(),
    };
    Order::Fetch([named].into())
}

#[tokio::test(start_paused = true)]
async fn orders_are_carried_out_beside_the_watch() {
    let half = || [page(&[object("a", 1)], 5, "")[..80].to_owned()];
    for (name, given, answers, asked, events) in [
        (
            "names, page by page",
            vec![Order::Audit],
            vec![
                whole([page(&[object("a", 1), object("b", 2)], 5, "t")]),
                whole([page(&[object("c", 3)], 5, "")]),
            ],
            "stream; list ; page t",
            "1: named a@1 b@2; 1: named c@3; 1: complete 5",
        ),
        (
            "names that cannot be had, then those that can",
            vec![Order::Audit, Order::Audit],
            vec![refused(500, &status(500, "ill")), whole([page(&[], 6, "")])],
            "stream; list ; list ",
            "1: failed 500: ill; 2: complete 6",
        ),
        (
            "names that break off",
            vec![Order::Audit],
            vec![whole(half())],
            "stream; list ",
            "1: failed the list broke off",
        ),
        (
            "names that do not go on",
            vec![Order::Audit],
            vec![hangs(half())],
            "stream; list ",
            "1: failed the answer does not go on",
        ),
        (
            "one object, and one that is gone",
            vec![fetch("a"), fetch("b")],
            vec![
                whole([page(&[object("a", 7)], 8, "")]),
                whole([page(&[], 9, "")]),
            ],
            "stream; list ; list ",
            r#"1: object a Some("7"); 1: fetched; 2: object b None; 2: fetched"#,
        ),
    ] {
        let stream = hangs([event("ADDED", "a", 1), initial_end(3)]);
        let mut followed = Followed::new([stream].into_iter().chain(answers).collect());
        followed
            .says("started; applied a; listed; reached 3", name)
            .await;
        for (number, order) in (1..).zip(given) {
            followed.orders.send((number, order)).await.unwrap();
        }
        followed.says(events, name).await;
        assert_eq!(followed.questions(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_ordered_and_does_not_come_is_told_and_the_watch_goes_on_from_where_it_was()
{
    let half = || event("ADDED", "b", 9);
    let goes_on = || hangs([event("MODIFIED", "a", 6)]);
    for (name, answers, asked, events) in [
        (
            "refused",
            vec![refused(429, r#"{"message":"too many"}"#), goes_on()],
            "stream; stream; watch 5",
            "1: not listed 429: too many, 0 s; current; applied a",
        ),
        (
            "cut in the middle",
            vec![cut([half()]), goes_on()],
            "stream; stream; watch 5",
            "started; applied b; 1: not listed connection reset, 0 s; current; applied a",
        ),
        (
            "not streamed, and then refused",
            vec![refused(422, ""), refused(503, "ill"), goes_on()],
            "stream; stream; list ; watch 5",
            "1: not listed 503: ill, 0 s; current; applied a",
        ),
        (
            "a version that is forgotten meanwhile",
            vec![
                refused(500, "ill"),
                refused(410, "too old"),
                hangs([half(), initial_end(9)]),
            ],
            "stream; stream; watch 5; stream",
            "1: not listed 500: ill, 0 s; started; applied b; listed; reached 9",
        ),
    ] {
        let stream = hangs([event("ADDED", "a", 1), initial_end(3), bookmark(5)]);
        let mut followed = Followed::new([stream].into_iter().chain(answers).collect());
        let first = "started; applied a; listed; reached 3; reached 5";
        followed.says(first, name).await;
        followed.orders.send((1, Order::List)).await.unwrap();
        followed.says(events, name).await;
        assert_eq!(followed.questions(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_ordered_begins_when_the_watch_is_whole_and_is_consistent() {
    let mut followed = Followed::new(vec![
        refused(422, ""),
        whole([page(&[object("a", 1)], 5, "")]),
        hangs([]),
        whole([page(&[object("b", 1)], 6, "")]),
    ]);
    followed.orders.send((1, Order::List)).await.unwrap();
    let events = "started; applied a; listed; reached 5; current; started; applied b; listed; reached 6; current";
    followed.says(events, "").await;
    assert_eq!(
        followed.questions(),
        "stream; list 0; watch 5; list ; watch 6"
    );
}

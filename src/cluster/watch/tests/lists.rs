//! How lists are had, and the watches after them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_streams_is_streamed() {
    let first = [
        event("ADDED", "a", 1),
        event("ADDED", "b", 2),
        initial_end(3),
        event("MODIFIED", "a", 4),
        event("DELETED", "b", 5),
        bookmark(9),
    ];
    run(Case {
        name: "stream, then cut, then on from the bookmark",
        answers: vec![cut(first), hangs([event("ADDED", "c", 10)])],
        asked: "stream; watch 9",
        events: "started; applied a; applied b; listed; reached 3; applied a; deleted b; reached 9; current; applied c",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_before_its_end_begins_again_and_lists_nothing() {
    run(Case {
        name: "cut in the initial events",
        answers: vec![
            cut([event("ADDED", "a", 1)]),
            hangs([event("ADDED", "b", 2), initial_end(3)]),
        ],
        asked: "stream; stream",
        events: "started; applied a; started; applied b; listed; reached 3",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stream_is_listed_in_pages() {
    for (name, first, started) in [
        (
            "refused as invalid",
            refused(
                422,
                &status(422, "sendInitialEvents is forbidden for watch"),
            ),
            "started; applied a; applied b; listed; reached 5; current",
        ),
        (
            "refused by an old etcd",
            whole([error(500, "etcd: RequestWatchProgress unsupported")]),
            "started; started; applied a; applied b; listed; reached 5; current",
        ),
    ] {
        let one = whole([page(&[object("a", 1)], 5, "t")]);
        let two = whole([page(&[object("b", 2)], 5, "")]);
        run(Case {
            name,
            answers: vec![first, one, two],
            asked: "stream; list 0; page t; watch 5",
            events: started,
        })
        .await;
    }
    run(Case {
        name: "parameter ignored: a watch without end of the initial events",
        answers: vec![
            hangs([event("ADDED", "z", 1)]),
            whole([page(&[object("a", 1)], 5, "")]),
        ],
        asked: "stream; list 0; watch 5",
        events: "started; applied z; started; applied a; listed; reached 5; current",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_begins_again_with_a_consistent_read() {
    let half = || [page(&[object("b", 2)], 5, "")[..120].to_owned()];
    for (name, broken) in [
        ("cut", cut(half())),
        ("closed in the middle", whole(half())),
        ("silent", hangs(half())),
        ("too old", refused(410, "")),
        ("ill", refused(500, "")),
    ] {
        let mut followed = Followed::new(vec![
            refused(400, ""),
            whole([page(&[object("a", 1)], 5, "t")]),
            broken,
            whole([page(&[object("a", 1)], 6, "")]),
        ]);
        let mut lists = Vec::new();
        loop {
            match followed.next().await {
                event if event == "started" || event == "listed" => lists.push(event),
                event if event == "current" => break,
                _ => {}
            }
        }
        assert_eq!(lists, ["started", "started", "listed"], "{name}");
        let asked = "stream; list 0; page t; list ; watch 6";
        assert_eq!(followed.questions(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_has_forgotten_is_listed_again() {
    for (name, expired, events) in [
        (
            "as a status",
            refused(410, ""),
            "started; applied a; listed; reached 3; started; applied b; listed; reached 9",
        ),
        (
            "as an event",
            whole([error(410, "too old resource version")]),
            "started; applied a; listed; reached 3; current; started; applied b; listed; reached 9",
        ),
    ] {
        run(Case {
            name,
            answers: vec![
                whole([event("ADDED", "a", 1), initial_end(3)]),
                expired,
                hangs([event("ADDED", "b", 8), initial_end(9)]),
            ],
            asked: "stream; watch 3; stream",
            events,
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_list_of_what_is_known_already_is_consistent() {
    let answers = vec![refused(422, ""), whole([page(&[], 6, "")])];
    let mut followed = Followed::first(Freshness::Consistent, answers);
    followed.says("started; listed", "").await;
    assert!(followed.questions().starts_with("stream; list "));
}

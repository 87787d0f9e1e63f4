//! WATCH: where it begins, what it sends, how it ends.

use std::time::Duration;

use serde_json::json;

use super::{Events, body, client, code, next, next_of, service, watch};
use crate::support::apiserver::{ApiServer, Cut, TooOld, WatchList};

const WATCH: &str = "/api/v1/services?watch=true&allowWatchBookmarks=true";
const WATCH_LIST: &str = "/api/v1/services?watch=true&allowWatchBookmarks=true\
    &sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

/// a/one at version 2, b/two at 3.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    server.apply(service("a", "one", json!({ "app": "x" })));
    server.apply(service("b", "two", json!({})));
    server
}

/// A watch that is open, from the newest version on.
async fn open(server: &ApiServer) -> Events {
    let path = format!("{WATCH}&resourceVersion={}", server.version());
    watch(&client(server).await, &path).await.unwrap()
}

#[tokio::test]
async fn a_watch_begins_where_its_version_says() {
    let rows: [(&str, &str, &[&str]); 9] = [
        (
            "no version: what exists",
            WATCH,
            &["ADDED a/one", "ADDED b/two"],
        ),
        (
            "version 0: what exists",
            "/api/v1/services?watch=1&resourceVersion=0",
            &["ADDED a/one", "ADDED b/two"],
        ),
        (
            "one namespace",
            "/api/v1/namespaces/b/services?watch=true",
            &["ADDED b/two"],
        ),
        (
            "a selector",
            "/api/v1/services?watch=true&labelSelector=app%3Dx",
            &["ADDED a/one"],
        ),
        (
            "a version: what came later",
            "/api/v1/services?watch=true&resourceVersion=2",
            &["ADDED b/two"],
        ),
        (
            "a version to come",
            "/api/v1/services?watch=true&resourceVersion=9",
            &["ERROR 504", "end"],
        ),
        (
            "streaming list",
            WATCH_LIST,
            &["ADDED a/one", "ADDED b/two", "BOOKMARK 3 end"],
        ),
        (
            "streaming list of nothing",
            "/api/v1/pods?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            &["BOOKMARK 3 end"],
        ),
        (
            "streaming list from a version",
            &format!("{WATCH_LIST}&resourceVersion=2"),
            &["ADDED a/one", "ADDED b/two", "BOOKMARK 3 end"],
        ),
    ];
    let server = cluster();
    let client = client(&server).await;
    for (name, path, expected) in rows {
        let mut events = watch(&client, path).await.unwrap();
        assert_eq!(
            next_of(&mut events, expected.len()).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn without_initial_events_a_watch_begins_at_once() {
    let server = cluster();
    let path = WATCH_LIST.replace("sendInitialEvents=true", "sendInitialEvents=false");
    let mut events = watch(&client(&server).await, &path).await.unwrap();
    server.apply(service("c", "three", json!({})));
    assert_eq!(next(&mut events).await, "ADDED c/three");
}

#[tokio::test]
async fn watch_options_that_contradict_themselves_are_refused() {
    let rows = [
        (
            "a match without initial events",
            format!("{WATCH}&resourceVersionMatch=NotOlderThan"),
        ),
        (
            "initial events without a match",
            format!("{WATCH}&sendInitialEvents=true"),
        ),
        (
            "initial events of an exact version",
            WATCH_LIST.replace("NotOlderThan", "Exact"),
        ),
    ];
    let server = cluster();
    let client = client(&server).await;
    for (name, path) in rows {
        assert_eq!(code(&watch(&client, &path).await.map(drop)), 422, "{name}");
    }
}

#[tokio::test]
async fn a_streaming_list_fails_as_each_older_server_lets_it() {
    let server = cluster();
    let client = client(&server).await;
    server.watch_list(WatchList::Refused);
    let refusal = watch(&client, WATCH_LIST).await.map(drop);
    assert_eq!(code(&refusal), 422);
    assert!(
        refusal
            .unwrap_err()
            .to_string()
            .contains("sendInitialEvents: Forbidden")
    );

    server.watch_list(WatchList::WithoutWatchProgress);
    let (text, _) = body(&client, WATCH_LIST).await;
    assert!(
        text.contains(r#""type":"ERROR""#) && text.contains("RequestWatchProgress"),
        "{text}"
    );

    server.watch_list(WatchList::Ignored);
    let mut events = watch(&client, WATCH_LIST).await.unwrap();
    server.apply(service("c", "three", json!({})));
    assert_eq!(
        next_of(&mut events, 3).await,
        ["ADDED a/one", "ADDED b/two", "ADDED c/three"]
    );
}

#[tokio::test]
async fn every_write_is_one_event() {
    let server = cluster();
    let mut events = open(&server).await;
    server.apply(service("c", "three", json!({})));
    server.apply(service("c", "three", json!({ "app": "x" })));
    server.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "c" } }));
    server.delete("services", "c", "three");
    assert_eq!(
        next_of(&mut events, 3).await,
        ["ADDED c/three", "MODIFIED c/three", "DELETED c/three"]
    );
}

#[tokio::test]
async fn an_object_enters_and_leaves_the_selection() {
    let server = cluster();
    let path = "/api/v1/services?watch=true&labelSelector=app=x&resourceVersion=3";
    let mut events = watch(&client(&server).await, path).await.unwrap();
    server.apply(service("b", "two", json!({ "app": "x" })));
    server.apply(service("b", "two", json!({ "app": "x", "more": "y" })));
    server.apply(service("b", "two", json!({})));
    server.delete("services", "b", "two");
    server.delete("services", "a", "one");
    let seen = next_of(&mut events, 4).await;
    assert_eq!(
        seen,
        [
            "ADDED b/two",
            "MODIFIED b/two",
            "DELETED b/two",
            "DELETED a/one"
        ]
    );
}

#[tokio::test]
async fn a_deleted_object_carries_its_last_state_and_the_version_of_the_deletion() {
    let server = cluster();
    let deleted = server.delete("services", "a", "one");
    let (text, complete) = {
        server.inject(crate::support::apiserver::Fault::cut(Cut::End).after_events(1));
        body(
            &client(&server).await,
            "/api/v1/services?watch=true&resourceVersion=3",
        )
        .await
    };
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(complete);
    assert_eq!(
        event["object"]["metadata"]["resourceVersion"],
        deleted.to_string()
    );
    assert_eq!(event["object"]["metadata"]["labels"]["app"], "x");
    assert_eq!(
        (&event["object"]["kind"], &event["object"]["apiVersion"]),
        (&json!("Service"), &json!("v1"))
    );
}

#[tokio::test]
async fn a_version_that_is_compacted_away_is_410_both_ways() {
    let server = cluster();
    let client = client(&server).await;
    let mut open = watch(&client, &format!("{WATCH}&resourceVersion=2"))
        .await
        .unwrap();
    server.compact();
    assert_eq!(
        next(&mut open).await,
        "ADDED b/two",
        "an open watch misses nothing"
    );

    let mut events = watch(&client, &format!("{WATCH}&resourceVersion=2"))
        .await
        .unwrap();
    assert_eq!(next_of(&mut events, 2).await, ["ERROR 410", "end"]);
    server.too_old(TooOld::Response);
    assert_eq!(
        code(
            &watch(&client, &format!("{WATCH}&resourceVersion=2"))
                .await
                .map(drop)
        ),
        410
    );

    server.apply(service("c", "three", json!({})));
    let mut events = watch(&client, &format!("{WATCH}&resourceVersion=3"))
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, "ADDED c/three");
}

#[tokio::test]
async fn an_open_watch_can_be_expired() {
    let server = cluster();
    let mut events = open(&server).await;
    server.expire_watches("services");
    assert_eq!(next_of(&mut events, 2).await, ["ERROR 410", "end"]);
}

#[tokio::test]
async fn bookmarks_come_when_ordered_behind_the_events() {
    let server = cluster();
    let mut events = open(&server).await;
    server.apply(service("c", "three", json!({})));
    server.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "c" } }));
    server.bookmark("services");
    assert_eq!(
        next_of(&mut events, 2).await,
        ["ADDED c/three", "BOOKMARK 5"]
    );
}

#[tokio::test]
async fn bookmarks_come_by_the_interval_to_those_who_allow_them() {
    let server = cluster();
    server.bookmark_every(Some(Duration::from_millis(1)));
    let mut events = open(&server).await;
    assert_eq!(next_of(&mut events, 2).await, ["BOOKMARK 3", "BOOKMARK 3"]);
    let mut without = watch(
        &client(&server).await,
        "/api/v1/services?watch=true&resourceVersion=3",
    )
    .await
    .unwrap();
    assert_eq!(next(&mut events).await, "BOOKMARK 3");
    server.bookmark_every(None);
    server.bookmark("services");
    server.apply(service("c", "three", json!({})));
    assert_eq!(next(&mut without).await, "ADDED c/three");
}

#[tokio::test]
async fn a_watch_ends_cleanly_at_its_timeout() {
    let server = cluster();
    let (text, complete) = body(
        &client(&server).await,
        "/api/v1/pods?watch=true&timeoutSeconds=1",
    )
    .await;
    assert_eq!((text.as_str(), complete), ("", true));
    server
        .wait_until("the watch to be closed", |server| {
            server.open_watches("pods") == 0
        })
        .await;
}

#[tokio::test]
async fn a_held_watch_stays_open_and_catches_up() {
    let server = cluster();
    let mut events = open(&server).await;
    server.wait_for_delivery("services").await;
    server.hold_watches("services");
    server.apply(service("c", "three", json!({})));
    let mut other = watch(
        &client(&server).await,
        &format!("{WATCH}&resourceVersion=3"),
    )
    .await
    .unwrap();
    assert_eq!(
        next(&mut other).await,
        "ADDED c/three",
        "a watch that comes later is not held"
    );
    let silence = tokio::time::timeout(Duration::from_millis(20), next(&mut events)).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(server.open_watches("services"), 2);
    server.release();
    assert_eq!(next(&mut events).await, "ADDED c/three");
}

#[tokio::test]
async fn a_lagging_server_sends_no_news() {
    let server = cluster();
    let client = client(&server).await;
    server.time_travel(2);
    let mut events = watch(&client, &format!("{WATCH}&resourceVersion=0"))
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, "ADDED a/one");
    server.bookmark("services");
    assert_eq!(next(&mut events).await, "BOOKMARK 2");
    server.catch_up();
    assert_eq!(next(&mut events).await, "ADDED b/two");
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_watch() {
    let server = cluster();
    let events = open(&server).await;
    server.wait_for_watch("services").await;
    drop(events);
    server
        .wait_until("the watch to be closed", |server| {
            server.open_watches("services") == 0
        })
        .await;
}

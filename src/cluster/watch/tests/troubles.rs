//! Servers that refuse or do not answer, and objects that cannot be read.

use std::convert::Infallible;

use http::{Request, Response};
use tower::service_fn;

use super::*;

#[tokio::test(start_paused = true)]
async fn trouble_is_told_in_the_servers_words_and_ends_when_it_answers() {
    let forbidden = status(403, "services is forbidden: User \"x\" cannot list");
    run(Case {
        name: "forbidden, unauthorized, ill, then well",
        answers: vec![
            refused(403, &forbidden),
            refused(401, "Unauthorized"),
            refused(503, ""),
            cut([initial_end(3)]),
        ],
        asked: "stream; stream; stream; stream; watch 3",
        events: "trouble 403 Forbidden: services is forbidden: User \"x\" cannot list; \
                 trouble 401 Unauthorized: Unauthorized; trouble 503: ; started; listed; reached 3; current",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_object_costs_itself_only() {
    let bad = || {
        let object =
            r#"{"metadata":{"name":"bad","resourceVersion":"4"},"spec":{"clusterIP":"x"}}"#;
        format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n")
    };
    run(Case {
        name: "in a stream",
        answers: vec![hangs([
            event("ADDED", "a", 1),
            bad(),
            initial_end(3),
            bad(),
            event("ADDED", "b", 5),
        ])],
        asked: "stream",
        events: "started; applied a; unreadable bad; listed; reached 3; unreadable bad; applied b",
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
        answers: vec![refused(422, ""), whole([page(&items, 5, "")])],
        asked: "stream; list 0",
        events: "started; applied a; unreadable bad; applied b; listed; reached 5",
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_trouble() {
    let service =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let client = kube::Client::new(service, "default");
    let mut followed = Followed::by(client, Asked::default(), Freshness::Any);
    followed
        .says("trouble the server does not answer", "")
        .await;
}

//! What is asked next.

use super::*;

#[test]
fn what_is_asked_next_follows_from_how_the_last_request_ended() {
    let cut = || End::Cut("reset".to_owned());
    let away = || End::Unreachable("refused".to_owned());
    let odd = || End::Unreadable("<html>".to_owned());
    let lags = || refused(504, "Too large resource version: 7, current: 3");
    let progress = "etcdserver: RequestWatchProgress is not supported";
    let error = |status, message| End::Errored(refusal(status, message, None));
    struct Rows(&'static str, fn() -> Follow, Ask, Vec<(&'static str, End)>);
    for Rows(what, follow, next, ends) in [
        Rows(
            "a stream is asked for again",
            empty,
            Ask::Stream,
            vec![
                ("cut", cut()),
                ("no server", away()),
                ("forbidden", refused(403, "no")),
                ("too many ask", refused(429, "")),
                ("a server that is ill", refused(500, "etcd")),
            ],
        ),
        Rows(
            "a stream falls back to pages",
            empty,
            FIRST_ANY,
            vec![
                ("without end", End::Unending),
                ("invalid", refused(422, "sendInitialEvents is forbidden")),
                ("on etcd 3.4", refused(500, progress)),
                ("likewise, as an event", error(500, progress)),
            ],
        ),
        Rows(
            "a list begins again",
            paged,
            FIRST_ANY,
            vec![("cut", cut())],
        ),
        Rows(
            "a list that must not be old begins again as such",
            seen,
            not_older(),
            vec![("cut", cut()), ("a server that lags", lags())],
        ),
        Rows(
            "a list from a version is asked for without one",
            seen,
            FIRST_CONSISTENT,
            vec![("no version", refused(400, "invalid"))],
        ),
        Rows(
            "a page begins the list again",
            paging,
            FIRST_CONSISTENT,
            vec![
                ("cut", cut()),
                ("no server", away()),
                ("refused", refused(500, "")),
                ("a token that is too old", refused(410, "expired")),
            ],
        ),
        Rows(
            "a watch goes on",
            synced,
            watch(),
            vec![
                ("closed", End::Closed),
                ("cut", cut()),
                ("silent", End::Silent),
                ("no server", away()),
                ("forbidden", refused(403, "no")),
                ("a server that lags", lags()),
            ],
        ),
        Rows(
            "a watch lists",
            synced,
            Ask::Stream,
            vec![
                ("too old", refused(410, "too old")),
                ("likewise, as an event", error(410, "too old")),
                ("no version", refused(400, "invalid")),
                ("not to be read", odd()),
            ],
        ),
    ] {
        for (how, end) in ends {
            let mut follow = follow();
            follow.ended(end, SOON, 0.5);
            assert_eq!(follow.ask(), next, "{what}: {how}");
        }
    }
}

#[test]
fn a_list_goes_from_page_to_page_to_watch() {
    let mut follow = paged();
    assert_eq!(follow.ask(), FIRST_ANY);
    assert!(!follow.paged(Some("t".into()), "5".into()));
    assert_eq!(follow.ask(), Ask::Page(Page::Next("t".into())));
    assert!(follow.paged(None, "5".into()));
    assert_eq!(follow.ask(), Ask::Watch("5".into()));
    follow.advanced("6".into());
    assert_eq!(follow.ask(), Ask::Watch("6".into()));
}

#[test]
fn a_server_that_fell_back_is_not_asked_to_stream_again() {
    let mut follow = empty();
    follow.ended(End::Unending, SOON, 0.5);
    follow.paged(None, "5".into());
    follow.ended(refused(410, "too old"), SOON, 0.5);
    assert_eq!(follow.ask(), FIRST_CONSISTENT);
}

#[test]
fn a_server_that_closes_streams_unfinished_falls_back() {
    let mut follow = empty();
    follow.ended(End::Closed, SOON, 0.5);
    assert_eq!(follow.ask(), Ask::Stream);
    follow.ended(End::Closed, SOON, 0.5);
    assert_eq!(follow.ask(), FIRST_ANY);
}

#[test]
fn a_server_that_never_catches_up_was_restored_and_is_listed() {
    let mut follow = synced();
    for _ in 1..AHEAD_MAX {
        follow.ended(
            refused(504, "Too large resource version: 7, current: 3"),
            SOON,
            0.5,
        );
        assert_eq!(follow.ask(), watch());
    }
    follow.ended(
        refused(504, "Too large resource version: 7, current: 3"),
        SOON,
        0.5,
    );
    assert_eq!(follow.ask(), Ask::Stream);
}

#[test]
fn a_server_that_never_comes_as_far_as_a_snapshot_was_restored_and_is_believed() {
    let mut follow = seen();
    for _ in 1..AHEAD_MAX {
        follow.ended(refused(504, "Too large resource version: 7"), SOON, 0.5);
        assert_eq!(follow.ask(), not_older());
    }
    follow.ended(refused(504, "Too large resource version: 7"), SOON, 0.5);
    assert_eq!(follow.ask(), FIRST_CONSISTENT);
}

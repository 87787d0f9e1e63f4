use super::*;

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(600);

fn refusal(status: u16, message: &str, retry_after: Option<u64>) -> Refusal {
    Refusal {
        status,
        message: message.into(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

fn refused(status: u16, message: &str) -> End {
    End::Refused(refusal(status, message, None))
}

fn empty() -> Follow {
    Follow::new(Freshness::Any)
}

fn paged() -> Follow {
    Follow {
        streams: false,
        ..Follow::new(Freshness::Any)
    }
}

fn paging() -> Follow {
    Follow {
        stage: Stage::Paging("t".into()),
        ..paged()
    }
}

fn synced() -> Follow {
    Follow {
        stage: Stage::Synced("7".into()),
        ..Follow::new(Freshness::Any)
    }
}

/// As after a start from a snapshot, with a server that does not stream.
fn seen() -> Follow {
    Follow {
        streams: false,
        ..Follow::new(Freshness::NotOlderThan("7".into()))
    }
}

const FIRST_ANY: Ask = Ask::Page(Page::First(Freshness::Any));
const FIRST_CONSISTENT: Ask = Ask::Page(Page::First(Freshness::Consistent));

fn not_older() -> Ask {
    Ask::Page(Page::First(Freshness::NotOlderThan("7".into())))
}

fn watch() -> Ask {
    Ask::Watch("7".into())
}

#[test]
fn what_is_asked_next_follows_from_how_the_last_request_ended() {
    let cut = || End::Cut("reset".to_owned());
    let away = || End::Unreachable("refused".to_owned());
    let odd = || End::Unreadable("<html>".to_owned());
    let progress = "etcdserver: RequestWatchProgress is not supported";
    let cases = [
        (
            "a stream that is cut is asked for again",
            empty(),
            cut(),
            Ask::Stream,
        ),
        (
            "a stream that meets no server is asked for again",
            empty(),
            away(),
            Ask::Stream,
        ),
        (
            "a stream without end falls back",
            empty(),
            End::Unending,
            FIRST_ANY,
        ),
        (
            "a stream that is invalid falls back",
            empty(),
            refused(422, "sendInitialEvents is forbidden"),
            FIRST_ANY,
        ),
        (
            "a stream on etcd 3.4 falls back",
            empty(),
            refused(500, progress),
            FIRST_ANY,
        ),
        (
            "the same as an event",
            empty(),
            End::Errored(refusal(500, progress, None)),
            FIRST_ANY,
        ),
        (
            "a stream that is forbidden is not the stream's fault",
            empty(),
            refused(403, "no"),
            Ask::Stream,
        ),
        (
            "a stream when too many ask is not the stream's fault",
            empty(),
            refused(429, ""),
            Ask::Stream,
        ),
        (
            "a stream when the server is ill is not the stream's fault",
            empty(),
            refused(500, "etcd"),
            Ask::Stream,
        ),
        ("a list that is cut begins again", paged(), cut(), FIRST_ANY),
        (
            "a list that must not be old and is cut begins again as such",
            seen(),
            cut(),
            not_older(),
        ),
        (
            "a list that the server cannot give yet is asked for again",
            seen(),
            refused(504, "Too large resource version: 7, current: 3"),
            not_older(),
        ),
        (
            "a list from a version that is none is asked for without one",
            seen(),
            refused(400, "invalid"),
            FIRST_CONSISTENT,
        ),
        (
            "a page that is cut begins the list again",
            paging(),
            cut(),
            FIRST_CONSISTENT,
        ),
        (
            "a page that meets no server too",
            paging(),
            away(),
            FIRST_CONSISTENT,
        ),
        (
            "a page that is refused too",
            paging(),
            refused(500, ""),
            FIRST_CONSISTENT,
        ),
        (
            "a page whose token is too old too",
            paging(),
            refused(410, "expired"),
            FIRST_CONSISTENT,
        ),
        (
            "a watch that is closed goes on",
            synced(),
            End::Closed,
            watch(),
        ),
        ("a watch that is cut goes on", synced(), cut(), watch()),
        ("a silent watch goes on", synced(), End::Silent, watch()),
        (
            "a watch that meets no server goes on",
            synced(),
            away(),
            watch(),
        ),
        (
            "a watch that is forbidden goes on later",
            synced(),
            refused(403, "no"),
            watch(),
        ),
        (
            "a watch from a version that is too old lists",
            synced(),
            refused(410, "too old"),
            Ask::Stream,
        ),
        (
            "the same as an event, lists",
            synced(),
            End::Errored(refusal(410, "too old", None)),
            Ask::Stream,
        ),
        (
            "a watch from a version that is none lists",
            synced(),
            refused(400, "invalid"),
            Ask::Stream,
        ),
        (
            "a watch that cannot be read lists",
            synced(),
            odd(),
            Ask::Stream,
        ),
        (
            "a watch when the server lags goes on",
            synced(),
            refused(504, "Too large resource version: 7"),
            watch(),
        ),
    ];
    for (name, mut follow, end, next) in cases {
        follow.ended(end, SOON, 0.5);
        assert_eq!(follow.ask(), next, "{name}");
    }
}

#[test]
fn a_list_that_is_ordered_and_does_not_come_leads_back_to_the_watch() {
    let page = |token: Option<&str>| (token.map(Into::into), "9".into());
    for (fact, mut follow, ends, next, is_over) in [
        ("it begins", synced(), vec![], Ask::Stream, false),
        (
            "cut",
            synced(),
            vec![End::Cut("reset".into())],
            watch(),
            true,
        ),
        ("refused", synced(), vec![refused(429, "")], watch(), true),
        ("too old", synced(), vec![refused(410, "")], watch(), true),
        ("closed", synced(), vec![End::Closed], watch(), true),
        (
            "not known",
            synced(),
            vec![refused(422, "")],
            FIRST_CONSISTENT,
            false,
        ),
        (
            "without end",
            synced(),
            vec![End::Unending],
            FIRST_CONSISTENT,
            false,
        ),
        (
            "not known, then odd",
            synced(),
            vec![refused(422, ""), End::Unreadable("<html>".into())],
            watch(),
            true,
        ),
    ] {
        follow.ended(End::Ordered(3), LONG, 0.5);
        let mut over = None;
        for end in ends {
            over = follow.ended(end, SOON, 1.0).unlisted;
        }
        assert_eq!(follow.ask(), next, "{fact}");
        assert_eq!(over.map(|over| over.order), is_over.then_some(3), "{fact}");
    }

    let mut follow = Follow {
        streams: false,
        ..synced()
    };
    follow.ended(End::Ordered(3), LONG, 0.5);
    let (token, version) = page(Some("t"));
    follow.paged(token, version);
    let asked = End::Refused(refusal(429, "busy", Some(7)));
    let verdict = follow.ended(asked, SOON, 1.0);
    assert_eq!(follow.ask(), watch(), "a page");
    assert_eq!(verdict.wait, AT_ONCE);
    assert_eq!(verdict.trouble, None);
    let unlisted = verdict.unlisted.unwrap();
    assert_eq!(unlisted.not_before, Duration::from_secs(7));

    follow.ended(End::Ordered(4), LONG, 0.5);
    let (token, version) = page(None);
    follow.paged(token, version);
    let verdict = follow.ended(refused(500, ""), SOON, 1.0);
    assert_eq!(verdict.unlisted, None, "the list has come");
    assert_eq!(follow.ask(), Ask::Watch("9".into()));
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

/// Waits, in milliseconds, after each of a row of ends.
fn waits(mut follow: Follow, ends: &[(End, Duration)], jitter: f64) -> Vec<u128> {
    ends.iter()
        .map(|(end, lived)| follow.ended(end.clone(), *lived, jitter).wait.as_millis())
        .collect()
}

#[test]
fn waits_double_up_to_a_cap_that_depends_on_the_failure() {
    let many = |end: End| vec![(end, SOON); 8];
    let asked = |status, seconds| End::Refused(refusal(status, "", Some(seconds)));
    let away = End::Unreachable("refused".to_owned());
    let cut = End::Cut("reset".to_owned());
    let cases = [
        (
            "server ill, longest",
            many(refused(500, "")),
            1.0,
            vec![800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000],
        ),
        (
            "server ill, shortest",
            many(refused(500, "")),
            0.0,
            vec![400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "no server, longest",
            many(away.clone()),
            1.0,
            vec![800, 1600, 3200, 5000, 5000, 5000, 5000, 5000],
        ),
        (
            "connections made and cut",
            many(cut.clone()),
            1.0,
            vec![800, 1600, 1600, 1600, 1600, 1600, 1600, 1600],
        ),
        (
            "too old each time",
            many(refused(410, "")),
            1.0,
            vec![800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000],
        ),
        (
            "forbidden",
            many(refused(403, "no")),
            0.0,
            vec![5000, 5000, 5000, 5000, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "unauthorized",
            many(refused(401, "no")),
            0.0,
            vec![400, 5000, 5000, 5000, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "asked to wait",
            vec![(asked(429, 7), SOON), (asked(503, 1), SOON)],
            0.0,
            vec![7000, 1000],
        ),
        (
            "asked to wait less than is due",
            vec![
                (refused(500, ""), SOON),
                (refused(500, ""), SOON),
                (asked(503, 1), SOON),
            ],
            1.0,
            vec![800, 1600, 3200],
        ),
        (
            "asked to wait for ever",
            vec![(asked(503, u64::MAX), SOON)],
            0.0,
            vec![300_000],
        ),
        (
            "a watch that lived",
            vec![
                (End::Closed, LONG),
                (cut.clone(), LONG),
                (End::Silent, LONG),
            ],
            1.0,
            vec![100, 100, 100],
        ),
        (
            "a watch that lived ends the row of failures",
            vec![
                (away.clone(), SOON),
                (away.clone(), SOON),
                (End::Closed, LONG),
                (away, SOON),
            ],
            1.0,
            vec![800, 1600, 100, 800],
        ),
        (
            "an error after a long watch is a first failure",
            vec![
                (refused(500, ""), SOON),
                (refused(500, ""), SOON),
                (End::Errored(refusal(500, "", None)), LONG),
            ],
            1.0,
            vec![800, 1600, 800],
        ),
    ];
    for (name, ends, jitter, expected) in cases {
        assert_eq!(waits(synced(), &ends, jitter), expected, "{name}");
    }
}

#[test]
fn a_way_of_asking_that_is_not_understood_costs_no_time() {
    assert_eq!(waits(empty(), &[(refused(422, ""), SOON)], 1.0), [0]);
    assert_eq!(waits(empty(), &[(End::Unending, SOON)], 1.0), [0]);
}

#[test]
fn trouble_is_what_a_human_must_know_and_nothing_else() {
    let cut = End::Cut("reset".to_owned());
    let forbidden = Trouble::Forbidden("no".into());
    let unreachable = |text: &str| Some(Trouble::Unreachable(text.into()));
    let cases = [
        ("closed", synced(), vec![End::Closed], None),
        ("silent", synced(), vec![End::Silent], None),
        ("too old", synced(), vec![refused(410, "old")], None),
        ("no streaming", empty(), vec![refused(400, "what?")], None),
        ("cut once", synced(), vec![cut.clone()], None),
        (
            "cut twice",
            synced(),
            vec![cut.clone(), cut],
            unreachable("reset"),
        ),
        (
            "no server",
            synced(),
            vec![End::Unreachable("refused".to_owned())],
            unreachable("refused"),
        ),
        (
            "forbidden",
            synced(),
            vec![refused(403, "no")],
            Some(forbidden),
        ),
        (
            "unauthorized",
            synced(),
            vec![refused(401, "who?")],
            Some(Trouble::Unauthorized("who?".into())),
        ),
        (
            "ill",
            empty(),
            vec![refused(500, "etcd")],
            Some(Trouble::Refused {
                status: 500,
                message: "etcd".into(),
            }),
        ),
        (
            "no API server",
            paged(),
            vec![End::Unreadable("html".to_owned())],
            Some(Trouble::Unreadable("html".into())),
        ),
    ];
    for (name, mut follow, ends, trouble) in cases {
        let mut last = None;
        for end in ends {
            last = follow.ended(end, SOON, 0.5).trouble;
        }
        assert_eq!(last, trouble, "{name}");
    }
}

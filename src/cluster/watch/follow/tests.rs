use super::*;

mod asks;
mod ordered;
mod waits;

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

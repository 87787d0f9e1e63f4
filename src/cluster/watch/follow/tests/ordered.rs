//! Lists that are ordered beside a watch.

use super::*;

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

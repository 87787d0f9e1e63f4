use super::*;

const WATCH: &str = concat!(
    r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}"#,
    "\n\r\n",
    r#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"2"},"spec":{"clusterIP":7}}}"#,
    "\n",
    r#"{"type":"MODIFIED","object":{"metadata":{"name":"b","resourceVersion":"3"},"spec":{"clusterIP":7}}}"#,
    "\n",
    r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"4","creationTimestamp":null}}}"#,
    "\n",
    r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    "\n",
    r#"{"type":"NOVEL","object":{}}"#,
    "\n",
    r#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#,
    "\n",
    r#"{"type":"ADDED","object":{"me"#,
);

fn brief(frame: Frame) -> String {
    let about = |object: &Object| {
        format!(
            "{} at {}",
            object.metadata().name,
            object.metadata().resource_version
        )
    };
    match frame {
        Frame::Applied(object) => format!("applied {}", about(&object)),
        Frame::Deleted(object) => format!("deleted {}", about(&object)),
        Frame::Faulty { fault, known } => {
            let version = known.map(|object| object.metadata().resource_version.clone());
            format!("faulty {} at {version:?}", fault.name)
        }
        Frame::Bookmark {
            version,
            initial_end,
        } => format!("bookmark {version} {initial_end}"),
        Frame::Error(refusal) => format!("error {} {}", refusal.status, refusal.message),
        Frame::Unknown => "unknown".to_owned(),
    }
}

#[test]
fn a_watch_is_read_line_by_line_however_the_bytes_arrive() {
    for size in [1, 5, 64, 10_000] {
        let mut frames = Frames::new();
        let mut seen = Vec::new();
        for chunk in WATCH.as_bytes().chunks(size) {
            frames.push(chunk);
            while let Some(frame) = frames.next(Resource::Services).unwrap() {
                seen.push(brief(frame));
            }
        }
        let expected = [
            "applied a at 1",
            "deleted a at 2",
            "faulty b at Some(\"3\")",
            "bookmark 4 false",
            "bookmark 5 true",
            "unknown",
            "error 410 too old",
        ];
        assert_eq!(seen, expected, "{size} bytes at a time");
    }
}

#[test]
fn what_is_no_event_ends_the_watch() {
    for text in [
        "<html>\n",
        "{\"type\":\"BOOKMARK\",\"object\":{}}\n",
        "{\"type\":\"ADDED\"}\n",
    ] {
        let mut frames = Frames::new();
        frames.push(text.as_bytes());
        assert!(
            matches!(frames.next(Resource::Pods), Err(FrameError::NotAnEvent(_))),
            "{text}"
        );
    }
    let mut frames = Frames::new();
    frames.push(&vec![b'x'; PIECE_BYTES_MAX + 1]);
    assert!(matches!(
        frames.next(Resource::Pods),
        Err(FrameError::TooLarge)
    ));
}

#[test]
fn a_page_says_whether_there_is_another() {
    let end = |next: Option<&str>| {
        Some(PageEnd {
            next: next.map(Into::into),
            version: "9".into(),
        })
    };
    let cases = [
        (
            r#"{"metadata":{"resourceVersion":"9"},"items":[]}"#,
            end(None),
        ),
        (
            r#"{"metadata":{"resourceVersion":"9","continue":""}}"#,
            end(None),
        ),
        (
            r#"{"metadata":{"resourceVersion":"9","continue":"t","remainingItemCount":3}}"#,
            end(Some("t")),
        ),
        (r#"{"metadata":{}}"#, None),
        (r#"{"kind":"Status"}"#, None),
    ];
    for (text, expected) in cases {
        assert_eq!(page(text.as_bytes()).ok(), expected, "{text}");
    }
}

#[test]
fn a_refusal_keeps_the_servers_words_and_its_wish_to_be_left_alone() {
    let cases = [
        (
            "status",
            403,
            None,
            r#"{"kind":"Status","code":403,"message":"no"}"#,
            "no",
            None,
        ),
        (
            "text of a proxy",
            502,
            None,
            " bad gateway\n",
            "bad gateway",
            None,
        ),
        ("header", 429, Some("7"), "", "", Some(7)),
        (
            "details",
            503,
            None,
            r#"{"details":{"retryAfterSeconds":3}}"#,
            "",
            Some(3),
        ),
        (
            "header before details",
            503,
            Some("7"),
            r#"{"details":{"retryAfterSeconds":3}}"#,
            "",
            Some(7),
        ),
        (
            "a date is not understood",
            503,
            Some("Fri, 20 Nov 2026 18:00:00 GMT"),
            "",
            "",
            None,
        ),
    ];
    for (name, code, header, text, message, seconds) in cases {
        let mut response = http::Response::builder().status(code);
        if let Some(header) = header {
            response = response.header(RETRY_AFTER, header);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        let retry_after = seconds.map(Duration::from_secs);
        let expected = Refusal {
            status: code,
            message: message.into(),
            retry_after,
        };
        assert_eq!(refusal(&head, text.as_bytes()), expected, "{name}");
    }
}

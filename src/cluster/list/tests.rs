use super::*;

/// What comes out of a stream that arrives in pieces of a size: items as `line:text`, documents as `line=text`.
fn read(stream: &str, size: usize) -> (Vec<String>, Result<(), ListError>) {
    let mut reader = ListReader::new();
    let mut pieces = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for chunk in stream.as_bytes().chunks(size) {
        let fed = reader.feed(chunk, |piece| {
            pieces.push(match piece {
                Piece::Item {
                    text: item, line, ..
                } => format!("{line}:{}", text(item).trim_end()),
                Piece::Document { text: rest, line } => format!("{line}={}", text(rest)),
            });
        });
        if fed.is_err() {
            return (pieces, fed);
        }
    }
    let end = reader.finish();
    (pieces, end)
}

#[test]
fn items_come_out_one_by_one_however_the_bytes_arrive() {
    let cases: [(&str, &str, &[&str]); 12] = [
        (
            "empty list",
            r#"{"kind":"L","items":[]}"#,
            &[r#"1={"kind":"L","items":[]}"#],
        ),
        (
            "two items",
            r#"{"items":[{"a":1},{"b":[2]}],"k":1}"#,
            &[r#"1:{"a":1}"#, r#"1:{"b":[2]}"#, r#"1={"items":[],"k":1}"#],
        ),
        (
            "spaced over lines",
            "{\n \"items\" : [\n {\"a\":1} ,\n {\"b\":2}\n ]\n}\n",
            &["3:{\"a\":1}", "4:{\"b\":2}", "1={\n \"items\" : []\n}"],
        ),
        (
            "brackets and quotes in strings",
            r#"{"items":[{"a":"]}\"{["},"x]y"]}"#,
            &[r#"1:{"a":"]}\"{["}"#, r#"1:"x]y""#, r#"1={"items":[]}"#],
        ),
        (
            "lines and escapes inside of items",
            "{\"items\":[{\n\"a\":\"\\\\\",\n\"b\":\"x\ny\"},\n\"\\\"\"\n,2]}",
            &[
                "1:{\n\"a\":\"\\\\\",\n\"b\":\"x\ny\"}",
                "5:\"\\\"\"",
                "6:2",
                r#"1={"items":[]}"#,
            ],
        ),
        (
            "items without brackets",
            r#"{"items":[null, 1]}"#,
            &["1:null", "1:1", r#"1={"items":[]}"#],
        ),
        (
            "items deeper down are no items",
            r#"{"spec":{"items":[1]}}"#,
            &[r#"1={"spec":{"items":[1]}}"#],
        ),
        (
            "a key that only ends so",
            r#"{"my\"items":[1]}"#,
            &[r#"1={"my\"items":[1]}"#],
        ),
        ("null items", r#"{"items":null}"#, &[r#"1={"items":null}"#]),
        (
            "no list",
            r#"{"kind":"Service","spec":{"ports":[1]}}"#,
            &[r#"1={"kind":"Service","spec":{"ports":[1]}}"#],
        ),
        (
            "two documents",
            "{\"a\":1}\n{\"items\":[2]}",
            &["1={\"a\":1}", "2:2", "2={\"items\":[]}"],
        ),
        ("nothing", " \n", &[]),
    ];
    for (name, stream, pieces) in cases {
        for size in [1, 2, 7, 1000] {
            let (found, end) = read(stream, size);
            let expected: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
            assert_eq!(found, expected, "{name}, {size} bytes at a time");
            assert_eq!(end, Ok(()), "{name}, {size} bytes at a time");
        }
    }
}

#[test]
fn what_breaks_off_is_noticed_and_what_came_before_is_kept() {
    let incomplete = Err(ListError::Incomplete { line: 1 });
    let cases = [
        (
            "in an item",
            r#"{"items":[{"a":1},{"b":"#,
            &[r#"1:{"a":1}"#][..],
            incomplete,
        ),
        (
            "between items",
            r#"{"items":[{"a":1},"#,
            &[r#"1:{"a":1}"#],
            incomplete,
        ),
        (
            "after the items",
            r#"{"items":[{"a":1}]"#,
            &[r#"1:{"a":1}"#],
            incomplete,
        ),
        ("in a string", r#"{"a":"}"#, &[], incomplete),
        ("no object", "[1]", &[], Err(ListError::NotJson { line: 1 })),
        (
            "text after a document",
            "{}\nx",
            &["1={}"],
            Err(ListError::NotJson { line: 2 }),
        ),
        (
            "closed too often",
            "{}}",
            &["1={}"],
            Err(ListError::NotJson { line: 1 }),
        ),
    ];
    for (name, stream, pieces, end) in cases {
        let (found, outcome) = read(stream, 3);
        assert_eq!(found, pieces, "{name}");
        assert_eq!(outcome, end, "{name}");
    }
}

#[test]
fn an_item_sees_the_document_before_it() {
    let mut seen = Vec::new();
    let mut note = |piece: Piece<'_>| {
        if let Piece::Item { before, .. } = piece {
            seen.push(before.to_vec());
        }
    };
    ListReader::new()
        .feed(br#"{"kind":"PodList","items":[1,2]}"#, &mut note)
        .unwrap();
    assert_eq!(
        seen,
        [
            br#"{"kind":"PodList","items":["#.to_vec(),
            br#"{"kind":"PodList","items":["#.to_vec()
        ]
    );
}

#[test]
fn a_piece_without_end_is_refused() {
    for begin in ["{\"a\":\"", "{\"items\":[\""] {
        let mut reader = ListReader::new();
        reader.feed(begin.as_bytes(), |_| {}).unwrap();
        let block = vec![b'x'; PIECE_BYTES_MAX];
        assert_eq!(
            reader.feed(&block, |_| {}),
            Err(ListError::TooLarge { line: 1 }),
            "{begin}"
        );
    }
}

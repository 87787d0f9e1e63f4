use super::*;

/// Pieces as `line text` (items with a dash), and what is left.
fn split(text: &str) -> (Vec<String>, Rest) {
    let mut pieces = Pieces::default();
    let brief = |piece: Piece| {
        format!(
            "{}{} {}",
            if piece.item { "-" } else { "" },
            piece.line,
            piece.text.trim_end()
        )
    };
    let mut whole: Vec<String> = text
        .lines()
        .filter_map(|line| pieces.line(line))
        .map(brief)
        .collect();
    let mut rest = pieces.finish();
    if let Some(last) = rest.last.take() {
        whole.push(format!("last {}", brief(last)));
    }
    (whole, rest)
}

#[test]
fn documents_and_items_are_pieces() {
    let cases: [(&str, &str, &[&str], Option<usize>); 16] = [
        ("nothing", "", &[], None),
        ("comments alone", "# a\n---\n# b\n", &[], None),
        (
            "one document",
            "a: 1\nb:\n  c: 2\n",
            &["last 1 a: 1\nb:\n  c: 2"],
            None,
        ),
        (
            "two documents",
            "a: 1\n---\n\nb: 2\n",
            &["1 a: 1", "last 4 b: 2"],
            None,
        ),
        (
            "document on the line of its marker",
            "--- {a: 1}\n--- # c\nb: 2\n",
            &["1     {a: 1}", "last 3 b: 2"],
            None,
        ),
        ("end marker", "a: 1\n...\n", &["1 a: 1"], None),
        (
            "a longer row of dashes is no marker",
            "a: |\n ----\n",
            &["last 1 a: |\n ----"],
            None,
        ),
        (
            "list as kubectl prints it",
            "apiVersion: v1\nitems:\n- a: 1\n  b: 2\n- a: 3\nkind: List\nmetadata:\n  resourceVersion: ''\n",
            &["-3   a: 1\n  b: 2", "-5   a: 3"],
            None,
        ),
        (
            "list with its kind first",
            "kind: List\nitems:\n- a: 1\n",
            &["last -3   a: 1"],
            None,
        ),
        (
            "indented items",
            "items:\n  - a: 1\n    b: 2\n  - a: 3\nkind: List\n",
            &["-2     a: 1\n    b: 2", "-4     a: 3"],
            None,
        ),
        (
            "dash on a line of its own",
            "items:\n-\n  a: 1\nkind: L\n",
            &["-2  \n  a: 1"],
            None,
        ),
        (
            "comments and blank lines in items",
            "items:\n# c\n\n- a: |\n    x\n\n    # y\n# z\n- b: 1\nkind: L\n",
            &["-4   a: |\n    x\n\n    # y\n# z", "-9   b: 1"],
            None,
        ),
        (
            "sequences within items",
            "items:\n- a:\n  - 1\n  - 2\nkind: L\n",
            &["-2   a:\n  - 1\n  - 2"],
            None,
        ),
        (
            "no items",
            "items: []\nkind: L\n",
            &["last 1 items: []\nkind: L"],
            None,
        ),
        (
            "items in braces",
            "items:\n  [{a: 1}]\nkind: L\n",
            &["last 1 items:\n  [{a: 1}]\nkind: L"],
            None,
        ),
        (
            "two lists",
            "items:\n- a: 1\nkind: L\n---\nitems:\n- b: 1\nkind: L\n",
            &["-2   a: 1", "-6   b: 1"],
            None,
        ),
    ];
    for (name, text, expected, broken) in cases {
        let (pieces, rest) = split(text);
        assert_eq!(pieces, expected, "{name}");
        assert_eq!(rest.broken, broken, "{name}");
    }
}

#[test]
fn a_list_that_does_not_come_to_its_kind_is_broken() {
    let cases = [
        ("after an item", "apiVersion: v1\nitems:\n- a: 1\n", Some(3)),
        ("before the first item", "apiVersion: v1\nitems:\n", Some(2)),
        (
            "after the items",
            "apiVersion: v1\nitems:\n- a: 1\nmetadata: {}\n",
            Some(4),
        ),
        (
            "at the next document",
            "apiVersion: v1\nitems:\n- a: 1\n---\nb: 1\n",
            Some(4),
        ),
        (
            "whole",
            "apiVersion: v1\nitems:\n- a: 1\nkind: List\n",
            None,
        ),
    ];
    for (name, text, broken) in cases {
        assert_eq!(split(text).1.broken, broken, "{name}");
    }
}

#[test]
fn outermost_keys_are_read_by_their_lines() {
    let cases = [
        ("kind: Pod\n", Some("Pod")),
        ("  # c\n  kind: \"Pod\" # c\n", Some("Pod")),
        ("  metadata:\n    kind: Inner\n  kind: 'Pod'\n", Some("Pod")),
        ("metadata:\n  kind: Inner\n", None),
        ("kind:\n", None),
        ("kind:Pod\n", None),
        ("{kind: Pod}\n", None),
        ("", None),
    ];
    for (text, kind) in cases {
        assert_eq!(outermost(text, "kind"), kind, "{text:?}");
    }
}

#[test]
fn what_is_under_a_key_is_blanked_and_lines_keep_their_numbers() {
    let cases = [
        ("a: 1\nspec:\n  b:\n  - c\nd: 2\n", "a: 1\n\n\n\nd: 2\n"),
        (
            "  a: 1\n  spec:\n    b: 1\n\n  # c\n  d: 2\n",
            "  a: 1\n\n\n\n\n  d: 2\n",
        ),
        ("spec: {a: 1}\nb: 2\n", "\nb: 2\n"),
        ("status:\n  spec: 1\n", "status:\n  spec: 1\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(without(text, "spec"), expected, "{text:?}");
    }
}

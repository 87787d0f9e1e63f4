//! Words, lines and spans of texts.

use super::super::{Faults, Sources};
use super::*;

/// `line:text`, and `line-end:text` for a word over several lines.
fn words(text: &str) -> (Vec<String>, Vec<String>) {
    let mut sources = Sources::default();
    let file = sources.add("Corefile".into(), text.to_owned());
    let faults = Faults::new();
    let words = lex(file, text, &faults)
        .into_iter()
        .map(|token| match token.line == token.end_line {
            true => format!("{}:{}", token.line, token.text),
            false => format!("{}-{}:{}", token.line, token.end_line, token.text),
        })
        .collect();
    let doubts = faults.into_sorted();
    (
        words,
        doubts.into_iter().map(|doubt| doubt.message).collect(),
    )
}

#[test]
fn words_and_their_lines() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("empty", "", &[]),
        ("blanks only", " \t\r\n\n", &[]),
        ("lines", "a b\n c\n", &["1:a", "1:b", "2:c"]),
        (
            "unicode blanks",
            "a\u{a0}b\u{3000}c\u{2028}d",
            &["1:a", "1:b", "1:c", "1:d"],
        ),
        (
            "vertical blanks are no lines",
            "a\u{b}b\u{c}c\u{85}d",
            &["1:a", "1:b", "1:c", "1:d"],
        ),
        ("quotes", r#"a "b c" d"#, &["1:a", "1:b c", "1:d"]),
        ("empty quotes", r#""" a"#, &["1:", "1:a"]),
        (
            "newline in quotes",
            "a \"b\nc\" d\ne",
            &["1:a", "1-2:b\nc", "2:d", "3:e"],
        ),
        ("escaped quote", r#""a\"b""#, &[r#"1:a"b"#]),
        ("other escapes are kept", r#""\d\\.\n""#, &[r"1:\d\\.\n"]),
        (
            "backslash before the closing quote",
            r#""a\\" b"#,
            &[r"1:a\\", "1:b"],
        ),
        ("backslash outside quotes", "a\\\nb", &["1:a\\", "2:b"]),
        ("quote in a word", r#"a"b c"#, &["1:a\"b", "1:c"]),
        ("word after a quoted one", r#""a"b"#, &["1:a", "1:b"]),
        ("comment", "a # b c\nd", &["1:a", "2:d"]),
        ("comment alone", "#a\n #b\nc", &["3:c"]),
        ("comment at the end", "a #", &["1:a"]),
        ("comment in a word", "foo#bar\nb", &["1:foo", "2:b"]),
        ("number sign in quotes", r##""a#b""##, &["1:a#b"]),
        ("carriage returns", "a\r\nb\r c\rd", &["1:a", "2:b", "2:cd"]),
        ("carriage return in quotes", "\"a\rb\"", &["1:a\rb"]),
        ("byte order mark", "\u{feff}a", &["1:a"]),
        (
            "byte order mark later",
            "a \u{feff}b",
            &["1:a", "1:\u{feff}b"],
        ),
        ("nul", "a\0b", &["1:a\0b"]),
        ("braces are words", "a{ {b} {", &["1:a{", "1:{b}", "1:{"]),
        ("quote at the end", "a \"", &["1:a"]),
    ];
    for (name, text, expected) in rows {
        let (words, doubts) = words(text);
        assert_eq!(words, *expected, "{name}");
        assert_eq!(doubts, [""; 0], "{name}");
    }
}

#[test]
fn doubts() {
    let rows: &[(&str, &str, &[&str], &str)] = &[
        (
            "unterminated quote takes the rest",
            "a \"b\n}\n",
            &["1:a", "1-3:b\n}\n"],
            "this quote is never closed: it swallows the rest of the file",
        ),
        (
            "escape at the end of an unterminated quote",
            "\"b\\",
            &["1:b"],
            "this quote is never closed: it swallows the rest of the file",
        ),
        (
            "comment that touches a word ends at a blank",
            "foo#bar baz\nb",
            &["1:foo", "1:baz", "2:b"],
            "a comment that touches 'foo' ends at the next blank",
        ),
    ];
    for (name, text, expected, doubt) in rows {
        let (words, doubts) = words(text);
        assert_eq!(words, *expected, "{name}");
        assert_eq!(doubts, [*doubt], "{name}");
    }
}

#[test]
fn spans_cover_what_is_written() {
    let text = "é \"b c\" foo#x\r\nlast\r\n\u{feff}";
    let mut sources = Sources::default();
    let file = sources.add("Corefile".into(), text.to_owned());
    let tokens = lex(file, text, &Faults::new());
    let written: Vec<&str> = tokens
        .iter()
        .map(|token| &text[token.span.start as usize..token.span.end as usize])
        .collect();
    assert_eq!(written, ["é", "\"b c\"", "foo", "last", "\u{feff}"]);
}

#[test]
fn decoding_keeps_the_places_of_bad_bytes() {
    let decoded = decode(b"a\xff b\xe2\x82 c");
    assert_eq!(decoded.text, "a\u{fffd} b\u{fffd} c");
    assert_eq!(decoded.replaced, [(1, 1), (6, 4)]);
}

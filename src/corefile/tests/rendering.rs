//! What people see.

use super::*;

/// The rendering of a fault at the bytes `span` of `text`.
fn rendered(text: &str, at: &str) -> String {
    let parsed = parse_in(&Memory::new(), text);
    let span =
        |word: &Word| parsed.sources.line(word.span).0[parsed.sources.line(word.span).1].to_owned();
    let words = parsed.corefile.blocks.iter().flat_map(|block| {
        let lines = block.directives.iter().flat_map(Line::words);
        block.keys.iter().chain(lines)
    });
    let word = words
        .into_iter()
        .find(|word| span(word).contains(at))
        .unwrap();
    Diagnostic::error("Unknown directive", word.span).render(&parsed.sources)
}

#[test]
fn carets_stand_under_the_word() {
    let lead = "x".repeat(20);
    let long = format!("a\n{lead} {} bad {}", "y".repeat(200), "z".repeat(200));
    let cut_end = format!("…{} bad {}…", "y".repeat(29), "z".repeat(66));
    let long_word = format!("a\nx {}", "y".repeat(300));
    let rows: &[(&str, &str, &str, String)] = &[
        (
            "at the beginning",
            "a\nbad",
            "bad",
            "Corefile:2:1: error: unknown directive\n  bad\n  ^^^\n".into(),
        ),
        (
            "indented",
            "a {\n    bad x\n}",
            "bad",
            "Corefile:2:5: error: unknown directive\n      bad x\n      ^^^\n".into(),
        ),
        (
            "behind a tab",
            "a {\n\tbad\tx\n}",
            "bad",
            "Corefile:2:2: error: unknown directive\n      bad    x\n      ^^^\n".into(),
        ),
        (
            "behind a tab between words",
            "a\nx\tbad",
            "bad",
            "Corefile:2:3: error: unknown directive\n  x    bad\n       ^^^\n".into(),
        ),
        (
            "wide bytes",
            "a\né bad é",
            "bad",
            "Corefile:2:3: error: unknown directive\n  é bad é\n    ^^^\n".into(),
        ),
        (
            "quoted",
            "a\nx \"bad y\" z",
            "bad",
            "Corefile:2:3: error: unknown directive\n  x \"bad y\" z\n    ^^^^^^^\n".into(),
        ),
        (
            "over two lines",
            "a\nx \"bad\ny\" z",
            "bad",
            "Corefile:2:3: error: unknown directive\n  x \"bad\n    ^^^^\n".into(),
        ),
        (
            "carriage return",
            "a\r\nbad\r\n",
            "bad",
            "Corefile:2:1: error: unknown directive\n  bad\n  ^^^\n".into(),
        ),
        (
            "escape sequence",
            "a\n\u{1b}[31m bad",
            "bad",
            "Corefile:2:7: error: unknown directive\n  \\u{1b}[31m bad\n             ^^^\n".into(),
        ),
        (
            "nul in the word",
            "a\nb\0bad",
            "bad",
            "Corefile:2:1: error: unknown directive\n  b\\0bad\n  ^^^^^^\n".into(),
        ),
        (
            "right-to-left override",
            "a\n\u{202e} bad",
            "bad",
            "Corefile:2:3: error: unknown directive\n  \\u{202e} bad\n           ^^^\n".into(),
        ),
        (
            "long line",
            &long,
            "bad",
            format!(
                "Corefile:2:223: error: unknown directive\n  {cut_end}\n  {}^^^\n",
                " ".repeat(31)
            ),
        ),
        (
            "long word",
            &long_word,
            "yyy",
            format!(
                "Corefile:2:3: error: unknown directive\n  x {}…\n    {}\n",
                "y".repeat(98),
                "^".repeat(98)
            ),
        ),
    ];
    for (name, text, at, expected) in rows {
        assert_eq!(rendered(text, at), *expected, "{name}");
    }
}

#[test]
fn every_part_is_shown() {
    let parsed = parse_in(&Memory::new(), ".:53 {\n    forwrad . 1.1.1.1\n}\n");
    let span = parsed.corefile.blocks[0].directives[0].name.span;
    let full = Diagnostic::error("Unknown directive 'forwrad'", span)
        .with_nearest(nearest("forwrad", ["cache", "forward"]));
    let rows = [
        (
            "error with hint",
            full.clone(),
            "Corefile:2:5: error: unknown directive 'forwrad'\n      forwrad . 1.1.1.1\n      ^^^^^^^\n\
             hint: did you mean 'forward'?\n",
            "Corefile:2 - Error during parsing: Unknown directive 'forwrad' (did you mean 'forward'?)",
        ),
        (
            "under a plugin",
            Diagnostic::error("unknown property 'foo'", span).with_plugin("forward"),
            "Corefile:2:5: error: unknown property 'foo'\n      forwrad . 1.1.1.1\n      ^^^^^^^\n",
            "plugin/forward: Corefile:2 - Error during parsing: unknown property 'foo'",
        ),
        (
            "warning",
            Diagnostic::warning("No files matching", span),
            "Corefile:2:5: warning: no files matching\n      forwrad . 1.1.1.1\n      ^^^^^^^\n",
            "No files matching (Corefile:2)",
        ),
        (
            "without a place",
            Diagnostic::error("Could not read x", None),
            "error: could not read x\n",
            "Could not read x",
        ),
        (
            "acronym and control characters",
            Diagnostic::error("TTL 'a\nb\u{7}' is no number", None),
            "error: TTL 'a\\nb\\u{7}' is no number\n",
            "TTL 'a\\nb\\u{7}' is no number",
        ),
    ];
    for (name, diagnostic, rendered, one_line) in rows {
        assert_eq!(diagnostic.render(&parsed.sources), rendered, "{name}");
        assert_eq!(diagnostic.one_line(&parsed.sources), one_line, "{name}");
    }
}

#[test]
fn positions_count_characters() {
    let parsed = parse_in(&Memory::new(), "é ü {\n\tlog ä ö\n}");
    let block = &parsed.corefile.blocks[0];
    let words = block.keys.iter().chain(block.directives[0].words());
    let places: Vec<_> = words
        .map(|word| {
            let at = parsed.sources.position(word.span);
            (at.line, at.column)
        })
        .collect();
    assert_eq!(places, [(1, 1), (1, 3), (2, 2), (2, 6), (2, 8)]);
}

#[test]
fn long_words_are_cut_in_messages() {
    let text = format!("a {{ {}", "w".repeat(1 << 20));
    let faults = said(&parse_in(&Memory::new(), &text), Severity::Error);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains(&format!("'{}…'", "w".repeat(60))),
        "{faults:?}"
    );
    assert!(faults[0].len() < 300, "{}", faults[0].len());
}

//! What a text is read to, and what is wrong with it.

use super::*;

#[test]
fn sound_texts() {
    let rows = [
        ("empty", "", ""),
        ("comment only", "# nothing\n", ""),
        ("keys alone", "a.test:53", "a.test:53 {}"),
        (
            "keys over commas",
            "a.test, b.test,\nc.test",
            "a.test b.test c.test {}",
        ),
        ("comma inside a key stays", "a,b {\n}", "a,b {}"),
        ("comma alone", "a , b {\n}", "a \"\" b {}"),
        ("no braces", "a\nlog\nerrors x", "a {log; errors x}"),
        ("braces", "a {\nlog x y\n}", "a {log x y}"),
        ("brace on the next line", "a\n{\nlog\n}", "a {log}"),
        ("directive behind the brace", "a { log\n}", "a {log}"),
        ("empty on one line", "a { }", "a {}"),
        ("two blocks", "a {\n}\nb {\n}", "a {} b {}"),
        ("two blocks on a line", "a {\n} b {\n}", "a {} b {}"),
        (
            "same directive twice",
            "a {\nlog x\nlog y\n}",
            "a {log x; log y}",
        ),
        ("stray brace begins a block", "a {\n}\n}\n", "a {} } {}"),
        (
            "quoted",
            "a {\n\"log\" \"x y\" \"\"\n}",
            "a {log \"x y\" \"\"}",
        ),
        (
            "backslash continues nothing",
            "a {\nlog \\\nerrors\n}",
            "a {log \\; errors}",
        ),
        (
            "block of a plugin",
            "a {\nlog {\nclass x\nformat y\n}\nerrors\n}",
            "a {log {class x; format y}; errors}",
        ),
        (
            "empty block of a plugin",
            "a {\nerrors { }\nlog {\n}\n}",
            "a {errors {}; log {}}",
        ),
        (
            "line behind the brace of a plugin",
            "a {\nlog { class x\n}\n}",
            "a {log {class x}}",
        ),
        (
            "nested",
            "a {\nx {\ny z {\nw\n}\nv\n}\n}",
            "a {x {y z {w}; v}}",
        ),
        (
            "closed behind words",
            "a {\nlog { class x }\nerrors\n}",
            "a {log {class x }}; errors}",
        ),
        (
            "closed behind words on the next line",
            "a {\nlog {\nclass x }\nerrors\n}",
            "a {log {class x }}; errors}",
        ),
        (
            "no blank before a brace is no brace",
            "a {\nerrors {}\n}",
            "a {errors {}}",
        ),
        (
            "multi-line argument",
            "a {\nx \"1\n2\" 3\ny\n}",
            "a {x \"1\\n2\" 3; y}",
        ),
        ("snippet", "(s) {\nlog\n}\na {\nimport s\n}", "a {log}"),
        ("parentheses alone are keys", "(s)", "(s) {}"),
        ("two parentheses are keys", "(s) (t) {\n}", "(s) (t) {}"),
        (
            "template",
            "a {\nt {\nanswer \"{{ .Name }} 60 IN A 1\"\n}\n}",
            "a {t {answer \"{{ .Name }} 60 IN A 1\"}}",
        ),
    ];
    for (name, text, expected) in rows {
        let parsed = parse_in(&Memory::new(), text);
        assert_eq!(shown(&parsed), expected, "{name}");
        assert_eq!(parsed.diagnostics, [], "{name}");
    }
}

#[test]
fn the_environment_is_put_into_words() {
    let outside = Memory::new()
        .set("PORT", "53")
        .set("TWO", "1 2")
        .set("WORD", "log")
        .set("OPEN", "{")
        .set("COMMA", "b,");
    let rows = [
        ("key", ".:{$PORT} {\n}", ".:53 {}"),
        ("unset key is no key", "a {$NOPE} {\n}", "a {}"),
        ("comma of a value counts", "a {$COMMA}\nc {\n}", "a b c {}"),
        ("directive", "a {\n{$WORD} x\n}", "a {log x}"),
        (
            "argument",
            "a {\nx {%PORT%} {$TWO} {$NOPE}\n}",
            "a {x 53 \"1 2\" \"\"}",
        ),
        (
            "property",
            "a {\nx {\n{$WORD} {$PORT}\n}\n}",
            "a {x {log 53}}",
        ),
        ("in quotes", "a {\nx \"p {$PORT}\"\n}", "a {x \"p 53\"}"),
        (
            "a brace in a value opens nothing",
            "a {\nx {$OPEN}\ny\n}",
            "a {x {; y}",
        ),
    ];
    for (name, text, expected) in rows {
        let parsed = parse_in(&outside, text);
        assert_eq!(shown(&parsed), expected, "{name}");
        assert_eq!(parsed.diagnostics, [], "{name}");
    }
}

#[test]
fn doubtful_texts_are_accepted_as_coredns_does() {
    let rows = [
        (
            "the last brace of a plugin closes the block",
            "a {\nlog {\n}\n",
            "a {log {}}",
            "this server block is never closed: one '}' is missing at the end (Corefile:1)",
        ),
        (
            "brace without an opening one",
            "a\nlog\n}\nb",
            "a {log} b {}",
            "this '}' ends a server block that no '{' began (Corefile:3)",
        ),
        (
            "brace of a plugin on the next line",
            "a {\nlog\n{\nclass x\n}\n}",
            "a {log; log; log x; log}",
            "'{' is read as another 'log' (Corefile:3) ('{' must stand at the end of the line of 'log')",
        ),
        (
            "words behind a closing brace",
            "a {\nlog {\n} x y\nerrors\n}",
            "a {log {}; log y; errors}",
            "'x' is read as another 'log' (Corefile:3) (nothing may follow '}' on its line)",
        ),
        (
            "no key",
            "{\nlog\n}",
            "",
            "a server block without a key is not served (Corefile:1)",
        ),
        (
            "quote that is never closed",
            "a\nlog \"x\n",
            "a {log \"x\\n\"}",
            "this quote is never closed: it swallows the rest of the file (Corefile:2)",
        ),
    ];
    for (name, text, tree, doubt) in rows {
        let parsed = parse_in(&Memory::new(), text);
        assert!(!parsed.is_refused(), "{name}");
        assert_eq!(shown(&parsed), tree, "{name}");
        assert_eq!(said(&parsed, Severity::Warning), [doubt], "{name}");
    }
}

#[test]
fn faulty_texts_are_refused_and_read_on() {
    let end = "Unexpected end of file after";
    let rows: [(&str, &str, &str, &[&str]); 15] = [
        (
            "server block never closed",
            "a {\nlog\n",
            "a {log}",
            &[&format!(
                "2 {end} 'log', expecting '}}' (the block that opens at Corefile:1:3 is never closed)"
            )],
        ),
        (
            "plugin block never closed",
            "a {\nlog {\nclass x\n",
            "a {log {class x}}",
            &[&format!(
                "3 {end} 'x', expecting '}}' (the block that opens at Corefile:2:5 is never closed)"
            )],
        ),
        (
            "snippet never closed",
            "(s) {\nlog\n",
            "",
            &[&format!(
                "2 {end} 'log', expecting '}}' (the block that opens at Corefile:1:5 is never closed)"
            )],
        ),
        (
            "block on one line",
            "a { log }\nb {\n}",
            "a {log} b {}",
            &["1 Unexpected '}' because no matching opening brace (put '}' on a line of its own)"],
        ),
        (
            "two closing braces on a line",
            "a {\nlog {\n} }\nb",
            "a {log {}} b {}",
            &["3 Unexpected '}' because no matching opening brace (put '}' on a line of its own)"],
        ),
        (
            "comma before the brace",
            "a, {\nlog\n}",
            "a {log}",
            &["1 Expected another address but had '{' - check for extra comma"],
        ),
        (
            "comma at the end",
            "a,",
            "a {}",
            &["1 Unexpected EOF, expecting another key after ','"],
        ),
        (
            "snippet without braces",
            "(s)\nlog\n",
            "log {}",
            &[
                "2 Unexpected token 'log', expecting '{' (the snippet (s) needs braces around its lines)",
            ],
        ),
        (
            "snippet declared twice",
            "(s) {\nlog\n}\n(s) {\nerrors\n}\na {\nimport s\n}",
            "a {log}",
            &["4 redeclaration of previously declared snippet s"],
        ),
        (
            "brace at the beginning of a line in a plugin block",
            "a {\nlog {\nx\n{\ny\n}\nz\n}\n}",
            "a {log {x; z}}",
            &["4 Unexpected token '{' at the beginning of a line \
                ('{' must stand at the end of the line whose block it opens)"],
        ),
        (
            "words behind a brace behind words",
            "a {\nlog {\nx } y\n}",
            "a {log {x } y}}",
            &["3 Unexpected '}' in the middle of a line (put '}' on a line of its own)"],
        ),
        (
            "import of nothing",
            "a {\nimport\nlog\n}",
            "a {log}",
            &["2 Wrong argument count or unexpected line ending after 'import'"],
        ),
        (
            "import of two",
            "a {\nimport x y z\nlog\n}",
            "a {log}",
            &["2 Import takes only one argument (glob pattern or file)"],
        ),
        (
            "import of an empty word",
            "a {\nimport {$NOPE}\nlog\n}",
            "a {log}",
            &["2 Import requires a non-empty filepath"],
        ),
        (
            "three faults",
            "a, {\nimport\n}\nb { log }",
            "a {} b {log}",
            &[
                "1 Expected another address but had '{' - check for extra comma",
                "2 Wrong argument count or unexpected line ending after 'import'",
                "4 Unexpected '}' because no matching opening brace (put '}' on a line of its own)",
            ],
        ),
    ];
    for (name, text, tree, faults) in rows {
        let parsed = parse_in(&Memory::new(), text);
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| {
                let (line, message) = fault.split_once(' ').unwrap();
                format!("Corefile:{line} - Error during parsing: {message}")
            })
            .collect();
        assert_eq!(said(&parsed, Severity::Error), faults, "{name}");
        assert_eq!(shown(&parsed), tree, "{name}");
    }
}

#[test]
fn bounds_hold() {
    let deep = |depth: usize| format!("a {{\n{}{}}}\n", "x {\n".repeat(depth), "}\n".repeat(depth));
    assert!(!parse_in(&Memory::new(), &deep(NESTING_MAX)).is_refused());
    for depth in [NESTING_MAX + 1, 200_000] {
        let parsed = parse_in(&Memory::new(), &deep(depth));
        let faults = said(&parsed, Severity::Error);
        assert!(
            faults[0].contains("more than 16 blocks inside each other"),
            "{depth}: {faults:?}"
        );
    }
    let many = format!("a\n{}", "x ".repeat(WORDS_MAX));
    let faults = said(&parse_in(&Memory::new(), &many), Severity::Error);
    assert_eq!(
        faults,
        ["Corefile:2 - Error during parsing: the configuration has more than 1000000 words"]
    );
    let large = parse(
        &Memory::new(),
        Path::new("Corefile"),
        &vec![b'#'; FILE_BYTES_MAX + 1],
    );
    assert_eq!(
        said(&large, Severity::Error),
        ["Could not read Corefile: is larger than 4194304 bytes"]
    );
    let word = format!("a {{\n{}\n}}", "w".repeat(1 << 20));
    assert_eq!(parse_in(&Memory::new(), &word).diagnostics, []);
    let faults = "import\n".repeat(10_000);
    let parsed = parse_in(&Memory::new(), &format!("a {{\n{faults}}}"));
    assert_eq!(parsed.diagnostics.len(), 200);
}

#[test]
fn bytes_that_are_no_utf_8() {
    let read = |bytes: &[u8]| parse(&Memory::new(), Path::new("Corefile"), bytes);
    let in_word = read(b"# \xff\na {\nlog x\xe9y\n}");
    assert_eq!(
        said(&in_word, Severity::Error),
        ["Corefile:3 - Error during parsing: Corefile is not UTF-8 at byte 13"]
    );
    let in_comment = read(b"a { # caf\xe9\nlog\n}");
    assert!(!in_comment.is_refused());
    assert_eq!(
        said(&in_comment, Severity::Warning),
        ["Corefile is not UTF-8 at byte 9 (Corefile:1)"]
    );
}

#[test]
fn canonical_bytes_follow_the_meaning() {
    let canonical = |outside: &Memory, text: &str| parse_in(outside, text).corefile.canonical();
    let world = Memory::new().set("P", "53").file("inc", "log x");
    let base = canonical(
        &world,
        "a:{$P} {\nimport inc\nforward . 1 {\nexpire 1s\n}\n}",
    );
    let rows = [
        (
            "comment and blanks",
            true,
            "# c\na:{$P}   {\n\n\timport inc # d\n\"forward\" . 1 {\nexpire 1s\n}\n}\n",
        ),
        (
            "written out",
            true,
            "a:53 {\nlog x\nforward . 1 {\nexpire 1s\n}\n}",
        ),
        (
            "order",
            false,
            "a:53 {\nforward . 1 {\nexpire 1s\n}\nlog x\n}",
        ),
        (
            "word split",
            false,
            "a:53 {\nlo gx\nforward . 1 {\nexpire 1s\n}\n}",
        ),
        (
            "line split",
            false,
            "a:53 {\nlog\nx\nforward . 1 {\nexpire 1s\n}\n}",
        ),
        (
            "out of the block",
            false,
            "a:53 {\nlog x\nforward . 1 {\n}\nexpire 1s\n}",
        ),
        (
            "empty block",
            false,
            "a:53 {\nlog x { }\nforward . 1 {\nexpire 1s\n}\n}",
        ),
    ];
    for (name, same, text) in rows {
        assert_eq!(canonical(&world, text) == base, same, "{name}");
    }
    let text = "a:{$P} {\nimport inc\nforward . 1 {\nexpire 1s\n}\n}";
    assert_ne!(
        canonical(&world.clone().set("P", "54"), text),
        base,
        "environment"
    );
    assert_ne!(
        canonical(&world.file("inc", "log y"), text),
        base,
        "imported file"
    );
}

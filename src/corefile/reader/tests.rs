//! What readers take and what they say.

use std::path::Path;

use super::super::{Memory, Parsed, parse};
use super::*;

fn parsed(lines: &str) -> Parsed {
    let text = format!(".:53 {{\n{lines}\n}}\n");
    parse(&Memory::new(), Path::new("Corefile"), text.as_bytes())
}

/// What `read` returns for the first directive, and all it says as log lines.
fn read<T>(lines: &str, read: impl FnOnce(Reader<'_>) -> Option<T>) -> (Option<T>, Vec<String>) {
    let parsed = parsed(lines);
    let faults = Faults::new();
    let outcome = read(Reader::new(
        &parsed.corefile.blocks[0].directives[0],
        &faults,
    ));
    let said = faults.into_sorted();
    let said = said
        .iter()
        .map(|fault| fault.one_line(&parsed.sources))
        .collect();
    (outcome, said)
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

/// The words taken, or the word that the fault names.
type Taken = Result<&'static [&'static str], &'static str>;

type Take = fn(Reader<'_>) -> Option<Vec<String>>;

#[test]
fn arguments_are_counted() {
    let none: Take = |reader| reader.none().map(|()| vec![]);
    let one: Take = |reader| reader.one().map(|word| vec![word.text.clone()]);
    let optional: Take = |reader| {
        Some(
            reader
                .optional()?
                .map(|word| word.text.clone())
                .into_iter()
                .collect(),
        )
    };
    let two: Take = |reader| reader.exactly::<2>().map(|words| texts(words));
    let at_most: Take = |reader| reader.at_most(2).map(texts);
    let at_least: Take = |reader| reader.at_least(2).map(texts);
    let rows: &[(&str, Take, &str, Taken)] = &[
        ("none of none", none, "p", Ok(&[])),
        ("none of one", none, "p x", Err("x")),
        ("one of none", one, "p", Err("p")),
        ("one of one", one, "p x", Ok(&["x"])),
        ("one of two", one, "p x y", Err("y")),
        ("optional of none", optional, "p", Ok(&[])),
        ("optional of one", optional, "p x", Ok(&["x"])),
        ("optional of two", optional, "p x y", Err("y")),
        ("two of one", two, "p x", Err("x")),
        ("two of two", two, "p x y", Ok(&["x", "y"])),
        ("two of three", two, "p x y z", Err("z")),
        ("at most two of two", at_most, "p x y", Ok(&["x", "y"])),
        ("at most two of three", at_most, "p x y z", Err("z")),
        ("at least two of one", at_least, "p x", Err("x")),
        (
            "at least two of three",
            at_least,
            "p x y z",
            Ok(&["x", "y", "z"]),
        ),
    ];
    for (name, take, line, expected) in rows {
        let (taken, said) = read(line, take);
        match expected {
            Ok(words) => {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                assert_eq!(taken, Some(words), "{name}");
                assert_eq!(said, [""; 0], "{name}");
            }
            Err(after) => {
                assert_eq!(taken, None, "{name}");
                let expected = format!(
                    "plugin/p: Corefile:2 - Error during parsing: \
                     Wrong argument count or unexpected line ending after '{after}'"
                );
                assert_eq!(said, [expected], "{name}");
            }
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Config {
    flag: bool,
    expire: Option<u32>,
    policy: Option<char>,
    inner: Vec<String>,
}

const POLICIES: &[(&str, char)] = &[("random", 'r'), ("round_robin", 'o')];

const INNER: &[Row<Config>] = &[Row::Line("cert", |config, line| {
    config.inner.push(line.one()?.text.clone());
    Some(())
})];

const ROWS: &[Row<Config>] = &[
    Row::Line("flag", |config, line| {
        config.flag = true;
        line.none()
    }),
    Row::Line("expire", |config, line| {
        config.expire = Some(line.value(line.one()?, str::parse)?);
        Some(())
    }),
    Row::Line("policy", |config, line| {
        config.policy = Some(line.choice(line.one()?, "policy", POLICIES)?);
        Some(())
    }),
    Row::Block("tls", |config, line| line.block(config, INNER)),
    Row::Absent("failover"),
];

/// The directive `p` with these rows: what was set, whether it was sound, and all that was said.
fn table(lines: &str) -> (Config, bool, Vec<String>) {
    let mut config = Config::default();
    let (sound, said) = read(lines, |reader| reader.block(&mut config, ROWS));
    (config, sound.is_some(), said)
}

#[test]
fn a_block_is_read_by_its_table() {
    let (config, sound, said) =
        table("p {\nflag\nexpire 10\npolicy random\ntls {\ncert a.pem\n}\n}");
    let expected = Config {
        flag: true,
        expire: Some(10),
        policy: Some('r'),
        inner: vec!["a.pem".to_owned()],
    };
    assert_eq!((config, sound), (expected, true));
    assert_eq!(said, [""; 0]);
}

#[test]
fn a_missing_and_an_empty_block_are_sound() {
    for lines in ["p", "p { }", "p {\n}"] {
        assert_eq!(table(lines), (Config::default(), true, vec![]), "{lines}");
    }
}

#[test]
fn faults_of_a_block_are_all_told() {
    let rows: &[(&str, &str, &str)] = &[
        ("unknown", "foo", "unknown property 'foo'"),
        (
            "unknown, near",
            "expier 1",
            "unknown property 'expier' (did you mean 'expire'?)",
        ),
        (
            "not built",
            "failover NXDOMAIN",
            "'failover' is known but not supported yet",
        ),
        (
            "argument too many",
            "flag x",
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "argument missing",
            "expire",
            "Wrong argument count or unexpected line ending after 'expire'",
        ),
        ("bad value", "expire soon", "invalid digit found in string"),
        (
            "bad choice",
            "policy best",
            "unknown policy 'best' (one of: random, round_robin)",
        ),
        (
            "near choice",
            "policy randum",
            "unknown policy 'randum' (did you mean 'random'?)",
        ),
        (
            "block on a line",
            "flag {\n}",
            "Unexpected token '{', expecting argument ('flag' takes no block)",
        ),
        (
            "unknown in an inner block",
            "tls {\nkey x\n}",
            "unknown property 'key'",
        ),
    ];
    for (name, line, message) in rows {
        let (config, sound, said) = table(&format!("p {{\nexpire 1\n{line}\npolicy random\n}}"));
        assert!(!sound, "{name}");
        assert_eq!(
            config.policy,
            Some('r'),
            "{name}: the line after it is read"
        );
        assert_eq!(said.len(), 1, "{name}: {said:?}");
        let line = 4 + u32::from(name.contains("inner"));
        let expected = format!("plugin/p: Corefile:{line} - Error during parsing: {message}");
        assert_eq!(said[0], expected, "{name}");
    }
}

#[test]
fn a_brace_behind_words_is_an_argument_as_in_coredns() {
    let (_, sound, said) = table("p { flag }");
    assert!(!sound);
    assert_eq!(
        said,
        [
            "plugin/p: Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '}' \
          (put '}' on a line of its own)"
        ]
    );
}

#[test]
fn a_plugin_refuses_a_block_or_a_second_occurrence() {
    let (taken, said) = read("p {\nx\n}", |reader| reader.no_block());
    assert_eq!(taken, None);
    assert_eq!(
        said,
        [
            "plugin/p: Corefile:2 - Error during parsing: Unexpected token '{', expecting argument \
          ('p' takes no block)"
        ]
    );
    let parsed = parsed("p\nq\np");
    let faults = Faults::new();
    let occurrences: Vec<_> = parsed.corefile.blocks[0].occurrences("p").collect();
    assert!(once(&occurrences, &faults).is_none());
    assert!(once(&occurrences[..1], &faults).is_some());
    let said = faults.into_sorted();
    let said: Vec<_> = said
        .iter()
        .map(|fault| fault.one_line(&parsed.sources))
        .collect();
    assert_eq!(
        said,
        [
            "plugin/p: Corefile:4 - Error during parsing: this plugin can only be used once per Server Block"
        ]
    );
}

#[test]
fn lines_that_are_no_properties_are_read_whole() {
    let (lines, said) = read("hosts {\n192.0.2.1 a b\nflag\n}", |reader| {
        let mut config = Config::default();
        let mut entries = Vec::new();
        for line in reader.lines() {
            match line.name().text.as_str() {
                "flag" => line.property(&mut config, ROWS)?,
                _ => entries.push(texts(line.args())),
            }
        }
        Some((config.flag, entries))
    });
    assert_eq!(
        lines,
        Some((true, vec![vec!["a".to_owned(), "b".to_owned()]]))
    );
    assert_eq!(said, [""; 0]);
}

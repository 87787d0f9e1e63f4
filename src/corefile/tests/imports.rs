//! Snippets, files and globs in every place that CoreDNS allows them.

use super::*;

fn world() -> Memory {
    Memory::new()
        .set("DIR", "custom")
        .file("inc", "log\n")
        .file("empty", "")
        .file("comment", "# nothing\n")
        .file("custom/a.override", "log a")
        .file("custom/b.override", "log b\n")
        .file("custom/nested", "import a.override\nimport ../inc\n")
        .file("blocks/x.server", "x {\nlog\n}\n")
        .file("blocks/y.server", "y {\nerrors\n}")
        .file("props", "class x\nformat y")
        .file("closing", "class x\n}\nerrors\n")
        .file(
            "snippets",
            "(shared) {\nlog shared\nimport custom/a.override\n}\n",
        )
        .file("self", "import self\n")
        .file("ping", "import pong")
        .file("pong", "import ping")
}

#[test]
fn imports_put_text_in_their_place() {
    let rows = [
        ("file", "a {\nimport inc\nerrors\n}", "a {log; errors}"),
        (
            "file without newline",
            "a {\nimport custom/a.override\nerrors\n}",
            "a {log a; errors}",
        ),
        (
            "glob, sorted",
            "a {\nimport custom/*.override\n}",
            "a {log a; log b}",
        ),
        (
            "glob of one",
            "a {\nimport custom/?.override\n}",
            "a {log a; log b}",
        ),
        ("quoted", "a {\nimport \"inc\"\n}", "a {log}"),
        (
            "environment",
            "a {\nimport {$DIR}/a.override\n}",
            "a {log a}",
        ),
        (
            "relative to the importing file",
            "a {\nimport custom/nested\n}",
            "a {log a; log}",
        ),
        (
            "empty files",
            "import empty\na {\nimport empty\nimport comment\n}\nimport comment",
            "a {}",
        ),
        (
            "blocks at top level",
            "import blocks/*.server\na {\n}",
            "x {log} y {errors} a {}",
        ),
        (
            "blocks behind others",
            "a {\n}\nimport blocks/x.server",
            "a {} x {log}",
        ),
        ("without braces", "a\nimport inc", "a {log}"),
        (
            "in a plugin's block",
            "a {\nlog {\nimport props\n}\n}",
            "a {log {class x; format y}}",
        ),
        (
            "closes the plugin's block",
            "a {\nlog {\nimport closing\n}",
            "a {log {class x}; errors}",
        ),
        (
            "the word import as an argument",
            "a {\nlog import inc\n}",
            "a {log import inc}",
        ),
        (
            "snippet",
            "(s) {\nlog\n}\na {\nimport s\nerrors\n}",
            "a {log; errors}",
        ),
        (
            "snippet used twice",
            "(s) {\nlog\n}\na {\nimport s\nimport s\n}",
            "a {log; log}",
        ),
        (
            "empty snippet",
            "(s) {\n}\na {\nimport s\nlog\n}",
            "a {log}",
        ),
        (
            "snippet on one line",
            "(s) { log }\na {\nimport s\n}",
            "a {log}",
        ),
        (
            "snippet in a snippet",
            "(s) {\nlog\n}\n(t) {\nimport s\nerrors\n}\na {\nimport t\n}",
            "a {log; errors}",
        ),
        (
            "snippet of a later snippet",
            "(t) {\nimport s\nerrors\n}\n(s) {\nlog\n}\na {\nimport t\n}",
            "a {log; errors}",
        ),
        (
            "snippet with a plugin's block",
            "(s) {\nlog {\nclass x\n}\n}\na {\nimport s\n}",
            "a {log {class x}}",
        ),
        (
            "snippet in a plugin's block",
            "(s) {\nclass x\n}\na {\nlog {\nimport s\n}\n}",
            "a {log {class x}}",
        ),
        (
            "snippet of whole blocks",
            "(s) {\nb {\nlog\n}\n}\nimport s\n",
            "b {log}",
        ),
        (
            "snippet before file",
            "(inc) {\nerrors\n}\na {\nimport inc\n}",
            "a {errors}",
        ),
        (
            "snippet of a file",
            "import snippets\na {\nimport shared\n}",
            "a {log shared; log a}",
        ),
    ];
    for (name, text, expected) in rows {
        let parsed = parse_in(&world(), text);
        let faults = said(&parsed, Severity::Error);
        assert_eq!(faults, [""; 0], "{name}");
        assert_eq!(shown(&parsed), expected, "{name}");
    }
}

#[test]
fn a_missing_file_is_refused_and_an_empty_glob_doubted() {
    let rows = [
        (
            "file",
            Severity::Error,
            "import nope",
            "File to import not found: nope",
        ),
        (
            "near a snippet",
            Severity::Error,
            "import commn",
            "File to import not found: commn (did you mean 'common'?)",
        ),
        (
            "directory",
            Severity::Error,
            "import custom",
            "Could not import custom: is a directory",
        ),
        (
            "glob of a directory",
            Severity::Error,
            "import cust*",
            "Could not import custom: is a directory",
        ),
        (
            "two stars",
            Severity::Error,
            "import a*b*c",
            "Glob pattern may only contain one wildcard (*), but has others: a*b*c",
        ),
        (
            "class",
            Severity::Error,
            "import [a-z]",
            "Glob pattern may only contain one wildcard (*), but has others: [a-z]",
        ),
        (
            "open class",
            Severity::Error,
            "import [a",
            "Failed to use import pattern: syntax error in pattern: [a",
        ),
        (
            "glob",
            Severity::Warning,
            "import nope/*.x",
            "No files matching import glob pattern: nope/*.x",
        ),
        (
            "bracket",
            Severity::Warning,
            "import a]",
            "No files matching import glob pattern: a]",
        ),
    ];
    for (name, severity, line, message) in rows {
        let parsed = parse_in(&world(), &format!("(common) {{\n}}\na {{\n{line}\nlog\n}}"));
        assert_eq!(shown(&parsed), "a {log}", "{name}");
        let (message, hint) = message
            .split_once(" (did")
            .map_or((message, String::new()), |(message, hint)| {
                (message, format!(" (did{hint}"))
            });
        let expected = match severity {
            Severity::Error => format!("Corefile:4 - Error during parsing: {message}{hint}"),
            Severity::Warning => format!("{message} (Corefile:4)"),
        };
        assert_eq!(said(&parsed, severity), [expected], "{name}");
        assert_eq!(parsed.diagnostics.len(), 1, "{name}");
    }
}

#[test]
fn endless_imports_are_refused() {
    let snippets = "maximum snippet import depth (10000) exceeded";
    let files = "maximum file import depth (100000) exceeded";
    let rows = [
        (
            "snippet of itself",
            "(s) {\nimport s\n}\na {\nimport s\n}",
            snippets,
        ),
        (
            "snippet of itself, unused",
            "(s) {\nlog\nimport s\n}\na {\n}",
            snippets,
        ),
        (
            "two snippets",
            "(s) {\nimport t\n}\n(t) {\nimport s\n}\na {\nimport s\n}",
            snippets,
        ),
        ("the Corefile", "a {\nimport Corefile\n}", files),
        ("a file of itself", "a {\nimport self\n}", files),
        ("two files", "import ping", files),
    ];
    for (name, text, message) in rows {
        let world = world().file("Corefile", text);
        let faults = said(&parse_in(&world, text), Severity::Error);
        assert_eq!(faults.len(), 1, "{name}: {faults:?}");
        assert!(faults[0].contains(message), "{name}: {faults:?}");
        assert!(faults[0].contains("imports itself"), "{name}: {faults:?}");
    }
}

#[test]
fn expansions_are_capped() {
    // Each snippet uses the one before it ten times: four of them are 11,110 expansions.
    let mut text = "(s0) {\nlog\n}\n".to_owned();
    for level in 1..=4 {
        let uses = format!("import s{}\n", level - 1).repeat(10);
        text.push_str(&format!("(s{level}) {{\n{uses}}}\n"));
    }
    let below = parse_in(&Memory::new(), &format!("{text}a {{\nimport s3\n}}"));
    assert_eq!(below.diagnostics, []);
    assert_eq!(below.corefile.blocks[0].directives.len(), 1_000);
    let above = parse_in(
        &Memory::new(),
        &format!("{text}a {{\nimport s4\nimport s4\n}}"),
    );
    let faults = said(&above, Severity::Error);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("maximum snippet import depth (10000) exceeded"),
        "{faults:?}"
    );
}

#[test]
fn a_chain_of_files_is_capped() {
    let links = (0..=IMPORT_DEPTH_MAX + 1).map(|link| (link, format!("import f{}", link + 1)));
    let world = links.fold(Memory::new(), |world, (link, text)| {
        world.file(format!("f{link}"), text)
    });
    let faults = said(&parse_in(&world, "import f0"), Severity::Error);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("more than 1000 imports inside each other"),
        "{faults:?}"
    );
}

#[test]
fn faults_of_an_imported_file_name_it_and_its_importer() {
    let world = Memory::new().file("/etc/coredns/custom/a.override", "log\nimport nope\n");
    let text = b".:53 {\n  import custom/*.override\n}\n";
    let parsed = parse(&world, Path::new("/etc/coredns/Corefile"), text);
    let rendered: Vec<_> = parsed
        .diagnostics
        .iter()
        .map(|fault| fault.render(&parsed.sources))
        .collect();
    assert_eq!(
        rendered,
        [
            "/etc/coredns/custom/a.override:2:8: error: file to import not found: nope\n  \
          import nope\n         ^^^^\nimported at /etc/coredns/Corefile:2\n"
        ]
    );
    let paths: Vec<_> = parsed.sources.paths().map(Path::to_path_buf).collect();
    assert_eq!(
        paths,
        [
            Path::new("/etc/coredns/Corefile"),
            Path::new("/etc/coredns/custom/a.override")
        ]
    );
    let patterns: Vec<_> = parsed.sources.patterns().map(Path::to_path_buf).collect();
    assert_eq!(
        patterns,
        [
            Path::new("/etc/coredns/custom/*.override"),
            Path::new("/etc/coredns/custom/nope")
        ]
    );
}

#[test]
fn locations() {
    let world = Memory::new()
        .file("Corefile", "a")
        .file("/x", "b")
        .file("stdin", "c");
    let rows = [
        (None, Ok("a {}")),
        (Some(""), Ok("a {}")),
        (Some("/x"), Ok("b {}")),
        (Some("stdin"), Ok("c {}")),
        (Some("nope"), Err("Could not read nope: no such file")),
    ];
    for (flag, expected) in rows {
        let parsed = load(&world, &Location::from_flag(flag));
        match expected {
            Ok(tree) => assert_eq!(shown(&parsed), tree, "{flag:?}"),
            Err(message) => assert_eq!(said(&parsed, Severity::Error), [message], "{flag:?}"),
        }
    }
    let none = load(&Memory::new(), &Location::Default);
    assert_eq!((shown(&none).as_str(), none.is_refused()), ("", false));
}

//! Verdicts of CoreDNS 1.13.1 on texts whose fault, if any, is one of syntax.

use std::collections::BTreeMap;

use super::*;

/// One recorded start of CoreDNS.
#[derive(serde::Deserialize)]
struct Row {
    name: String,
    files: BTreeMap<String, String>,
    accepted: bool,
    says: Vec<String>,
}

/// The fault in our words where it is not the same sentence.
const SAME_FAULT: &[(&str, &str)] = &[
    (
        "missing close",
        "Unexpected end of file after 'whoami', expecting '}'",
    ),
    ("unterminated quote", "expecting '}'"),
    ("import self", "the file 'Corefile' imports itself"),
];

#[test]
fn verdicts_are_those_of_coredns() {
    let rows = include_str!("verdicts.jsonl").lines();
    let rows: Vec<Row> = rows.map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), 34);
    for row in rows {
        let world = Memory::new()
            .set("LAB_P", "15500")
            .set("LAB_TWO", "127.0.0.1 127.0.0.2")
            .set("LAB_W", "whoami");
        let world = row
            .files
            .iter()
            .fold(world, |world, (path, text)| world.file(path, text.as_str()));
        let parsed = load(&world, &Location::Default);
        let faults = said(&parsed, Severity::Error);
        assert_eq!(
            parsed.is_refused(),
            !row.accepted,
            "{}: {faults:?}",
            row.name
        );
        let Some(fault) = faults.first() else {
            continue;
        };
        let ours = SAME_FAULT.iter().find(|(name, _)| *name == row.name);
        let theirs = row.says[0]
            .rsplit(" - Error during parsing: ")
            .next()
            .unwrap();
        let expected = ours.map_or(theirs, |(_, message)| *message);
        assert!(
            fault.contains(expected),
            "{}: {fault} does not say: {expected}",
            row.name
        );
    }
}

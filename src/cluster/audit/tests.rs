use super::*;
use crate::cluster::index::Now;
use crate::cluster::object::{Event, Metadata};

const SERVICES: Resource = Resource::Services;
const SETTLE: Duration = Duration::from_secs(150);

fn metadata(name: &str, version: &str) -> Metadata {
    Metadata {
        namespace: "demo".into(),
        name: name.into(),
        resource_version: version.into(),
        ..Metadata::default()
    }
}

fn object(name: &str, version: &str) -> Object {
    Object::bare(SERVICES, metadata(name, version))
}

fn named(name: &str, version: &str) -> Named {
    Named {
        namespace: "demo".into(),
        name: name.into(),
        version: version.into(),
    }
}

/// What is known: a comma between objects, an `@` before the version.
fn objects(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = text.split_whitespace();
    words.map(|word| word.split_once('@').expect("a name and a version"))
}

fn tell(index: &mut Index, text: &str) {
    for (name, version) in objects(text) {
        let event = match name.strip_prefix('-') {
            Some(gone) => Event::Deleted(object(gone, version)),
            None => Event::Applied(object(name, version)),
        };
        let now = Now {
            unix: 0,
            running: Duration::ZERO,
        };
        index.apply(event, now);
    }
}

/// What to do, in words; of what is fetched the names.
fn words(next: Next) -> String {
    match next {
        Next::Wait => "wait".to_owned(),
        Next::Same => "same".to_owned(),
        Next::Mend { extra, fetch } => {
            let names = fetch.iter().map(|named| &*named.name);
            let names: Vec<&str> = names.collect();
            format!("remove {}, fetch {}", extra.len(), names.join(" "))
        }
        Next::List(Repairs {
            missing,
            changed,
            extra,
        }) => format!("list: {missing} missing, {changed} changed, {extra} extra"),
    }
}

/// How far the watch had come when the audit was ordered.
const HEARD: &str = "45";

/// An audit that begins.
fn ordered(index: &mut Index, now: Instant) -> Audit {
    Audit::new(SERVICES, index, Version::of(HEARD), now)
}

/// An audit of what is known.
struct Row {
    fact: &'static str,
    known: &'static str,
    /// As the server names it, at version 50.
    named: &'static str,
    /// What the watch tells before it settles.
    told: &'static str,
    reached: &'static str,
    /// In seconds after the names were complete.
    at: u64,
    next: &'static str,
}

const PLAIN: Row = Row {
    fact: "",
    known: "a@10 b@20",
    named: "a@10 b@20",
    told: "",
    reached: "60",
    at: 0,
    next: "complete",
};

#[test]
fn only_what_the_watch_can_no_longer_tell_is_mended() {
    let many: String = (0..21).map(|n| format!("x{n}@30 ")).collect();
    let many: &'static str = many.leak();
    for Row {
        fact,
        known,
        named: listed,
        told,
        reached,
        at,
        next,
    } in [
        Row {
            fact: "nothing differs",
            ..PLAIN
        },
        Row {
            fact: "the watch is ahead of the list",
            known: "a@55 b@20 c@60",
            named: "a@10 b@20",
            ..PLAIN
        },
        Row {
            fact: "an object that is made anew after the list",
            known: "a@10 b@20 c@51",
            ..PLAIN
        },
        Row {
            fact: "an object that was told in a newer version before",
            known: "a@45 b@20",
            next: "remove 0, fetch a",
            ..PLAIN
        },
        Row {
            fact: "one that was told in a newer version meanwhile",
            known: "a@46 b@20",
            ..PLAIN
        },
        Row {
            fact: "one is missing",
            named: "a@10 b@20 c@30",
            next: "remove 0, fetch c",
            ..PLAIN
        },
        Row {
            fact: "one is older",
            named: "a@10 b@30",
            next: "remove 0, fetch b",
            ..PLAIN
        },
        Row {
            fact: "one is gone",
            named: "a@10",
            next: "remove 1, fetch ",
            ..PLAIN
        },
        Row {
            fact: "the watch has not come as far",
            named: "a@10 b@30",
            reached: "49",
            at: 149,
            next: "wait",
            ..PLAIN
        },
        Row {
            fact: "the watch does not come as far",
            named: "a@10 b@30",
            reached: "49",
            at: 150,
            next: "list: 0 missing, 1 changed, 0 extra",
            ..PLAIN
        },
        Row {
            fact: "the watch does not come as far, but has told it",
            named: "a@10 b@30",
            told: "b@30",
            reached: "49",
            at: 150,
            next: "same",
            ..PLAIN
        },
        Row {
            fact: "the watch tells what was missing",
            named: "a@10 b@20 c@30",
            told: "c@30",
            next: "same",
            ..PLAIN
        },
        Row {
            fact: "the watch tells what was gone, and something else is missing",
            named: "a@10 c@30",
            told: "-b@40",
            next: "remove 0, fetch c",
            ..PLAIN
        },
        Row {
            fact: "one was replaced by the watch and is no more what was met",
            named: "a@10",
            told: "b@58",
            next: "same",
            ..PLAIN
        },
        Row {
            fact: "many are missing",
            known: "",
            named: many,
            next: "list: 21 missing, 0 changed, 0 extra",
            ..PLAIN
        },
        Row {
            fact: "versions that are no numbers and differ",
            known: "a@x b@y",
            named: "a@x b@z",
            reached: "q",
            at: 150,
            next: "list: 0 missing, 1 changed, 0 extra",
            ..PLAIN
        },
    ] {
        let (start, mut index) = (Instant::now(), Index::default());
        tell(&mut index, known);
        let mut audit = ordered(&mut index, start);
        let page = objects(listed).map(|(name, version)| named(name, version));
        audit.page(&mut index, page.collect());
        if audit.complete(&index, Version::of("50"), start + SETTLE) {
            assert_eq!("complete", next, "{fact}");
            continue;
        }
        tell(&mut index, told);
        let now = start + Duration::from_secs(at);
        assert_eq!(words(audit.settle(&index, reached, now)), next, "{fact}");
    }
}

#[test]
fn an_object_that_was_fetched_mends_what_was_met_and_nothing_else() {
    for (fact, told, fetched, kind) in [
        ("as it was named", "", "c@30", Some(Kind::Missing)),
        ("changed since", "", "c@70", None),
        ("told since", "c@30", "c@30", None),
        ("another", "", "d@30", None),
    ] {
        let (now, mut index) = (Instant::now(), Index::default());
        let mut audit = ordered(&mut index, now);
        audit.page(&mut index, [named("c", "30")].into());
        assert!(!audit.complete(&index, Version::of("50"), now + SETTLE));
        assert_eq!(words(audit.settle(&index, "50", now)), "remove 0, fetch c");
        tell(&mut index, told);
        let (name, version) = objects(fetched).next().unwrap();
        let asked = named(name, "30");
        let mends = audit.mends(&index, &asked, &object(name, version));
        assert_eq!(mends, kind, "{fact}");
    }
}

#[test]
fn an_answer_that_does_not_come_is_given_up_and_a_watch_is_waited_for() {
    let (now, mut index) = (Instant::now(), Index::default());
    let mut audit = ordered(&mut index, now);
    assert!(!audit.is_lost(now) && audit.is_lost(now + ANSWERED_WITHIN));
    audit.page(&mut index, [named("c", "30")].into());
    audit.complete(&index, Version::of("50"), now + SETTLE);
    assert!(!audit.is_lost(now + ANSWERED_WITHIN));
    assert_eq!(audit.due(), now + SETTLE);
}

#[test]
fn what_is_beyond_the_bound_is_mended_by_a_list() {
    let (now, mut index) = (Instant::now(), Index::default());
    let mut audit = ordered(&mut index, now);
    let names = (0..=DIFFERENCES_MAX).map(|n| named(&format!("x{n}"), "30"));
    audit.page(&mut index, names.collect());
    audit.complete(&index, Version::of("50"), now + SETTLE);
    let expected = format!("list: {DIFFERENCES_MAX} missing, 0 changed, 0 extra");
    assert_eq!(words(audit.settle(&index, "50", now)), expected);
}

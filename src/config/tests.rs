//! Corefiles, and what will run or is wrong with them. Verdicts of CoreDNS itself are held by the integration tests.

use super::*;
use crate::corefile::Memory;
use crate::testing::Random;

fn load_text(text: &str) -> Loaded {
    let world = Memory::new().file("Corefile", text);
    load(&world, &Location::Default, 53)
}

fn faults(text: &str) -> Vec<String> {
    let loaded = load_text(text);
    assert_eq!(
        loaded.config.is_none(),
        !loaded.diagnostics.is_empty(),
        "{text}"
    );
    loaded
        .diagnostics
        .iter()
        .map(|fault| fault.message.clone())
        .collect()
}

fn served(text: &str) -> Vec<String> {
    let loaded = load_text(text);
    let config = loaded
        .config
        .unwrap_or_else(|| panic!("{text}: {:?}", loaded.diagnostics));
    let addresses = config.blocks.iter().flat_map(Block::addresses);
    addresses
        .map(|(key, address)| format!("{} {address}", key.zone))
        .collect()
}

#[test]
fn keys_say_which_zones_are_served_where() {
    for (text, expected) in [
        ("", "[\". dns://:53\"]"),
        ("# nothing\n", "[\". dns://:53\"]"),
        (".:1053 {\n whoami\n}", "[\". dns://:1053\"]"),
        ("dns://A.Test {\n whoami\n}", "[\"a.test. dns://:53\"]"),
        (
            "a.test:1 b.test:2 {\n whoami\n}",
            "[\"a.test. dns://:1\", \"b.test. dns://:2\"]",
        ),
        (
            "10.0.0.0/24:1 {\n whoami\n}",
            "[\"0.0.10.in-addr.arpa. dns://:1\"]",
        ),
        (
            ". {\n bind 127.0.0.1 ::1\n whoami\n}",
            "[\". dns://127.0.0.1:53\", \". dns://[::1]:53\"]",
        ),
        (
            "a.test {\n bind 127.0.0.1\n}\na.test {\n bind 127.0.0.2\n}",
            "[\"a.test. dns://127.0.0.1:53\", \"a.test. dns://127.0.0.2:53\"]",
        ),
    ] {
        assert_eq!(format!("{:?}", served(text)), expected, "{text}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = "a.test {\n whomai\n reload 1s\n}\na.test {\n rewrite x\n forward .\n}\ntls://b.test {\n}\nc.test:99999 {\n}";
    let got = faults(text);
    for expected in [
        "Unknown directive 'whomai'",
        "interval value must be greater or equal to 2s",
        "cannot serve dns://a.test.:53 - it is already defined",
        "directive 'rewrite' is known but not supported yet",
        "Wrong argument count or unexpected line ending after '.'",
        "tls:// is known but not supported yet",
        "address 99999: invalid port",
    ] {
        assert!(
            got.iter().any(|fault| fault == expected),
            "{expected}: {got:?}"
        );
    }
    assert_eq!(got.len(), 7, "{got:?}");
}

#[test]
fn a_zone_is_on_named_addresses_or_on_all() {
    let overlap = "cannot serve dns://a.test.:53 on 127.0.0.1 - zone overlap listener capacity with dns://a.test.:53";
    let other = "cannot serve dns://a.test.:53 - zone overlap listener capacity with dns://a.test.:53 on 127.0.0.1";
    for (text, expected) in [
        ("a.test {\n}\na.test {\n bind 127.0.0.1\n}", overlap),
        ("a.test {\n bind 127.0.0.1\n}\na.test {\n}", other),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn a_cluster_has_one_snapshot_and_a_snapshot_is_of_one_cluster() {
    let stanza =
        |port: u16, lines: &str| format!("a.test:{port} {{\n kubernetes {{\n{lines}\n}}\n}}\n");
    let one = "endpoint http://192.0.2.1";
    let pair = |first: &str, second: &str| {
        stanza(1, &format!("{one}\n{first}")) + &stanza(2, &format!("{one}\n{second}"))
    };
    for (fact, text, expected) in [
        ("one", stanza(1, &format!("{one}\nsnapshot /a")), None),
        (
            "with an age",
            stanza(1, &format!("{one}\nsnapshot /a max_age 1h")),
            None,
        ),
        ("the same twice", pair("snapshot /a", "snapshot /a"), None),
        ("one of two", pair("snapshot /a", "ttl 30"), None),
        (
            "two clusters",
            pair("snapshot /a", "labels a=b\nsnapshot /b"),
            None,
        ),
        (
            "two files of a cluster",
            pair("snapshot /a", "snapshot /b"),
            Some("another stanza of the same cluster has another snapshot"),
        ),
        (
            "two ages of a file",
            pair("snapshot /a", "snapshot /a max_age 1h"),
            Some("another stanza of the same cluster has another snapshot"),
        ),
        (
            "two clusters in a file",
            pair("snapshot /a", "labels a=b\nsnapshot /a"),
            Some("'/a' is the snapshot of another cluster already"),
        ),
        (
            "of manifests",
            stanza(1, "manifests x.yaml\nsnapshot /a"),
            Some("manifests and snapshot cannot both be set"),
        ),
        (
            "twice in a stanza",
            stanza(1, &format!("{one}\nsnapshot /a\nsnapshot /a")),
            Some("snapshot can only be set once"),
        ),
        (
            "no path",
            stanza(1, &format!("{one}\nsnapshot")),
            Some("Wrong argument count or unexpected line ending after 'snapshot'"),
        ),
        (
            "another word",
            stanza(1, &format!("{one}\nsnapshot /a maxage 1h")),
            Some("unknown option of snapshot 'maxage'"),
        ),
        (
            "no age",
            stanza(1, &format!("{one}\nsnapshot /a max_age")),
            Some("Wrong argument count or unexpected line ending after 'max_age'"),
        ),
        (
            "a bad age",
            stanza(1, &format!("{one}\nsnapshot /a max_age 1d")),
            Some("time: unknown unit \"d\" in duration \"1d\""),
        ),
        (
            "no time at all",
            stanza(1, &format!("{one}\nsnapshot /a max_age 0s")),
            Some("max_age must be at least 1s: 0s"),
        ),
    ] {
        assert_eq!(faults(&text), Vec::from_iter(expected), "{fact}");
    }
}

/// What is set up in the first block.
fn names(config: &Config) -> Vec<&'static str> {
    config.blocks[0]
        .settings
        .iter()
        .map(Setting::name)
        .collect()
}

#[test]
fn directives_are_set_up_in_the_order_of_coredns_whatever_is_written() {
    let loaded = load_text(". {\n whoami\n cache\n errors\n loadbalance\n reload\n}");
    let config = loaded.config.unwrap();
    assert_eq!(
        names(&config),
        ["reload", "errors", "loadbalance", "cache", "whoami"]
    );
}

#[test]
fn the_hash_is_of_words_and_not_of_their_dress() {
    let hash = |text: &str| load_text(text).config.unwrap().sha512;
    let plain = hash(". {\n whoami\n}");
    assert_eq!(plain.len(), 128);
    assert_eq!(hash("# c\n.   {\n\twhoami # d\n\n}\n"), plain);
    assert_ne!(hash(". {\n whoami\n errors\n}"), plain);
}

#[test]
fn the_built_in_configuration_takes_the_port_of_the_flag() {
    let loaded = load(&Memory::new(), &Location::Default, 1053);
    let config = loaded.config.unwrap();
    assert_eq!(names(&config), ["log", "whoami"]);
    assert_eq!(config.blocks[0].keys[0].port, 1053);
}

#[test]
fn a_fault_in_a_word_whose_variable_is_not_set_says_so() {
    let world = Memory::new().set("SET", "dns://");
    let hint = |word: &str| {
        let text = format!(". {{\n forward . {word}\n}}");
        let world = world.clone().file("Corefile", text);
        let loaded = load(&world, &Location::Default, 53);
        assert!(loaded.config.is_none(), "{word}");
        loaded.diagnostics.into_iter().next().unwrap().hint
    };
    for (word, expected) in [
        ("{$NOPE}", Some("NOPE is not set in the environment")),
        ("dns://{%NOPE%}", Some("NOPE is not set in the environment")),
        ("{$SET}", None),
        ("dns://", None),
    ] {
        assert_eq!(hint(word).as_deref(), expected, "{word}");
    }
}

#[test]
fn a_corefile_that_says_nothing_is_warned_of() {
    for (fact, text, expected) in [
        ("empty", "", 1),
        ("a comment", "# later\n", 1),
        ("a block", ". {\n whoami\n}", 0),
    ] {
        let loaded = load_text(text);
        assert!(loaded.config.is_some(), "{fact}");
        let warnings = loaded.diagnostics.iter().filter(|told| !told.is_error());
        assert_eq!(warnings.count(), expected, "{fact}");
    }
}

#[test]
fn a_corefile_is_the_same_whatever_became_of_the_files_that_it_names() {
    let text = ". {\n forward . resolv.conf\n}";
    let world = Memory::new().file("Corefile", text);
    let with = |content: &str| {
        let world = world.clone().file("resolv.conf", content);
        load(&world, &Location::Default, 53)
    };
    let good = with("nameserver 192.0.2.1");
    let empty = with("");
    assert!(good.config.is_some() && empty.config.is_none());
    assert!(good.sha512.is_some());
    assert_eq!(good.sha512, empty.sha512);
    let faulty = Memory::new().file("Corefile", ". {\n forward . 192.0.2.1");
    assert_eq!(load(&faulty, &Location::Default, 53).sha512, None);
}

/// Lines of a sound Corefile put together anew: every plugin's parser meets words that are not for it.
#[test]
fn a_thousand_scrambled_corefiles_are_refused_or_served_without_a_panic() {
    let lines = [
        ".:53 {",
        "a.test b.test:1 {",
        "}",
        "errors",
        "errors {",
        "consolidate 5m \".*\" warning",
        "health {",
        "lameduck 5s",
        "lameduck",
        "ready :8181",
        "ready x y",
        "kubernetes cluster.local in-addr.arpa {",
        "endpoint http://127.0.0.1:1",
        "pods verified",
        "pods",
        "ttl 30",
        "ttl x",
        "namespaces a b",
        "labels app in (a",
        "fallthrough in-addr.arpa",
        "manifests /nowhere",
        "prometheus :9153",
        "forward . 127.0.0.1 {",
        "forward . nope:x",
        "max_concurrent 1000",
        "max_fails -1",
        "policy best",
        "except a.test",
        "cache 30 {",
        "cache -1",
        "success 1 2 3 4 5",
        "disable success cluster.local",
        "prefetch 1 1m 20%",
        "loop",
        "loop x",
        "reload 2s 1s",
        "reload soon",
        "loadbalance round_robin",
        "bind 127.0.0.1",
        "bind nosuch",
        "log . \"{name}\" {",
        "class error",
        "log {",
        "bufsize 99999999999",
        "debug",
        "whoami",
        "import x",
        "(s) {",
        "import s",
        "rewrite name a b",
        "{",
        "\"",
    ];
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut refused = 0;
    for _ in 0..1000 {
        let mut text = String::from(".:53 {\n");
        for _ in 0..12 {
            text.push_str(random.one(&lines));
            text.push('\n');
        }
        let loaded = load_text(&text);
        refused += usize::from(loaded.config.is_none());
        let errors = loaded.diagnostics.iter().filter(|fault| fault.is_error());
        assert_eq!(loaded.config.is_none(), errors.count() > 0, "{text}");
        for fault in &loaded.diagnostics {
            assert!(!fault.render(&loaded.sources).is_empty(), "{text}");
        }
    }
    assert!(refused > 900, "{refused} of 1000 are refused");
}

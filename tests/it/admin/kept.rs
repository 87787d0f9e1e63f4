//! What `cache show` and `cache flush` do to what is kept.

use serde_json::{Value, json};

use super::{asked, serving, steps, upstream};

#[test]
fn what_is_kept_is_shown_and_forgotten_and_then_asked_for_anew() {
    let upstream = upstream();
    let (server, _folder, _) = serving(upstream.address());
    let ask = |name: &str| assert_eq!(server.ask(name).unwrap(), "NOERROR 192.0.2.1", "{name}");
    let entries = |name: &str| {
        let shown = asked(&server, &format!("cache show {name}"));
        shown["caches"][0]["entries"].as_array().unwrap().clone()
    };
    let explained = || steps(&asked(&server, "explain www.example.com"));
    assert_eq!(entries("www.example.com"), Vec::<Value>::new());
    let missed = explained();
    for expected in [
        "cache looks: nothing kept",
        "forward looks: asks 127.0.0.1:",
        "over udp: NOERROR, after",
        "cache shapes: keeps NOERROR for 3600 s",
    ] {
        assert!(missed.contains(expected), "{expected}:\n{missed}");
    }
    let before = upstream.asked();
    ask("www.example.com.");
    ask("mail.example.com.");
    ask("www.example.org.");
    assert_eq!(upstream.asked(), before + 2, "what was explained is kept");
    let hit = explained();
    assert!(
        hit.contains("for 3600 s, 3") && hit.contains("s left: NOERROR"),
        "{hit}"
    );

    let kept = entries("www.Example.com");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        (&kept[0]["rcode"], &kept[0]["ttl"], &kept[0]["flags"]),
        (&json!("NOERROR"), &json!(3600), &json!("rd"))
    );
    assert_eq!(kept[0]["records"][0]["data"], "192.0.2.1");

    for (flush, removed, asked_anew) in [
        ("www.example.com", 1, &["www.example.com."][..]),
        ("nothing.example.com", 0, &[]),
        (
            "--zone example.com",
            2,
            &["www.example.com.", "mail.example.com."],
        ),
        (
            "--all",
            3,
            &["www.example.com.", "mail.example.com.", "www.example.org."],
        ),
    ] {
        let flushed = asked(&server, &format!("cache flush {flush}"));
        // What the server was asked while it started is kept too.
        let expected = if flush == "--all" {
            removed + 1
        } else {
            removed
        };
        assert_eq!(
            flushed,
            json!({"entries": expected, "caches": 1}),
            "{flush}"
        );
        let before = upstream.asked();
        for name in ["www.example.com.", "mail.example.com.", "www.example.org."] {
            ask(name);
        }
        assert_eq!(upstream.asked(), before + asked_anew.len(), "{flush}");
    }
    let told = "4 entries were taken out by an operator: all";
    server.wait_until(|server| server.log().contains(told));
}

//! What it says when it starts, and why it does not.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use serde_json::{Value, json};

use super::corefile;
use crate::support::apiserver::ApiServer;
use crate::support::program::{Cairn, run};

#[test]
fn it_prints_what_it_serves_and_by_whom() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    let expected = format!(
        "example.org.:{0} on 127.0.0.1\none.test.:{0} on 127.0.0.1\nCairn-{1}\n",
        cairn.port(),
        env!("CARGO_PKG_VERSION")
    );
    // It answers before it has printed them.
    cairn.wait_until(|cairn| cairn.log().contains("Cairn-"));
    assert!(cairn.log().starts_with(&expected), "{}", cairn.log());
    let quiet = Cairn::serving(&corefile("one"), &["-quiet"]);
    assert_eq!(quiet.log(), "");
}

#[test]
fn it_does_not_start_with_a_faulty_command_line_or_corefile() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good"), "a.test:1 {\n whoami\n}\n").unwrap();
    fs::write(folder.path().join("bad"), ".:1 {\n    whomai\n}\n").unwrap();
    let caret = "bad:2:5: error: unknown directive 'whomai'\n      whomai\n      ^^^^^^\nhint: did you mean 'whoami'?\n";
    for (fact, flags, code, says) in [
        ("an unknown flag", &["-validate"][..], 2, "-validate"),
        (
            "a word too many",
            &["extra", "words"],
            1,
            "extra command line arguments: [extra words]\n",
        ),
        ("a fault in the Corefile", &["-conf", "bad"], 1, caret),
        (
            "a Corefile that is not there",
            &["-conf", "nosuch"],
            1,
            "nosuch",
        ),
        ("check finds the fault", &["check", "bad"], 1, caret),
        (
            "check counts the faults",
            &["check", "bad"],
            1,
            "bad: 1 error\n",
        ),
        (
            "check is content",
            &["check", "good"],
            0,
            "good: ok, 1 zone\n",
        ),
        (
            "one of two is bad",
            &["check", "good", "bad"],
            1,
            "good: ok, 1 zone\n",
        ),
        ("the version", &["-version"], 0, "Cairn-"),
        ("the plugins", &["-plugins"], 0, "  dns.kubernetes\n"),
        ("help", &["--help"], 0, "-p, --dns.port <N>"),
    ] {
        let (got, text) = run(folder.path(), flags);
        assert_eq!(got, Some(code), "{fact}: {text}");
        assert!(text.contains(says), "{fact}: {text}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("Corefile"),
        corefile("one").replace("PORT", &port.to_string()),
    )
    .unwrap();
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    let reason = format!("listen udp 127.0.0.1:{port}: bind: address already in use\n");
    assert!(text.ends_with(&reason), "{text}");
}

/// The lines of a log, each of which is an object, without their times.
fn objects(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let mut object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let time = object.as_object_mut().unwrap().remove("time");
        assert!(time.is_some(), "{line}");
        object
    };
    log.lines().map(parse).collect()
}

#[test]
fn with_json_all_that_is_said_at_start_is_objects_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let bad = ".:1 {\n    whomai\n    errors a\n}\n";
    fs::write(folder.path().join("bad"), bad).unwrap();
    fs::write(
        folder.path().join("taken"),
        corefile("one").replace("PORT", &port.to_string()),
    )
    .unwrap();
    let (code, log) = run(folder.path(), &["-log-format=json", "-conf", "bad"]);
    assert_eq!(code, Some(1), "{log}");
    let faults = objects(&log);
    assert_eq!(faults.len(), 2, "{log}");
    let unknown = json!({
        "level": "FATAL", "msg": "Unknown directive 'whomai'", "hint": "did you mean 'whoami'?",
        "file": "bad", "line": 2, "column": 5,
    });
    assert_eq!(faults[0], unknown);
    assert_eq!(
        (&faults[1]["line"], &faults[1]["level"]),
        (&json!(3), &json!("FATAL"))
    );

    let (code, log) = run(folder.path(), &["-log-format=json", "-conf", "taken"]);
    assert_eq!(code, Some(1), "{log}");
    let reason = format!("listen udp 127.0.0.1:{port}: bind: address already in use");
    assert_eq!(objects(&log), [json!({"level": "FATAL", "msg": reason})]);

    let cairn = Cairn::serving(&corefile("one"), &["-log-format=json"]);
    cairn.wait_until(|cairn| cairn.log().contains("Started"));
    let served = json!({"level": "INFO", "msg": "Serving", "zone": "one.test.", "port": cairn.port(), "address": "127.0.0.1"});
    let log = objects(&cairn.log());
    assert!(log.contains(&served), "{log:?}");
    let started = log.iter().find(|line| line["msg"] == "Started").unwrap();
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    let words = started.as_object().unwrap().values();
    let is_one_line = |word: &Value| !word.as_str().unwrap().contains('\n');
    assert!(words.clone().all(is_one_line), "{started}");
    assert!(
        started["answers_as"]
            .as_str()
            .unwrap()
            .starts_with("CoreDNS-")
    );

    cairn.write_corefile(&corefile("one").replacen("whoami", "whomai", 1));
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.log().contains("reload failed"));
    let failures: Vec<Value> = objects(&cairn.log())
        .into_iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    let [failure] = failures.as_slice() else {
        panic!("not one object: {failures:?}");
    };
    let message = failure["msg"].as_str().unwrap();
    assert!(
        message.contains("Corefile:3:5: error: ") && message.contains("^^^^^^"),
        "{message}"
    );
}

#[test]
fn an_api_server_that_is_away_is_named_with_the_reason_and_its_return_is_told() {
    let api = ApiServer::start();
    api.stop();
    let stanza = format!(
        "kubernetes cluster.local {{\n        endpoint {}\n        noendpoints\n    }}",
        api.url()
    );
    let with_cluster = corefile("one").replacen("whoami", &format!("{stanza}\n    whoami"), 1);
    let cairn = Cairn::serving(&with_cluster, &["-log-format=json"]);
    let of_services = |message: &str, field: &str| {
        let line = cairn.log().lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["msg"] == message && line["resource"] == "services").then_some(line)
        });
        line.map(|line| (line["server"].clone(), line[field].clone()))
    };
    cairn.wait_until(|_| of_services("Failed to watch", "reason").is_some());
    let (server, reason) = of_services("Failed to watch", "reason").unwrap();
    assert_eq!(
        (server, reason),
        (json!(api.url()), json!("connection refused"))
    );
    api.start_again();
    cairn.wait_until(|_| of_services("Watching again", "away").is_some());
    let (server, away) = of_services("Watching again", "away").unwrap();
    assert_eq!(server, json!(api.url()));
    assert!(
        away.as_str().is_some_and(|away| away.ends_with('s')),
        "{away}"
    );
}

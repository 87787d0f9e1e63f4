use std::io::{self, Write};
use std::sync::Mutex;

use tracing::subscriber::with_default;
use tracing::{debug, error, info, warn};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `events` happen.
fn written(format: LogFormat, events: impl FnOnce(&LogControl)) -> String {
    let out = Written::default();
    let (lines, guard) = Lines::start(format, out.clone()).unwrap();
    let (subscriber, control) = LineSubscriber::new(lines);
    with_default(subscriber, || events(&control));
    drop(guard);
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("no list of services")]
struct Outer(#[source] io::Error);

fn failure() -> Outer {
    Outer(io::Error::other("403 Forbidden"))
}

/// A name, an event, its line of text, and its JSON object after `time`.
type Row = (&'static str, fn(), &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        "a plugin's event has its name",
        || info!(target: "plugin/reload", "Running configuration SHA512 = {}", "ab12"),
        "[INFO] plugin/reload: Running configuration SHA512 = ab12",
        r#""level":"INFO","msg":"Running configuration SHA512 = ab12","plugin":"reload"}"#,
    ),
    (
        "our other events have no prefix",
        || warn!(target: "cairn_dns::app", "Going down"),
        "[WARNING] Going down",
        r#""level":"WARN","msg":"Going down"}"#,
    ),
    (
        "other crates are named",
        || error!(target: "kube_client::client", "failed"),
        "[ERROR] kube_client::client: failed",
        r#""level":"ERROR","msg":"failed","target":"kube_client::client"}"#,
    ),
    (
        "a fatal error says so",
        || error!(target: "plugin/loop", fatal = true, "Loop detected"),
        "[FATAL] plugin/loop: Loop detected",
        r#""level":"FATAL","msg":"Loop detected","plugin":"loop"}"#,
    ),
    (
        "fields follow the message",
        || info!(target: "plugin/cache", count = 3, full = true, share = 0.5, name = "a.b.", "Evicted"),
        "[INFO] plugin/cache: Evicted count=3 full=true share=0.5 name=a.b.",
        r#""level":"INFO","msg":"Evicted","plugin":"cache","count":3,"full":true,"share":0.5,"name":"a.b."}"#,
    ),
    (
        "a value with spaces is quoted",
        || info!(target: "plugin/x", reason = "not yet", empty = "", equation = "a=b", "m"),
        r#"[INFO] plugin/x: m reason="not yet" empty="" equation="a=b""#,
        r#""level":"INFO","msg":"m","plugin":"x","reason":"not yet","empty":"","equation":"a=b"}"#,
    ),
    (
        "an error is told with its causes",
        || error!(target: "plugin/kubernetes", error = &failure() as &dyn std::error::Error, "Watch failed"),
        r#"[ERROR] plugin/kubernetes: Watch failed error="no list of services: 403 Forbidden""#,
        r#""level":"ERROR","msg":"Watch failed","plugin":"kubernetes","error":"no list of services: 403 Forbidden"}"#,
    ),
    (
        "an event stays one line whatever it holds",
        || info!(target: "plugin/x", value = "a\nb", "one\r\n[INFO] two \u{e9}"),
        "[INFO] plugin/x: one\\r\\n[INFO] two \u{e9} value=\"a\\nb\"",
        "\"level\":\"INFO\",\"msg\":\"one\\r\\n[INFO] two \u{e9}\",\"plugin\":\"x\",\"value\":\"a\\nb\"}",
    ),
    (
        "a field does not hide a key of the line",
        || info!(target: "plugin/x", level = "high", time = 1, "m"),
        "[INFO] plugin/x: m level=high time=1",
        r#""level":"INFO","msg":"m","plugin":"x","level_":"high","time_":1}"#,
    ),
];

#[test]
fn events_become_lines_of_text() {
    for (name, event, expected, _) in ROWS {
        assert_eq!(
            written(LogFormat::Text, |_| event()),
            format!("{expected}\n"),
            "{name}"
        );
    }
}

#[test]
fn events_become_json_objects() {
    for (name, event, _, expected) in ROWS {
        let line = written(LogFormat::Json, |_| event());
        serde_json::from_str::<serde_json::Value>(&line).expect(name);
        let (time, rest) = line.split_once(',').expect(name);
        assert!(
            time.starts_with("{\"time\":\"2") && time.ends_with("Z\""),
            "{name}: {time}"
        );
        assert_eq!(rest, format!("{expected}\n"), "{name}");
    }
}

#[test]
fn levels_are_ours_from_info_and_others_from_warning() {
    fn all_levels() {
        debug!(target: "plugin/x", "ours at debug");
        info!(target: "plugin/x", "ours at info");
        debug!(target: "hyper::proto", "theirs at debug");
        info!(target: "cairned::x", "theirs at info");
        warn!(target: "tower", "theirs at warn");
    }
    let quiet = written(LogFormat::Text, |_| all_levels());
    assert_eq!(
        quiet,
        "[INFO] plugin/x: ours at info\n[WARNING] tower: theirs at warn\n"
    );
    let loud = written(LogFormat::Text, |control| {
        control.set_debug(true);
        all_levels();
    });
    assert_eq!(
        loud,
        "[DEBUG] plugin/x: ours at debug\n[INFO] plugin/x: ours at info\n[WARNING] tower: theirs at warn\n"
    );
    let back = written(LogFormat::Text, |control| {
        control.set_debug(true);
        control.set_debug(false);
        all_levels();
    });
    assert_eq!(back, quiet);
}

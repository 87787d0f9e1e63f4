//! `/metrics` has the families, types, labels and buckets of `tests/data/metrics.jsonl`, recorded from CoreDNS.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, SystemTime};

use cairn_dns::corefile::Memory;
use cairn_dns::telemetry::lines::Lines;
use cairn_dns::telemetry::log::LogFormat;
use cairn_dns::telemetry::{
    Answered, BuildInfo, CacheEntries, CacheType, EnabledPlugin, Family, Metrics, PluginId, Proto,
    ServiceKind, UpstreamMetrics, UpstreamProto,
};
use serde::Deserialize;

use crate::support::server::Server;

const PLUGINS: &[&str] = &["cache", "kubernetes", "forward"];

const CACHE: PluginId = PluginId(0);

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Shape {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    labels: BTreeSet<String>,
    #[serde(default)]
    buckets: Vec<String>,
}

fn metrics() -> Metrics {
    let (lines, guard) = Lines::start(LogFormat::Text, io::sink()).unwrap();
    drop(guard);
    Metrics::new(BuildInfo::current(), SystemTime::now(), PLUGINS, lines)
}

/// The shapes of the families in a text of format 0.0.4.
fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            current = name.to_owned();
            let shape = Shape {
                name: name.to_owned(),
                kind: kind.to_owned(),
                ..Shape::default()
            };
            assert!(
                shapes.insert(current.clone(), shape).is_none(),
                "{name} is there twice"
            );
        } else if !line.starts_with('#') {
            let shape = shapes.get_mut(&current).unwrap();
            for (label, value) in labels(line) {
                if label != "le" {
                    shape.labels.insert(label);
                } else if !shape.buckets.contains(&value) {
                    shape.buckets.push(value);
                }
            }
        }
    }
    shapes
}

fn labels(series: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = series.split_once('{') else {
        return Vec::new();
    };
    let (inside, _) = rest.rsplit_once('}').unwrap();
    let pairs = inside
        .split("\",")
        .map(|pair| pair.split_once("=\"").unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect()
}

fn recorded() -> Vec<Shape> {
    let lines = include_str!("../data/metrics.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn answered() -> Answered {
    Answered {
        proto: Proto::Udp,
        family: Family::V4,
        qtype: 1,
        do_bit: false,
        request_len: 45,
        reply_len: 101,
        rcode: 0,
        plugin: CACHE,
        elapsed: Duration::from_micros(100),
    }
}

/// One event of each kind, in every room.
fn exercise(metrics: &Metrics) {
    metrics.block("dns://:53", ".", "").replied(&Answered {
        do_bit: true,
        ..answered()
    });
    let cache = metrics.cache("dns://:53", ".", "");
    cache.requests.increment();
    cache.misses.increment();
    cache.prefetches.increment();
    cache.drops.increment();
    cache.served_stale.increment();
    cache.refreshes_left_out.increment();
    cache.hit(CacheType::Success);
    cache.evicted(CacheType::Denial);
    cache.count_entries_with(Box::new(|| {
        Some(CacheEntries {
            success: 7,
            denial: 2,
            octets: 4096,
        })
    }));
    let upstream = metrics.upstream("forward", "10.0.0.1:53");
    upstream.answered(0, Duration::from_millis(3));
    upstream.connection_made(UpstreamProto::Udp);
    upstream.connection_reused(UpstreamProto::Tls);
    upstream.healthcheck_failed();
    metrics.forward().healthcheck_broken();
    metrics.forward().rejected();
    metrics.server().panicked();
    metrics.health().polled(Duration::from_micros(200), false);
    metrics.reload().failed();
    metrics.reload().running("ab12");
    metrics.hosts().read(3, 1e9);
    metrics.local().localhost_asked();
    let kubernetes = metrics.kubernetes();
    kubernetes.programmed(ServiceKind::ClusterIp, Duration::from_millis(2));
    kubernetes.requested("10.96.0.1:443", "GET", "200", Duration::from_millis(8));
    kubernetes.held_back("10.96.0.1:443", "GET", Duration::ZERO);
    kubernetes.holds("in-cluster", "services", 10, true);
    kubernetes.held("in-cluster", "moved", 1);
    let snapshot = kubernetes.snapshot();
    snapshot.written("in-cluster", 4096, 1_800_000_000);
    snapshot.current_as_of("in-cluster", 1_800_000_000);
    snapshot.write_failed("in-cluster");
    snapshot.read_failed("in-cluster", "corrupt");
    snapshot.serves("in-cluster", "services", Some(1_800_000_000));
    metrics.enabled_plugins([enabled("cache")]);
}

fn enabled(name: &str) -> EnabledPlugin {
    EnabledPlugin {
        server: "dns://:53".to_owned(),
        zone: ".".to_owned(),
        view: String::new(),
        name: name.to_owned(),
    }
}

#[test]
fn families_have_the_shapes_of_coredns() {
    let metrics = metrics();
    exercise(&metrics);
    let shapes = shapes(&metrics.render());
    for expected in recorded() {
        assert_eq!(
            shapes.get(&expected.name),
            Some(&expected),
            "{}",
            expected.name
        );
    }
}

#[test]
fn families_that_the_record_lacks_have_their_documented_shapes() {
    let doubling: Vec<String> = (0..20)
        .map(|k| (0.001 * f64::from(1 << k)).to_string())
        .chain(["+Inf".to_owned()])
        .collect();
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "coredns_cache_evictions_total",
            "counter",
            &["server", "type", "view", "zones"],
        ),
        (
            "coredns_cache_prefetch_total",
            "counter",
            &["server", "view", "zones"],
        ),
        (
            "coredns_cache_drops_total",
            "counter",
            &["server", "view", "zones"],
        ),
        (
            "coredns_cache_served_stale_total",
            "counter",
            &["server", "view", "zones"],
        ),
        (
            "cairn_cache_refreshes_left_out_total",
            "counter",
            &["server", "view", "zones"],
        ),
        (
            "cairn_cache_memory_bytes",
            "gauge",
            &["server", "view", "zones"],
        ),
        ("coredns_hosts_entries", "gauge", &[]),
        (
            "coredns_kubernetes_dns_programming_duration_seconds",
            "histogram",
            &["service_kind"],
        ),
        (
            "coredns_proxy_healthcheck_failures_total",
            "counter",
            &["proxy_name", "to"],
        ),
        ("coredns_reload_version_info", "gauge", &["hash", "value"]),
        (
            "cairn_cluster_endpoints_held_total",
            "counter",
            &["cluster", "outcome"],
        ),
        ("cairn_cluster_objects", "gauge", &["cluster", "resource"]),
        ("cairn_cluster_synced", "gauge", &["cluster", "resource"]),
        (
            "cairn_kubernetes_snapshot_current_timestamp_seconds",
            "gauge",
            &["cluster"],
        ),
        (
            "cairn_kubernetes_snapshot_read_failures_total",
            "counter",
            &["cluster", "reason"],
        ),
        (
            "cairn_kubernetes_snapshot_served_age_seconds",
            "gauge",
            &["cluster", "resource"],
        ),
        (
            "cairn_kubernetes_snapshot_size_bytes",
            "gauge",
            &["cluster"],
        ),
        (
            "cairn_kubernetes_snapshot_write_failures_total",
            "counter",
            &["cluster"],
        ),
        (
            "cairn_kubernetes_snapshot_written_timestamp_seconds",
            "gauge",
            &["cluster"],
        ),
        ("cairn_log_lines_dropped_total", "counter", &[]),
        ("process_cpu_seconds_total", "counter", &[]),
        ("process_max_fds", "gauge", &[]),
        ("process_open_fds", "gauge", &[]),
        ("process_resident_memory_bytes", "gauge", &[]),
        ("process_start_time_seconds", "gauge", &[]),
        ("process_virtual_memory_bytes", "gauge", &[]),
    ];
    let metrics = metrics();
    exercise(&metrics);
    let shapes = shapes(&metrics.render());
    for (name, kind, labels) in rows {
        let expected = Shape {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            labels: labels.iter().map(ToString::to_string).collect(),
            buckets: if *kind == "histogram" {
                doubling.clone()
            } else {
                Vec::new()
            },
        };
        assert_eq!(shapes.get(*name), Some(&expected), "{name}");
    }
}

#[test]
fn families_without_labels_are_zero_before_any_event() {
    let text = metrics().render();
    for shape in recorded().iter().filter(|shape| shape.labels.is_empty()) {
        let sample = if shape.kind == "histogram" {
            format!("{}_count 0", shape.name)
        } else {
            format!("{} 0", shape.name)
        };
        assert!(text.lines().any(|line| line == sample), "{sample}");
    }
}

#[test]
fn families_with_labels_are_absent_before_any_event() {
    let shapes = shapes(&metrics().render());
    for shape in recorded()
        .iter()
        .filter(|shape| !shape.labels.is_empty() && shape.name != "coredns_build_info")
    {
        assert!(!shapes.contains_key(&shape.name), "{}", shape.name);
    }
}

#[test]
fn a_reply_is_counted_under_its_facts() {
    let metrics = metrics();
    let block = metrics.block("dns://:53", ".", "");
    block.replied(&answered());
    block.replied(&answered());
    block.replied(&Answered {
        elapsed: Duration::from_millis(3),
        reply_len: 600,
        ..answered()
    });
    block.replied(&Answered {
        proto: Proto::Tcp,
        family: Family::V6,
        qtype: 10,
        do_bit: true,
        rcode: 3,
        plugin: PluginId(1),
        ..answered()
    });
    block.replied(&Answered {
        rcode: 2,
        plugin: PluginId::SERVER,
        qtype: 28,
        ..answered()
    });
    let text = metrics.render();
    let rows = [
        r#"requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} 3"#,
        r#"requests_total{family="2",proto="tcp",server="dns://:53",type="other",view="",zone="."} 1"#,
        r#"requests_total{family="1",proto="udp",server="dns://:53",type="AAAA",view="",zone="."} 1"#,
        r#"do_requests_total{server="dns://:53",view="",zone="."} 1"#,
        r#"responses_total{plugin="cache",rcode="NOERROR",server="dns://:53",view="",zone="."} 3"#,
        r#"responses_total{plugin="kubernetes",rcode="NXDOMAIN",server="dns://:53",view="",zone="."} 1"#,
        r#"responses_total{plugin="",rcode="SERVFAIL",server="dns://:53",view="",zone="."} 1"#,
        r#"request_duration_seconds_bucket{server="dns://:53",view="",zone=".",le="0.00025"} 4"#,
        r#"request_duration_seconds_bucket{server="dns://:53",view="",zone=".",le="0.002"} 4"#,
        r#"request_duration_seconds_bucket{server="dns://:53",view="",zone=".",le="0.004"} 5"#,
        r#"request_duration_seconds_sum{server="dns://:53",view="",zone="."} 0.0034"#,
        r#"request_duration_seconds_count{server="dns://:53",view="",zone="."} 5"#,
        r#"request_size_bytes_bucket{proto="udp",server="dns://:53",view="",zone=".",le="100"} 4"#,
        r#"request_size_bytes_sum{proto="udp",server="dns://:53",view="",zone="."} 180"#,
        r#"response_size_bytes_bucket{proto="udp",server="dns://:53",view="",zone=".",le="511"} 3"#,
        r#"response_size_bytes_bucket{proto="udp",server="dns://:53",view="",zone=".",le="+Inf"} 4"#,
        r#"response_size_bytes_count{proto="tcp",server="dns://:53",view="",zone="."} 1"#,
    ];
    for row in rows {
        let series = format!("coredns_dns_{row}");
        assert!(
            text.lines().any(|line| line == series),
            "{series}\nnot in\n{text}"
        );
    }
    let replies = text
        .lines()
        .filter(|line| line.starts_with("coredns_dns_responses_total"))
        .count();
    assert_eq!(replies, 3, "no series of zero");
}

#[test]
fn an_upstream_is_up_when_nobody_holds_it_for_down() {
    let metrics = metrics();
    let upstream = metrics.upstream("forward", "10.0.0.1:53");
    let up =
        |value| format!("cairn_proxy_up{{proxy_name=\"forward\",to=\"10.0.0.1:53\"}} {value}\n");
    type Step = fn(&UpstreamMetrics);
    let steps: [(&str, Step, u8); 5] = [
        ("at the start", |_| {}, 1),
        ("down for one block", UpstreamMetrics::went_down, 0),
        ("down for two", UpstreamMetrics::went_down, 0),
        ("up for one of them", UpstreamMetrics::came_up, 0),
        ("up for both", UpstreamMetrics::came_up, 1),
    ];
    for (what, step, expected) in steps {
        step(&upstream);
        let text = metrics.render();
        assert!(text.contains(&up(expected)), "{what}: {text}");
    }
    upstream.answer_discarded();
    let discarded =
        "cairn_proxy_answers_discarded_total{proxy_name=\"forward\",to=\"10.0.0.1:53\"} 1\n";
    assert!(metrics.render().contains(discarded));
}

#[test]
fn series_go_on_when_the_next_generation_asks_for_them() {
    let metrics = metrics();
    for _ in 0..2 {
        metrics.block("dns://:53", ".", "").replied(&answered());
        metrics.cache("dns://:53", ".", "").requests.increment();
        metrics
            .upstream("forward", "10.0.0.1:53")
            .healthcheck_failed();
        metrics
            .counters(
                "coredns_acl_allowed_requests_total",
                "Allowed.",
                &["server"],
            )
            .with(&["dns://:53"])
            .increment();
    }
    let text = metrics.render();
    for name in [
        "coredns_dns_requests_total",
        "coredns_cache_requests_total",
        "coredns_proxy_healthcheck_failures_total",
        "coredns_acl_allowed_requests_total",
    ] {
        let series: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
            .collect();
        assert!(
            matches!(series[..], [one] if one.ends_with(" 2")),
            "{name}: {series:?}"
        );
    }
}

#[test]
fn state_is_shown_as_it_is_and_not_as_it_was() {
    let metrics = metrics();
    metrics.enabled_plugins([enabled("cache"), enabled("forward")]);
    metrics.enabled_plugins([enabled("forward"), enabled("log")]);
    metrics.reload().running("aa");
    metrics.reload().running("bb");
    let text = metrics.render();
    let values = |name: &str, label: &str| -> Vec<String> {
        let series = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        series
            .flat_map(labels)
            .filter(|(name, _)| name == label)
            .map(|(_, value)| value)
            .collect()
    };
    assert_eq!(values("coredns_plugin_enabled", "name"), ["forward", "log"]);
    assert_eq!(values("coredns_reload_version_info", "value"), ["bb"]);
}

#[test]
fn a_cache_that_has_gone_has_no_entries() {
    let metrics = metrics();
    let cache = metrics.cache("dns://:53", ".", "");
    cache.count_entries_with(Box::new(|| {
        Some(CacheEntries {
            success: 7,
            denial: 2,
            octets: 4096,
        })
    }));
    let entries = r#"coredns_cache_entries{server="dns://:53",type="success",view="",zones="."} 7"#;
    assert!(metrics.render().lines().any(|line| line == entries));
    cache.count_entries_with(Box::new(|| None));
    assert!(!metrics.render().contains("coredns_cache_entries"));
}

#[test]
fn the_process_tells_its_own_state() {
    let text = metrics().render();
    let value = |name: &str| -> f64 {
        let sample = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")))
            .expect(name);
        sample.parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
    assert!(
        value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"),
        "{text}"
    );
    assert!(
        value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"),
        "{text}"
    );
    assert!(value("process_start_time_seconds") > 1.7e9, "{text}");
}

/// CoreDNS sets a directive up for the first key of its block only, and there asks which handlers the block has.
#[test]
fn the_handlers_of_blocks_with_prometheus_are_told_under_their_first_zone() {
    let corefile = "a.test:0 b.test:0 {
        bind 127.0.0.1 127.0.0.2
        health 127.0.0.1:0
        ready 127.0.0.1:0
        debug
        reload
        prometheus 127.0.0.1:0
        errors
        whoami
    }
    c.test:0 {
        bind 127.0.0.1
        errors
        whoami
    }
";
    let server = Server::start(&Memory::new().file("Corefile", corefile));
    let metrics = server.metrics();
    let mut told: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("coredns_plugin_enabled"))
        .collect();
    told.sort_unstable();
    let mut expected: Vec<String> = ["127.0.0.1", "127.0.0.2"]
        .iter()
        .flat_map(|ip| {
            ["errors", "prometheus", "whoami"].map(|name| {
                format!("{{name=\"{name}\",server=\"dns://{ip}:0\",view=\"\",zone=\"a.test.\"}} 1")
            })
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

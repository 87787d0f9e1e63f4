use super::*;
use crate::plugin::case;

fn read(text: &str) -> Result<Config, String> {
    case::read("cache", text, parse)
}

fn zones(names: &[&str]) -> Zones {
    Zones::new(names.iter().map(|name| name.parse().unwrap()))
}

#[test]
fn what_is_not_said_is_as_coredns_has_it() {
    let config = read("cache").unwrap();
    assert_eq!(config.zones, zones(&["example.org"]));
    assert_eq!(
        config.success,
        Limits {
            capacity: 9984,
            ttl_min: 5,
            ttl_max: 3600,
            except: Zones::default()
        }
    );
    assert_eq!(
        (config.denial.capacity, config.denial.ttl_max),
        (9984, 1800)
    );
    assert_eq!((config.failure_ttl, config.keep_ttl), (5, false));
}

#[test]
fn each_property_sets_what_it_is_for() {
    type Change = fn(&mut Config);
    let rows: [(&str, Change); 13] = [
        ("cache 30", |c| {
            (c.success.ttl_max, c.denial.ttl_max) = (30, 30)
        }),
        ("cache a.test 10.0.0.0/8", |c| {
            c.zones = zones(&["a.test", "10.in-addr.arpa"])
        }),
        ("cache 30 a.test", |c| {
            (c.success.ttl_max, c.denial.ttl_max) = (30, 30);
            c.zones = zones(&["a.test"]);
        }),
        ("cache 30 {\n success 5000 40\n }", |c| {
            (c.success.ttl_max, c.denial.ttl_max) = (40, 30);
            c.success.capacity = 5000;
        }),
        ("cache {\n success 5000 3600 0\n }", |c| {
            (c.success.capacity, c.success.ttl_min) = (5000, 0)
        }),
        ("cache {\n denial 2000\n }", |c| c.denial.capacity = 2000),
        ("cache {\n denial 1 2 3 4\n }", |c| {
            (c.denial.capacity, c.denial.ttl_max, c.denial.ttl_min) = (1024, 2, 3);
        }),
        ("cache {\n success -7\n }", |c| c.success.capacity = 1024),
        ("cache {\n servfail 1m30s\n }", |c| c.failure_ttl = 90),
        ("cache {\n servfail 0\n }", |c| c.failure_ttl = 0),
        ("cache {\n keepttl\n }", |c| c.keep_ttl = true),
        (
            "cache {\n disable success\n disable denial a.test b.test\n }",
            |c| {
                c.success.except = Zones::root();
                c.denial.except = zones(&["a.test", "b.test"]);
            },
        ),
        (
            "cache {\n disable denial a.test\n disable denial b.test\n }",
            |c| c.denial.except = zones(&["b.test"]),
        ),
    ];
    for (text, change) in rows {
        let mut expected = Config::of_zones(zones(&["example.org"]));
        change(&mut expected);
        assert_eq!(read(text), Ok(expected), "{text}");
    }
}

#[test]
fn faults_are_told_as_coredns_tells_them() {
    for (text, fault) in [
        ("cache 0", "cache TTL can not be zero or negative: 0"),
        ("cache -1", "cache TTL can not be zero or negative: -1"),
        (
            "cache\ncache",
            "this plugin can only be used once per Server Block",
        ),
        (
            "cache {\n success\n }",
            "Wrong argument count or unexpected line ending after 'success'",
        ),
        (
            "cache {\n success many\n }",
            "strconv.Atoi: parsing \"many\": invalid syntax",
        ),
        (
            "cache {\n success 100 0\n }",
            "cache TTL can not be zero or negative: 0",
        ),
        (
            "cache {\n success 100 30 -1\n }",
            "cache min TTL can not be negative: -1",
        ),
        (
            "cache {\n servfail -1s\n }",
            "invalid negative ttl for servfail",
        ),
        (
            "cache {\n servfail 6m\n }",
            "caching SERVFAIL responses over 5 minutes is not permitted",
        ),
        (
            "cache {\n servfail 5\n }",
            "time: missing unit in duration \"5\"",
        ),
        (
            "cache {\n disable\n }",
            "Wrong argument count or unexpected line ending after 'disable'",
        ),
        (
            "cache {\n disable both\n }",
            "cache type for disable must be \"success\" or \"denial\"",
        ),
        (
            "cache {\n disable success a..b\n }",
            "invalid disabled zone: a..b",
        ),
        (
            "cache {\n keepttl x\n }",
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        ("cache {\n foo\n }", "unknown property 'foo'"),
    ] {
        assert_eq!(read(text), Err(fault.to_owned()), "{text}");
    }
}

#[test]
fn faults_of_refreshes_are_told_as_coredns_tells_them() {
    for (text, fault) in [
        (
            "cache {\n prefetch\n }",
            "Wrong argument count or unexpected line ending after 'prefetch'",
        ),
        (
            "cache {\n prefetch -1\n }",
            "prefetch amount should be positive: -1",
        ),
        (
            "cache {\n prefetch 2 soon\n }",
            "time: invalid duration \"soon\"",
        ),
        (
            "cache {\n prefetch 2 1m 20\n }",
            "last character of percentage should be `%`, but is: '0'",
        ),
        (
            "cache {\n prefetch 2 1m 5%\n }",
            "percentage should fall in range [10, 90]: 5",
        ),
        (
            "cache {\n serve_stale -1h\n }",
            "invalid negative duration for serve_stale",
        ),
        (
            "cache {\n serve_stale 1h later\n }",
            "invalid value for serve_stale refresh mode: later",
        ),
        (
            "cache {\n serve_stale 1h immediate 1500ms\n }",
            "serve_stale response TTL must be a whole number of seconds",
        ),
        (
            "cache {\n serve_stale 1h verify 1s 30s 6m\n }",
            "serve_stale failure recheck cannot exceed 5 minutes",
        ),
        (
            "cache {\n serve_stale 1h immediate 1s 1s 1s\n }",
            "Wrong argument count or unexpected line ending after '1s'",
        ),
        (
            "cache {\n serve_stale_policy best\n }",
            "serve_stale_policy requires serve_stale; invalid serve_stale_policy: best",
        ),
        (
            "cache {\n serve_stale\n serve_stale_policy prefer_positive\n serve_stale_policy prefer_positive\n }",
            "serve_stale_policy can only be specified once",
        ),
    ] {
        assert_eq!(read(text), Err(fault.to_owned()), "{text}");
    }
}

#[test]
fn what_ends_is_refreshed_or_given_as_the_stanza_says() {
    let stale = |hours: u64, refresh| ServeStale {
        stale_for: Duration::from_secs(hours * 3600),
        refresh,
        ttl: 0,
        recheck: Duration::ZERO,
        prefers_positive: false,
    };
    let seconds = Duration::from_secs;
    let verify = |millis| Refresh::Before(Duration::from_millis(millis));
    let popular = |amount, gap_max, percentage| {
        Some(Prefetch {
            amount,
            gap_max: seconds(gap_max),
            percentage,
        })
    };
    for (text, prefetch, expected) in [
        ("keepttl", None, None),
        ("prefetch 0", None, None),
        ("prefetch 2", popular(2, 60, 10), None),
        ("prefetch 10 2m 25%", popular(10, 120, 25), None),
        ("prefetch 1 -1s 90%", popular(1, 0, 90), None),
        ("serve_stale", None, Some(stale(1, Refresh::After))),
        ("serve_stale 0", None, None),
        ("serve_stale 2h", None, Some(stale(2, Refresh::After))),
        ("serve_stale 1h verify", None, Some(stale(1, verify(1800)))),
        (
            "serve_stale 1h verify 0s",
            None,
            Some(stale(1, verify(1800))),
        ),
        (
            "serve_stale 1h verify 500ms 30s 5m",
            None,
            Some(ServeStale {
                ttl: 30,
                recheck: seconds(300),
                ..stale(1, verify(500))
            }),
        ),
        (
            "serve_stale 1h IMMEDIATE 0s 10s",
            None,
            Some(ServeStale {
                recheck: seconds(10),
                ..stale(1, Refresh::After)
            }),
        ),
        (
            "serve_stale\n serve_stale_policy prefer_positive",
            None,
            Some(ServeStale {
                prefers_positive: true,
                ..stale(1, Refresh::After)
            }),
        ),
    ] {
        let config = read(&format!("cache {{\n {text}\n }}")).unwrap();
        assert_eq!(
            (config.prefetch, config.stale),
            (prefetch, expected),
            "{text}"
        );
    }
}

#[test]
fn memory_is_bounded_by_a_size() {
    for (size, expected) in [
        ("1M", Some(1 << 20)),
        ("1024K", Some(1 << 20)),
        ("2G", Some(2 << 30)),
        ("1048576", Some(1 << 20)),
        ("1048575", None),
        ("0", None),
        ("64Mi", Some(64 << 20)),
        ("64MiB", None),
        ("M", None),
        ("1KM", None),
        ("99999999999999999999G", None),
        ("17179869184G", None),
    ] {
        let read = read(&format!("cache {{\n max_memory {size}\n }}"));
        match expected {
            Some(octets) => assert_eq!(read.unwrap().max_memory, octets, "{size}"),
            None => assert_eq!(read, Err(SIZE_EXPECTED.to_owned()), "{size}"),
        }
    }
}

#[test]
fn answers_are_good_for_another_stanza_that_would_have_kept_them() {
    let old = read("cache 30").unwrap();
    for (text, alike) in [
        ("cache 30", true),
        ("cache 30 {\n prefetch 2\n serve_stale\n keepttl\n }", true),
        ("cache 60", false),
        ("cache 30 other.test", false),
        ("cache 30 {\n success 2000\n }", false),
        ("cache 30 {\n servfail 0\n }", false),
        ("cache 30 {\n disable denial\n }", false),
        ("cache 30 {\n max_memory 1M\n }", false),
    ] {
        assert_eq!(read(text).unwrap().keeps_like(&old), alike, "{text}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let told = read("cache 0 {\n success\n foo\n }").unwrap_err();
    assert_eq!(told.split("; ").count(), 3, "{told}");
}

#[test]
fn zones_that_cannot_be_meant_are_doubted() {
    const NO_TTL: &str =
        "is taken as a zone: a TTL is a number of seconds without a unit, before all zones";
    const OUTSIDE: &str = "it is outside the zones of this block";
    for (text, expected) in [
        ("cache 30s", Some(format!("30s {NO_TTL}"))),
        ("cache 1h30m", Some(format!("1h30m {NO_TTL}"))),
        ("cache example.org 30", Some(format!("30 {NO_TTL}"))),
        (
            "cache abc",
            Some(format!("nothing is cached for abc: {OUTSIDE}")),
        ),
        (
            "cache 30 10.0.0.0/15",
            Some(format!("nothing is cached for 10.0.0.0/15: {OUTSIDE}")),
        ),
        ("cache 30", None),
        ("cache 30 example.org", None),
        ("cache a.example.org", None),
        ("cache .", None),
    ] {
        let (_, warnings) = case::read_doubted("cache", text, parse).unwrap();
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(warnings, expected, "{text}");
    }
}

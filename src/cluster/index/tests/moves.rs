//! Endpoints that leave a slice: those that come again in another are never missing, those that are gone are gone.

use super::*;
use crate::testing::Random;

/// An endpoint of a slice: its address, the Pod that it is, whether it is ready and whether it is terminating.
type Row<'a> = (&'a str, &'a str, bool, bool);

const fn ready<'a>(ip: &'a str, pod: &'a str) -> Row<'a> {
    (ip, pod, true, false)
}

/// A slice of the headless Service `db`.
fn slice_of(name: &str, rows: &[Row<'_>]) -> Object {
    let endpoints: Vec<Value> = rows
        .iter()
        .map(|(ip, pod, ready, terminating)| {
            let conditions = json!({"ready": ready, "terminating": terminating});
            let target = json!({"kind": "Pod", "name": pod});
            json!({"addresses": [ip], "hostname": pod, "targetRef": target, "conditions": conditions})
        })
        .collect();
    let labels = json!({"kubernetes.io/service-name": "db"});
    let value = json!({
        "metadata": {"namespace": "demo", "name": name, "labels": labels},
        "endpoints": endpoints,
        "ports": [{"name": "pg", "port": 5432}],
    });
    object(Resource::EndpointSlices, &value)
}

fn db() -> Object {
    let value =
        json!({"metadata": {"namespace": "demo", "name": "db"}, "spec": {"clusterIP": "None"}});
    object(Resource::Services, &value)
}

fn applied(name: &str, rows: &[Row<'_>]) -> Event {
    Event::Applied(slice_of(name, rows))
}

fn deleted(name: &str) -> Event {
    Event::Deleted(slice_of(name, &[]))
}

/// An index that knows `db`, and a slice `a` of it with two endpoints.
fn index() -> Index {
    let mut index = Index::default();
    for event in [
        Event::Applied(db()),
        applied("a", &[ready("10.0.0.1", "db-0"), ready("10.0.0.2", "db-1")]),
    ] {
        index.apply(event, NOW);
    }
    index
}

/// Whether the address is answered for `db`; by all ways to it alike.
#[track_caller]
fn knows(index: &Index, ip: &str) -> bool {
    let (view, key) = (index.view(), key("demo", "db"));
    let ip: IpAddr = ip.parse().unwrap();
    let set = view.endpoints(&key);
    let is_address = set.is_some_and(|set| addresses(set).contains(&ip));
    let slices = set.into_iter().flat_map(|set| set.slices());
    let mut endpoints = slices.flat_map(|slice| slice.endpoints());
    let is_endpoint = endpoints.any(|endpoint| endpoint.ip() == Some(ip));
    let is_reverse = view.endpoint_owners(ip).any(|owner| *owner == key);
    assert_eq!((is_address, is_address), (is_endpoint, is_reverse), "{ip}");
    is_address
}

fn ends(moved: u64, gone: u64, no_room: u64) -> HeldEnds {
    HeldEnds {
        moved,
        gone,
        no_room,
    }
}

#[test]
fn an_endpoint_that_moves_is_never_missing_in_whatever_order_it_is_told() {
    let rest = &[ready("10.0.0.2", "db-1")][..];
    let moved = &[ready("10.0.0.1", "db-0")][..];
    let rows: [(&str, &[Event]); 5] = [
        ("added first", &[applied("b", moved), applied("a", rest)]),
        ("removed first", &[applied("a", rest), applied("b", moved)]),
        (
            "with its slice deleted first",
            &[deleted("a"), applied("b", moved), applied("c", rest)],
        ),
        (
            "and back",
            &[
                applied("a", rest),
                applied("b", moved),
                applied("b", &[]),
                applied("a", moved),
            ],
        ),
        (
            "by a list that is taken in page by page",
            &[
                Event::ListStarted(Resource::EndpointSlices),
                applied("a", rest),
                applied("b", moved),
                Event::Listed(Resource::EndpointSlices),
            ],
        ),
    ];
    for (fact, events) in rows {
        let mut index = index();
        for (step, event) in events.iter().enumerate() {
            index.apply(event.clone(), at(900 * step as u64));
            index.end_held(at(900 * (step as u64 + 1)));
            assert!(knows(&index, "10.0.0.1"), "{fact}, step {step}");
        }
        index.end_held(at(3_600_000));
        assert!(knows(&index, "10.0.0.1"), "{fact}, at the end");
        assert_eq!(index.next_end(), None, "{fact}");
        assert_eq!(index.take_held_ends().no_room, 0, "{fact}");
    }
}

#[test]
fn what_moves_keeps_its_names_and_ports() {
    let mut index = index();
    let told_before = told(&index.view());
    index.apply(deleted("a"), NOW);
    assert_eq!(told(&index.view()), told_before);
}

#[test]
fn an_endpoint_that_is_told_to_go_is_gone_at_once() {
    const IP: &str = "10.0.0.1";
    let rest = ready("10.0.0.2", "db-1");
    let rows: [(&str, &[Event]); 9] = [
        (
            "not ready",
            &[applied("a", &[(IP, "db-0", false, false), rest])],
        ),
        (
            "terminating",
            &[applied("a", &[(IP, "db-0", false, true), rest])],
        ),
        (
            "terminating and ready to its end",
            &[
                applied("a", &[(IP, "db-0", true, true), rest]),
                applied("a", &[rest]),
            ],
        ),
        (
            "not ready in another slice before",
            &[
                applied("b", &[(IP, "db-0", false, false)]),
                applied("a", &[rest]),
            ],
        ),
        (
            "not ready in another slice after",
            &[
                applied("a", &[rest]),
                applied("b", &[(IP, "db-0", false, true)]),
            ],
        ),
        (
            "its Pod has another address in the same slice",
            &[applied("a", &[ready("10.0.0.9", "db-0"), rest])],
        ),
        (
            "its Pod has another address in another slice before",
            &[
                applied("b", &[ready("10.0.0.9", "db-0")]),
                applied("a", &[rest]),
            ],
        ),
        (
            "its Pod comes again at another address, not ready yet",
            &[
                applied("a", &[rest]),
                applied("b", &[("10.0.0.9", "db-0", false, false)]),
            ],
        ),
        ("its Service is gone", &[deleted("a"), Event::Deleted(db())]),
    ];
    for (fact, events) in rows {
        let mut index = index();
        assert!(knows(&index, IP), "{fact}");
        for event in events {
            index.apply(event.clone(), NOW);
        }
        assert!(!knows(&index, IP), "{fact}");
        assert_eq!(index.next_end(), None, "{fact}");
    }
}

#[test]
fn nothing_is_held_of_a_service_that_is_not_there_or_of_a_slice_that_is_given_away() {
    let mut index = index();
    index.apply(Event::Deleted(db()), NOW);
    index.apply(deleted("a"), NOW);
    assert!(!knows(&index, "10.0.0.1"));

    let mut index = self::index();
    let given = slice("demo", "a", "other", &["10.0.0.1", "10.0.0.2"]);
    index.apply(Event::Applied(given), NOW);
    assert!(!knows(&index, "10.0.0.1"));
}

#[test]
fn what_does_not_come_again_is_gone_after_the_grace() {
    let mut index = index();
    index.apply(applied("a", &[ready("10.0.0.2", "db-1")]), at(5_000));
    assert_eq!(index.next_end(), Some(at(6_000).running));
    for (now, changed) in [(at(5_999), false), (at(6_000), true), (at(6_001), false)] {
        assert_eq!(index.end_held(now), changed, "{now:?}");
        assert_eq!(knows(&index, "10.0.0.1"), now.running < at(6_000).running);
    }
    assert_eq!(index.view().serial(), at(6_000).unix);
    assert_eq!(index.take_held_ends(), ends(0, 1, 0));
    assert_eq!(index.take_held_ends(), ends(0, 0, 0));
}

#[test]
fn while_slices_are_listed_nothing_is_over() {
    let mut index = index();
    index.apply(Event::ListStarted(Resource::EndpointSlices), NOW);
    index.apply(applied("a", &[ready("10.0.0.2", "db-1")]), NOW);
    assert_eq!(index.next_end(), None);
    assert!(!index.end_held(at(60_000)));
    assert!(knows(&index, "10.0.0.1"));
    // The list broke off and came whole: without a page that had the address, and without one slice.
    index.apply(Event::ListStarted(Resource::EndpointSlices), at(60_000));
    index.apply(Event::Listed(Resource::EndpointSlices), at(61_000));
    assert!(knows(&index, "10.0.0.1") && knows(&index, "10.0.0.2"));
    assert_eq!(index.next_end(), Some(at(62_000).running));
    assert!(index.end_held(at(62_000)));
    assert!(index.view().endpoints(&key("demo", "db")).is_none());
    assert_eq!(index.take_held_ends(), ends(0, 2, 0));
}

#[test]
fn while_nothing_is_heard_of_slices_time_stands_still_for_some_seconds() {
    let slices = Resource::EndpointSlices;
    let mut index = index();
    index.apply(applied("a", &[ready("10.0.0.2", "db-1")]), at(5_000));
    index.apply(Event::Away(Resource::Services), at(5_000));
    assert_eq!(index.next_end(), Some(at(6_000).running));
    index.apply(Event::Away(slices), at(5_500));
    index.apply(applied("a", &[]), at(7_000));
    index.apply(Event::Away(slices), at(8_000));
    assert!(!index.end_held(at(9_000)));
    assert!(knows(&index, "10.0.0.1") && knows(&index, "10.0.0.2"));
    index.apply(Event::Current(slices), at(9_000));
    // Half of its time was over for the first; the other was left out meanwhile.
    assert_eq!(index.next_end(), Some(at(9_500).running));
    index.apply(Event::Current(slices), at(9_200));
    assert_eq!(index.next_end(), Some(at(9_500).running));
    index.apply(Event::Away(slices), at(9_400));
    assert_eq!(index.next_end(), Some(at(11_000).running), "and no longer");
    assert!(index.end_held(at(11_000)));
    assert!(!knows(&index, "10.0.0.1") && knows(&index, "10.0.0.2"));
    index.apply(Event::Current(slices), at(11_000));
    index.apply(applied("b", &[ready("10.0.0.2", "db-1")]), at(11_100));
    assert_eq!(
        (index.next_end(), index.take_held_ends()),
        (None, ends(1, 1, 0))
    );
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let mut index = Index::default();
    index.apply(Event::Applied(db()), NOW);
    let address = |n: usize| std::net::Ipv4Addr::from(0x0a00_0000 + n as u32).to_string();
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let ips: Vec<String> = (n * 1000..(n + 1) * 1000).map(address).collect();
        let rows: Vec<Row<'_>> = ips.iter().map(|ip| ready(ip, "")).collect();
        index.apply(applied(name, &rows), NOW);
    }
    for name in &names {
        index.apply(deleted(name), NOW);
    }
    assert!(knows(&index, &address(3_999)));
    assert!(!knows(&index, &address(4_000)));
    assert_eq!(index.take_held_ends(), ends(0, 0, 1000));
    index.apply(applied("s9", &[ready(&address(7), "")]), NOW);
    assert_eq!(index.take_held_ends(), ends(1, 0, 0));
    index.end_held(at(1_000));
    assert_eq!(index.take_held_ends(), ends(0, 3_999, 0));
    assert!(knows(&index, &address(7)) && !knows(&index, &address(8)));
}

#[test]
fn what_changes_of_endpoints_that_are_not_ready_changes_no_answer() {
    let mut index = index();
    let rows = [ready("10.0.0.1", "db-0"), ready("10.0.0.2", "db-1")];
    for ip in ["10.0.0.3", "10.0.0.4"] {
        let all: Vec<Row<'_>> = rows
            .into_iter()
            .chain([(ip, "db-2", false, false)])
            .collect();
        assert!(!index.apply(applied("a", &all), at(1_000)), "{ip}");
        assert_eq!(index.view().serial(), NOW.unix, "{ip}");
    }
    // What was said last counts.
    index.apply(deleted("a"), at(1_000));
    assert!(knows(&index, "10.0.0.1") && !knows(&index, "10.0.0.4"));
}

#[test]
fn whatever_is_heard_nothing_is_held_for_ever() {
    let slices = Resource::EndpointSlices;
    for seed in 1..400_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut index = index();
        let mut now = 0;
        let mut exist = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..60 {
            now += random.below(700);
            index.end_held(at(now));
            let which = random.below(3) as usize;
            let name = ["a", "b", "c"][which];
            let ips: Vec<String> = (0..random.below(4))
                .map(|_| format!("10.0.0.{}", random.below(20)))
                .collect();
            let rows: Vec<Row<'_>> = ips
                .iter()
                .map(|ip| (ip.as_str(), "", true, false))
                .collect();
            match random.below(8) {
                0 => drop(index.apply(Event::Away(slices), at(now))),
                1 => drop(index.apply(Event::Current(slices), at(now))),
                2 => drop(index.apply(Event::ListStarted(slices), at(now))),
                3 => drop(index.apply(Event::Listed(slices), at(now))),
                _ => {
                    index.apply(applied(name, &rows), at(now));
                    exist[which] = ips.clone();
                }
            }
        }
        index.apply(Event::ListStarted(slices), at(now));
        for (name, ips) in ["a", "b", "c"].into_iter().zip(&exist) {
            let rows: Vec<Row<'_>> = ips
                .iter()
                .map(|ip| (ip.as_str(), "", true, false))
                .collect();
            index.apply(applied(name, &rows), at(now));
        }
        index.apply(Event::Listed(slices), at(now));
        index.end_held(at(now + 1_000));
        assert_eq!(index.next_end(), None, "seed {seed}");
        let all: std::collections::BTreeSet<&str> =
            exist.iter().flatten().map(String::as_str).collect();
        for last in 0..20 {
            let ip = format!("10.0.0.{last}");
            assert_eq!(knows(&index, &ip), all.contains(&*ip), "seed {seed}: {ip}");
        }
    }
}

use super::*;
use crate::dns::{Class, Question, Type};

fn query(name: &str, client: &str, received: Instant) -> Query {
    let mut query = Query::empty();
    query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
    query.client = format!("{client}:1053").parse().unwrap();
    query.received = received;
    query
}

fn cluster() -> Top {
    let top = Top::new();
    top.set_clusters(Zones::new(["cluster.local.".parse().unwrap()]));
    top
}

fn first(ranked: &[Ranked]) -> (&str, u64, u64) {
    let first = &ranked[0];
    (&first.what, first.at_least, first.at_most)
}

#[test]
fn the_heaviest_of_each_kind_come_first() {
    let top = cluster();
    let now = top.began;
    for number in 0..1000 {
        let (name, client, rcode) = match number % 10 {
            0..6 => ("web.shop.svc.cluster.local.", "10.0.0.1", Rcode::NOERROR),
            6..9 => ("10-0-0-9.db.pod.cluster.local.", "fd00::9", Rcode::NXDOMAIN),
            _ => ("www.example.com.", "10.0.0.2", Rcode(4000)),
        };
        let client = if client.contains(':') {
            format!("[{client}]")
        } else {
            client.to_owned()
        };
        top.sampled(&query(name, &client, now), rcode);
    }
    let report = top.report(now, 2);
    assert_eq!(report.samples, 1000);
    assert_eq!(
        first(&report.names),
        ("web.shop.svc.cluster.local.", 600, 600)
    );
    assert_eq!(first(&report.namespaces), ("shop", 600, 600));
    assert_eq!(report.namespaces[1].what, "db");
    assert_eq!(first(&report.clients), ("10.0.0.1", 600, 600));
    assert_eq!(report.clients[1].what, "fd00::9");
    assert_eq!(first(&report.rcodes), ("NOERROR", 600, 600));
    assert_eq!(report.names.len(), 2, "no more than wanted");
    let all = top.report(now, 9);
    assert_eq!(
        (all.rcodes[2].what.as_str(), all.rcodes[2].at_least),
        ("others", 100)
    );
}

#[test]
fn a_minute_ago_is_forgotten() {
    let top = cluster();
    let at = |seconds| top.began + Duration::from_secs(seconds);
    top.sampled(&query("a.example.", "10.0.0.1", at(1)), Rcode::NOERROR);
    top.sampled(&query("b.example.", "10.0.0.1", at(31)), Rcode::NOERROR);
    for (seconds, span, names) in [(31, 31, 2), (59, 59, 2), (60, 30, 1), (95, 35, 0)] {
        let report = top.report(at(seconds), 9);
        assert_eq!(report.names.len(), names, "after {seconds} s");
        assert_eq!(report.span.as_secs(), span, "after {seconds} s");
    }
    top.sampled(&query("c.example.", "10.0.0.1", at(96)), Rcode::NOERROR);
    let quiet = top.report(at(200), 9);
    assert_eq!((quiet.names.len(), quiet.samples), (0, 0), "after a pause");
}

#[test]
fn counts_of_several_threads_are_added_within_the_bound() {
    const EACH: u64 = 20_000;
    let top = cluster();
    let now = top.began;
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let top = &top;
            scope.spawn(move || {
                for number in 0..EACH {
                    let unique = format!("n{number}.t{thread}.example.");
                    let name = if number % 5 == 0 {
                        "heavy.example."
                    } else {
                        &unique
                    };
                    top.sampled(&query(name, "10.0.0.1", now), Rcode::NOERROR);
                }
            });
        }
    });
    let report = top.report(now, 1);
    assert_eq!(report.samples + report.left_out, 3 * EACH);
    let (name, at_least, at_most) = first(&report.names);
    let (truly, bound) = (3 * EACH / 5, report.samples / sketch::COUNTERS as u64);
    assert_eq!(name, "heavy.example.");
    assert!(at_least <= truly, "{at_least} of {truly}");
    assert!(truly - report.left_out <= at_most, "{at_most} of {truly}");
    assert!(at_most - at_least <= bound, "{at_least} to {at_most}");
}

#[test]
fn what_is_being_read_is_not_waited_for() {
    let top = cluster();
    let held: Vec<_> = top.shards.iter().map(lock).collect();
    top.sampled(&query("a.example.", "10.0.0.1", top.began), Rcode::NOERROR);
    drop(held);
    let report = top.report(top.began, 1);
    assert_eq!((report.samples, report.left_out), (0, 1));
}

#[test]
fn a_namespace_stands_in_front_of_svc_or_pod() {
    for (name, expected) in [
        ("web.shop.svc.cluster.local.", Some("shop")),
        ("shop.svc.cluster.local.", Some("shop")),
        ("_http._tcp.web.shop.svc.cluster.local.", Some("shop")),
        ("10-0-0-1.shop.pod.cluster.local.", Some("shop")),
        ("svc.cluster.local.", None),
        ("cluster.local.", None),
        ("web.shop.cluster.local.", None),
    ] {
        let name: Name = name.parse().unwrap();
        let zone = name.offset_of(&"cluster.local.".parse().unwrap()).unwrap();
        let label = namespace(&name, zone).map(|label| {
            let mut key = [0; LABEL_MAX + 1];
            key[..label.len()].copy_from_slice(label);
            label_text(&key)
        });
        assert_eq!(label.as_deref(), expected, "{name}");
    }
}

#[test]
fn the_sketches_of_a_thread_are_as_large_as_is_said() {
    let one = Sketch::<Name>::octets() + Sketch::<Label>::octets() + Sketch::<IpAddr>::octets();
    assert!(2 * one <= 214 << 10, "{}", 2 * one);
}

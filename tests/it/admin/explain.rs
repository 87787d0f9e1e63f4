//! What `explain` says of the way to a reply.

use std::net::{SocketAddr, UdpSocket};

use super::{answers, asked, serving, serving_manifest, steps, upstream};
use crate::support::dns;

#[test]
fn explain_says_where_the_search_for_a_name_ended() {
    let upstream = upstream();
    let (server, _folder, _) = serving(upstream.address());
    for (question, rcode, words) in [
        (
            "web.shop.svc.cluster.local",
            "NOERROR",
            &[
                "cache looks: names of cluster.local. are not kept",
                "Service shop/web: cluster IP 10.96.0.7; ports http 80/TCP",
                "kubernetes answers: NOERROR, 1 record",
            ][..],
        ),
        (
            "web.shop.svc.cluster.local AAAA",
            "NOERROR",
            &["answers: NOERROR\n"],
        ),
        (
            "db-0.db.shop.svc.cluster.local",
            "NOERROR",
            &[
                "1 EndpointSlice with 1 address that is ready",
                "1 of them is named db-0",
            ],
        ),
        (
            "near.shop.svc.cluster.local",
            "NOERROR",
            &[
                "ExternalName web.shop.svc.cluster.local.",
                "Service shop/web",
            ],
        ),
        (
            "far.shop.svc.cluster.local",
            "NOERROR",
            &[
                "kubernetes follows: the alias leads to www.example.com.",
                "forward answers: NOERROR, 1 record",
            ],
        ),
        (
            "web.nowhere.svc.cluster.local",
            "NXDOMAIN",
            &["no Namespace nowhere"],
        ),
        (
            "web.hidden.svc.cluster.local",
            "NXDOMAIN",
            &["Namespace hidden exists, but is not among those of `namespaces`"],
        ),
        (
            "nothing.shop.svc.cluster.local",
            "NXDOMAIN",
            &["Namespace shop exists", "no Service shop/nothing"],
        ),
        (
            "_dns._tcp.web.shop.svc.cluster.local SRV",
            "NXDOMAIN",
            &["it has no port dns with protocol tcp"],
        ),
        (
            "down.shop.svc.cluster.local",
            "NXDOMAIN",
            &["1 EndpointSlice with 0 addresses that are ready"],
        ),
        (
            "db-9.db.shop.svc.cluster.local",
            "NXDOMAIN",
            &["none of them are named db-9"],
        ),
        (
            "10-244-0-8.shop.pod.cluster.local",
            "NXDOMAIN",
            &["no Pod of Namespace shop has address 10.244.0.8"],
        ),
        (
            "web.shop.cluster.local",
            "NXDOMAIN",
            &["no name that a Service, a Pod or a Namespace"],
        ),
        (
            "7.0.96.10.in-addr.arpa PTR",
            "NOERROR",
            &["10.96.0.7 is a cluster IP of Service shop/web"],
        ),
        (
            "8.0.96.10.in-addr.arpa PTR",
            "NOERROR",
            &[
                "10.96.0.8 is of no Service and no endpoint",
                "kubernetes next",
                "forward answers",
            ],
        ),
    ] {
        let explanation = asked(&server, &format!("explain {question}"));
        assert_eq!(explanation["reply"]["rcode"], rcode, "{question}");
        assert_eq!(explanation["zone"], ".", "{question}");
        let steps = steps(&explanation);
        for expected in words {
            assert!(steps.contains(expected), "{question}, {expected}:\n{steps}");
        }
    }
    let alias = asked(&server, "explain far.shop.svc.cluster.local");
    assert_eq!(answers(&alias), ["CNAME www.example.com.", "A 192.0.2.1"]);
}

#[test]
fn an_explained_query_is_no_clients() {
    let upstream = upstream();
    let (server, _folder, metrics) = serving(upstream.address());
    let counted = || {
        let text = dns::http_body(metrics, "/metrics");
        let clients = [
            "coredns_dns_re",
            "coredns_cache_requests",
            "coredns_cache_hits",
            "coredns_cache_misses",
        ];
        let lines = text
            .lines()
            .filter(|line| clients.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    server.ask("www.example.com.").unwrap();
    let before = counted();
    assert!(!before.is_empty());
    for name in [
        "www.example.com",
        "other.example.com",
        "web.shop.svc.cluster.local",
    ] {
        asked(&server, &format!("explain {name} --from 10.0.0.9"));
    }
    assert_eq!(counted(), before);
    // Lines are written in order: when this one is there, so is whatever came before it.
    server.ask("last.example.com.").unwrap();
    server.wait_until(|server| server.log().contains("last.example.com."));
    let log = server.log();
    assert!(log.contains("www.example.com."), "{log}");
    assert!(
        !log.contains("other.example.com.") && !log.contains("10.0.0.9"),
        "{log}"
    );
}

#[test]
fn what_was_tried_with_a_dead_upstream_is_told() {
    // Nobody listens there.
    let (server, _folder, _) = serving(SocketAddr::from(([127, 0, 0, 1], 1)));
    let dead = asked(&server, "explain dead.example.com");
    assert_eq!(dead["reply"]["rcode"], "SERVFAIL");
    let error = &dead["reply"]["extended_errors"][0];
    assert_eq!(error["code"], 23, "a network error: {error}");
    let steps = steps(&dead);
    for expected in [
        "forward looks: asks 127.0.0.1:1",
        "udp 127.0.0.1:1: read: connection refused, after",
        "forward fails: ",
    ] {
        assert!(steps.contains(expected), "{expected}:\n{steps}");
    }
}

#[test]
fn an_upstream_that_is_down_is_told_with_the_reason() {
    let (dead, good) = (SocketAddr::from(([127, 0, 0, 1], 1)), upstream());
    let checked = "health_check 50ms\n max_fails 1\n policy sequential";
    let upstreams = format!("{dead} {} {{\n {checked}\n}}", good.address());
    let (server, _folder, _) = serving(upstreams);
    asked(&server, "explain first.example.com");
    server.wait_until(|server| server.log().contains("127.0.0.1:1 is down"));
    let steps = steps(&asked(&server, "explain second.example.com"));
    assert!(
        steps.contains("forward looks: 127.0.0.1:1 has been down for ")
            && steps.contains(" s: udp 127.0.0.1:1: read: connection refused"),
        "{steps}"
    );
}

#[test]
fn an_upstream_that_is_late_and_the_one_asked_beside_it_are_told() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (silent_at, good) = (silent.local_addr().unwrap(), upstream());
    let upstreams = format!("{silent_at} {} {{\n policy sequential\n}}", good.address());
    let (server, _folder, _) = serving(upstreams);
    let slow = asked(&server, "explain slow.example.com");
    assert_eq!(answers(&slow), ["A 192.0.2.1"]);
    let (steps, good) = (steps(&slow), good.address());
    // What was asked at the start may have told of the silent one already.
    let asked_beside = [
        format!("asks {silent_at}"),
        format!("asks {good}, beside the one asked before"),
    ];
    let asked_first = [format!("asks {good}"), format!("{good} over udp: NOERROR")];
    let tells = |words: &[String]| words.iter().all(|words| steps.contains(words));
    assert!(tells(&asked_beside) || tells(&asked_first), "{steps}");
    assert!(
        steps.contains(&format!("{good} over udp: NOERROR")),
        "{steps}"
    );
}

#[test]
fn that_the_cluster_is_not_known_is_told_with_the_reason() {
    let missing = tempfile::tempdir().unwrap().path().join("cluster.json");
    let upstream = upstream();
    let (server, _) = serving_manifest(&missing, upstream.address());
    let unknown = asked(&server, "explain web.shop.svc.cluster.local");
    assert_eq!(unknown["reply"]["rcode"], "SERVFAIL");
    let steps = steps(&unknown);
    let reason = "kubernetes looks: the cluster is not known whole: namespaces: ";
    assert!(steps.contains(reason), "{steps}");
    assert!(steps.contains("services: "), "{steps}");
}

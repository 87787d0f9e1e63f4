//! Answers that are never wrong, and say why: endpoints on their way between slices, resources that may not be listed, and the
//! words for clients with EDNS.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, Fault, Transport};
use crate::support::dns;
use crate::support::server::Server;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
const WEB: &str = "web.demo.svc.cluster.local.";
const DB: &str = "db.demo.svc.cluster.local.";
const DB_0: &str = "db-0.db.demo.svc.cluster.local.";
const PORT: &str = "_pg._tcp.db.demo.svc.cluster.local.";
const NOSUCH: &str = "nosuch.demo.svc.cluster.local.";
const POD: &str = "10-0-0-9.demo.pod.cluster.local.";
const NAMESPACE: &str = "demo.svc.cluster.local.";
const DB_0_REVERSE: &str = "1.0.0.10.in-addr.arpa.";

/// A server with these directives beside `kubernetes`, and these lines in that.
fn start(api: &ApiServer, directives: &str, lines: &str) -> Server {
    let kubeconfig = api.kubeconfig().display().to_string();
    let stanza = format!(
        "kubernetes cluster.local in-addr.arpa {{\n kubeconfig {kubeconfig} lab\n {lines}\n}}"
    );
    let corefile = format!(".:0 {{\n bind 127.0.0.1\n {directives}\n {stanza}\n}}\n");
    Server::start(&Memory::new().file("Corefile", corefile))
}

fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "demo", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}]},
    })
}

/// A slice of `db` with these Pods; each is `db-N` at `10.0.0.(N+1)`.
fn slice(name: &str, pods: &[usize], conditions: &Value) -> Value {
    let endpoint = |pod: &usize| {
        json!({
            "addresses": [format!("10.0.0.{}", pod + 1)], "hostname": format!("db-{pod}"),
            "targetRef": {"kind": "Pod", "name": format!("db-{pod}")}, "conditions": conditions,
        })
    };
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "metadata": {"namespace": "demo", "name": name, "labels": {"kubernetes.io/service-name": "db"}},
        "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}],
    })
}

fn ready(name: &str, pods: &[usize]) -> Value {
    slice(name, pods, &json!({"ready": true}))
}

/// An API server with the Services `web` and, headless, `db`, which has two Pods in two slices.
fn api() -> ApiServer {
    let api = ApiServer::start_with(Transport::Https);
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}),
        service("web", "10.96.0.1"),
        service("db", "None"),
        ready("a", &[0]),
        ready("b", &[1]),
    ] {
        api.apply(object);
    }
    api
}

fn answer(server: &Server, name: &str, rtype: &str) -> String {
    dns::ask(server.address(), name, rtype).expect("a reply")
}

#[track_caller]
fn wait_for(server: &Server, name: &str, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = answer(server, name, "A");
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {got}, not {expected}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many endpoints that were left out had this end.
fn held(server: &Server, outcome: &str) -> u32 {
    let metrics = server.metrics();
    let label = format!("outcome=\"{outcome}\"}} ");
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("cairn_cluster_endpoints_held_total{"));
    let count = lines.find_map(|line| Some(line.split_once(&label)?.1.parse().unwrap()));
    count.unwrap_or(0)
}

/// How many resources are listed.
fn synced(server: &Server) -> usize {
    let metrics = server.metrics();
    let lines = metrics.lines();
    let of_resources = lines.filter(|line| line.starts_with("cairn_cluster_synced{"));
    of_resources.filter(|line| line.ends_with("} 1")).count()
}

#[test]
fn an_endpoint_that_moves_between_slices_is_always_answered_and_one_that_is_to_go_never() {
    const ROUNDS: usize = 20;
    let (api, stop) = (api(), AtomicBool::new(false));
    let server = start(&api, "", "");
    server.wait_until_ready();
    let address = server.address();
    let ask = || {
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            for (name, rtype, expected) in [
                (DB_0, "A", "NOERROR 10.0.0.1"),
                (DB, "A", "NOERROR 10.0.0.1 10.0.0.2"),
                (
                    DB_0_REVERSE,
                    "PTR",
                    "NOERROR db-0.db.demo.svc.cluster.local.",
                ),
            ] {
                let got = dns::ask(address, name, rtype).expect("a reply");
                assert_eq!(got, expected, "{name} {rtype}");
            }
            // The weight depends on how often an address is met.
            let ports = dns::ask(address, PORT, "SRV").expect("a reply");
            for pod in ["db-0", "db-1"] {
                assert!(ports.contains(&format!(" 5432 {pod}.{DB}")), "{ports}");
            }
            rounds += 1;
        }
        rounds
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let pause = || std::thread::sleep(Duration::from_millis(5));
        for _ in 0..ROUNDS {
            // Out of one, into the other; and back with its slice deleted, and back in between.
            api.apply(ready("a", &[]));
            pause();
            api.apply(ready("b", &[0, 1]));
            pause();
            api.delete("endpointslices", "demo", "b");
            pause();
            api.apply(ready("a", &[0, 1]));
            pause();
            api.apply(ready("b", &[1]));
            pause();
            api.apply(ready("a", &[0]));
            if asking.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(asking.join().expect("every answer is right") > 0);
    });
    assert!(held(&server, "moved") > 0, "nothing was ever held");
    assert_eq!(held(&server, "gone"), 0);

    let going = json!({"ready": false, "serving": true, "terminating": true});
    api.apply(slice("a", &[0], &going));
    wait_for(&server, DB_0, "NXDOMAIN");
    api.apply(ready("a", &[]));
    api.apply(service("web", "10.96.0.2"));
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    assert_eq!(held(&server, "gone"), 0, "what was told to go was held");

    api.delete("endpointslices", "demo", "b");
    wait_for(&server, DB, "NXDOMAIN");
    assert_eq!(held(&server, "gone"), 1, "what went without a word");
}

/// What names become while this resource is denied, and that all is well once it no longer is.
fn is_denied(resource: &str, lost: &[&str]) {
    let api = api();
    api.inject(Fault::answer(403).of(resource).always());
    let server = start(&api, "", "pods verified");
    let denied = format!("{resource}: 403 Forbidden");
    let deadline = Instant::now() + PATIENCE;
    while synced(&server) < 3 || !server.ready_report().contains(&denied) {
        assert!(Instant::now() < deadline, "{}", server.ready_report());
        std::thread::sleep(Duration::from_millis(2));
    }
    for (name, expected) in [
        (WEB, "NOERROR 10.96.0.1"),
        (DB, "NOERROR 10.0.0.1 10.0.0.2"),
        (DB_0, "NOERROR 10.0.0.1"),
        (NOSUCH, "NXDOMAIN"),
        (POD, "NXDOMAIN"),
        (NAMESPACE, "NOERROR"),
        ("www.example.com.cluster.local.", "NXDOMAIN"),
    ] {
        let (got, why) = dns::ask_why(server.address(), name, "A").expect("a reply");
        if lost.contains(&name) {
            assert_eq!((&*got, &*why), ("SERVFAIL", &*denied), "{name}");
        } else {
            assert_eq!(got, expected, "{name} without {resource}: {why}");
        }
    }
    api.clear_faults();
    server.wait_until_ready();
    wait_for(&server, DB, "NOERROR 10.0.0.1 10.0.0.2");
}

#[test]
fn one_denied_resource_degrades_what_depends_on_it_and_nothing_else() {
    // Each waits until the server asks again, and that for none of the others.
    std::thread::scope(|scope| {
        for (resource, lost) in [
            ("namespaces", &[NAMESPACE][..]),
            ("services", &[WEB, DB, DB_0, NOSUCH]),
            ("endpointslices", &[DB, DB_0]),
            ("pods", &[POD]),
        ] {
            scope.spawn(|| is_denied(resource, lost));
        }
    });
}

#[test]
fn clients_with_edns_are_told_why_unless_a_word_in_the_corefile_stops_it() {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream = nobody.local_addr().unwrap();
    drop(nobody);
    let api = api();
    for (errors, is_told) in [
        ("", true),
        ("errors", true),
        ("errors {\n no_extended_errors\n}", false),
    ] {
        let more = format!("{errors}\n cache\n forward . {upstream}");
        let server = start(&api, &more, "");
        server.wait_until_ready();
        let address = server.address();
        for (name, code, words) in [
            (
                "nosuch.demo.svc.cluster.local.",
                "NXDOMAIN",
                "no such Service in this Namespace",
            ),
            (WEB, "NOERROR 10.96.0.1", ""),
            ("www.example.com.", "SERVFAIL", "connection refused"),
            // The cache has kept that nobody could be asked.
            ("www.example.com.", "SERVFAIL", "connection refused"),
        ] {
            let (got, why) = dns::ask_why(address, name, "A").expect("a reply");
            assert_eq!(got, code, "{name}");
            match is_told && !words.is_empty() {
                true => assert!(why.ends_with(words), "{name}: {why}"),
                false => assert_eq!(why, "", "{name}"),
            }
        }
        assert_eq!(
            answer(&server, "nosuch.demo.svc.cluster.local.", "A"),
            "NXDOMAIN"
        );
    }
}

//! The life of an endpoint: what changes in the API or in manifests is answered, what breaks is not felt.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, Cut, Fault, Login, Transport, Verb};
use crate::support::dns;
use crate::support::server::Server;
use crate::support::upstream::Upstream;

/// What a busy machine may take for something that needs milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that follows `api`, with these lines in its stanza.
fn follow(api: &ApiServer, lines: &str) -> Server {
    start(&format!(
        "kubeconfig {} lab\n{lines}",
        api.kubeconfig().display()
    ))
}

fn start(lines: &str) -> Server {
    let corefile = format!(
        ".:0 {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa {{\n{lines}\n}}\n}}\n"
    );
    Server::start(&Memory::new().file("Corefile", corefile))
}

pub(crate) fn answer(server: &Server, name: &str) -> String {
    dns::ask(server.address(), name, "A").expect("a reply")
}

/// Asks until the reply is the expected one.
#[track_caller]
pub(crate) fn wait_for(server: &Server, name: &str, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = answer(server, name);
        if got == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {got}, not {expected}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "demo", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

pub(crate) fn slice(service: &str, ready: &[(&str, bool)]) -> Value {
    let endpoints: Vec<Value> = ready
        .iter()
        .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "metadata": {"namespace": "demo", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

pub(crate) fn pod(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "demo", "name": name},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    })
}

/// An API server with the namespace `demo`, the service `web` and the headless `db`.
pub(crate) fn api() -> ApiServer {
    let api = ApiServer::start_with(Transport::Https);
    for object in [
        namespace("demo"),
        service("web", "10.96.0.1"),
        service("db", "None"),
        slice("db", &[("10.0.0.1", true)]),
    ] {
        api.apply(object);
    }
    api
}

pub(crate) const WEB: &str = "web.demo.svc.cluster.local.";
pub(crate) const DB: &str = "db.demo.svc.cluster.local.";

#[test]
fn every_change_in_the_api_is_answered() {
    let api = api();
    let server = follow(&api, "pods verified");
    server.wait_until_ready();
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");

    api.apply(service("web", "10.96.0.2"));
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    api.apply(slice("db", &[("10.0.0.1", true), ("10.0.0.2", true)]));
    wait_for(&server, DB, "NOERROR 10.0.0.1 10.0.0.2");
    api.apply(slice("db", &[("10.0.0.1", false), ("10.0.0.2", true)]));
    wait_for(&server, DB, "NOERROR 10.0.0.2");
    wait_for(&server, "10-0-0-7.demo.pod.cluster.local.", "NXDOMAIN");
    api.apply(pod("a", "10.0.0.7"));
    wait_for(
        &server,
        "10-0-0-7.demo.pod.cluster.local.",
        "NOERROR 10.0.0.7",
    );

    api.delete("pods", "demo", "a");
    wait_for(&server, "10-0-0-7.demo.pod.cluster.local.", "NXDOMAIN");
    api.delete("endpointslices", "demo", "db-1");
    wait_for(&server, DB, "NXDOMAIN");
    api.delete("services", "demo", "web");
    wait_for(&server, WEB, "NXDOMAIN");
    api.delete("namespaces", "", "demo");
    wait_for(&server, "demo.svc.cluster.local.", "NXDOMAIN");
}

#[test]
fn an_api_that_is_away_is_not_felt_and_what_it_says_on_return_is() {
    let api = api();
    let server = follow(&api, "");
    server.wait_until_ready();
    api.stop();
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
    api.apply(service("web", "10.96.0.3"));
    api.delete("services", "demo", "db");
    // The versions in between are forgotten, so the server must list anew.
    api.compact();
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
    api.start_again();
    wait_for(&server, WEB, "NOERROR 10.96.0.3");
    wait_for(&server, DB, "NXDOMAIN");
}

#[test]
fn a_watch_that_is_cut_goes_on_where_it_was() {
    for cut in [Cut::End, Cut::Fin, Cut::Reset, Cut::MidFrame] {
        let api = api();
        let server = follow(&api, "");
        server.wait_until_ready();
        api.cut_watches("services", cut);
        api.apply(service("web", "10.96.0.4"));
        wait_for(&server, WEB, "NOERROR 10.96.0.4");
    }
}

#[test]
fn a_watch_that_is_too_old_is_listed_anew() {
    let api = api();
    let server = follow(&api, "");
    server.wait_until_ready();
    api.compact();
    api.expire_watches("services");
    api.apply(service("web", "10.96.0.5"));
    wait_for(&server, WEB, "NOERROR 10.96.0.5");
    assert_eq!(answer(&server, DB), "NOERROR 10.0.0.1");
}

#[test]
fn busy_servers_are_asked_again_when_they_say() {
    let api = api();
    api.inject(Fault::too_many_requests(1).of("services"));
    api.inject(Fault::answer(503).of("namespaces"));
    let server = follow(&api, "");
    server.wait_until_ready();
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
}

#[test]
fn a_token_that_is_replaced_is_read_again() {
    let api = api();
    api.rotate_token("one");
    let kubeconfig = api.kubeconfig_with(Login::TokenFile);
    let server = start(&format!("kubeconfig {} lab", kubeconfig.display()));
    server.wait_until_ready();
    api.rotate_token("two");
    api.cut_watches("services", Cut::Reset);
    api.apply(service("web", "10.96.0.6"));
    wait_for(&server, WEB, "NOERROR 10.96.0.6");
}

#[test]
fn all_stanzas_of_a_cluster_share_one_watch_a_resource() {
    let api = api();
    let stanza = format!(
        "kubernetes {{\n kubeconfig {} lab\n}}",
        api.kubeconfig().display()
    );
    let zones = ["cluster.local", "cluster.test", "in-addr.arpa"];
    let blocks = zones.map(|zone| format!("{zone}:0 {{\n bind 127.0.0.1\n {stanza}\n}}\n"));
    let server = Server::start(&Memory::new().file("Corefile", blocks.concat()));
    server.wait_until_ready();
    assert_eq!(
        answer(&server, "web.demo.svc.cluster.test."),
        "NOERROR 10.96.0.1"
    );
    for resource in ["services", "endpointslices", "namespaces"] {
        assert_eq!(api.open_watches(resource), 1, "{resource}");
        assert!(
            api.count(resource, Verb::List) + api.count(resource, Verb::Watch) <= 2,
            "{resource}"
        );
    }
    assert_eq!(api.open_watches("pods"), 0);
}

#[test]
fn a_reload_keeps_the_watches_and_starts_those_that_are_new() {
    let api = api();
    let kubeconfig = format!("kubeconfig {} lab", api.kubeconfig().display());
    let mut server = start(&kubeconfig);
    server.wait_until_ready();
    let requests = |resource| api.count(resource, Verb::List) + api.count(resource, Verb::Watch);
    let before = requests("services");
    let stanza = format!("{kubeconfig}\n pods verified\n ttl 7");
    let corefile =
        format!(".:0 {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n{stanza}\n}}\n}}\n");
    api.apply(pod("a", "10.0.0.7"));
    server.reload(&Memory::new().file("Corefile", corefile));
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
    wait_for(
        &server,
        "10-0-0-7.demo.pod.cluster.local.",
        "NOERROR 10.0.0.7",
    );
    assert_eq!(requests("services"), before);
    assert_eq!(api.open_watches("services"), 1);
}

/// A Corefile whose stanza has these lines, and these blocks beside it.
fn corefile(lines: &str, beside: &str) -> Memory {
    let stanza = format!("kubernetes cluster.local {{\n{lines}\n}}");
    Memory::new().file(
        "Corefile",
        format!(".:0 {{\n bind 127.0.0.1\n {stanza}\n}}\n{beside}"),
    )
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many objects of a resource `/metrics` says are held, if it says anything of it.
fn held(server: &Server, resource: &str) -> Option<String> {
    let (metrics, label) = (server.metrics(), format!("resource=\"{resource}\"}} "));
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("cairn_cluster_objects{"));
    lines.find_map(|line| Some(line.split_once(&label)?.1.to_owned()))
}

#[test]
fn a_resource_that_no_configuration_needs_is_neither_watched_nor_held() {
    let api = api();
    api.apply(pod("a", "10.0.0.7"));
    let kubeconfig = format!("kubeconfig {} lab", api.kubeconfig().display());
    let verified = format!("{kubeconfig}\n pods verified");
    let mut server = start(&verified);
    server.wait_until_ready();
    const POD: &str = "10-0-0-7.demo.pod.cluster.local.";
    const NO_POD: &str = "10-0-0-8.demo.pod.cluster.local.";
    assert_eq!(answer(&server, NO_POD), "NXDOMAIN");
    assert_eq!(held(&server, "pods").as_deref(), Some("1"));
    let requests = |resource| api.count(resource, Verb::List) + api.count(resource, Verb::Watch);
    let (services, pods) = (requests("services"), requests("pods"));

    server.reload(&corefile(&format!("{kubeconfig}\n pods insecure"), ""));
    assert_eq!(answer(&server, NO_POD), "NOERROR 10.0.0.8");
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
    wait_until("the end of the watch", || api.open_watches("pods") == 0);
    wait_until("the end of the gauge", || held(&server, "pods").is_none());
    assert_eq!(server.ready_report(), "Ready");
    assert_eq!(api.open_watches("services"), 1);
    assert_eq!((requests("services"), requests("pods")), (services, pods));

    api.delete("pods", "demo", "a");
    api.apply(pod("b", "10.0.0.9"));
    server.reload(&corefile(&verified, ""));
    server.wait_until_ready();
    assert_eq!(answer(&server, POD), "NXDOMAIN");
    wait_for(
        &server,
        "10-0-0-9.demo.pod.cluster.local.",
        "NOERROR 10.0.0.9",
    );
    assert_eq!(held(&server, "pods").as_deref(), Some("1"));
    assert_eq!(requests("services"), services);
    assert!(requests("pods") > pods);
}

#[test]
fn a_configuration_that_cannot_be_served_leaves_nothing_watched() {
    let api = api();
    api.apply(pod("a", "10.0.0.7"));
    let kubeconfig = format!("kubeconfig {} lab", api.kubeconfig().display());
    let mut server = start(&kubeconfig);
    server.wait_until_ready();
    let services = api.count("services", Verb::Watch);
    let taken = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    // Its own cluster, too, is one that nobody else follows.
    let other = format!(
        "example.org:{port} {{\n bind 127.0.0.1\n kubernetes example.org {{\n {kubeconfig}\n labels a=b\n}}\n}}\n"
    );
    let refused = server.try_reload(&corefile(&format!("{kubeconfig}\n pods verified"), &other));
    assert!(refused.is_err());
    api.apply(service("web", "10.96.0.2"));
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    wait_until("the end of what was begun", || {
        api.open_watches("pods") == 0
            && api.open_watches("services") == 1
            && held(&server, "pods").is_none()
    });
    assert!(!server.metrics().contains("labels a=b"));
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2");
    assert!(api.count("services", Verb::Watch) <= services + 1);
}

fn write(path: &Path, objects: &[Value]) {
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    // Written beside and renamed, as editors do.
    let beside = path.with_extension("new");
    fs::write(&beside, documents.join("\n---\n")).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn every_change_in_manifests_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(
        &at("base.yaml"),
        &[namespace("demo"), service("web", "10.96.0.1")],
    );
    let server = start(&format!("manifests {}", folder.path().display()));
    server.wait_until_ready();
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");

    write(
        &at("base.yaml"),
        &[namespace("demo"), service("web", "10.96.0.2")],
    );
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    write(
        &at("db.yaml"),
        &[service("db", "None"), slice("db", &[("10.0.0.1", true)])],
    );
    wait_for(&server, DB, "NOERROR 10.0.0.1");
    fs::write(
        at("base.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespa",
    )
    .unwrap();
    write(
        &at("db.yaml"),
        &[service("db", "None"), slice("db", &[("10.0.0.2", true)])],
    );
    wait_for(&server, DB, "NOERROR 10.0.0.2");
    assert_eq!(
        answer(&server, WEB),
        "NOERROR 10.96.0.2",
        "half a file is no news"
    );
    fs::remove_file(at("db.yaml")).unwrap();
    wait_for(&server, DB, "NXDOMAIN");
}

/// `/ready` opens before the first list is there; it must not say yes in between.
#[test]
fn nobody_is_told_ready_before_the_cluster_is_known() {
    let api = api();
    api.inject(Fault::hold().of("services").always());
    let ready = crate::support::program::free_port();
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, ready));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut bodies = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                bodies.extend(dns::try_http_body(address, "/ready"));
            }
            bodies
        })
    };
    let kubeconfig = api.kubeconfig().display().to_string();
    let stanza = format!("kubernetes cluster.local {{\n kubeconfig {kubeconfig} lab\n}}");
    let corefile = format!(".:0 {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready}\n {stanza}\n}}\n");
    let server = Server::start(&Memory::new().file("Corefile", corefile));
    wait_for(&server, "nosuch.demo.svc.cluster.local.", "SERVFAIL");
    // One more answer for certain, after the server has started.
    assert!(dns::http_body(address, "/ready").starts_with("kubernetes"));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let bodies = asking.join().unwrap();
    assert!(
        bodies.iter().all(|body| body.starts_with("kubernetes")),
        "{bodies:?}"
    );
}

/// A node that starts has Pods that ask for names outside, whatever keeps its API server busy.
#[test]
fn names_outside_the_cluster_are_answered_before_the_api_server_has_said_anything() {
    type Act = fn(&ApiServer);
    let silences: [(&str, Act, Act); 3] = [
        (
            "it takes questions and does not answer",
            |api| api.inject(Fault::hold().always()),
            |api| {
                api.clear_faults();
                api.release();
            },
        ),
        ("it is frozen", ApiServer::pause, ApiServer::resume),
        ("it is not there", ApiServer::stop, ApiServer::start_again),
    ];
    let upstream = Upstream::start(
        "$ORIGIN net.test.\n@ 60 IN SOA dns.net.test. admin.net.test. 1 7200 1800 86400 30\nwww 60 IN A 192.0.2.80\n",
    );
    for (what, fall_silent, speak) in silences {
        let api = api();
        let kubeconfig = api.kubeconfig().display().to_string();
        fall_silent(&api);
        let stanza = format!("kubernetes cluster.local {{\n kubeconfig {kubeconfig} lab\n}}");
        let forward = format!("forward . {}", upstream.address());
        let corefile = format!(".:0 {{\n bind 127.0.0.1\n {stanza}\n {forward}\n}}\n");
        let server = Server::start(&Memory::new().file("Corefile", corefile));
        assert_eq!(
            answer(&server, "www.net.test."),
            "NOERROR 192.0.2.80",
            "{what}"
        );
        assert_eq!(answer(&server, WEB), "SERVFAIL", "{what}");
        let report = server.ready_report();
        assert!(report.contains("services: "), "{what}: {report}");
        speak(&api);
        wait_for(&server, WEB, "NOERROR 10.96.0.1");
    }
}

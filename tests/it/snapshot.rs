//! A server that restarts while the API server is away: what the process before knew is answered, and then what is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;
use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, Verb, WatchList};
use crate::support::dns;
use crate::support::program::{self, Cairn, Launch, free_port};
use crate::support::server::Server;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

const WEB: &str = "web.demo.svc.cluster.local.";
const DB: &str = "db.demo.svc.cluster.local.";
const OLD: &str = "old.demo.svc.cluster.local.";
const NEW: &str = "new.demo.svc.cluster.local.";

fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "demo", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

fn slice(service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "metadata": {"namespace": "demo", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

/// A cluster, and a folder in which servers keep what they know of it.
struct World {
    api: ApiServer,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    /// The Services `web`, `old` and the headless `db`.
    fn new() -> World {
        let api = ApiServer::start();
        api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
        for object in [
            service("web", "10.96.0.1"),
            service("old", "10.96.0.2"),
            service("db", "None"),
            slice("db", &["10.0.0.1", "10.0.0.2"]),
        ] {
            api.apply(object);
        }
        World {
            kubeconfig: api.kubeconfig(),
            api,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// While the API server is away: one Service changes its address, one goes, one comes, endpoints change.
    fn change(&self) {
        self.api.apply(service("web", "10.96.0.7"));
        self.api.delete("services", "demo", "old");
        self.api.apply(service("new", "10.96.0.3"));
        self.api.apply(slice("db", &["10.0.0.2", "10.0.0.3"]));
        // The versions in between are forgotten, so that nothing but a list can tell.
        self.api.compact();
    }

    /// A Corefile with these lines in its stanza.
    fn corefile(&self, port: &str, lines: &str) -> String {
        let kubeconfig = self.kubeconfig.display();
        format!(
            ".:{port} {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n kubeconfig {kubeconfig} lab\n ttl 30\n{lines}\n}}\n}}\n"
        )
    }

    fn snapshot(&self) -> String {
        format!("snapshot {}", self.path("snapshot").display())
    }

    /// A process of its own.
    fn start(&self) -> Restarting {
        let ops = free_port();
        let corefile = self.corefile("PORT", &self.snapshot());
        let more = format!(" ready 127.0.0.1:{ops}\n prometheus 127.0.0.1:{ops}\n");
        let corefile = corefile.replace(" bind 127.0.0.1\n", &format!(" bind 127.0.0.1\n{more}"));
        Restarting {
            cairn: Cairn::starting(&corefile, free_port(), &Launch::default()),
            ops: SocketAddr::from((Ipv4Addr::LOCALHOST, ops)),
        }
    }

    /// A server in this process.
    fn serve(&self, lines: &str) -> Server {
        Server::start(&self.memory(lines))
    }

    fn memory(&self, lines: &str) -> Memory {
        Memory::new().file("Corefile", self.corefile("0", lines))
    }

    /// Returns when the cluster as it is has been written.
    fn wait_for_file(&self, file: &str) {
        wait_for("the snapshot", || self.path(file).exists());
    }
}

/// A server of its own, and where it tells how it is.
struct Restarting {
    cairn: Cairn,
    ops: SocketAddr,
}

impl Restarting {
    fn address(&self) -> SocketAddr {
        self.cairn.address()
    }

    /// The first reply that the server gives.
    fn first(&self, name: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(reply) = self.cairn.ask(name) {
                return reply;
            }
            assert!(Instant::now() < deadline, "it never answers");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn page(&self, path: &str) -> String {
        dns::http_body(self.ops, path)
    }
}

#[track_caller]
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn wait_for_answer(server: SocketAddr, name: &str, expected: &str) {
    wait_for(&format!("{name} {expected}"), || {
        dns::ask(server, name, "A").as_deref() == Some(expected)
    });
}

/// A server that knew the cluster and was killed; the API server is away and the cluster goes on.
fn restarted(world: &World) -> Restarting {
    let cairn = world.start();
    wait_for_answer(cairn.address(), WEB, "NOERROR 10.96.0.1");
    world.wait_for_file("snapshot");
    world.api.stop();
    drop(cairn);
    world.change();
    world.start()
}

#[test]
fn a_restart_while_the_api_is_away_is_answered_from_the_snapshot_and_then_from_the_api() {
    let world = World::new();
    let began = Instant::now();
    let cairn = restarted(&world);
    let restarted_at = Instant::now();
    assert_eq!(cairn.first(WEB), "NOERROR 10.96.0.1");
    println!(
        "the first answer {:.0?} after exec, all {:.0?} after the first start",
        restarted_at.elapsed(),
        began.elapsed()
    );
    assert_eq!(cairn.first(DB), "NOERROR 10.0.0.1 10.0.0.2");
    for (name, text, ttl, error) in [
        (WEB, "NOERROR 10.96.0.1", Some(5), 3),
        (OLD, "NOERROR 10.96.0.2", Some(5), 3),
        (NEW, "NXDOMAIN", None, 19),
    ] {
        let expected = (text.to_owned(), ttl, vec![error]);
        assert_eq!(
            dns::ask_edns(cairn.address(), name, "A"),
            Some(expected),
            "{name}"
        );
    }
    wait_for("ready, for the API server has had its chance", || {
        cairn.page("/ready").starts_with("OK\n")
    });
    let page = cairn.page("/ready");
    let lines = page.lines().filter(|line| line.contains("snapshot"));
    let lines: Vec<&str> = lines.collect();
    for (line, resource) in lines
        .iter()
        .zip(["namespaces", "services", "endpointslices"])
    {
        let begins = format!("kubernetes: {resource}: from a snapshot, ");
        assert!(
            line.starts_with(&begins) && line.ends_with(" s old"),
            "{page}"
        );
    }
    assert_eq!(lines.len(), 3, "{page}");
    let metrics = cairn.page("/metrics");
    let served = "cairn_kubernetes_snapshot_served_age_seconds{";
    assert!(metrics.contains(served), "{metrics}");
    let unsynced = |line: &str| {
        line.starts_with("cairn_cluster_synced{") && line.ends_with("resource=\"services\"} 0")
    };
    assert!(metrics.lines().any(unsynced), "{metrics}");

    // What is in both, the old cluster and the new, is answered at every moment of the change.
    let (address, stop) = (cairn.address(), Arc::new(AtomicBool::new(false)));
    let asking = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                seen.extend(dns::ask(address, WEB, "A"));
                let db = dns::ask(address, DB, "A").unwrap_or_default();
                assert!(db.contains("10.0.0.2"), "{db}");
            }
            seen
        }
    });
    world.api.start_again();
    wait_for_answer(address, WEB, "NOERROR 10.96.0.7");
    wait_for_answer(address, OLD, "NXDOMAIN");
    wait_for_answer(address, NEW, "NOERROR 10.96.0.3");
    wait_for_answer(address, DB, "NOERROR 10.0.0.2 10.0.0.3");
    wait_for("no word of a snapshot", || cairn.page("/ready") == "OK");
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<String> = asking.join().unwrap().into_iter().collect();
    assert!(
        seen.iter().all(|reply| reply.starts_with("NOERROR")),
        "{seen:?}"
    );
    let expected = ("NOERROR 10.96.0.7".to_owned(), Some(30), vec![]);
    assert_eq!(dns::ask_edns(address, WEB, "A"), Some(expected));
    assert!(!cairn.page("/metrics").contains(served));
}

/// Restarts so often while the API server is away, each time by SIGKILL.
fn restart(times: usize) {
    let world = World::new();
    let mut cairn = restarted(&world);
    let file = fs::read(world.path("snapshot")).unwrap();
    for time in 0..times {
        assert_eq!(cairn.first(WEB), "NOERROR 10.96.0.1", "restart {time}");
        assert_eq!(
            cairn.first(DB),
            "NOERROR 10.0.0.1 10.0.0.2",
            "restart {time}"
        );
        drop(cairn);
        cairn = world.start();
    }
    // A file that nobody has made younger seems no younger.
    assert!(fs::read(world.path("snapshot")).unwrap() == file);
    world.api.start_again();
    wait_for_answer(cairn.address(), WEB, "NOERROR 10.96.0.7");
}

#[test]
fn ten_restarts_while_the_api_is_away_answer_what_was_known() {
    restart(10);
}

#[test]
#[ignore = "the same for some minutes"]
fn two_hundred_restarts_while_the_api_is_away_answer_what_was_known() {
    restart(200);
}

#[test]
fn a_clean_end_leaves_what_was_known_at_the_end() {
    let world = World::new();
    let mut cairn = world.start();
    wait_for_answer(cairn.address(), WEB, "NOERROR 10.96.0.1");
    world.wait_for_file("snapshot");
    // Within the rest after the first write, so that nothing but the end writes it.
    world.api.apply(service("web", "10.96.0.9"));
    wait_for_answer(cairn.address(), WEB, "NOERROR 10.96.0.9");
    cairn.cairn.signal("TERM");
    assert!(cairn.cairn.ended().success());
    world.api.stop();
    let cairn = world.start();
    assert_eq!(cairn.first(WEB), "NOERROR 10.96.0.9");
}

#[test]
fn a_file_that_is_not_ours_is_refused_counted_and_replaced() {
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let flip: Spoil = |file| file.iter().map(|octet| octet ^ 1).collect();
    let cut: Spoil = |file| file[..file.len() / 2].to_vec();
    let leave: Spoil = |file| file;
    // Each waits until the server asks again, and that for none of the others.
    std::thread::scope(|scope| {
        for (fact, spoil, lines, reason) in [
            ("corrupt", flip, "", "corrupt"),
            ("cut", cut, "", "corrupt"),
            ("of other selectors", leave, "\nlabels a!=b", "foreign"),
            ("too old", leave, " max_age 1s", "too_old"),
        ] {
            scope.spawn(move || {
                let world = World::new();
                let first = world.serve(&world.snapshot());
                world.wait_for_file("snapshot");
                drop(first);
                world.api.stop();
                let path = world.path("snapshot");
                let spoilt = spoil(fs::read(&path).unwrap());
                fs::write(&path, &spoilt).unwrap();
                if reason == "too_old" {
                    std::thread::sleep(Duration::from_millis(2100));
                }
                let server = world.serve(&(world.snapshot() + lines));
                let asked = dns::ask(server.address(), WEB, "A");
                assert_eq!(asked.as_deref(), Some("SERVFAIL"), "{fact}");
                let metrics = server.metrics();
                let counted = format!("reason=\"{reason}\"}} 1\n");
                assert!(metrics.contains(&counted), "{fact}: {metrics}");
                world.api.start_again();
                server.wait_until_ready();
                wait_for("a new file", || fs::read(&path).unwrap() != spoilt);
            });
        }
    });
}

#[test]
fn a_kubeconfig_that_leads_to_another_cluster_today_has_no_snapshot() {
    let (world, other) = (World::new(), World::new());
    let first = world.serve(&world.snapshot());
    world.wait_for_file("snapshot");
    drop(first);
    fs::copy(&other.kubeconfig, &world.kubeconfig).unwrap();
    other.api.stop();
    let server = world.serve(&world.snapshot());
    let asked = dns::ask(server.address(), WEB, "A");
    assert_eq!(asked.as_deref(), Some("SERVFAIL"));
    assert!(server.metrics().contains("reason=\"foreign\"} 1\n"));
}

#[test]
fn no_list_is_older_than_the_snapshot_unless_the_server_never_comes_as_far() {
    let world = World::new();
    world.api.watch_list(WatchList::Refused);
    let old = world.api.version();
    world.api.apply(service("web", "10.96.0.5"));
    let first = world.serve(&world.snapshot());
    world.wait_for_file("snapshot");
    drop(first);
    world.api.time_travel(old);
    world.api.clear_requests();
    let server = world.serve(&world.snapshot());
    wait_for("a list that is refused", || {
        world.api.count("services", Verb::List) > 0
    });
    let asked = world.api.requests_for("services", Verb::List);
    let how = ("resourceVersionMatch".to_owned(), "NotOlderThan".to_owned());
    assert!(asked[0].parameters.contains(&how), "{:?}", asked[0]);
    for _ in 0..20 {
        let asked = dns::ask(server.address(), WEB, "A");
        assert_eq!(asked.as_deref(), Some("NOERROR 10.96.0.5"));
    }
    world.api.catch_up();
    wait_for("the first list", || {
        let report = dns::ask_edns(server.address(), WEB, "A");
        report.is_some_and(|(text, ttl, _)| text == "NOERROR 10.96.0.5" && ttl == Some(30))
    });
}

#[test]
fn a_snapshot_is_moved_added_and_taken_away_by_a_reload_without_a_list() {
    let world = World::new();
    let line = |name: &str| format!("snapshot {}", world.path(name).display());
    let mut server = world.serve("");
    server.wait_until_ready();
    let requests =
        |resource| world.api.count(resource, Verb::List) + world.api.count(resource, Verb::Watch);
    let before = ["services", "endpointslices", "namespaces"].map(requests);
    for name in ["one", "two"] {
        server.reload(&world.memory(&line(name)));
        world.wait_for_file(name);
    }
    let gauges = |server: &Server| {
        let metrics = server.metrics();
        let of_files = [
            "written_timestamp_seconds",
            "current_timestamp_seconds",
            "size_bytes",
        ];
        of_files.map(|of| metrics.contains(&format!("cairn_kubernetes_snapshot_{of}{{")))
    };
    wait_for("the gauges of the file", || gauges(&server) == [true; 3]);
    server.reload(&world.memory(""));
    wait_for("no gauges of a file", || gauges(&server) == [false; 3]);
    fs::remove_file(world.path("two")).unwrap();
    world.api.apply(service("web", "10.96.0.9"));
    wait_for_answer(server.address(), WEB, "NOERROR 10.96.0.9");
    assert!(!world.path("two").exists());
    let after = ["services", "endpointslices", "namespaces"].map(requests);
    assert_eq!(before, after);
}

#[test]
fn a_snapshot_makes_ready_once_the_api_has_had_its_chance() {
    let world = World::new();
    let first = world.serve(&world.snapshot());
    world.wait_for_file("snapshot");
    drop(first);
    let with = |timeout: &str| format!("{}\nstartup_timeout {timeout}", world.snapshot());
    world.api.pause();
    let server = world.serve(&with("1h"));
    let asked = dns::ask(server.address(), WEB, "A");
    assert_eq!(
        asked.as_deref(),
        Some("NOERROR 10.96.0.1"),
        "it answers all the same"
    );
    let report = server.ready_report();
    assert!(report.contains("services: not listed yet"), "{report}");
    drop(server);
    let server = world.serve(&with("1ms"));
    server.wait_until_ready();
    drop(server);
    world.api.resume();
    let server = world.serve(&with("1h"));
    server.wait_until_ready();
    drop(server);
    world.api.stop();
    let server = world.serve(&with("1h"));
    server.wait_until_ready();
    let asked = dns::ask_edns(server.address(), WEB, "A").unwrap();
    assert_eq!(asked.2, [3], "ready with what it knew");
}

#[test]
fn a_check_does_not_touch_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    let corefile = folder.path().join("Corefile");
    let text = format!(
        ".:53 {{\n kubernetes cluster.local {{\n endpoint http://127.0.0.1:1\n snapshot {}\n}}\n}}\n",
        path.display()
    );
    fs::write(&corefile, text).unwrap();
    for exists in [false, true] {
        if exists {
            fs::write(&path, "no snapshot").unwrap();
        }
        let checked = program::command()
            .arg("check")
            .arg(&corefile)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
        assert_eq!(Path::new(&path).exists(), exists);
    }
    assert_eq!(fs::read(&path).unwrap(), b"no snapshot");
}

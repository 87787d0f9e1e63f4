//! What an operator asks a running server: why a name is answered so, who asks most, what is kept.

use std::fmt::Display;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::program::{Cairn, free_port};
use crate::support::dns;

mod objects;

/// A user who is neither root nor whoever runs the tests as root.
const NOBODY: u32 = 65534;

/// Runs a subcommand: exit code, standard output, standard error.
fn cairn(args: &[&str], user: Option<u32>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(args);
    if let Some(user) = user {
        command.uid(user);
    }
    let output = command.output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Asks this server, and reads what it says.
fn asked(server: &Cairn, args: &str) -> Value {
    let pid = server.child.id().to_string();
    let mut all: Vec<&str> = args.split(' ').collect();
    all.extend(["--json", "--pid", &pid]);
    let (code, out, err) = cairn(&all, None);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{args}");
    serde_json::from_str(&out).unwrap()
}

/// What was said on the way to an answer: `PLUGIN VERDICT: WORDS`, a line a step.
fn steps(explanation: &Value) -> String {
    let steps = explanation["steps"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = steps.map(|step| {
        let [by, verdict, words] = ["by", "verdict", "words"].map(|field| text(&step[field]));
        format!("{by} {verdict}: {words}\n")
    });
    lines.collect()
}

fn answers(explanation: &Value) -> Vec<String> {
    let records = explanation["reply"]["answer"].as_array().unwrap().iter();
    records
        .map(|record| {
            format!(
                "{} {}",
                record["rtype"].as_str().unwrap(),
                record["data"].as_str().unwrap()
            )
        })
        .collect()
}

/// An upstream that has an address for every name, and counts.
struct Counting {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    /// It ends with the process.
    fn start() -> Counting {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((_, client)) = socket.recv_from(&mut packet) {
                count.fetch_add(1, Ordering::SeqCst);
                let mut end = 12;
                while packet[end] != 0 {
                    end += 1 + usize::from(packet[end]);
                }
                let mut reply = packet[..end + 5].to_vec();
                reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
                reply.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
                let _ = socket.send_to(&reply, client);
            }
        });
        Counting { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The objects of a small cluster.
fn cluster() -> Value {
    let meta = |name: &str| json!({"namespace": "shop", "name": name});
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": meta(name), "spec": spec});
    let slice = |name: &str, endpoints: Value| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": "shop", "name": format!("{name}-x"),
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        })
    };
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    let headless = json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": ports});
    let ready = |ready: bool| json!([{"addresses": ["10.244.0.7"], "hostname": "db-0", "conditions": {"ready": ready}}]);
    let alias = |target: &str| json!({"type": "ExternalName", "externalName": target});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hidden"}},
        service("web", json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": ports})),
        service("db", headless.clone()),
        slice("db", ready(true)),
        service("down", headless),
        slice("down", ready(false)),
        service("near", alias("web.shop.svc.cluster.local")),
        service("far", alias("www.example.com")),
    ]})
}

/// A server of that cluster, whose other names are asked of this upstream; and where its metrics are.
fn serving(upstream: impl Display) -> (Cairn, tempfile::TempDir, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("cluster.json");
    std::fs::write(&manifest, cluster().to_string()).unwrap();
    let (server, metrics) = serving_manifest(&manifest, upstream);
    server.wait_for(|server| server.ask("no.svc.cluster.local.").as_deref() == Some("NXDOMAIN"));
    (server, folder, metrics)
}

/// Likewise with these objects, known or not.
fn serving_manifest(manifest: &Path, upstream: impl Display) -> (Cairn, SocketAddr) {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let corefile = format!(
        ".:PORT {{
            bind 127.0.0.1
            prometheus {metrics}
            errors
            log
            kubernetes cluster.local in-addr.arpa {{
                manifests {}
                pods verified
                namespaces shop
                fallthrough in-addr.arpa
            }}
            cache
            forward . {upstream}
        }}",
        manifest.display()
    );
    (Cairn::serving(&corefile, &[]), metrics)
}

#[test]
fn explain_says_where_the_search_for_a_name_ended() {
    let upstream = Counting::start();
    let (server, _folder, _) = serving(upstream.address);
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
    let upstream = Counting::start();
    let (server, _folder, metrics) = serving(upstream.address);
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
    server.wait_for(|server| server.log().contains("last.example.com."));
    let log = server.log();
    assert!(log.contains("www.example.com."), "{log}");
    assert!(
        !log.contains("other.example.com.") && !log.contains("10.0.0.9"),
        "{log}"
    );
}

#[test]
fn what_is_kept_is_shown_and_forgotten_and_then_asked_for_anew() {
    let upstream = Counting::start();
    let (server, _folder, _) = serving(upstream.address);
    let ask = |name: &str| assert_eq!(server.ask(name).unwrap(), "NOERROR 192.0.2.1", "{name}");
    let entries = |name: &str| {
        let shown = asked(&server, &format!("cache show {name}"));
        shown["caches"][0]["entries"].as_array().unwrap().clone()
    };
    let explained = || steps(&asked(&server, "explain www.example.com"));
    assert_eq!(entries("www.example.com"), Vec::<Value>::new());
    let missed = explained();
    for expected in [
        "cache looks: nothing kept",
        "forward looks: asks 127.0.0.1:",
        "over udp: NOERROR, after",
        "cache shapes: keeps NOERROR for 3600 s",
    ] {
        assert!(missed.contains(expected), "{expected}:\n{missed}");
    }
    let before = upstream.asked();
    ask("www.example.com.");
    ask("mail.example.com.");
    ask("www.example.org.");
    assert_eq!(upstream.asked(), before + 2, "what was explained is kept");
    let hit = explained();
    assert!(
        hit.contains("for 3600 s, 3") && hit.contains("s left: NOERROR"),
        "{hit}"
    );

    let kept = entries("www.Example.com");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        (&kept[0]["rcode"], &kept[0]["ttl"], &kept[0]["flags"]),
        (&json!("NOERROR"), &json!(3600), &json!("rd"))
    );
    assert_eq!(kept[0]["records"][0]["data"], "192.0.2.1");

    for (flush, removed, asked_anew) in [
        ("www.example.com", 1, &["www.example.com."][..]),
        ("nothing.example.com", 0, &[]),
        (
            "--zone example.com",
            2,
            &["www.example.com.", "mail.example.com."],
        ),
        (
            "--all",
            3,
            &["www.example.com.", "mail.example.com.", "www.example.org."],
        ),
    ] {
        let flushed = asked(&server, &format!("cache flush {flush}"));
        // What the server was asked while it started is kept too.
        let expected = if flush == "--all" {
            removed + 1
        } else {
            removed
        };
        assert_eq!(
            flushed,
            json!({"entries": expected, "caches": 1}),
            "{flush}"
        );
        let before = upstream.asked();
        for name in ["www.example.com.", "mail.example.com.", "www.example.org."] {
            ask(name);
        }
        assert_eq!(upstream.asked(), before + asked_anew.len(), "{flush}");
    }
    let told = "4 entries were taken out by an operator: all";
    server.wait_for(|server| server.log().contains(told));
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
fn an_upstream_that_is_late_and_the_one_asked_beside_it_are_told() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (silent_at, good) = (silent.local_addr().unwrap(), Counting::start());
    let upstreams = format!("{silent_at} {} {{\n policy sequential\n}}", good.address);
    let (server, _folder, _) = serving(upstreams);
    let slow = asked(&server, "explain slow.example.com");
    assert_eq!(answers(&slow), ["A 192.0.2.1"]);
    let (steps, good) = (steps(&slow), good.address);
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
    let upstream = Counting::start();
    let (server, _) = serving_manifest(&missing, upstream.address);
    let unknown = asked(&server, "explain web.shop.svc.cluster.local");
    assert_eq!(unknown["reply"]["rcode"], "SERVFAIL");
    let steps = steps(&unknown);
    let reason = "kubernetes looks: the cluster is not known whole: namespaces: ";
    assert!(steps.contains(reason), "{steps}");
    assert!(steps.contains("services: "), "{steps}");
}

#[test]
fn top_finds_who_asks_most_within_its_bound() {
    const ASKED: usize = 6_000;
    let upstream = Counting::start();
    let (server, _folder, _) = serving(upstream.address);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address()).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    let mut reply = [0; 2048];
    for number in 0..ASKED {
        // A third each; and all others once.
        let labels = match number % 3 {
            0 => "web.shop.svc.cluster.local".to_owned(),
            1 => format!("n{number}.shop.svc.cluster.local"),
            _ => "web.nowhere.svc.cluster.local".to_owned(),
        };
        let mut packet = Vec::from(*b"\0\0\x01\0\0\x01\0\0\0\0\0\0");
        for label in labels.split('.') {
            packet.push(label.len() as u8);
            packet.write_all(label.as_bytes()).unwrap();
        }
        packet.extend(b"\0\0\x01\0\x01");
        socket.send(&packet).unwrap();
        socket.recv(&mut reply).unwrap();
    }
    let top = asked(&server, "top -n 3");
    let samples = top["samples"].as_u64().unwrap();
    let expected = (ASKED / 16) as u64;
    assert!(
        samples.abs_diff(expected) < expected / 4,
        "{samples} samples"
    );
    let first = |kind: &str, what: &str, part: f64| {
        let entries = top[kind].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["what"] == what);
        let entry = entry.unwrap_or_else(|| panic!("{what}: {entries:?}"));
        let [least, most] = ["at_least", "at_most"].map(|field| entry[field].as_u64().unwrap());
        assert!(
            least <= most && most - least <= samples / 256 + 1,
            "{entry}"
        );
        let share = least as f64 / samples as f64;
        // Chance: of some hundred samples a third is right within a quarter of itself.
        assert!((share - part).abs() < part / 3.0, "{what}: {share}");
    };
    first("names", "web.shop.svc.cluster.local.", 1.0 / 3.0);
    first("names", "web.nowhere.svc.cluster.local.", 1.0 / 3.0);
    first("namespaces", "shop", 2.0 / 3.0);
    first("rcodes", "NXDOMAIN", 2.0 / 3.0);
    first("clients", "127.0.0.1", 1.0);
    let (code, text, _) = cairn(
        &[
            "top",
            "--by",
            "client",
            "--pid",
            &server.child.id().to_string(),
        ],
        None,
    );
    assert_eq!(code, Some(0));
    assert!(text.contains("CLIENT") && !text.contains("RCODE"), "{text}");
}

#[test]
fn a_process_of_another_user_is_refused() {
    let (server, _folder, _) = serving(SocketAddr::from(([127, 0, 0, 1], 1)));
    let pid = server.child.id().to_string();
    let args = ["top", "--pid", &pid];
    let own =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}")).unwrap());
    if own != 0 {
        eprintln!("left out: only root can run a process as another user");
        return;
    }
    let (code, out, err) = cairn(&args, Some(NOBODY));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(
        err,
        "the server refuses: it is of user 0; ask as that user or as root\n"
    );
    let log = "a process of user 65534 was refused at the socket for operators";
    server.wait_for(|server| server.log().contains(log));
    let (code, ..) = cairn(&args, None);
    assert_eq!(code, Some(0), "the same user");
}

#[test]
fn of_several_servers_one_must_be_named() {
    let [one, two] = [(); 2].map(|()| serving(SocketAddr::from(([127, 0, 0, 1], 1))));
    let (code, _, err) = cairn(&["top"], None);
    assert_eq!(code, Some(1));
    assert!(err.ends_with("; say which with --pid\n"), "{err}");
    for (server, ..) in [&one, &two] {
        let pid = format!("pid {} (user ", server.child.id());
        assert!(err.contains(&pid), "{pid}: {err}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let (server, _folder, _) = serving(SocketAddr::from(([127, 0, 0, 1], 1)));
    let pid = server.child.id().to_string();
    for (args, code, reason) in [
        ("explain a..b", 1, "\"a..b\" is no name: "),
        ("explain www.example.com NOTYPE", 1, "\"NOTYPE\" is no type"),
        (
            "explain www.example.com --port 1",
            1,
            "no such listener; there are dns://127.0.0.1:",
        ),
        ("explain", 2, "NAME"),
        ("explain www.example.com A more", 2, "more"),
        ("cache flush", 2, "--all"),
        ("cache flush www.example.com --all", 2, "--all"),
        ("top --by nothing", 2, "nothing"),
    ] {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["--pid", &pid]);
        let (got, out, err) = cairn(&all, None);
        assert_eq!((got, out.as_str()), (Some(code), ""), "{args}: {err}");
        assert!(err.contains(reason), "{args}: {err}");
    }
    let gone = cairn(&["top", "--pid", "4000000000"], None);
    assert_eq!(gone.0, Some(1));
    assert!(
        gone.2.starts_with("that server does not run here; there "),
        "{}",
        gone.2
    );
}

//! Figures, not facts. `CAIRN_BINARY` names a release build of the program:
//! `CAIRN_BINARY=target/release/cairn cargo test --test it figures -- --ignored --nocapture`.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::dns;

const SERVICES: usize = 10_000;
const ENDPOINTS_EACH: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// Services of which every tenth is headless, and one slice of ready endpoints each.
fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = (0..100).map(|n| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns{n}")}})
    }).collect();
    for n in 0..SERVICES {
        let (namespace, name) = (format!("ns{}", n % 100), format!("svc-{n}"));
        let ip = if n % 10 == 0 {
            "None".to_owned()
        } else {
            format!("10.96.{}.{}", 8 + n / 250, n % 250 + 1)
        };
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }));
        let endpoint = |k: usize| {
            let at = n * ENDPOINTS_EACH + k;
            json!({
                "addresses": [format!("10.{}.{}.{}", 128 + at / 62_500, at / 250 % 250, at % 250 + 1)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{}", at % 1000), "zone": format!("z{}", at % 3),
                "targetRef": {"kind": "Pod", "name": format!("{name}-{k}"), "namespace": namespace},
            })
        };
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": format!("{name}-x"), "labels": {"kubernetes.io/service-name": name}},
            "endpoints": (0..ENDPOINTS_EACH).map(endpoint).collect::<Vec<_>>(),
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }));
    }
    objects
}

fn binary() -> PathBuf {
    let named = std::env::var_os("CAIRN_BINARY").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cairn")));
    fs::canonicalize(binary).expect("the program has been built")
}

/// Starts the program on this source, waits until all is known, and prints what it took.
fn measure(what: &str, source: &str, folder: &Path) {
    let (dns_port, ready_port) = (super::program::free_port(), super::program::free_port());
    let stanza = format!("kubernetes cluster.local in-addr.arpa {{\n {source}\n pods insecure\n}}");
    let corefile =
        format!(".:{dns_port} {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready_port}\n {stanza}\n}}\n");
    fs::write(folder.join("Corefile"), corefile).unwrap();
    let began = Instant::now();
    let mut child = Command::new(binary())
        .args(["-conf", "Corefile"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, ready_port));
    while dns::try_http_body(ready, "/ready").as_deref() != Some("OK") {
        assert!(began.elapsed() < PATIENCE, "{what}: not ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    let name = format!(
        "svc-{}.ns{}.svc.cluster.local.",
        SERVICES - 1,
        (SERVICES - 1) % 100
    );
    let answer = dns::ask(
        SocketAddr::from((Ipv4Addr::LOCALHOST, dns_port)),
        &name,
        "A",
    );
    assert!(
        answer
            .as_ref()
            .is_some_and(|answer| answer.starts_with("NOERROR 10.96.")),
        "{what}: {answer:?}"
    );
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = |key: &str| {
        status
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned()
    };
    println!(
        "{what}: ready after {took:.2?}, peak {}, steady {}",
        line("VmHWM"),
        line("VmRSS")
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "measures memory and start; says nothing in a debug build"]
fn a_cluster_of_10_000_services_and_50_000_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let objects = objects();
    let file = folder.path().join("cluster.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    fs::write(&file, list.to_string()).unwrap();
    measure(
        "manifests",
        &format!("manifests {}", file.display()),
        folder.path(),
    );
    let api = ApiServer::start();
    for object in objects {
        api.apply(object);
    }
    measure(
        "fixture API",
        &format!("kubeconfig {} lab", api.kubeconfig().display()),
        folder.path(),
    );
}

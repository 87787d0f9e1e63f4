//! What an operator asks a running server: why a name is answered so, who asks most, what is kept.

use std::fmt::Display;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::program::{self, Cairn, free_port};
use crate::support::upstream::Upstream;

mod explain;
mod kept;
mod objects;
mod refused;
mod top;

/// Runs a subcommand: exit code, standard output, standard error.
fn cairn(args: &[&str], user: Option<u32>) -> (Option<i32>, String, String) {
    let mut command = program::command();
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
    let pid = server.id().to_string();
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

/// An upstream that has an address for every name below these.
fn upstream() -> Upstream {
    Upstream::start(
        "$ORIGIN .\n@ 3600 IN SOA ns.test. admin.test. 1 7200 1800 86400 30\n* 3600 IN A 192.0.2.1\n",
    )
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
    server.wait_for("no.svc.cluster.local.", "NXDOMAIN");
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

//! The server of a small cluster without its sockets, with the plugins that such servers have.

use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_dns::config::{self, Config};
use cairn_dns::corefile::{Location, Memory};
use cairn_dns::dns::Type;
use cairn_dns::generation::{Generation, Process};
use cairn_dns::server::in_place::InPlace;
use cairn_dns::telemetry::{
    lines::{Lines, LinesGuard},
    log::LogFormat,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const NAMESPACES: usize = 10;
/// As many as make it worth while to look ahead.
pub(crate) const SERVICES: usize = 600;
/// Every so many Services one is headless.
pub(crate) const HEADLESS_EVERY: usize = 10;
const ENDPOINTS_EACH: usize = 3;
/// Manifests are read in no time; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) in_place: InPlace,
    runtime: Runtime,
    _generation: Generation,
    _log: LinesGuard,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Serves a cluster that is made up, or that of the manifests which `CAIRN_MANIFESTS` names. `pods` is what the
    /// Corefile says of Pods, `more` another directive of it.
    pub(crate) fn new(pods: &str, more: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let manifests = std::env::var_os("CAIRN_MANIFESTS").map(PathBuf::from);
        let manifests = manifests.unwrap_or_else(|| {
            let path = folder.path().join("cluster.json");
            std::fs::write(&path, cluster().to_string()).unwrap();
            path
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (lines, log) = Lines::start(LogFormat::Text, io::sink()).unwrap();
        let process = Process::new(runtime.handle().clone(), lines);
        let config = config(&manifests, pods, more);
        let generation = {
            let _on = runtime.enter();
            Generation::build(config, &process, None).unwrap()
        };
        let router = generation.routers.values().next().unwrap().clone();
        let mut bench = Bench {
            in_place: InPlace::new(router, process.top.clone()),
            runtime,
            _generation: generation,
            _log: log,
            _folder: folder,
        };
        bench.wait_until_synced();
        bench
    }

    /// The reply, whatever it waits for.
    pub(crate) fn ask(&mut self, packet: &[u8]) -> &[u8] {
        self.runtime.block_on(self.in_place.answer_at_last(packet))
    }

    fn wait_until_synced(&mut self) {
        const SERVFAIL: u8 = 2;
        let began = Instant::now();
        // Each of another resource, of which there may be no such thing.
        for (name, rtype) in [
            ("such.svc.cluster.local.", Type::A),
            ("no.such.svc.cluster.local.", Type::A),
            ("1.2.0.192.in-addr.arpa.", Type::PTR),
            ("192-0-2-1.such.pod.cluster.local.", Type::A),
        ] {
            let packet = super::kinds::packet(name, rtype, false);
            while self.ask(&packet)[3] & 0xf == SERVFAIL {
                assert!(began.elapsed() < PATIENCE, "not synced");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn config(manifests: &Path, pods: &str, more: &str) -> Config {
    let corefile = format!(
        ".:53 {{
            errors
            loop
            loadbalance
            prometheus
            {more}
            kubernetes cluster.local in-addr.arpa ip6.arpa {{
                manifests {}
                pods {pods}
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }}
            forward . {}
            cache 3600
        }}",
        manifests.display(),
        upstream(),
    );
    let outside = Memory::new().file("Corefile", corefile);
    let loaded = config::load(&outside, &Location::Default, 53);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.config.unwrap()
}

/// A server that gives every name the same address for an hour; it ends with the process.
fn upstream() -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((_, client)) = socket.recv_from(&mut packet) {
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
    address
}

/// Services `web-N` in Namespaces `nsN`, each with ports, endpoints and their Pods.
fn cluster() -> Value {
    let namespace = |n: usize| format!("ns{}", n % NAMESPACES);
    let mut items: Vec<Value> = (0..NAMESPACES)
        .map(|n| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(n)}}))
        .collect();
    for n in 0..SERVICES {
        let metadata = json!({"namespace": namespace(n), "name": format!("web-{n}")});
        let ip = match n % HEADLESS_EVERY {
            0 => "None".to_owned(),
            _ => format!("10.96.9.{}", n + 1),
        };
        items.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [
                {"name": "http", "port": 80, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ]},
        }));
        let address = |k: usize| format!("10.128.{n}.{}", k + 1);
        let endpoint = |k: usize| {
            let mut endpoint = json!({"addresses": [address(k)], "conditions": {"ready": true}});
            if k == 0 {
                endpoint["hostname"] = format!("host-{n}").into();
            }
            endpoint
        };
        items.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": namespace(n), "name": format!("web-{n}-x"),
                "labels": {"kubernetes.io/service-name": format!("web-{n}")},
            },
            "endpoints": (0..ENDPOINTS_EACH).map(endpoint).collect::<Vec<_>>(),
            "ports": [
                {"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "dns", "port": 5353, "protocol": "UDP"},
            ],
        }));
        items.extend((0..ENDPOINTS_EACH).map(|k| {
            let ips = [address(k), format!("fd00::128:{n}:{}", k + 1)];
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace(n), "name": format!("web-{n}-{k}")},
                "status": {"phase": "Running", "podIP": ips[0], "podIPs": [{"ip": ips[0]}, {"ip": ips[1]}]},
            })
        }));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

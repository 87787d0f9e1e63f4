//! Clusters made from a seed, and what the servers are given of them: objects of the API, a zone file, local data.

use std::fmt::Write;
use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

pub(crate) const NAMESPACES: usize = 100;
/// Every so many services one is headless.
const HEADLESS_EVERY: usize = 10;
/// Endpoints in a slice, as the controller of Kubernetes has it.
const SLICE: usize = 100;
const WORDS: &[&str] = &[
    "api",
    "auth",
    "billing",
    "cart",
    "catalog",
    "checkout",
    "db",
    "gateway",
    "inventory",
    "ledger",
    "mail",
    "metrics",
    "orders",
    "payments",
    "postgres",
    "queue",
    "redis",
    "search",
    "session",
    "shipping",
    "users",
    "web",
    "worker",
];

pub(crate) struct Cluster {
    pub(crate) services: Vec<Service>,
}

pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `None`: headless.
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) endpoints: Vec<Endpoint>,
}

pub(crate) struct Endpoint {
    pub(crate) ip: Ipv4Addr,
    pub(crate) pod: String,
    node: usize,
}

impl Cluster {
    /// So many services with so many endpoints in all, spread evenly.
    pub(crate) fn new(seed: u64, services: usize, endpoints: usize) -> Cluster {
        let mut random = StdRng::seed_from_u64(seed);
        let mut made = 0;
        let service = |n: usize| {
            let word = |random: &mut StdRng| WORDS[random.random_range(0..WORDS.len())];
            let name = format!("{}-{}-{n}", word(&mut random), word(&mut random));
            let headless = n.is_multiple_of(HEADLESS_EVERY);
            let until = endpoints * (n + 1) / services;
            let of_service =
                (made..until).map(|at| Endpoint::new(&name, at, random.random::<u32>()));
            let endpoints = of_service.collect();
            made = until;
            Service {
                namespace: format!("ns{}", n % NAMESPACES),
                name,
                ip: (!headless).then(|| nth(Ipv4Addr::new(10, 96, 8, 0), n)),
                endpoints,
            }
        };
        Cluster {
            services: (0..services).map(service).collect(),
        }
    }

    /// Everything that the API server would list, pods only if asked for.
    pub(crate) fn objects(&self, with_pods: bool) -> impl Iterator<Item = Value> {
        let namespaces = (0..NAMESPACES).map(|n| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns{n}")}})
        });
        let of_services = self.services.iter().flat_map(move |service| {
            let pods = service.endpoints.iter().filter(move |_| with_pods);
            let pods = pods.map(|endpoint| endpoint.pod(&service.namespace));
            let slices = (0..service.endpoints.len().div_ceil(SLICE)).map(|at| service.slice(at));
            std::iter::once(service.object()).chain(slices).chain(pods)
        });
        namespaces.chain(of_services)
    }

    /// The records of the cluster zone and of its addresses, each on a line with its absolute owner.
    pub(crate) fn records(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for service in &self.services {
            service.records(&mut lines);
        }
        lines
    }
}

impl Service {
    /// The name that clients ask for, with a dot behind.
    pub(crate) fn dns_name(&self) -> String {
        format!("{}.{}.svc.cluster.local.", self.name, self.namespace)
    }

    pub(crate) fn object(&self) -> Value {
        let ip = self
            .ip
            .map_or_else(|| "None".to_owned(), |ip| ip.to_string());
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": self.namespace, "name": self.name, "labels": {"app": self.name}},
            "spec": {
                "clusterIP": ip, "clusterIPs": [ip], "selector": {"app": self.name},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            },
        })
    }

    /// One of the slices that its endpoints fill.
    pub(crate) fn slice(&self, at: usize) -> Value {
        let endpoints = self.endpoints.iter().skip(at * SLICE).take(SLICE);
        let endpoints = endpoints.map(|endpoint| {
            json!({
                "addresses": [endpoint.ip], "nodeName": format!("node-{}", endpoint.node),
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": endpoint.pod, "namespace": self.namespace},
            })
        });
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": self.namespace, "name": format!("{}-{at}", self.name),
                "labels": {
                    "kubernetes.io/service-name": self.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
            },
            "endpoints": endpoints.collect::<Vec<_>>(),
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        })
    }

    /// As the DNS specification of Kubernetes has them.
    fn records(&self, lines: &mut Vec<String>) {
        let name = self.dns_name();
        let port = format!("_http._tcp.{name}");
        if let Some(ip) = self.ip {
            let [a, b, c, d] = ip.octets();
            lines.push(format!("{name} 30 IN A {ip}"));
            lines.push(format!("{port} 30 IN SRV 0 100 80 {name}"));
            lines.push(format!("{d}.{c}.{b}.{a}.in-addr.arpa. 30 IN PTR {name}"));
            return;
        }
        for endpoint in &self.endpoints {
            let own = format!("{}.{name}", endpoint.ip.to_string().replace('.', "-"));
            lines.push(format!("{name} 30 IN A {}", endpoint.ip));
            lines.push(format!("{own} 30 IN A {}", endpoint.ip));
            lines.push(format!("{port} 30 IN SRV 0 100 8080 {own}"));
        }
    }
}

impl Endpoint {
    pub(crate) fn new(service: &str, at: usize, random: u32) -> Endpoint {
        Endpoint {
            ip: nth(Ipv4Addr::new(10, 128, 0, 0), at),
            pod: format!("{service}-{random:08x}"),
            node: at % 1000,
        }
    }

    fn pod(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": self.pod},
            "spec": {"nodeName": format!("node-{}", self.node), "containers": [{"name": "main", "image": "registry/main"}]},
            "status": {"phase": "Running", "podIP": self.ip, "podIPs": [{"ip": self.ip}]},
        })
    }
}

/// Addresses above `base` that neither end in 0 nor in 255.
fn nth(base: Ipv4Addr, n: usize) -> Ipv4Addr {
    let (net, host) = (n / 250, n % 250 + 1);
    Ipv4Addr::from(
        u32::from(base) + u32::try_from(net * 256 + host).expect("there are not so many"),
    )
}

/// A zone file of those records that belong to `zone`.
pub(crate) fn zone_file(zone: &str, records: &[String]) -> String {
    let mut text = format!(
        "{zone}. 30 IN SOA ns.dns.{zone}. hostmaster.{zone}. 1 7200 1800 86400 5\n{zone}. 30 IN NS ns.dns.{zone}.\n"
    );
    let suffix = format!(".{zone}.");
    let inside = |line: &&String| {
        line.split(' ')
            .next()
            .is_some_and(|owner| owner.ends_with(&suffix))
    };
    for line in records.iter().filter(inside) {
        let _ = writeln!(text, "{line}");
    }
    text
}

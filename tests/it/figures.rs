//! Figures, not facts. `CAIRN_BINARY` names a release build of the program:
//! `CAIRN_BINARY=target/release/cairn cargo test --test it figures:: -- --ignored --nocapture --test-threads 1`.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::{ApiServer, Fault, Verb};
use crate::support::dns;

const PATIENCE: Duration = Duration::from_secs(60);

/// How large a cluster is. Every tenth Service is headless; each has one slice of ready endpoints, each its Pod.
#[derive(Clone, Copy)]
struct Shape {
    services: usize,
    endpoints: usize,
    pods: bool,
}

const LARGE: Shape = Shape {
    services: 10_000,
    endpoints: 50_000,
    pods: false,
};

fn namespace_of(service: usize) -> String {
    format!("ns{}", service % 100)
}

fn name_of(service: usize) -> String {
    format!("svc-{service}.{}.svc.cluster.local.", namespace_of(service))
}

fn endpoint_ip(at: usize) -> String {
    format!(
        "10.{}.{}.{}",
        128 + at / 62_500,
        at / 250 % 250,
        at % 250 + 1
    )
}

fn slice(service: usize, ips: &[String]) -> Value {
    let (namespace, name) = (namespace_of(service), format!("svc-{service}"));
    let endpoint = |(k, ip): (usize, &String)| {
        json!({
            "addresses": [ip],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", k * 7 % 1000), "zone": format!("z{}", k % 3),
            "targetRef": {"kind": "Pod", "name": format!("{name}-{k}"), "namespace": namespace},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": format!("{name}-x"), "labels": {"kubernetes.io/service-name": name}},
        "endpoints": ips.iter().enumerate().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

impl Shape {
    fn objects(self) -> impl Iterator<Item = Value> {
        let namespaces = (0..100).map(|n| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns{n}")}})
        });
        namespaces.chain((0..self.services).flat_map(move |n| self.of_service(n)))
    }

    fn of_service(self, n: usize) -> Vec<Value> {
        let (namespace, name) = (namespace_of(n), format!("svc-{n}"));
        let ip = match n % 10 {
            0 => "None".to_owned(),
            _ => format!("10.{}.{}.{}", 96 + n / 62_500, n / 250 % 250, n % 250 + 1),
        };
        let at = |n: usize| n * self.endpoints / self.services;
        let ips: Vec<String> = (at(n)..at(n + 1)).map(endpoint_ip).collect();
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        });
        let mut objects = vec![service, slice(n, &ips)];
        if self.pods {
            objects.extend(ips.iter().enumerate().map(|(k, ip)| {
                json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"namespace": namespace, "name": format!("{name}-{k}"), "labels": {"app": name}},
                    "spec": {"containers": [{"name": "c", "image": "x"}], "nodeName": format!("node-{k}")},
                    "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
                })
            }));
        }
        objects
    }

    fn stanza(self, source: &str) -> String {
        let pods = if self.pods { "verified" } else { "insecure" };
        format!("kubernetes cluster.local in-addr.arpa {{\n {source}\n pods {pods}\n}}")
    }
}

fn binary() -> PathBuf {
    let named = std::env::var_os("CAIRN_BINARY").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cairn")));
    fs::canonicalize(binary).expect("the program has been built")
}

/// The program as an operator runs it; it ends with the handle.
struct Program {
    child: Child,
    dns: SocketAddr,
    ready: SocketAddr,
    began: Instant,
}

impl Program {
    fn start(stanzas: &str, folder: &Path) -> Program {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (dns, ready) = (super::program::free_port(), super::program::free_port());
        let corefile =
            format!(".:{dns} {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready}\n {stanzas}\n}}\n");
        fs::write(folder.join("Corefile"), corefile).unwrap();
        let began = Instant::now();
        let child = Command::new(binary())
            .args(["-conf", "Corefile"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Program {
            child,
            dns: on(dns),
            ready: on(ready),
            began,
        }
    }

    /// Time from exec until this is the answer.
    fn answered(&self, name: &str, is: impl Fn(&str) -> bool) -> Duration {
        loop {
            if dns::ask(self.dns, name, "A").is_some_and(|answer| is(&answer)) {
                return self.began.elapsed();
            }
            assert!(self.began.elapsed() < PATIENCE, "{name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_until_ready(&self) -> Duration {
        while dns::try_http_body(self.ready, "/ready").as_deref() != Some("OK") {
            assert!(self.began.elapsed() < PATIENCE, "not ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        self.began.elapsed()
    }

    /// Peak and steady RSS in MB.
    fn memory(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let megabytes = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            let kilobytes = line.split_whitespace().nth(1).unwrap();
            kilobytes.parse::<f64>().unwrap() / 1024.0
        };
        (megabytes("VmHWM"), megabytes("VmRSS"))
    }

    /// Peaks before this count no more.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Starts the program on this source, waits until all is known, and prints what it took.
fn measure(what: &str, shape: Shape, source: &str, folder: &Path) -> Program {
    let program = Program::start(&shape.stanza(source), folder);
    let first = program.answered(&name_of(1), |answer| answer.starts_with("NOERROR 10.96."));
    let ready = program.wait_until_ready();
    let (peak, steady) = program.memory();
    let Shape {
        services,
        endpoints,
        pods,
    } = shape;
    println!(
        "{services} Services, {endpoints} endpoints{}, {what}: first answer after {first:.2?}, ready after {ready:.2?}, \
         peak {peak:.1} MB, steady {steady:.1} MB",
        if pods { " with verified Pods" } else { "" }
    );
    program
}

fn from_manifests(shape: Shape) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.json");
    let items: Vec<Value> = shape.objects().collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    fs::write(&file, list.to_string()).unwrap();
    let source = format!("manifests {}", file.display());
    measure("manifests", shape, &source, folder.path());
}

fn filled(shape: Shape) -> ApiServer {
    let api = ApiServer::start();
    for object in shape.objects() {
        api.apply(object);
    }
    api
}

/// From the fixture API, and then listed anew.
fn from_api(shape: Shape) {
    let folder = tempfile::tempdir().unwrap();
    let api = filled(shape);
    let source = format!("kubeconfig {} lab", api.kubeconfig().display());
    let program = measure("fixture API", shape, &source, folder.path());
    program.forget_peak();
    let resources = ["services", "endpointslices", "pods"];
    let resources = &resources[..if shape.pods { 3 } else { 2 }];
    api.compact();
    for resource in resources {
        api.clear_requests();
        api.expire_watches(resource);
        let listed = || api.count(resource, Verb::List) + api.count(resource, Verb::Watch) > 0;
        let deadline = Instant::now() + PATIENCE;
        while !listed() || api.open_watches(resource) == 0 {
            assert!(Instant::now() < deadline, "{resource} are not listed anew");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // A list in the form of a watch does not say here when it has come whole.
    std::thread::sleep(Duration::from_secs(3));
    let (peak, steady) = program.memory();
    println!("  all listed anew: peak {peak:.1} MB, steady {steady:.1} MB");
}

#[test]
#[ignore = "measures memory and start; says nothing in a debug build"]
fn a_cluster_of_10_000_services_and_50_000_endpoints() {
    from_manifests(LARGE);
    from_api(LARGE);
}

#[test]
#[ignore = "measures memory and start; says nothing in a debug build"]
fn a_cluster_of_50_000_verified_pods() {
    let shape = Shape {
        pods: true,
        ..LARGE
    };
    from_manifests(shape);
    from_api(shape);
}

#[test]
#[ignore = "measures memory and start; says nothing in a debug build"]
fn clusters_of_150_000_and_250_000_endpoints() {
    for (services, endpoints) in [(10_000, 150_000), (20_000, 250_000)] {
        let shape = Shape {
            services,
            endpoints,
            pods: false,
        };
        from_manifests(shape);
        from_api(shape);
    }
}

#[test]
#[ignore = "measures time; says nothing in a debug build"]
fn a_start_beside_an_api_server_that_is_silent() {
    let upstream = crate::support::upstream::Upstream::start(
        "$ORIGIN net.test.\n@ 60 IN SOA dns.net.test. admin.net.test. 1 7200 1800 86400 30\nwww 60 IN A 192.0.2.80\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let api = ApiServer::start();
    api.inject(Fault::hold().always());
    let source = format!("kubeconfig {} lab", api.kubeconfig().display());
    let stanzas = LARGE.stanza(&source) + &format!("\n forward . {}", upstream.address());
    let program = Program::start(&stanzas, folder.path());
    let took = program.answered("www.net.test.", |answer| answer == "NOERROR 192.0.2.80");
    println!("a name outside is answered {took:.2?} after exec");
}

/// Changes the only endpoint of headless Services, so many a second, and asks for each twentieth until it is answered.
fn changes(api: &ApiServer, program: &Program, a_second: u32) {
    let every = Duration::from_secs(1) / a_second;
    let sampled = if a_second > 100 { 20 } else { 1 };
    let began = Instant::now();
    let mut took = Vec::new();
    for n in 0..a_second * 10 {
        if let Some(early) = (began + every * n).checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let service = n as usize % 1000 * 10;
        let ip = format!("172.16.{}.{}", n / 250 % 250, n % 250 + 1);
        api.apply(slice(service, std::slice::from_ref(&ip)));
        if n % sampled > 0 {
            continue;
        }
        let committed = Instant::now();
        while dns::ask(program.dns, &name_of(service), "A") != Some(format!("NOERROR {ip}")) {
            assert!(committed.elapsed() < PATIENCE, "{ip} is never answered");
        }
        took.push(committed.elapsed());
    }
    let lasted = began.elapsed().as_secs_f64();
    took.sort();
    println!(
        "{:.0} changes a second: answered after {:.2?} (median), {:.2?} (99 of 100), {:.2?} (longest) of {}",
        f64::from(a_second * 10) / lasted,
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
        took.len(),
    );
}

#[test]
#[ignore = "measures time; says nothing in a debug build"]
fn changes_in_a_cluster_of_50_000_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let api = filled(LARGE);
    let source = format!("kubeconfig {} lab", api.kubeconfig().display());
    let program = measure("fixture API", LARGE, &source, folder.path());
    for a_second in [20, 1000] {
        changes(&api, &program, a_second);
    }
}

//! A small cluster that changes: Services that come and go, endpoints that start, end and are moved between slices,
//! Services that become another kind, Pods. What becomes true is told to the oracle first, then to the API server.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::oracle::Oracle;
use crate::support::apiserver::ApiServer;

/// Services that have a cluster IP, or are gone.
const PLAIN: usize = 8;
/// Headless Services, whose endpoints come, go and move.
const HEADLESS: usize = 3;
/// Slices of each of them.
const SLICES: usize = 3;
/// Endpoints that each has at most: 29 addresses fit into the 512 octets of an answer without EDNS (RFC 1035, 4.2.1),
/// and what a truncated answer leaves out would look like an endpoint that is not known. What a list
/// leaves out is held for some seconds, beside those that there are.
const ENDPOINTS_MAX: usize = 8;
/// Services that become another kind.
const FLIPPING: usize = 2;
/// Pods that are there or not.
const PODS: usize = 4;

/// Milliseconds between the two writes of a move, at most: some reach the server as one, most do not.
const APART_MAX: u64 = 30;

const ANCHOR: &str = "anchor.demo.svc.cluster.local.";

/// The cluster as it is.
pub(super) struct Life {
    api: ApiServer,
    oracle: Arc<Oracle>,
    random: StdRng,
    /// The next cluster IP, of 10.96.0.0/16.
    next_ip: u16,
    plain: [bool; PLAIN],
    headless: [Headless; HEADLESS],
    pods: [bool; PODS],
}

/// The endpoints of a headless Service, by slice.
struct Headless {
    name: String,
    /// The next address, of 10.N.0.0/16.
    next_ip: u16,
    network: u8,
    slices: [BTreeSet<Ipv4Addr>; SLICES],
}

fn service_name(name: &str) -> String {
    format!("{name}.demo.svc.cluster.local.")
}

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["ports"] = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "demo", "name": name}, "spec": spec,
    })
}

pub(super) fn slice(
    service: &str,
    number: usize,
    ready: &BTreeSet<Ipv4Addr>,
    ending: Option<Ipv4Addr>,
) -> Value {
    let ready = ready
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}));
    let ending = ending.iter().map(|ip| {
        json!({"addresses": [ip], "conditions": {"ready": false, "serving": true, "terminating": true}})
    });
    let endpoints: Vec<Value> = ready.chain(ending).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "demo", "name": format!("{service}-{number}"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": endpoints, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

impl Life {
    /// Fills `api`.
    pub(super) fn begin(api: ApiServer, oracle: Arc<Oracle>, seed: u64) -> Life {
        let headless = std::array::from_fn(|number| Headless {
            name: format!("set-{number}"),
            next_ip: 1,
            network: u8::try_from(number).expect("there are few") + 1,
            slices: Default::default(),
        });
        let mut life = Life {
            api,
            oracle,
            random: StdRng::seed_from_u64(seed),
            next_ip: 1,
            plain: [false; PLAIN],
            headless,
            pods: [false; PODS],
        };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
        life.api.apply(namespace);
        life.set_cluster_ip("anchor");
        (0..PLAIN).for_each(|number| life.replace_plain(number));
        (0..PODS).for_each(|number| life.toggle_pod(number));
        (0..FLIPPING).for_each(|number| life.begin_flipping(number));
        for number in 0..HEADLESS {
            let name = life.headless[number].name.clone();
            life.api
                .apply(service(&name, &json!({"clusterIP": "None"})));
            (0..2 * SLICES).for_each(|_| life.join(number));
        }
        life
    }

    /// Changes something.
    pub(super) fn change(&mut self) {
        match self.random.random_range(0..12) {
            0 | 1 => {
                let number = self.random.random_range(0..PLAIN);
                self.replace_plain(number);
            }
            2 => {
                let number = self.random.random_range(0..PLAIN);
                self.end_plain(number);
            }
            3 => {
                let number = self.random.random_range(0..PODS);
                self.toggle_pod(number);
            }
            4 => {
                let number = self.random.random_range(0..FLIPPING);
                self.flip(number);
            }
            5 | 6 => {
                let number = self.random.random_range(0..HEADLESS);
                self.join(number);
            }
            7 | 8 => {
                let number = self.random.random_range(0..HEADLESS);
                self.leave(number);
            }
            _ => {
                let number = self.random.random_range(0..HEADLESS);
                self.repack(number);
            }
        }
    }

    fn set_cluster_ip(&mut self, name: &str) {
        let [high, low] = self.next_ip.to_be_bytes();
        let ip = Ipv4Addr::new(10, 96, high, low);
        self.next_ip += 1;
        self.oracle
            .becomes(&service_name(name), format!("NOERROR {ip}"));
        self.api
            .apply(service(name, &json!({"clusterIP": ip, "clusterIPs": [ip]})));
    }

    fn replace_plain(&mut self, number: usize) {
        self.set_cluster_ip(&format!("plain-{number}"));
        self.plain[number] = true;
    }

    fn end_plain(&mut self, number: usize) {
        if std::mem::take(&mut self.plain[number]) {
            let name = format!("plain-{number}");
            self.oracle
                .becomes(&service_name(&name), "NXDOMAIN".to_owned());
            self.api.delete("services", "demo", &name);
        }
    }

    fn toggle_pod(&mut self, number: usize) {
        let (name, ip) = (format!("pod-{number}"), format!("10.200.0.{}", number + 1));
        let asked = format!("{}.demo.pod.cluster.local.", ip.replace('.', "-"));
        self.pods[number] = !self.pods[number];
        if self.pods[number] {
            self.oracle.becomes(&asked, format!("NOERROR {ip}"));
            self.api.apply(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "demo", "name": name},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
            }));
        } else {
            self.oracle.becomes(&asked, "NXDOMAIN".to_owned());
            self.api.delete("pods", "demo", &name);
        }
    }

    /// A Service with endpoints that stay, so that the Service alone says what is answered.
    fn begin_flipping(&mut self, number: usize) {
        let name = format!("flip-{number}");
        let ips = BTreeSet::from([flipping_endpoint(number)]);
        self.api.apply(slice(&name, 0, &ips, None));
        self.flip(number);
    }

    fn flip(&mut self, number: usize) {
        let name = format!("flip-{number}");
        match self.random.random_range(0..3) {
            0 => self.set_cluster_ip(&name),
            1 => {
                let ip = flipping_endpoint(number);
                self.oracle
                    .becomes(&service_name(&name), format!("NOERROR {ip}"));
                self.api
                    .apply(service(&name, &json!({"clusterIP": "None"})));
            }
            _ => {
                // The first of all cluster IPs is the anchor's.
                let answer = format!("NOERROR 10.96.0.1 {ANCHOR}");
                self.oracle.becomes(&service_name(&name), answer);
                let spec = json!({"type": "ExternalName", "externalName": ANCHOR});
                self.api.apply(service(&name, &spec));
            }
        }
    }

    /// An endpoint becomes ready; where there are too many, another ends first.
    fn join(&mut self, number: usize) {
        let endpoints: usize = self.headless[number].slices.iter().map(BTreeSet::len).sum();
        if endpoints == ENDPOINTS_MAX {
            self.leave(number);
        }
        let at = self.random.random_range(0..SLICES);
        let set = &mut self.headless[number];
        let [high, low] = set.next_ip.to_be_bytes();
        let ip = Ipv4Addr::new(10, set.network, high, low);
        set.next_ip += 1;
        set.slices[at].insert(ip);
        self.oracle.has(&service_name(&set.name), ip, true);
        self.api.apply(slice(&set.name, at, &set.slices[at], None));
    }

    /// An endpoint ends: it is told to be terminating, then it is gone from all slices.
    fn leave(&mut self, number: usize) {
        let set = &mut self.headless[number];
        let all: BTreeSet<Ipv4Addr> = set.slices.iter().flatten().copied().collect();
        let Some(ip) = all.iter().copied().choose(&mut self.random) else {
            return;
        };
        let holding: Vec<usize> = (0..SLICES)
            .filter(|at| set.slices[*at].contains(&ip))
            .collect();
        self.oracle.has(&service_name(&set.name), ip, false);
        for ending in [Some(ip), None] {
            for at in &holding {
                set.slices[*at].remove(&ip);
                self.api
                    .apply(slice(&set.name, *at, &set.slices[*at], ending));
            }
        }
    }

    /// An endpoint that lives is moved to another slice, in writes of their own, in either order.
    fn repack(&mut self, number: usize) {
        let gap_first = self.random.random_bool(0.5);
        let set = &mut self.headless[number];
        let from = self.random.random_range(0..SLICES);
        let to = (from + self.random.random_range(1..SLICES)) % SLICES;
        let Some(ip) = set.slices[from].iter().copied().choose(&mut self.random) else {
            return;
        };
        set.slices[from].remove(&ip);
        set.slices[to].insert(ip);
        let order = if gap_first { [from, to] } else { [to, from] };
        let apart = Duration::from_millis(self.random.random_range(0..APART_MAX));
        for (at, wait) in order.into_iter().zip([Duration::ZERO, apart]) {
            std::thread::sleep(wait);
            self.api.apply(slice(&set.name, at, &set.slices[at], None));
        }
    }
}

fn flipping_endpoint(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number).expect("there are few") + 1;
    Ipv4Addr::new(10, 100, 0, last)
}

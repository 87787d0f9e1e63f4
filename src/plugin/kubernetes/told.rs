//! What a cluster knows about a name, in words, for a query that is traced: what was looked up, and where it ended.
//!
//! It goes the way of [`find`](super::find) once more, with the same functions on the same view, and says at each turn
//! what is there. What is decided stays with `find`; here nothing is.

use std::fmt::Write;
use std::net::IpAddr;

use super::find::{Ports, Selection};
use super::name::{KubeName, Part, is_canonical, pod_address};
use super::{Asking, Kubernetes, Pods, alias};
use crate::cluster::object::{Port, Resource};
use crate::cluster::records::{ServiceKey, ServiceKind, ServiceRecords};
use crate::dns::name::Labels;
use crate::dns::{Name, Query, Type, Verdict, reverse};

/// Things of a kind that are named before the rest is counted.
const NAMED_MAX: usize = 8;

impl Kubernetes {
    /// Notes what is known about the name that is asked for.
    #[cold]
    pub(super) fn tell(&self, query: &Query, asking: &Asking<'_>) {
        let note = |words: String| query.note("kubernetes", Verdict::Looks, || words);
        let unsynced: Vec<&Resource> = self
            .resources
            .iter()
            .filter(|resource| !asking.view.is_synced(**resource))
            .collect();
        if !unsynced.is_empty() {
            let reasons = self.not_ready();
            note(format!(
                "the cluster is not known whole: {}",
                reasons.join("; ")
            ));
        }
        let name = &query.question.name;
        if asking.is_name_server(query) {
            note("a name server of the zone".to_owned());
        } else {
            asking.tell_names(query.question.rtype, name, &note);
        }
        if self.options.fallthrough.contains(name) {
            note("fallthrough: what does not exist goes to the next plugin".to_owned());
        }
    }
}

impl Asking<'_> {
    /// What is known about a name of the zone, and about those that it is an alias of, where these are asked for too.
    fn tell_names(&self, rtype: Type, name: &Name, note: &dyn Fn(String)) {
        let leads_on = matches!(rtype, Type::A | Type::AAAA);
        for (name, zone_at) in alias::chain(self.options, self.view, name) {
            if !self.tell_name(rtype, &name, zone_at, note) || !leads_on {
                return;
            }
        }
    }

    /// Says whether what the name is an alias of, if it is one, is told of.
    fn tell_name(&self, rtype: Type, name: &Name, zone_at: usize, note: &dyn Fn(String)) -> bool {
        if reverse::is_reverse(name) {
            match reverse::address(name) {
                Some(ip) if rtype == Type::PTR => self.tell_address(ip, note),
                Some(ip) => note(format!("the name of address {ip}, which has PTR alone")),
                None => note("a part of a reverse zone".to_owned()),
            }
            return false;
        }
        match KubeName::parse(name, zone_at) {
            KubeName::Node if zone_at == 0 => note("the zone itself".to_owned()),
            KubeName::Node => note("a name that only has names below it".to_owned()),
            KubeName::Invalid => note(
                "no name that a Service, a Pod or a Namespace of this zone can have".to_owned(),
            ),
            KubeName::Namespace { namespace, of_pods } => {
                if of_pods && self.options.pods == Pods::Disabled {
                    note("pods disabled: no names of Pods".to_owned());
                } else {
                    self.tell_namespace(namespace, note);
                }
            }
            KubeName::Pod {
                namespace, address, ..
            } => self.tell_pod(namespace, address, note),
            KubeName::Service {
                key,
                namespace,
                part,
            } => {
                if self.tell_namespace_around(namespace, note) {
                    self.tell_service(key, part, note);
                    return true;
                }
            }
        }
        false
    }

    /// Says whether its names are told of.
    fn tell_namespace(&self, namespace: &[u8], note: &dyn Fn(String)) -> bool {
        let exposed = self.find_namespace(namespace).is_ok();
        self.note_namespace(namespace, exposed, note);
        exposed
    }

    /// Says whether what is in it is told of.
    fn tell_namespace_around(&self, namespace: &[u8], note: &dyn Fn(String)) -> bool {
        let exposed = self.may_tell(namespace).is_ok();
        self.note_namespace(namespace, exposed, note);
        exposed
    }

    fn note_namespace(&self, namespace: &[u8], exposed: bool, note: &dyn Fn(String)) {
        let name = text(namespace);
        note(if exposed && !self.view.has_namespace(namespace) {
            format!("Namespace {name} is not known, but what is in it may be")
        } else if exposed {
            format!("Namespace {name} exists")
        } else if !self.view.has_namespace(namespace) {
            let selected = if self.options.namespaces_selected {
                ", or namespace_labels leaves it out"
            } else {
                ""
            };
            format!("no Namespace {name}{selected}")
        } else {
            format!("Namespace {name} exists, but is not among those of `namespaces`")
        });
    }

    fn tell_pod(&self, namespace: &[u8], address: &[u8], note: &dyn Fn(String)) {
        if self.options.pods == Pods::Disabled {
            return note("pods disabled: no names of Pods".to_owned());
        }
        let exposed = match self.options.pods {
            Pods::Verified => self.tell_namespace_around(namespace, note),
            Pods::Insecure | Pods::Disabled => self.tell_namespace(namespace, note),
        };
        if !exposed {
            return;
        }
        let Some(ip) = pod_address(address) else {
            return note(format!("no address: {}", escaped(address)));
        };
        note(match self.options.pods {
            Pods::Verified if !self.view.has_pod(ip, namespace) => {
                format!("no Pod of Namespace {} has address {ip}", text(namespace))
            }
            Pods::Verified if !is_canonical(ip, address) => {
                format!("a Pod has address {ip}, but it is spelled in another way")
            }
            Pods::Verified => format!("a Pod of Namespace {} has address {ip}", text(namespace)),
            Pods::Insecure | Pods::Disabled => {
                format!("pods insecure: {ip} is not looked for among the Pods")
            }
        });
    }

    fn tell_service(&self, key: &[u8], part: Part<'_>, note: &dyn Fn(String)) {
        let name = service_name(key);
        let Some(service) = self.view.service(key) else {
            return note(format!("no Service {name}"));
        };
        note(format!("Service {name}: {}", kind(service)));
        let needs_endpoints = match service.kind() {
            ServiceKind::ExternalName(_) => false,
            ServiceKind::Headless => true,
            ServiceKind::ClusterIps(_) => {
                self.options.ignore_empty_service || matches!(part, Part::Endpoint(_))
            }
        };
        if needs_endpoints {
            self.tell_endpoints(key, note);
        }
        self.tell_part(service, key, part, note);
    }

    fn tell_endpoints(&self, key: &[u8], note: &dyn Fn(String)) {
        if self.options.no_endpoints {
            return note("noendpoints: endpoints are not known".to_owned());
        }
        let Some(set) = self.endpoints(key) else {
            return note("it has no EndpointSlice".to_owned());
        };
        let slices = set.slices().len();
        let ready: usize = set
            .slices()
            .iter()
            .map(|slice| slice.endpoints().count())
            .sum();
        let empty = if ready == 0 && self.options.ignore_empty_service {
            "; ignore empty_service: as if it did not exist"
        } else {
            ""
        };
        note(format!(
            "{} with {} that {} ready{empty}",
            count(slices, "EndpointSlice"),
            count(ready, "address"),
            if ready == 1 { "is" } else { "are" },
        ));
    }

    fn tell_part(
        &self,
        service: &ServiceRecords,
        key: &[u8],
        part: Part<'_>,
        note: &dyn Fn(String),
    ) {
        if let (ServiceKind::ExternalName(_), Part::Port { .. } | Part::Endpoint(_)) =
            (service.kind(), part)
        {
            return note("an ExternalName has no names below its own".to_owned());
        }
        match part {
            Part::Whole => {}
            Part::Port { port, protocol } => {
                let ports = Ports::named(port, protocol);
                let is_there = match service.kind() {
                    ServiceKind::ClusterIps(_) => ports.of(service.ports()).next().is_some(),
                    ServiceKind::Headless | ServiceKind::ExternalName(_) => {
                        let slices = self.endpoints(key).into_iter().flat_map(|set| set.slices());
                        slices
                            .into_iter()
                            .any(|slice| ports.of(slice.ports()).next().is_some())
                    }
                };
                note(format!(
                    "{} port {} with protocol {}",
                    if is_there { "it has a" } else { "it has no" },
                    or_any(port),
                    or_any(protocol),
                ));
            }
            Part::Endpoint(host) => {
                let selection = Selection::of_host(host, self.options.endpoint_pod_names);
                let endpoints = self.endpoints(key);
                let named = endpoints.map_or(0, |set| selection.of(set).count());
                let is = if named == 1 { "is" } else { "are" };
                note(format!(
                    "{} of them {is} named {}",
                    if named == 0 {
                        "none".to_owned()
                    } else {
                        named.to_string()
                    },
                    text(host)
                ));
            }
        }
    }

    fn tell_address(&self, ip: IpAddr, note: &dyn Fn(String)) {
        if let Some(key) = self.view.cluster_ip_owner(ip) {
            return note(format!(
                "{ip} is a cluster IP of Service {}",
                service_name(key)
            ));
        }
        let owners: Vec<&ServiceKey> = self.view.endpoint_owners(ip).collect();
        if self.options.no_endpoints || owners.is_empty() {
            return note(format!("{ip} is of no Service and no endpoint"));
        }
        let names = owners.iter().map(|key| service_name(key)).collect();
        note(format!(
            "{ip} is an endpoint of Service {}",
            listed(names, ", ")
        ));
    }
}

/// How a Service is answered.
fn kind(service: &ServiceRecords) -> String {
    let ports = service.ports().iter().map(port).collect::<Vec<_>>();
    let ports = match ports.is_empty() {
        true => String::new(),
        false => format!("; ports {}", listed(ports, ", ")),
    };
    match service.kind() {
        ServiceKind::ClusterIps(ips) if ips.is_empty() => format!("without an address{ports}"),
        ServiceKind::ClusterIps(ips) => {
            let ips = ips.iter().map(|ip| ip.to_string()).collect();
            format!("cluster IP {}{ports}", listed(ips, ", "))
        }
        ServiceKind::Headless => format!("headless{ports}"),
        ServiceKind::ExternalName(Some(target)) => {
            let target = Name::join(target, &Name::root()).unwrap_or_default();
            format!("ExternalName {target}")
        }
        ServiceKind::ExternalName(None) => {
            "ExternalName whose target is no name, which is not answered".to_owned()
        }
    }
}

fn port(port: &Port) -> String {
    let mut text = String::new();
    if !port.name.is_empty() {
        let _ = write!(text, "{} ", port.name);
    }
    if let Some(number) = port.number {
        let _ = write!(text, "{number}/");
    }
    text + &port.protocol.as_str().to_ascii_uppercase()
}

fn listed(mut words: Vec<String>, separator: &str) -> String {
    if words.len() > NAMED_MAX {
        let more = words.len() - NAMED_MAX;
        words.truncate(NAMED_MAX);
        words.push(format!("and {more} more"));
    }
    words.join(separator)
}

fn count(number: usize, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        _ if of.ends_with('s') => format!("{number} {of}es"),
        _ => format!("{number} {of}s"),
    }
}

/// Labels in wire form as text, without a dot behind them.
fn text(labels: &[u8]) -> String {
    let words = Labels::of(labels).map(escaped).collect::<Vec<_>>();
    words.join(".")
}

/// The labels of a Service and its Namespace as `kubectl` writes them: the Namespace first.
pub(super) fn service_name(key: &[u8]) -> String {
    let mut labels: Vec<String> = Labels::of(key).map(escaped).collect();
    labels.reverse();
    labels.join("/")
}

/// The octets of one label as text.
fn escaped(label: &[u8]) -> String {
    let mut wire = vec![label.len() as u8];
    wire.extend_from_slice(label);
    let name = Name::join(&wire, &Name::root()).unwrap_or_default();
    let text = name.to_string();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn or_any(label: &[u8]) -> String {
    if label.is_empty() {
        "(any)".to_owned()
    } else {
        escaped(label)
    }
}

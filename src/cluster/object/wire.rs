//! Objects as the API writes them, and their way into the types of `object`.
//!
//! Every field is optional, because JSON of the API and hand-written YAML leave out or set to `null` what is empty.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{
    Address, Endpoint, EndpointSlice, Exposure, Fault, Labels, Metadata, Namespace, Object, Pod,
    Port, Protocol, Resource, Service, Wrong,
};

const LAST_CHANGE_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Where kubectl puts an object whose manifest names no namespace.
const NAMESPACE_DEFAULT: &str = "default";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct MetaWire {
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<LabelMap>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IdentityWire {
    metadata: Option<MetaWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceWire {
    metadata: Option<MetaWire>,
    spec: Option<ServiceSpecWire>,
    status: Option<ServiceStatusWire>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ServiceSpecWire {
    r#type: Option<Box<str>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<Box<str>>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<Box<str>>>,
    external_name: Option<Box<str>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<Box<str>>>,
    ports: Option<Vec<PortWire>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ServiceStatusWire {
    load_balancer: Option<LoadBalancerWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LoadBalancerWire {
    ingress: Option<Vec<IngressWire>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IngressWire {
    ip: Option<Box<str>>,
    hostname: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortWire {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    port: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SliceWire {
    metadata: Option<MetaWire>,
    address_type: Option<Box<str>>,
    endpoints: Option<Vec<EndpointWire>>,
    ports: Option<Vec<PortWire>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct EndpointWire {
    addresses: Option<Vec<Box<str>>>,
    conditions: Option<ConditionsWire>,
    hostname: Option<Box<str>>,
    target_ref: Option<TargetWire>,
    zone: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionsWire {
    ready: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TargetWire {
    name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodWire {
    metadata: Option<MetaWire>,
    status: Option<PodStatusWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatusWire {
    phase: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIpWire>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodIpWire {
    ip: Option<Box<str>>,
}

/// All labels; a `null` value is an empty one, as Go reads it.
struct LabelMap(Labels);

/// The one annotation that we read; the others (kubectl's copy of the whole object among them) are not kept for a moment.
struct Annotations {
    last_change: Option<Box<str>>,
}

/// The outer error is of the text, the inner one of the object.
pub(super) fn read<'de, D: Deserializer<'de>>(
    resource: Resource,
    deserializer: D,
) -> Result<Result<Object, Fault>, D::Error> {
    Ok(match resource {
        Resource::Services => service(ServiceWire::deserialize(deserializer)?),
        Resource::EndpointSlices => slice(SliceWire::deserialize(deserializer)?),
        Resource::Pods => pod(PodWire::deserialize(deserializer)?),
        Resource::Namespaces => read_identity(resource, deserializer)?
            .map(|metadata| Object::Namespace(Namespace { metadata })),
    })
}

pub(super) fn read_identity<'de, D: Deserializer<'de>>(
    resource: Resource,
    deserializer: D,
) -> Result<Result<Metadata, Fault>, D::Error> {
    let wire = IdentityWire::deserialize(deserializer)?;
    Ok(metadata(resource, wire.metadata))
}

fn service(wire: ServiceWire) -> Result<Object, Fault> {
    let metadata = metadata(Resource::Services, wire.metadata)?;
    match exposed(wire.spec.unwrap_or_default(), wire.status) {
        Ok((exposure, ports, external)) => Ok(Object::Service(Service {
            metadata,
            exposure,
            ports,
            external,
        })),
        Err(what) => Err(fault(Resource::Services, metadata, what)),
    }
}

fn slice(mut wire: SliceWire) -> Result<Object, Fault> {
    let last_change = wire.metadata.as_mut().and_then(last_change);
    let metadata = metadata(Resource::EndpointSlices, wire.metadata)?;
    match endpoints(wire.address_type, wire.endpoints, wire.ports) {
        Ok((endpoints, ports)) => Ok(Object::EndpointSlice(EndpointSlice {
            metadata,
            endpoints,
            ports,
            last_change,
        })),
        Err(what) => Err(fault(Resource::EndpointSlices, metadata, what)),
    }
}

fn pod(wire: PodWire) -> Result<Object, Fault> {
    let metadata = metadata(Resource::Pods, wire.metadata)?;
    match addresses(wire.status.unwrap_or_default()) {
        Ok((ips, ended)) => Ok(Object::Pod(Pod {
            metadata,
            ips,
            ended,
        })),
        Err(what) => Err(fault(Resource::Pods, metadata, what)),
    }
}

fn fault(resource: Resource, metadata: Metadata, what: Wrong) -> Fault {
    Fault {
        resource,
        namespace: metadata.namespace,
        name: metadata.name,
        what,
    }
}

fn metadata(resource: Resource, wire: Option<MetaWire>) -> Result<Metadata, Fault> {
    let wire = wire.unwrap_or_default();
    let namespace = match resource {
        Resource::Namespaces => Box::default(),
        Resource::Services | Resource::EndpointSlices | Resource::Pods => {
            filled(wire.namespace).unwrap_or_else(|| NAMESPACE_DEFAULT.into())
        }
    };
    let metadata = Metadata {
        namespace,
        name: wire.name.unwrap_or_default(),
        resource_version: wire.resource_version.unwrap_or_default(),
        labels: wire.labels.map(|map| map.0).unwrap_or_default(),
        deleting: wire.deletion_timestamp.is_some(),
    };
    if metadata.name.is_empty() {
        return Err(fault(resource, metadata, Wrong::NoName));
    }
    Ok(metadata)
}

/// A time that cannot be read is no time: it feeds a histogram and no answer.
fn last_change(meta: &mut MetaWire) -> Option<SystemTime> {
    let text = meta.annotations.take()?.last_change?;
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

type ServiceParts = (Exposure, Box<[Port]>, Box<[Address]>);

fn exposed(
    spec: ServiceSpecWire,
    status: Option<ServiceStatusWire>,
) -> Result<ServiceParts, Wrong> {
    let ports = ports("spec.ports.port", spec.ports)?;
    let external = external(spec.external_ips, status)?;
    // The type decides before `clusterIP` does, as CoreDNS has it.
    let exposure = if spec.r#type.as_deref() == Some("ExternalName") {
        match filled(spec.external_name) {
            Some(name) => Exposure::ExternalName(name),
            None => Exposure::ClusterIps(Box::default()),
        }
    } else {
        cluster_ips(spec.cluster_ip, spec.cluster_ips)?
    };
    Ok((exposure, ports, external))
}

/// `clusterIPs`, or `clusterIP` where an old server or a hand-written manifest gives no list.
fn cluster_ips(one: Option<Box<str>>, all: Option<Vec<Box<str>>>) -> Result<Exposure, Wrong> {
    let written = match all {
        Some(all) if !all.is_empty() => all,
        _ => one.into_iter().collect(),
    };
    if written.first().is_some_and(|first| **first == *"None") {
        return Ok(Exposure::Headless);
    }
    let ips = written
        .iter()
        .filter(|ip| !ip.is_empty())
        .map(|text| ip("spec.clusterIPs", text));
    Ok(Exposure::ClusterIps(ips.collect::<Result<_, _>>()?))
}

fn external(
    ips: Option<Vec<Box<str>>>,
    status: Option<ServiceStatusWire>,
) -> Result<Box<[Address]>, Wrong> {
    let mut external = Vec::new();
    for text in ips.unwrap_or_default() {
        external.push(Address::Ip(ip("spec.externalIPs", &text)?));
    }
    let balancer = status
        .and_then(|status| status.load_balancer)
        .unwrap_or_default();
    for ingress in balancer.ingress.unwrap_or_default() {
        if let Some(text) = filled(ingress.ip) {
            external.push(Address::Ip(ip("status.loadBalancer.ingress.ip", &text)?));
        } else if let Some(name) = filled(ingress.hostname) {
            external.push(Address::Name(name));
        }
    }
    Ok(external.into())
}

fn ports(field: &'static str, wires: Option<Vec<PortWire>>) -> Result<Box<[Port]>, Wrong> {
    let port = |wire: PortWire| {
        let number = match wire.port {
            None => None,
            Some(value) => match u16::try_from(value).ok().and_then(NonZeroU16::new) {
                Some(number) => Some(number),
                None => return Err(Wrong::NotAPort { field, value }),
            },
        };
        let protocol = Protocol::named(wire.protocol.as_deref().unwrap_or_default());
        Ok(Port {
            name: wire.name.unwrap_or_default(),
            protocol,
            number,
        })
    };
    wires.unwrap_or_default().into_iter().map(port).collect()
}

type SliceParts = (Box<[Endpoint]>, Box<[Port]>);

fn endpoints(
    address_type: Option<Box<str>>,
    endpoints: Option<Vec<EndpointWire>>,
    port_wires: Option<Vec<PortWire>>,
) -> Result<SliceParts, Wrong> {
    let named = address_type.as_deref() == Some("FQDN");
    let endpoint = |wire: EndpointWire| {
        let addresses = wire.addresses.unwrap_or_default();
        Ok(Endpoint {
            addresses: addresses
                .into_iter()
                .map(|text| match ip("endpoints.addresses", &text) {
                    Ok(ip) => Ok(Address::Ip(ip)),
                    Err(_) if named && !text.is_empty() => Ok(Address::Name(text)),
                    Err(wrong) => Err(wrong),
                })
                .collect::<Result<_, _>>()?,
            ready: wire
                .conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true),
            hostname: filled(wire.hostname),
            target: filled(wire.target_ref.and_then(|target| target.name)),
            zone: filled(wire.zone),
        })
    };
    let endpoints = endpoints.unwrap_or_default().into_iter().map(endpoint);
    Ok((
        endpoints.collect::<Result<_, _>>()?,
        ports("ports.port", port_wires)?,
    ))
}

fn addresses(status: PodStatusWire) -> Result<(Box<[IpAddr]>, bool), Wrong> {
    let first = filled(status.pod_ip);
    let others = status
        .pod_ips
        .unwrap_or_default()
        .into_iter()
        .filter_map(|wire| filled(wire.ip));
    let mut ips = Vec::new();
    for text in first.into_iter().chain(others) {
        let ip = ip("status.podIP", &text)?;
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    let ended = matches!(
        status.phase.as_deref(),
        Some("Succeeded" | "Failed" | "Unknown")
    );
    Ok((ips.into(), ended))
}

/// A mapped address (`::ffff:10.0.0.1`) is the IPv4 address in it: an A record, as Go's `To4` would have it.
fn ip(field: &'static str, text: &str) -> Result<IpAddr, Wrong> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => Err(Wrong::NotAnAddress {
            field,
            value: text.into(),
        }),
    }
}

fn filled(text: Option<Box<str>>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty())
}

impl<'de> Deserialize<'de> for LabelMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = LabelMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(LabelMap(Labels::new(pairs)))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut last_change = None;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == LAST_CHANGE_ANNOTATION {
                        last_change = map.next_value::<Option<Box<str>>>()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Annotations { last_change })
            }
        }
        deserializer.deserialize_map(One)
    }
}

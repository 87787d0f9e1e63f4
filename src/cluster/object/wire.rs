//! Objects as the API writes them, and their way into the types of `object`.
//!
//! Every field is optional, because JSON of the API and hand-written YAML leave out or set to `null` what is empty.

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Deserializer};

use super::{
    Address, Endpoint, EndpointSlice, Exposure, Fault, Metadata, Namespace, Object, Pod, Port,
    Protocol, Resource, Service, Wrong,
};

mod metadata;

use metadata::{MetaWire, last_change, metadata};

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
    terminating: Option<bool>,
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
        let mut name = wire.name.unwrap_or_default();
        name.make_ascii_lowercase();
        Ok(Port {
            name,
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
        let conditions = wire.conditions.unwrap_or_default();
        Ok(Endpoint {
            addresses: addresses
                .into_iter()
                .map(|text| match ip("endpoints.addresses", &text) {
                    Ok(ip) => Ok(Address::Ip(ip)),
                    Err(_) if named && !text.is_empty() => Ok(Address::Name(text)),
                    Err(wrong) => Err(wrong),
                })
                .collect::<Result<_, _>>()?,
            ready: conditions.ready.unwrap_or(true),
            terminating: conditions.terminating.unwrap_or(false),
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

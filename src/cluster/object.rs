//! The Kubernetes objects that we serve, cut to the fields that we serve, and the events that carry them to the index.
//!
//! Objects are parsed once: addresses are addresses, ports are not zero, a headless Service is a variant. An object that cannot be read so
//! is a [`Fault`], which costs that object and nothing else. Text is boxed and lists are boxed slices, because a cluster holds tens of
//! thousands of them. Nothing here knows a client, a file or a clock.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::SystemTime;

use serde::Deserializer;

mod event;
#[cfg(test)]
mod tests;
mod wire;

pub use event::{Audited, EVENTS_QUEUED_MAX, Event, Named, ORDERS_QUEUED_MAX, Order, Trouble};

/// Label of an EndpointSlice that names its Service (Kubernetes API, discovery/v1).
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A collection of the API that a source lists and follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `v1` services.
    Services,
    /// `discovery.k8s.io/v1` endpointslices.
    EndpointSlices,
    /// `v1` pods.
    Pods,
    /// `v1` namespaces.
    Namespaces,
}

/// One object of any resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A `v1` Service.
    Service(Service),
    /// A `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A `v1` Pod.
    Pod(Pod),
    /// A `v1` Namespace.
    Namespace(Namespace),
}

/// What every object carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Empty for a Namespace.
    pub namespace: Box<str>,
    /// Never empty.
    pub name: Box<str>,
    /// Opaque; empty in hand-written manifests.
    pub resource_version: Box<str>,
    /// All labels.
    pub labels: Labels,
    /// The object has a `deletionTimestamp`: it is going away but still exists.
    pub deleting: bool,
}

/// Labels of an object, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

/// A Service: a name in front of endpoints, or of another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name and labels.
    pub metadata: Metadata,
    /// How the name is to be answered.
    pub exposure: Exposure,
    /// Ports in the order of the manifest.
    pub ports: Box<[Port]>,
    /// `spec.externalIPs`, then addresses or host names of `status.loadBalancer.ingress`: where the Service is met from outside.
    pub external: Box<[Address]>,
}

/// How a Service answers to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exposure {
    /// Virtual addresses (types ClusterIP, NodePort, LoadBalancer). Empty while none is allocated.
    ClusterIps(Box<[IpAddr]>),
    /// `clusterIP: None`: the addresses are those of the endpoints.
    Headless,
    /// An alias: the target as written, which may be anything but empty.
    ExternalName(Box<str>),
}

/// A port of a Service or of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// In lower case, as in a DNS label; empty if the port has no name.
    pub name: Box<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// `None`: the slice says nothing of its port, which means all ports (discovery/v1, EndpointPort).
    pub number: Option<NonZeroU16>,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The default where none is written.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// One that we do not know, in lower case.
    Other(Box<str>),
}

/// Some of the endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name and labels; [`EndpointSlice::service`] is one of the labels.
    pub metadata: Metadata,
    /// Endpoints in the order of the slice.
    pub endpoints: Box<[Endpoint]>,
    /// Ports of every endpoint of the slice.
    pub ports: Box<[Port]>,
    /// When the change that this slice reflects happened (annotation `endpoints.kubernetes.io/last-change-trigger-time`).
    pub last_change: Option<SystemTime>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// All of them name the same endpoint.
    pub addresses: Box<[Address]>,
    /// `conditions.ready`; unknown counts as ready (discovery/v1, EndpointConditions).
    pub ready: bool,
    /// `conditions.terminating`; unknown counts as not. With `publishNotReadyAddresses` an endpoint is ready to its end.
    pub terminating: bool,
    /// `hostname`.
    pub hostname: Option<Box<str>>,
    /// `targetRef.name`: the name of the Pod, if the endpoint is one.
    pub target: Option<Box<str>>,
    /// Topology zone.
    pub zone: Option<Box<str>>,
}

/// Where something is met: an address or, in slices of type FQDN and at load balancers, a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4, or IPv6 that is not a mapped IPv4.
    Ip(IpAddr),
    /// A host name as written.
    Name(Box<str>),
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name and labels.
    pub metadata: Metadata,
    /// `status.podIP` first, then the others of `status.podIPs`. Empty until the Pod has a sandbox.
    pub ips: Box<[IpAddr]>,
    /// The Pod has come to its end (phase Succeeded, Failed or Unknown): its addresses are no longer its own.
    pub ended: bool,
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: Metadata,
}

/// An object that cannot be served, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource} {namespace}/{name}: {what}")]
pub struct Fault {
    /// Which resource it was listed under.
    pub resource: Resource,
    /// Empty if unknown or none.
    pub namespace: Box<str>,
    /// Empty if unknown.
    pub name: Box<str>,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A field has the wrong type, or the text is not an object; the reader's own words.
    #[error("{0}")]
    Shape(Box<str>),
    /// Without a name it is no object.
    #[error("metadata.name is missing")]
    NoName,
    /// A field that must be an IP address is not.
    #[error("{field}: {value:?} is not an IP address")]
    NotAnAddress {
        /// Path of the field in the object.
        field: &'static str,
        /// The value as written.
        value: Box<str>,
    },
    /// A field that must be a port number is not.
    #[error("{field}: {value} is not a port number")]
    NotAPort {
        /// Path of the field in the object.
        field: &'static str,
        /// The value as written.
        value: i64,
    },
}

impl Resource {
    /// Every resource, in the order in which they are started.
    pub const ALL: [Resource; 4] = [
        Resource::Namespaces,
        Resource::Services,
        Resource::EndpointSlices,
        Resource::Pods,
    ];

    /// Path of the collection over all namespaces.
    pub fn path(self) -> &'static str {
        match self {
            Resource::Services => "/api/v1/services",
            Resource::EndpointSlices => "/apis/discovery.k8s.io/v1/endpointslices",
            Resource::Pods => "/api/v1/pods",
            Resource::Namespaces => "/api/v1/namespaces",
        }
    }

    /// Name of the type in Kubernetes' own client, for log lines that read as CoreDNS's.
    pub fn go_type(self) -> &'static str {
        match self {
            Resource::Services => "*v1.Service",
            Resource::EndpointSlices => "*v1.EndpointSlice",
            Resource::Pods => "*v1.Pod",
            Resource::Namespaces => "*v1.Namespace",
        }
    }

    /// The resource that serves a kind, if we serve it.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<Resource> {
        match (api_version, kind) {
            ("v1", "Service") => Some(Resource::Services),
            ("discovery.k8s.io/v1", "EndpointSlice") => Some(Resource::EndpointSlices),
            ("v1", "Pod") => Some(Resource::Pods),
            ("v1", "Namespace") => Some(Resource::Namespaces),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Services => "services",
            Resource::EndpointSlices => "endpointslices",
            Resource::Pods => "pods",
            Resource::Namespaces => "namespaces",
        })
    }
}

impl Object {
    /// Reads one object of `resource`; unknown fields are skipped, `null` is as good as missing.
    ///
    /// # Errors
    /// The object as a whole is at fault if one field is.
    pub fn read<'de, D: Deserializer<'de>>(
        resource: Resource,
        deserializer: D,
    ) -> Result<Object, Fault> {
        wire::read(resource, deserializer)
            .unwrap_or_else(|error| Err(Fault::of_shape(resource, &error)))
    }

    /// As [`Object::read`], for a text that knows on which line it is wrong.
    ///
    /// # Errors
    /// The outer error is the deserializer's own: the text is not such an object.
    pub(crate) fn read_text<'de, D: Deserializer<'de>>(
        resource: Resource,
        deserializer: D,
    ) -> Result<Result<Object, Fault>, D::Error> {
        wire::read(resource, deserializer)
    }

    /// Reads only who the object is: for a deletion, which must count even if the rest of the object is at fault.
    ///
    /// # Errors
    /// Only the metadata can be at fault.
    pub fn read_identity<'de, D: Deserializer<'de>>(
        resource: Resource,
        deserializer: D,
    ) -> Result<Object, Fault> {
        wire::read_identity(resource, deserializer)
            .unwrap_or_else(|error| Err(Fault::of_shape(resource, &error)))
            .map(|metadata| Object::bare(resource, metadata))
    }

    /// An object that is nothing but its metadata.
    pub fn bare(resource: Resource, metadata: Metadata) -> Object {
        match resource {
            Resource::Services => Object::Service(Service {
                metadata,
                exposure: Exposure::ClusterIps(Box::default()),
                ports: Box::default(),
                external: Box::default(),
            }),
            Resource::EndpointSlices => Object::EndpointSlice(EndpointSlice {
                metadata,
                endpoints: Box::default(),
                ports: Box::default(),
                last_change: None,
            }),
            Resource::Pods => Object::Pod(Pod {
                metadata,
                ips: Box::default(),
                ended: true,
            }),
            Resource::Namespaces => Object::Namespace(Namespace { metadata }),
        }
    }

    /// The resource it belongs to.
    pub fn resource(&self) -> Resource {
        match self {
            Object::Service(_) => Resource::Services,
            Object::EndpointSlice(_) => Resource::EndpointSlices,
            Object::Pod(_) => Resource::Pods,
            Object::Namespace(_) => Resource::Namespaces,
        }
    }

    /// Name, namespace and labels.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Object::Service(service) => &service.metadata,
            Object::EndpointSlice(slice) => &slice.metadata,
            Object::Pod(pod) => &pod.metadata,
            Object::Namespace(namespace) => &namespace.metadata,
        }
    }
}

impl Fault {
    fn of_shape(resource: Resource, error: &dyn fmt::Display) -> Fault {
        let what = Wrong::Shape(error.to_string().into());
        Fault {
            resource,
            namespace: Box::default(),
            name: Box::default(),
            what,
        }
    }
}

impl EndpointSlice {
    /// The Service that the slice belongs to; `None` for a slice that nobody's Service selects.
    pub fn service(&self) -> Option<&str> {
        self.metadata
            .labels
            .value(SERVICE_NAME_LABEL)
            .filter(|name| !name.is_empty())
    }
}

impl Labels {
    /// Sorts by key; of two equal keys the last one stays.
    pub fn new(mut pairs: Vec<(Box<str>, Box<str>)>) -> Labels {
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|a, b| a.0 == b.0);
        Labels(pairs.into_boxed_slice())
    }

    /// The value of a label, if the object has it.
    pub fn value(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl Protocol {
    /// In lower case, as in a DNS label.
    pub fn as_str(&self) -> &str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Other(name) => name,
        }
    }

    /// The protocol that a manifest names; the case does not matter.
    pub fn named(name: &str) -> Protocol {
        match name.to_ascii_lowercase().as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => Protocol::Other(other.into()),
        }
    }
}

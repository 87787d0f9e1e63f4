//! A name below the zone, looked up in the view.

use std::net::IpAddr;

use super::lack::Lack;
use super::name::{KubeName, Part, is_canonical, pod_address};
use super::{Asking, Pods};
use crate::cluster::object::{Port, Resource};
use crate::cluster::records::{
    ClusterIps, DashedAddress, EndpointRecord, EndpointSet, ServiceKind, ServiceRecords,
    SliceRecords, port_matches,
};
use crate::dns::{Name, reverse};

/// What a name stands for in the cluster.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    /// Nothing, for this reason.
    Nothing(Lack<'a>),
    /// Something that only has names below it.
    Node,
    /// A Service with addresses of its own, by the ports that the name selects.
    ClusterIps(&'a ServiceRecords, ClusterIps<'a>, Ports<'a>),
    /// Endpoints of a Service, by the ports and the host that the name selects.
    Endpoints(&'a EndpointSet, Selection<'a>),
    /// A Service that is an alias.
    Alias(&'a [u8]),
    /// A Pod, and its labels to the left of the zone in wire form.
    Pod(IpAddr, &'a [u8]),
}

/// The ports that a name selects.
#[derive(Clone, Copy)]
pub(super) struct Ports<'a> {
    name: &'a [u8],
    protocol: &'a [u8],
}

/// The endpoints that a name selects.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    pub(super) ports: Ports<'a>,
    /// One label in wire form.
    host: Option<&'a [u8]>,
    /// The address that the label spells.
    spelled: Option<IpAddr>,
    pub(super) pod_names: bool,
}

const ALL_PORTS: Ports<'static> = Ports {
    name: b"",
    protocol: b"",
};

impl<'a> Asking<'a> {
    /// Looks up a lower-case name whose zone starts at octet `zone_at`.
    pub(super) fn find(&self, name: &'a Name, zone_at: usize) -> Found<'a>
    where
        Self: 'a,
    {
        let found = match KubeName::parse(name, zone_at) {
            KubeName::Node => Ok(Found::Node),
            // Reverse zones have no Services.
            _ if reverse::is_reverse(name) => Err(Lack::Nothing),
            KubeName::Invalid => Err(Lack::Form),
            KubeName::Namespace { of_pods: true, .. } | KubeName::Pod { .. }
                if self.options.pods == Pods::Disabled =>
            {
                Err(Lack::Pods)
            }
            KubeName::Namespace { namespace, .. } => {
                self.find_namespace(namespace).map(|()| Found::Node)
            }
            KubeName::Pod {
                labels,
                namespace,
                address,
            } => self
                .find_pod(namespace, address)
                .map(|ip| Found::Pod(ip, labels)),
            KubeName::Service {
                key,
                namespace,
                part,
            } => self.find_service(key, namespace, part),
        };
        found.unwrap_or_else(Found::Nothing)
    }

    /// Whether the Namespace of this label exists and may be told of.
    pub(super) fn find_namespace(&self, namespace: &[u8]) -> Result<(), Lack<'a>> {
        if !self.is_wanted(namespace) {
            return Err(Lack::Namespace);
        }
        if self.view.has_namespace(namespace) {
            return Ok(());
        }
        Err(self.unless_unlisted(Resource::Namespaces, Lack::Namespace))
    }

    /// Whether something may be told of that is in the Namespace of this label. That it is there shows that the Namespace
    /// is, even if we may not list Namespaces, or hear of this one later than of what is in it; unless only some of the
    /// Namespaces are wanted, and the list of them says which.
    pub(super) fn may_tell(&self, namespace: &[u8]) -> Result<(), Lack<'a>> {
        if self.options.namespaces_selected {
            self.find_namespace(namespace)
        } else if self.is_wanted(namespace) {
            Ok(())
        } else {
            Err(Lack::Namespace)
        }
    }

    fn is_wanted(&self, namespace: &[u8]) -> bool {
        let told = &self.options.namespaces;
        told.is_empty() || told.iter().any(|known| **known == *namespace)
    }

    fn find_pod(&self, namespace: &[u8], address: &[u8]) -> Result<IpAddr, Lack<'a>> {
        let ip = pod_address(address).ok_or(Lack::PodAddress)?;
        if self.options.pods != Pods::Verified {
            return self.find_namespace(namespace).map(|()| ip);
        }
        self.may_tell(namespace)?;
        // The name must spell the address as Kubernetes writes it, not in another way.
        if !is_canonical(ip, address) {
            return Err(Lack::PodAddress);
        }
        if self.view.has_pod(ip, namespace) {
            return Ok(ip);
        }
        Err(self.unless_unlisted(Resource::Pods, Lack::Pod))
    }

    fn find_service(
        &self,
        key: &[u8],
        namespace: &'a [u8],
        part: Part<'a>,
    ) -> Result<Found<'a>, Lack<'a>>
    where
        Self: 'a,
    {
        self.may_tell(namespace)?;
        let view: &'a _ = self.view;
        let Some(service) = view.service(key) else {
            return Err(self.unless_unlisted(Resource::Services, Lack::Service(namespace)));
        };
        let (ports, host) = match part {
            Part::Whole => (ALL_PORTS, None),
            Part::Endpoint(host) => (ALL_PORTS, Some(host)),
            Part::Port { port, protocol } => (Ports::named(port, protocol), None),
        };
        match service.kind() {
            ServiceKind::ExternalName(Some(target)) if part == Part::Whole => {
                Ok(Found::Alias(target))
            }
            ServiceKind::ExternalName(_) => Err(match part {
                Part::Whole => Lack::Target,
                Part::Endpoint(_) => Lack::Endpoint,
                Part::Port { .. } => Lack::Port,
            }),
            ServiceKind::ClusterIps(_)
                if self.options.ignore_empty_service && !self.has_endpoints(key) =>
            {
                Err(self.unless_unlisted_endpoints(Lack::ReadyEndpoint))
            }
            ServiceKind::ClusterIps(ips) if host.is_none() => {
                // The ports are apart in memory: they are looked at only if it matters.
                if ports.is_all() || ports.of(service.ports()).next().is_some() {
                    Ok(Found::ClusterIps(service, ips, ports))
                } else {
                    Err(Lack::Port)
                }
            }
            ServiceKind::ClusterIps(_) | ServiceKind::Headless => {
                self.find_endpoints(key, ports, host)
            }
        }
    }

    fn find_endpoints(
        &self,
        key: &[u8],
        ports: Ports<'a>,
        host: Option<&'a [u8]>,
    ) -> Result<Found<'a>, Lack<'a>>
    where
        Self: 'a,
    {
        // Some of the endpoints are no answer: whoever asks may take them for all.
        match self.unless_unlisted_endpoints(Lack::Nothing) {
            Lack::Nothing => {}
            lack => return Err(lack),
        }
        let Some(set) = self.endpoints(key).filter(|set| !set.is_empty()) else {
            return Err(Lack::ReadyEndpoint);
        };
        let selection = Selection {
            ports,
            host,
            spelled: host.and_then(|host| DashedAddress::read(&host[1..])),
            pod_names: self.options.endpoint_pod_names,
        };
        if selection.has_some_of(set) {
            return Ok(Found::Endpoints(set, selection));
        }
        Err(match host {
            Some(_) => Lack::Endpoint,
            None => Lack::Port,
        })
    }

    /// The endpoints of a Service, unless they are not to be known.
    pub(super) fn endpoints(&self, key: &[u8]) -> Option<&'a EndpointSet>
    where
        Self: 'a,
    {
        let view: &'a _ = self.view;
        view.endpoints(key).filter(|_| !self.options.no_endpoints)
    }

    fn has_endpoints(&self, key: &[u8]) -> bool {
        self.endpoints(key).is_some_and(|set| !set.is_empty())
    }
}

impl Found<'_> {
    /// Whether the name has records of some type.
    pub(super) fn has_records(&self) -> bool {
        match self {
            Found::Nothing(_) | Found::Node => false,
            Found::ClusterIps(_, ips, _) => !ips.is_empty(),
            Found::Endpoints(..) | Found::Alias(_) | Found::Pod(..) => true,
        }
    }
}

impl<'a> Ports<'a> {
    /// Those of this name and protocol; empty selects all.
    pub(super) fn named(name: &'a [u8], protocol: &'a [u8]) -> Ports<'a> {
        Ports { name, protocol }
    }

    /// The selected ones of these ports. A list without ports stands for one that has no name and no number.
    pub(super) fn of(self, ports: &'a [Port]) -> impl Iterator<Item = Option<u16>> + 'a {
        // By number, because the one that stands for none would have to be chained, and who asks for the next of a chain
        // always asks both its parts: 150 instructions of an SRV answer.
        let count = ports.len().max(usize::from(self.is_all()));
        (0..count).filter_map(move |at| match ports.get(at) {
            Some(port) => port_matches(port, self.name, self.protocol)
                .then(|| port.number.map(std::num::NonZeroU16::get)),
            None => Some(None),
        })
    }

    /// Whether every port is selected, and a list without ports too, so that there is no need to look at them.
    pub(super) fn is_all(self) -> bool {
        self.name.is_empty() && self.protocol.is_empty()
    }
}

impl<'a> Selection<'a> {
    /// The endpoints of this name, a label in wire form, whatever their ports.
    pub(super) fn of_host(host: &'a [u8], pod_names: bool) -> Selection<'a> {
        Selection {
            ports: ALL_PORTS,
            host: Some(host),
            spelled: DashedAddress::read(&host[1..]),
            pod_names,
        }
    }

    /// Each selected endpoint with its slice, once, whatever the number of its ports.
    pub(super) fn of(
        self,
        set: &'a EndpointSet,
    ) -> impl Iterator<Item = (&'a SliceRecords, EndpointRecord<'a>)> + 'a {
        let slices = set
            .slices()
            .iter()
            .filter(move |slice| self.ports.of(slice.ports()).next().is_some());
        slices.flat_map(move |slice| {
            let endpoints = slice
                .endpoints()
                .filter(move |endpoint| self.is_host(endpoint));
            endpoints.map(move |endpoint| (slice, endpoint))
        })
    }

    /// Whether some endpoint is selected.
    fn has_some_of(self, set: &'a EndpointSet) -> bool {
        if self.is_all() {
            return !set.is_empty();
        }
        self.of(set).next().is_some()
    }

    /// Whether all endpoints are selected: their addresses are then prepared.
    pub(super) fn is_all(&self) -> bool {
        self.host.is_none() && self.ports.is_all()
    }

    fn is_host(&self, endpoint: &EndpointRecord<'_>) -> bool {
        self.host
            .is_none_or(|host| endpoint.is_named(self.pod_names, &host[1..], self.spelled))
    }
}

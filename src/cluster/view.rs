//! The cluster as queries see it: a consistent picture that never changes.
//!
//! A query takes one view and keeps it from its first octet to its last. The index publishes a new view after
//! each batch of events; the two share all that did not change.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::object::Resource;
use super::records::{EndpointSet, ServiceKey, ServiceRecords};
use super::table::Table;

/// The published picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(super) hasher: foldhash::fast::RandomState,
    pub(super) services: Table<Arc<ServiceRecords>>,
    pub(super) endpoints: Table<Arc<EndpointSet>>,
    /// Labels in lower-case wire form.
    pub(super) namespaces: Table<Arc<[u8]>>,
    pub(super) addresses: Table<AddressOwner>,
    pub(super) pods: Table<PodAddress>,
    pub(super) synced: [bool; Resource::ALL.len()],
    pub(super) serial: u32,
}

/// Who answers a reverse query for an address.
#[derive(Debug, Clone)]
pub(super) struct AddressOwner {
    pub(super) ip: IpAddr,
    pub(super) service: ServiceKey,
    /// A cluster IP of the Service, rather than an address of one of its endpoints.
    pub(super) is_cluster_ip: bool,
}

/// The address of a Pod.
#[derive(Debug, Clone)]
pub(super) struct PodAddress {
    pub(super) ip: IpAddr,
    pub(super) namespace: Arc<[u8]>,
    /// Pods of the namespace with this address (those on the host's network share it).
    pub(super) pods: u32,
}

impl View {
    /// Whether the first list of this resource has been applied.
    pub(crate) fn is_synced(&self, resource: Resource) -> bool {
        self.synced[resource as usize]
    }

    /// Unix time of the last change of a Service or an endpoint, in seconds; 0 before the first.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether the namespace of this label (lower-case wire form) exists.
    pub(crate) fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces
            .find(self.hasher.hash_one(label), |known| **known == *label)
            .is_some()
    }

    /// The Service of this key.
    #[inline]
    pub(crate) fn service(&self, key: &[u8]) -> Option<&ServiceRecords> {
        self.services
            .find(self.hasher.hash_one(key), |service| *service.key == *key)
            .map(|service| &**service)
    }

    /// The endpoints of the Service of this key, whether or not the Service exists.
    pub(crate) fn endpoints(&self, key: &[u8]) -> Option<&EndpointSet> {
        self.endpoints
            .find(self.hasher.hash_one(key), |set| *set.service == *key)
            .map(|set| &**set)
    }

    /// The Service that has this cluster IP.
    pub(crate) fn cluster_ip_owner(&self, ip: IpAddr) -> Option<&ServiceKey> {
        self.owners(ip)
            .find(|owner| owner.is_cluster_ip)
            .map(|owner| &owner.service)
    }

    /// The Services that have an endpoint at this address.
    pub(crate) fn endpoint_owners(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.owners(ip)
            .filter(|owner| !owner.is_cluster_ip)
            .map(|owner| &owner.service)
    }

    /// Whether a Pod of this namespace (label in lower-case wire form) has this address.
    pub(crate) fn has_pod(&self, ip: IpAddr, namespace: &[u8]) -> bool {
        self.pods
            .find(self.hasher.hash_one(ip), |pod| {
                pod.ip == ip && *pod.namespace == *namespace
            })
            .is_some()
    }

    fn owners(&self, ip: IpAddr) -> impl Iterator<Item = &AddressOwner> {
        self.addresses
            .bucket(self.hasher.hash_one(ip))
            .iter()
            .filter(move |owner| owner.ip == ip)
    }
}

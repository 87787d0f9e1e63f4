//! The cluster as queries see it: a consistent picture that never changes.
//!
//! A query takes one view and keeps it from its first octet to its last. The index publishes a new view after
//! each batch of events; the two share all that did not change.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use super::addresses::Addresses;
use super::object::Resource;
use super::records::{EndpointSet, ServiceKey, ServiceKind, ServiceRecords, SharedLabels};
use super::seed::Seed;
pub(crate) use super::table::AHEAD_MAX;
use super::table::{Keyed, Table};

/// The published picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(super) seed: Seed,
    pub(super) services: Table<Entry<ServiceRecords>>,
    pub(super) endpoints: Table<Entry<EndpointSet>>,
    /// Labels in lower-case wire form.
    pub(super) namespaces: Table<SharedLabels>,
    /// Cluster IPs, by Service.
    pub(super) cluster_ips: Addresses,
    /// Addresses of endpoints, by Service.
    pub(super) endpoint_ips: Addresses,
    /// Addresses of Pods, by Namespace.
    pub(super) pods: Addresses,
    pub(super) synced: [bool; Resource::ALL.len()],
    /// Of resources that are known from a snapshot alone: when that was current, in seconds since 1970.
    pub(super) stale: [Option<u64>; Resource::ALL.len()],
    pub(super) serial: u32,
}

/// So many Services take some 150 KB with all that is looked at, which is less than the second-level cache of a processor.
const NEAR_MAX: usize = 500;

/// What belongs to a Service, beside the hash of its key: a look-up follows one pointer, that to what it looks for.
#[derive(Debug, Clone)]
pub(super) struct Entry<T> {
    pub(super) hash: u64,
    pub(super) of: T,
}

impl<T: Clone> Keyed for Entry<T> {
    const LEAF_MAX: usize = 8;

    fn hash(&self, _: &Seed) -> u64 {
        self.hash
    }
}

impl Keyed for SharedLabels {
    const LEAF_MAX: usize = 4;

    fn hash(&self, seed: &Seed) -> u64 {
        seed.hash_one(&**self)
    }
}

impl View {
    /// Whether the first list of this resource has been applied, in this process or in the one that left a snapshot.
    pub(crate) fn is_synced(&self, resource: Resource) -> bool {
        self.synced[resource as usize]
    }

    /// Whether this resource is known from a snapshot, and has not been listed since.
    pub(crate) fn is_stale(&self, resource: Resource) -> bool {
        self.stale[resource as usize].is_some()
    }

    /// Whether anything is known from a snapshot alone, as it is until the API server is back.
    #[inline]
    pub(crate) fn has_stale(&self) -> bool {
        self.stale.iter().any(Option::is_some)
    }

    /// When what is known of these resources was current, in seconds since 1970, if one of them is known from a
    /// snapshot alone: the oldest counts.
    pub(crate) fn stale_since(&self, resources: impl IntoIterator<Item = Resource>) -> Option<u64> {
        let stale = |resource| self.stale[resource as usize];
        resources.into_iter().filter_map(stale).min()
    }

    /// Unix time of the last change of a Service or an endpoint, in seconds; 0 before the first.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether the namespace of this label (lower-case wire form) exists.
    pub(crate) fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces
            .find(self.hash(label), |known| **known == *label)
            .is_some()
    }

    /// The Service of this key.
    #[inline]
    pub(crate) fn service(&self, key: &[u8]) -> Option<&ServiceRecords> {
        let hash = self.hash(key);
        let is = |entry: &Entry<ServiceRecords>| entry.hash == hash && entry.of.key() == key;
        self.services.find(hash, is).map(|entry| &entry.of)
    }

    /// The endpoints of the Service of this key, whether or not the Service exists.
    pub(crate) fn endpoints(&self, key: &[u8]) -> Option<&EndpointSet> {
        let hash = self.hash(key);
        let is = |entry: &Entry<EndpointSet>| entry.hash == hash && **entry.of.service() == *key;
        self.endpoints.find(hash, is).map(|entry| &entry.of)
    }

    /// The Service that has this cluster IP.
    pub(crate) fn cluster_ip_owner(&self, ip: IpAddr) -> Option<&ServiceKey> {
        self.cluster_ips.holder(&self.seed, ip)
    }

    /// The Services that have an endpoint at this address.
    pub(crate) fn endpoint_owners(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.endpoint_ips.holders(&self.seed, ip)
    }

    /// Whether a Pod of this namespace (label in lower-case wire form) has this address.
    pub(crate) fn has_pod(&self, ip: IpAddr, namespace: &[u8]) -> bool {
        self.pods.has(&self.seed, ip, namespace)
    }

    /// Whether looking ahead is worth while: of few Services all lies near the processor.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.services.len() > NEAR_MAX
    }

    /// Looks at what look-ups will look at, so that they need not wait for it: those of Services by keys of these hashes, of
    /// [`View::hash`], and of their endpoints where they are answered by them; and those of whose the cluster IPs are. Beyond
    /// [`AHEAD_MAX`] of each nothing is.
    pub(crate) fn look_ahead(&self, services: &[u64], ips: &[Ipv4Addr]) {
        let mut found = [None; AHEAD_MAX];
        let is = |entry: &Entry<_>, at: usize| entry.hash == services[at];
        self.services.find_each(services, is, &mut found);
        // Before anything is decided by them, as in [`Table::find_each`].
        let records = found.iter().flatten();
        black_box(records.map(|entry| entry.of.key().len()).sum::<usize>());
        let (mut headless, mut count) = ([0; AHEAD_MAX], 0);
        for service in found.into_iter().flatten() {
            match service.of.kind() {
                ServiceKind::Headless => {
                    headless[count] = service.hash;
                    count += 1;
                }
                // The end of a record may be in another line of the cache than its beginning.
                ServiceKind::ClusterIps(ips) => _ = black_box(ips.iter().next()),
                ServiceKind::ExternalName(_) => {}
            }
        }
        if count > 0 {
            let mut found = [None; AHEAD_MAX];
            let is = |entry: &Entry<_>, at: usize| entry.hash == headless[at];
            self.endpoints.find_each(&headless[..count], is, &mut found);
            for set in found.into_iter().flatten() {
                black_box(set.of.v4().next());
            }
        }
        self.cluster_ips.look_ahead(&self.seed, ips);
    }

    /// What a key is looked up by.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash_one(key)
    }
}

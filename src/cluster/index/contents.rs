//! All that an index knows, to be kept for another process, and put into the index of that process.
//!
//! [`Contents`] shares everything with the index: taking it costs a handful of reference counts, whatever the size of
//! the cluster, and what the index changes afterwards does not change it.

use std::net::IpAddr;

use super::known::Version;
use super::{ById, Index, Versions};
use crate::cluster::object::{Port, Resource};
use crate::cluster::records::{
    ServiceRecords, SharedLabels, SliceRecords, StoredService, StoredSlice,
};
use crate::cluster::seed::{Seed, SeedNumbers};
use crate::cluster::table::Table;
use crate::cluster::view::{Entry, View};

/// What an index knew at one moment.
#[derive(Debug)]
pub(in crate::cluster) struct Contents {
    pub(in crate::cluster) seed: SeedNumbers,
    pub(in crate::cluster) serial: u32,
    /// By resource: whether it has been listed whole.
    pub(in crate::cluster) synced: [bool; Resource::ALL.len()],
    /// Labels in lower-case wire form.
    pub(in crate::cluster) namespaces: Table<SharedLabels>,
    pub(in crate::cluster) services: Table<Entry<ServiceRecords>>,
    pub(in crate::cluster) service_versions: Versions,
    pub(in crate::cluster) slices: ById<SliceRecords>,
    pub(in crate::cluster) slice_versions: Versions,
    /// The address and the label of the Namespace.
    pub(in crate::cluster) pods: ById<(IpAddr, SharedLabels)>,
}

impl Index {
    /// All that is known now.
    pub(in crate::cluster) fn contents(&self) -> Contents {
        Contents {
            seed: self.view.seed.numbers(),
            serial: self.view.serial,
            synced: self.view.synced,
            namespaces: self.view.namespaces.clone(),
            services: self.view.services.clone(),
            service_versions: self.known[Resource::Services as usize].versions(),
            slices: self.slices.clone(),
            slice_versions: self.known[Resource::EndpointSlices as usize].versions(),
            pods: self.pods.clone(),
        }
    }

    /// An empty index to put the contents of another into, under its seed.
    pub(in crate::cluster) fn restoring(seed: SeedNumbers) -> Index {
        let view = View {
            seed: Seed::of(seed),
            ..View::default()
        };
        Index {
            view,
            ..Index::default()
        }
    }

    /// Puts in a Namespace, one label in lower-case wire form.
    pub(in crate::cluster) fn restore_namespace(&mut self, label: &[u8]) {
        self.put_namespace(label);
    }

    /// Puts in a Service, in this version if it is known; `None` if it cannot have been one.
    pub(in crate::cluster) fn restore_service(
        &mut self,
        version: Option<u64>,
        stored: StoredService<'_>,
        ports: &[Port],
    ) -> Option<()> {
        let records = ServiceRecords::of_stored(stored, self.ports.shared(ports))?;
        let id = self.view.hash(records.key());
        self.restore_version(Resource::Services, id, version);
        self.put_service(records, 0);
        Some(())
    }

    /// Puts in a slice of the Service of this key likewise.
    pub(in crate::cluster) fn restore_slice(
        &mut self,
        id: u64,
        version: Option<u64>,
        service: &[u8],
        stored: StoredSlice<'_>,
        ports: &[Port],
    ) -> Option<()> {
        let service = self.known_key(service);
        let records = SliceRecords::of_stored(service, stored, self.ports.shared(ports))?;
        if self.slices.contains(id) {
            return None;
        }
        self.aggregate(records.service(), None, Some(&records));
        self.slices.insert(id, records);
        self.restore_version(Resource::EndpointSlices, id, version);
        Some(())
    }

    fn restore_version(&mut self, resource: Resource, id: u64, version: Option<u64>) {
        if let Some(version) = version.and_then(Version::numbered) {
            self.known[resource as usize].restore(id, version);
        }
    }

    /// Puts in a Pod of a Namespace, whose label is in lower-case wire form.
    pub(in crate::cluster) fn restore_pod(&mut self, id: u64, ip: IpAddr, namespace: &[u8]) {
        self.put_pod(id, ip, namespace);
    }

    /// All of this resource has been put in; it was current at `as_of`, in seconds since 1970. It is served, as stale,
    /// until a list says what there is now.
    pub(in crate::cluster) fn restored(&mut self, resource: Resource, as_of: u64) {
        self.view.synced[resource as usize] = true;
        self.view.stale[resource as usize] = Some(as_of);
        self.known[resource as usize].restored(u32::try_from(as_of).unwrap_or(u32::MAX));
    }

    /// The contents have been put in; this was their serial.
    pub(in crate::cluster) fn restored_serial(&mut self, serial: u32) {
        self.view.serial = serial;
    }
}

//! All that an index knows, to be kept for another process, and put into the index of that process.
//!
//! [`Contents`] shares everything with the index: taking it costs a handful of reference counts, whatever the size of
//! the cluster, and what the index changes afterwards does not change it.

use std::net::IpAddr;

use super::{ById, Index};
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
    pub(in crate::cluster) slices: ById<SliceRecords>,
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
            slices: self.slices.clone(),
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

    /// Puts in a Service; `None` if it cannot have been one.
    pub(in crate::cluster) fn restore_service(
        &mut self,
        stored: StoredService<'_>,
        ports: &[Port],
    ) -> Option<()> {
        let records = ServiceRecords::of_stored(stored, self.ports.shared(ports))?;
        self.put_service(records, 0);
        Some(())
    }

    /// Puts in a slice of the Service of this key; `None` if it cannot have been one.
    pub(in crate::cluster) fn restore_slice(
        &mut self,
        id: u64,
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
        Some(())
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
    }

    /// The contents have been put in; this was their serial.
    pub(in crate::cluster) fn restored_serial(&mut self, serial: u32) {
        self.view.serial = serial;
    }
}

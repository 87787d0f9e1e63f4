//! Events in, view out: plain synchronous data with one owner.
//!
//! The index knows no client, no file, no lock and no clock. It keeps the view that will be published next,
//! and beside it only what is needed to take an object's contribution out again. A list is applied as a
//! difference: objects that it names are put in as they come, and those it did not name are taken out at its
//! end, so that a view is never empty in between and never held twice.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::Addresses;
use super::object::{Event, Metadata, Namespace, Object, Pod, Port, Resource, Service};
use super::records::{
    EndpointSet, ServiceKey, ServiceRecords, SharedLabels, SliceRecords, label, service_key,
};
use super::table::Table;
use super::view::{Entry, View};

mod audit;
mod by_id;
mod contents;
mod held;
mod known;
mod list;
mod ports;
mod repeats;
mod slices;

use by_id::ById;
use held::Held;
use known::Known;
use ports::PortLists;

pub(crate) use audit::Note;
pub(super) use contents::Contents;
pub use held::HeldEnds;
pub(crate) use known::Version;
pub(super) use known::Versions;
pub(crate) use list::Outcome;
pub(crate) use repeats::Repeats;

/// When something happens, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Unix time in seconds, of which serials are made. It may jump.
    pub(crate) unix: u32,
    /// How long the index has had its owner. It does not jump, and what waits is measured by it.
    pub(crate) running: Duration,
}

/// The index of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Index {
    view: View,
    /// Slices by hash of namespace and name. Two of 250,000 objects meet by chance once in half a billion clusters; the
    /// names themselves would cost more memory than what they name.
    slices: ById<SliceRecords>,
    /// Pods likewise.
    pods: ById<(IpAddr, SharedLabels)>,
    ports: PortLists,
    /// By resource: which version of each object was told.
    known: [Known; Resource::ALL.len()],
    held: Held,
}

impl Index {
    /// Applies one event. Says whether the view changed.
    pub(crate) fn apply(&mut self, event: Event, now: Now) -> bool {
        match event {
            Event::ListStarted(resource) => {
                let before = self.count(resource);
                self.known[resource as usize].start_list(before);
                false
            }
            Event::Listed(resource) => self.finish_list(resource, now),
            Event::Applied(object) => self.apply_object(object, now),
            Event::Deleted(object) => self.delete_object(&object, now),
            Event::Unreadable(object) => {
                self.told(&object, now.unix);
                false
            }
            Event::Current(resource) => {
                self.known[resource as usize].give_up_list();
                if resource == Resource::EndpointSlices {
                    self.held.resume(now);
                }
                false
            }
            Event::Away(resource) => {
                if resource == Resource::EndpointSlices {
                    self.held.pause(now);
                }
                false
            }
            Event::Reached(resource, version) => {
                self.known[resource as usize].hear(Version::of(&version));
                false
            }
            Event::Trouble(..) | Event::Audited(..) => false,
        }
    }

    /// Knows nothing more of a resource, as before its first list, and gives the memory back; `now` is Unix time in
    /// seconds. Says whether the view changed.
    pub(crate) fn forget(&mut self, resource: Resource, now: u32) -> bool {
        let known = self.count(resource) > 0;
        self.known[resource as usize] = Known::default();
        let was_synced = std::mem::take(&mut self.view.synced[resource as usize]);
        self.view.stale[resource as usize] = None;
        if resource == Resource::EndpointSlices {
            // Also where no slice is left: what the last ones left out may still be held.
            self.let_go_of_all();
        }
        match resource {
            Resource::Services if known => {
                self.view.services = Table::default();
                self.view.cluster_ips = Addresses::default();
                self.let_go_of_all();
                self.view.serial = now;
            }
            Resource::EndpointSlices if known => {
                self.slices = ById::default();
                self.view.endpoints = Table::default();
                self.view.endpoint_ips = Addresses::default();
                self.view.serial = now;
            }
            Resource::Pods => {
                self.pods = ById::default();
                self.view.pods = Addresses::default();
            }
            Resource::Namespaces => self.view.namespaces = Table::default(),
            Resource::Services | Resource::EndpointSlices => {}
        }
        known || was_synced
    }

    /// The view as it is now, to look into.
    pub(crate) fn latest(&self) -> &View {
        &self.view
    }

    /// The view as it is now, to be published: a handful of reference counts.
    pub(crate) fn view(&self) -> View {
        self.view.clone()
    }

    /// How many objects of a resource are known.
    pub(crate) fn count(&self, resource: Resource) -> usize {
        match resource {
            Resource::Services => self.view.services.len(),
            Resource::EndpointSlices => self.slices.len(),
            Resource::Pods => self.pods.len(),
            Resource::Namespaces => self.view.namespaces.len(),
        }
    }

    fn apply_object(&mut self, object: Object, now: Now) -> bool {
        let Some(id) = self.told(&object, now.unix) else {
            return false;
        };
        match object {
            Object::Service(service) => self.apply_service(&service, now.unix),
            Object::EndpointSlice(slice) => self.apply_slice(id, &slice, now),
            Object::Pod(pod) => self.apply_pod(id, &pod),
            Object::Namespace(namespace) => self.apply_namespace(&namespace),
        }
    }

    /// Remembers which version of an object was told, also where nothing of it is served, and returns its identity;
    /// `None`: a list that was given up told a newer one.
    fn told(&mut self, object: &Object, now: u32) -> Option<u64> {
        let (id, version) = self.identify(object);
        let known = &mut self.known[object.resource() as usize];
        known.told(id, version, now).then_some(id)
    }

    /// Whether this would be refused: a list that was given up has told a newer version of the object.
    pub(crate) fn is_overtaken(&self, object: &Object) -> bool {
        let (id, version) = self.identify(object);
        self.known[object.resource() as usize].is_overtaken(id, version)
    }

    fn identify(&self, object: &Object) -> (u64, Version) {
        let metadata = object.metadata();
        let id = self.identity(&metadata.namespace, &metadata.name);
        (id, Version::of(&metadata.resource_version))
    }

    fn delete_object(&mut self, object: &Object, now: Now) -> bool {
        let Metadata {
            namespace, name, ..
        } = object.metadata();
        let (id, version) = self.identify(object);
        let known = &mut self.known[object.resource() as usize];
        if !known.ended(id, version) {
            return false;
        }
        match object {
            Object::Service(_) => {
                service_key(namespace, name).is_some_and(|key| self.end_service(&key, now.unix))
            }
            Object::EndpointSlice(_) => self.remove_slice(id, now),
            Object::Pod(_) => self.remove_pod(id),
            Object::Namespace(_) => label(name).is_some_and(|label| self.remove_namespace(&label)),
        }
    }

    fn apply_service(&mut self, service: &Service, now: u32) -> bool {
        let shared = |ports: &[Port]| self.ports.shared(ports);
        let records = ServiceRecords::of(service, shared);
        records.is_some_and(|records| self.put_service(records, now))
    }

    fn put_service(&mut self, records: ServiceRecords, now: u32) -> bool {
        if self.view.service(records.key()) == Some(&records) {
            return false;
        }
        let key = self.known_key(records.key());
        self.remove_service(&key, now);
        let hash = self.view.hash(&key);
        let View {
            seed,
            cluster_ips,
            services,
            ..
        } = &mut self.view;
        for ip in records.cluster_ips().iter() {
            cluster_ips.add(seed, ip, &key);
        }
        services.insert(seed, Entry { hash, of: records });
        self.view.serial = now;
        true
    }

    /// Takes out a Service that is gone, and not only changed.
    fn end_service(&mut self, key: &[u8], now: u32) -> bool {
        let held = self.let_go_of(key);
        self.remove_service(key, now) || held
    }

    fn remove_service(&mut self, key: &[u8], now: u32) -> bool {
        let hash = self.view.hash(key);
        let is = |service: &Entry<ServiceRecords>| service.of.key() == key;
        let Some(service) = self.view.services.remove(hash, is) else {
            return false;
        };
        let View {
            seed, cluster_ips, ..
        } = &mut self.view;
        for ip in service.of.cluster_ips().iter() {
            cluster_ips.remove(seed, ip, key);
        }
        self.view.serial = now;
        true
    }

    /// This key, as it is held already if it is.
    fn known_key(&self, key: &[u8]) -> ServiceKey {
        let of_endpoints = self.view.endpoints(key).map(EndpointSet::service);
        let of_address = || {
            let ip = self.view.service(key)?.cluster_ips().iter().next()?;
            let mut holders = self.view.cluster_ips.holders(&self.view.seed, ip);
            holders.find(|holder| ***holder == *key)
        };
        let known = of_endpoints.or_else(of_address);
        known.cloned().unwrap_or_else(|| key.into())
    }

    fn apply_pod(&mut self, id: u64, pod: &Pod) -> bool {
        if pod.ended {
            return self.remove_pod(id);
        }
        // A Pod that is being deleted keeps its address until it is gone.
        if pod.metadata.deleting && self.pods.contains(id) {
            return false;
        }
        let namespace = label(&pod.metadata.namespace);
        let (Some(&ip), Some(namespace)) = (pod.ips.first(), namespace) else {
            return self.remove_pod(id);
        };
        self.put_pod(id, ip, &namespace)
    }

    fn put_pod(&mut self, id: u64, ip: IpAddr, namespace: &[u8]) -> bool {
        let known = self.pods.get(id);
        if known.is_some_and(|(known, at)| *known == ip && **at == *namespace) {
            return false;
        }
        self.remove_pod(id);
        let namespace = self.interned(namespace);
        self.view.pods.add(&self.view.seed, ip, &namespace);
        self.pods.insert(id, (ip, namespace));
        true
    }

    fn remove_pod(&mut self, id: u64) -> bool {
        let Some((ip, namespace)) = self.pods.remove(id) else {
            return false;
        };
        self.view.pods.remove(&self.view.seed, ip, &namespace);
        true
    }

    /// The label of a namespace, shared with the namespace's own entry where there is one.
    fn interned(&self, label: &[u8]) -> SharedLabels {
        let namespaces = &self.view.namespaces;
        let known = namespaces.find(self.view.hash(label), |known| **known == *label);
        known.cloned().unwrap_or_else(|| label.into())
    }

    fn apply_namespace(&mut self, namespace: &Namespace) -> bool {
        label(&namespace.metadata.name).is_some_and(|label| self.put_namespace(&label))
    }

    fn put_namespace(&mut self, label: &[u8]) -> bool {
        if self.view.has_namespace(label) {
            return false;
        }
        self.view
            .namespaces
            .insert(&self.view.seed, (*label).into());
        true
    }

    fn remove_namespace(&mut self, label: &[u8]) -> bool {
        let hash = self.view.hash(label);
        let is = |known: &SharedLabels| **known == *label;
        self.view.namespaces.remove(hash, is).is_some()
    }

    /// What tells an object from the others of its resource: for a Service and a Namespace, the hash of its key.
    fn identity(&self, namespace: &str, name: &str) -> u64 {
        let mut key = Vec::with_capacity(namespace.len() + name.len() + 2);
        for part in [name, namespace] {
            if !part.is_empty() {
                key.push(part.len() as u8);
                key.extend(part.bytes().map(|octet| octet.to_ascii_lowercase()));
            }
        }
        self.view.hash(&key)
    }
}

#[cfg(test)]
pub(super) mod tests;

//! Events in, view out: plain synchronous data with one owner.
//!
//! The index knows no client, no file, no lock and no clock. It keeps the view that will be published next,
//! and beside it only what is needed to take an object's contribution out again. A list is applied as a
//! difference: objects that it names are put in as they come, and those it did not name are taken out at its
//! end, so that a view is never empty in between and never held twice.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::object::{EndpointSlice, Event, Metadata, Namespace, Object, Pod, Resource, Service};
use super::records::{
    EndpointSet, ServiceKey, ServiceKind, ServiceRecords, SliceRecords, label, service_key,
};
use super::table::Table;
use super::view::{AddressOwner, PodAddress, View};

/// The index of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Index {
    view: View,
    /// Slices by hash of namespace and name.
    slices: Map<Arc<SliceRecords>>,
    /// Pods likewise.
    pods: Map<(IpAddr, Arc<[u8]>)>,
    /// While a resource is being listed: the objects that the list has named.
    listed: [Option<Set>; Resource::ALL.len()],
}

/// Keyed by a 64-bit hash that is seeded by the process. Two of 250,000 objects meet by chance once in half a
/// billion clusters; the names themselves would cost more memory than what they name.
type Map<V> = HashMap<u64, V, foldhash::fast::RandomState>;
type Set = HashSet<u64, foldhash::fast::RandomState>;

impl Index {
    /// Applies one event; `now` is Unix time in seconds. Says whether the view changed.
    pub(crate) fn apply(&mut self, event: Event, now: u32) -> bool {
        match event {
            Event::ListStarted(resource) => {
                self.listed[resource as usize] = Some(Set::default());
                false
            }
            Event::Listed(resource) => self.finish_list(resource, now),
            Event::Applied(object) => self.apply_object(object, now),
            Event::Deleted(object) => self.delete_object(&object, now),
            Event::Current(_) | Event::Trouble(..) => false,
        }
    }

    /// Knows nothing more of a resource, as before its first list, and gives the memory back; `now` as for
    /// [`Index::apply`]. Says whether the view changed.
    pub(crate) fn forget(&mut self, resource: Resource, now: u32) -> bool {
        let known = self.count(resource) > 0;
        self.listed[resource as usize] = None;
        let was_synced = std::mem::take(&mut self.view.synced[resource as usize]);
        match resource {
            Resource::Services if known => {
                self.view.services = Table::default();
                self.keep_owners(|owner| !owner.is_cluster_ip);
                self.view.serial = now;
            }
            Resource::EndpointSlices if known => {
                self.slices = Map::default();
                self.view.endpoints = Table::default();
                self.keep_owners(|owner| owner.is_cluster_ip);
                self.view.serial = now;
            }
            Resource::Pods => {
                self.pods = Map::default();
                self.view.pods = Table::default();
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

    fn apply_object(&mut self, object: Object, now: u32) -> bool {
        let (resource, id) = (object.resource(), self.identity(object.metadata()));
        if let Some(listed) = &mut self.listed[resource as usize] {
            listed.insert(id);
        }
        match object {
            Object::Service(service) => self.apply_service(service, now),
            Object::EndpointSlice(slice) => self.apply_slice(id, slice, now),
            Object::Pod(pod) => self.apply_pod(id, &pod),
            Object::Namespace(namespace) => self.apply_namespace(&namespace),
        }
    }

    fn delete_object(&mut self, object: &Object, now: u32) -> bool {
        let id = self.identity(object.metadata());
        let Metadata {
            namespace, name, ..
        } = object.metadata();
        match object {
            Object::Service(_) => {
                service_key(namespace, name).is_some_and(|key| self.remove_service(&key, now))
            }
            Object::EndpointSlice(_) => self.remove_slice(id, now),
            Object::Pod(_) => self.remove_pod(id),
            Object::Namespace(_) => label(name).is_some_and(|label| self.remove_namespace(&label)),
        }
    }

    /// Takes out what the list did not name.
    fn finish_list(&mut self, resource: Resource, now: u32) -> bool {
        let Some(listed) = self.listed[resource as usize].take() else {
            return false;
        };
        match resource {
            Resource::Services => {
                let services = self.view.services.iter();
                let gone = services.filter(|s| !listed.contains(&self.identity_of_key(&s.key)));
                for key in gone.map(|service| service.key.clone()).collect::<Vec<_>>() {
                    self.remove_service(&key, now);
                }
            }
            Resource::EndpointSlices => {
                for id in unlisted(&self.slices, &listed) {
                    self.remove_slice(id, now);
                }
            }
            Resource::Pods => {
                for id in unlisted(&self.pods, &listed) {
                    self.remove_pod(id);
                }
            }
            Resource::Namespaces => {
                let namespaces = self.view.namespaces.iter();
                let gone =
                    namespaces.filter(|label| !listed.contains(&self.identity_of_key(label)));
                for label in gone.cloned().collect::<Vec<_>>() {
                    self.remove_namespace(&label);
                }
            }
        }
        self.view.synced[resource as usize] = true;
        true
    }

    fn apply_service(&mut self, service: Service, now: u32) -> bool {
        let Some(records) = ServiceRecords::of(service) else {
            return false;
        };
        if self.view.service(&records.key) == Some(&records) {
            return false;
        }
        self.remove_service(&records.key, now);
        if let ServiceKind::ClusterIps(ips) = &records.kind {
            for ip in ips {
                self.add_owner(*ip, &records.key, true);
            }
        }
        let hash = self.hash(&*records.key);
        self.view.services.insert(hash, Arc::new(records));
        self.view.serial = now;
        true
    }

    fn remove_service(&mut self, key: &[u8], now: u32) -> bool {
        let hash = self.hash(key);
        let Some(service) = self
            .view
            .services
            .remove(hash, |service| *service.key == *key)
        else {
            return false;
        };
        if let ServiceKind::ClusterIps(ips) = &service.kind {
            for ip in ips {
                self.remove_owner(*ip, key, true);
            }
        }
        self.view.serial = now;
        true
    }

    fn apply_slice(&mut self, id: u64, slice: EndpointSlice, now: u32) -> bool {
        let Some(records) = SliceRecords::of(slice) else {
            return self.remove_slice(id, now);
        };
        let old = self.slices.get(&id);
        if old.is_some_and(|old| **old == records) {
            return false;
        }
        let (records, old) = (Arc::new(records), old.cloned());
        if let Some(old) = old.as_ref().filter(|old| old.service != records.service) {
            self.aggregate(&old.service, Some(old), None);
        }
        self.aggregate(&records.service, old.as_ref(), Some(&records));
        self.slices.insert(id, records);
        self.view.serial = now;
        true
    }

    fn remove_slice(&mut self, id: u64, now: u32) -> bool {
        let Some(old) = self.slices.remove(&id) else {
            return false;
        };
        self.aggregate(&old.service, Some(&old), None);
        self.view.serial = now;
        true
    }

    /// Puts `new` in the place of `old` among the slices of a Service, and the difference of its addresses into
    /// the reverse table.
    fn aggregate(
        &mut self,
        key: &ServiceKey,
        old: Option<&Arc<SliceRecords>>,
        new: Option<&Arc<SliceRecords>>,
    ) {
        let before = self.view.endpoints(key);
        let mut slices: Vec<_> = before.map(|set| set.slices.to_vec()).unwrap_or_default();
        let at = old.and_then(|old| slices.iter().position(|slice| Arc::ptr_eq(slice, old)));
        match (at, new) {
            (Some(at), Some(new)) => slices[at] = new.clone(),
            (Some(at), None) => drop(slices.remove(at)),
            (None, Some(new)) => slices.push(new.clone()),
            (None, None) => {}
        }
        let set = EndpointSet::of(key.clone(), slices);
        let known: HashSet<IpAddr> = before.into_iter().flat_map(|set| set.ips()).collect();
        let wanted: HashSet<IpAddr> = set.ips().collect();
        let hash = self.hash(&**key);
        if set.slices.is_empty() {
            self.view.endpoints.remove(hash, |set| set.service == *key);
        } else {
            self.view
                .endpoints
                .replace(hash, Arc::new(set), |set| set.service == *key);
        }
        for ip in known.difference(&wanted) {
            self.remove_owner(*ip, key, false);
        }
        for ip in wanted.difference(&known) {
            self.add_owner(*ip, key, false);
        }
    }

    fn add_owner(&mut self, ip: IpAddr, service: &ServiceKey, is_cluster_ip: bool) {
        let owner = AddressOwner {
            ip,
            service: service.clone(),
            is_cluster_ip,
        };
        self.view.addresses.insert(self.hash(ip), owner);
    }

    fn remove_owner(&mut self, ip: IpAddr, service: &[u8], is_cluster_ip: bool) {
        self.view.addresses.remove(self.hash(ip), |owner| {
            owner.ip == ip && *owner.service == *service && owner.is_cluster_ip == is_cluster_ip
        });
    }

    fn keep_owners(&mut self, is_kept: impl Fn(&AddressOwner) -> bool) {
        let mut kept = Table::default();
        for owner in self.view.addresses.iter().filter(|owner| is_kept(owner)) {
            kept.insert(self.hash(owner.ip), owner.clone());
        }
        self.view.addresses = kept;
    }

    fn apply_pod(&mut self, id: u64, pod: &Pod) -> bool {
        if pod.ended {
            return self.remove_pod(id);
        }
        // A Pod that is being deleted keeps its address until it is gone.
        if pod.metadata.deleting && self.pods.contains_key(&id) {
            return false;
        }
        let namespace = label(&pod.metadata.namespace);
        let (Some(&ip), Some(namespace)) = (pod.ips.first(), namespace) else {
            return self.remove_pod(id);
        };
        if self
            .pods
            .get(&id)
            .is_some_and(|(known, at)| *known == ip && **at == *namespace)
        {
            return false;
        }
        self.remove_pod(id);
        let hash = self.hash(ip);
        let mut entry = PodAddress {
            ip,
            namespace: self.interned(&namespace),
            pods: 1,
        };
        let same = |pod: &PodAddress| pod.ip == ip && *pod.namespace == *namespace;
        if let Some(known) = self.view.pods.find(hash, same) {
            entry.pods += known.pods;
        }
        self.pods.insert(id, (ip, entry.namespace.clone()));
        self.view.pods.replace(hash, entry, same);
        true
    }

    fn remove_pod(&mut self, id: u64) -> bool {
        let Some((ip, namespace)) = self.pods.remove(&id) else {
            return false;
        };
        let hash = self.hash(ip);
        let same = |pod: &PodAddress| pod.ip == ip && pod.namespace == namespace;
        let mut entry = self
            .view
            .pods
            .remove(hash, same)
            .expect("each known Pod is counted once");
        entry.pods -= 1;
        if entry.pods > 0 {
            self.view.pods.insert(hash, entry);
        }
        true
    }

    /// The label of a namespace, shared with the namespace's own entry where there is one.
    fn interned(&self, label: &[u8]) -> Arc<[u8]> {
        let known = self
            .view
            .namespaces
            .find(self.hash(label), |known| **known == *label);
        known.cloned().unwrap_or_else(|| label.into())
    }

    fn apply_namespace(&mut self, namespace: &Namespace) -> bool {
        let Some(label) = label(&namespace.metadata.name) else {
            return false;
        };
        if self.view.has_namespace(&label) {
            return false;
        }
        self.view
            .namespaces
            .insert(self.hash(&*label), label.into());
        true
    }

    fn remove_namespace(&mut self, label: &[u8]) -> bool {
        self.view
            .namespaces
            .remove(self.hash(label), |known| **known == *label)
            .is_some()
    }

    fn hash<T: std::hash::Hash>(&self, key: T) -> u64 {
        self.view.hasher.hash_one(key)
    }

    /// What tells an object from the others of its resource.
    fn identity(&self, metadata: &Metadata) -> u64 {
        let mut key = Vec::with_capacity(metadata.namespace.len() + metadata.name.len() + 2);
        for part in [&metadata.name, &metadata.namespace] {
            if !part.is_empty() {
                key.push(part.len() as u8);
                key.extend(part.bytes().map(|octet| octet.to_ascii_lowercase()));
            }
        }
        self.identity_of_key(&key)
    }

    /// The same for a key of a Service or a Namespace, which are made of the same octets.
    fn identity_of_key(&self, key: &[u8]) -> u64 {
        self.hash(key)
    }
}

fn unlisted<V>(known: &Map<V>, listed: &Set) -> Vec<u64> {
    known
        .keys()
        .filter(|id| !listed.contains(*id))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests;

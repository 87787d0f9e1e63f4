//! What the index says of objects to whoever compares them with others: in which version it was told of each.

use super::{Index, Now, Version};
use crate::cluster::object::Resource;
use crate::cluster::records::{ServiceKey, SharedLabels};

/// The version in which an object was told of last, and the Unix time of that in seconds.
pub(crate) type Note = (Version, u32);

impl Index {
    /// An audit of a resource begins.
    pub(crate) fn start_audit(&mut self, resource: Resource) {
        self.known[resource as usize].start_audit();
    }

    /// The audit has named this object. Returns its identity, and the version in which it was told of last.
    pub(crate) fn see(
        &mut self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> (u64, Option<Version>) {
        let id = self.identity(namespace, name);
        let known = &mut self.known[resource as usize];
        known.see(id);
        (id, known.note(id).map(|(version, _)| version))
    }

    /// What the audit has not named.
    pub(crate) fn unseen(&self, resource: Resource) -> impl Iterator<Item = (u64, Version)> {
        self.known[resource as usize].unseen()
    }

    /// The version in which an object was told of last.
    pub(crate) fn version(&self, resource: Resource, id: u64) -> Option<Version> {
        let note = self.known[resource as usize].note(id);
        note.map(|(version, _)| version)
    }

    /// Takes out an object that does not exist, by its identity. Says whether the view changed.
    pub(crate) fn remove(&mut self, resource: Resource, id: u64, now: Now) -> bool {
        self.known[resource as usize].forget(id);
        match resource {
            Resource::Services => {
                let service = self.view.services.find(id, |service| service.hash == id);
                let service = service.map(|service| service.of.clone());
                service.is_some_and(|service| self.end_service(service.key(), now.unix))
            }
            Resource::EndpointSlices => self.remove_slice(id, now),
            Resource::Pods => self.remove_pod(id),
            Resource::Namespaces => {
                let is = |label: &SharedLabels| self.view.hash(label) == id;
                let label = self.view.namespaces.find(id, is).cloned();
                label.is_some_and(|label| self.remove_namespace(&label))
            }
        }
    }

    /// The Service of this key and its slices, the latter in no order. It looks over all slices.
    /// What is known from a snapshot alone was told when that was current.
    pub(crate) fn trace(&self, key: &ServiceKey) -> (Option<Note>, Vec<Note>) {
        let note = |resource: Resource, id: u64| {
            let as_of = self.view.stale[resource as usize].unwrap_or_default();
            let unknown = (Version::of(""), u32::try_from(as_of).unwrap_or(u32::MAX));
            self.known[resource as usize].note(id).unwrap_or(unknown)
        };
        let service = self
            .view
            .service(key)
            .map(|service| self.view.hash(service.key()));
        let slices = self
            .slices
            .iter()
            .filter(|(_, slice)| *slice.service() == *key);
        (
            service.map(|id| note(Resource::Services, id)),
            slices
                .map(|(id, _)| note(Resource::EndpointSlices, id))
                .collect(),
        )
    }
}

//! A list that is applied as a difference: what it names is put in as it comes, what it did not name is taken out at its
//! end, if it is believed.

use super::by_id::ById;
use super::known::Known;
use super::{Index, Now};
use crate::cluster::object::Resource;

/// How much a list that is complete would take out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Objects that were known before the list began.
    pub(crate) before: usize,
    /// Those of them that it did not name.
    pub(crate) missing: usize,
}

impl Index {
    /// How much the list that is under way would take out if it were complete now; `None` where there is none.
    pub(crate) fn outcome(&self, resource: Resource) -> Option<Outcome> {
        let known = &self.known[resource as usize];
        let before = known.listing()?;
        let missing = match resource {
            Resource::Services => {
                let services = self.view.services.iter();
                services
                    .filter(|service| !known.is_listed(service.hash))
                    .count()
            }
            Resource::EndpointSlices => unlisted(&self.slices, known).count(),
            Resource::Pods => unlisted(&self.pods, known).count(),
            Resource::Namespaces => {
                let namespaces = self.view.namespaces.iter();
                namespaces
                    .filter(|label| !known.is_listed(self.view.hash(label)))
                    .count()
            }
        };
        Some(Outcome { before, missing })
    }

    /// A list is complete, but what it did not name stays until another list has said so too.
    pub(crate) fn finish_list_keeping(&mut self, resource: Resource, now: Now) {
        self.known[resource as usize].end_list(true);
        if resource == Resource::EndpointSlices {
            self.held.resume(now);
        }
    }

    /// What is known of the resource is all of it, though no list that was believed has said so.
    pub(crate) fn believe(&mut self, resource: Resource) {
        self.view.synced[resource as usize] = true;
    }

    /// Takes out what the list did not name.
    pub(super) fn finish_list(&mut self, resource: Resource, now: Now) -> bool {
        let known = &self.known[resource as usize];
        if known.listing().is_none() {
            return false;
        }
        match resource {
            Resource::Services => {
                let services = self.view.services.iter();
                let gone = services.filter(|service| !known.is_listed(service.hash));
                for service in gone.map(|service| service.of.clone()).collect::<Vec<_>>() {
                    self.end_service(service.key(), now.unix);
                }
            }
            Resource::EndpointSlices => {
                for id in unlisted(&self.slices, known).collect::<Vec<_>>() {
                    self.remove_slice(id, now);
                }
                self.held.resume(now);
            }
            Resource::Pods => {
                for id in unlisted(&self.pods, known).collect::<Vec<_>>() {
                    self.remove_pod(id);
                }
            }
            Resource::Namespaces => {
                let namespaces = self.view.namespaces.iter();
                let gone = namespaces.filter(|label| !known.is_listed(self.view.hash(label)));
                for label in gone.cloned().collect::<Vec<_>>() {
                    self.remove_namespace(&label);
                }
            }
        }
        self.known[resource as usize].end_list(false);
        self.view.synced[resource as usize] = true;
        self.view.stale[resource as usize] = None;
        true
    }
}

/// The records of a resource that the list under way has not named.
fn unlisted<'a, V: Clone>(
    records: &'a ById<V>,
    known: &'a Known,
) -> impl Iterator<Item = u64> + 'a {
    let ids = records.iter().map(|(id, _)| id);
    ids.filter(|id| !known.is_listed(*id))
}

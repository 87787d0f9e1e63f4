//! The objects that the answers for a name are made of, for whoever must explain them: in which version the API server
//! told of each, and when.

use std::time::SystemTime;

use super::name::KubeName;
use super::told::service_name;
use super::{Kubernetes, alias};
use crate::cluster::freshness::Heard;
use crate::cluster::inspect::Traced;
use crate::cluster::object::Resource;
use crate::cluster::records::ServiceKey;
use crate::dns::{Name, reverse};

/// Services that are told of at most: an address may belong to thousands.
const SERVICES_MAX: usize = 10;

/// What the answers for a name are made of.
#[derive(Debug, Default)]
pub(crate) struct MadeOf {
    pub(crate) objects: Vec<MadeObject>,
    pub(crate) resources: Vec<MadeResource>,
}

/// How fresh what is known of a resource is.
#[derive(Debug)]
pub(crate) struct MadeResource {
    pub(crate) resource: Resource,
    /// The `resourceVersion` up to which everything was told; empty if there is none.
    pub(crate) version: Box<str>,
    /// When its source was last heard.
    pub(crate) heard: Option<SystemTime>,
}

/// One object.
#[derive(Debug)]
pub(crate) struct MadeObject {
    pub(crate) resource: Resource,
    /// Namespace and name of the Service that it is, or belongs to.
    pub(crate) service: String,
    /// Its `resourceVersion`, if it has one that is a number.
    pub(crate) version: Option<u64>,
    /// When it was told last.
    pub(crate) told: SystemTime,
}

impl Kubernetes {
    /// Asks the owner of what is known; where the cluster is not followed at the moment, there is nothing to tell.
    pub(crate) async fn made_of(&self, name: &Name) -> MadeOf {
        let mut made = MadeOf::default();
        for key in self.services_of(name) {
            let service = service_name(&key);
            let Ok(found) = self.cluster.inspect(key).await else {
                break;
            };
            let object = |resource, traced: Traced| MadeObject {
                resource,
                service: service.clone(),
                version: traced.version,
                told: traced.told,
            };
            let of_service = found.service.into_iter();
            let of_service = of_service.map(|traced| object(Resource::Services, traced));
            let slices = found.slices.into_iter();
            let slices = slices.map(|traced| object(Resource::EndpointSlices, traced));
            made.objects.extend(of_service.chain(slices));
            made.resources = found.resources.into_iter().map(resource).collect();
        }
        made
    }

    /// The Services behind a name: its own, and those that it is an alias of; or who has the address.
    fn services_of(&self, name: &Name) -> Vec<ServiceKey> {
        let view = self.cluster.view();
        if let Some(ip) = reverse::address(name) {
            let owner = view.cluster_ip_owner(ip).into_iter();
            let owners = owner.chain(view.endpoint_owners(ip));
            return owners.take(SERVICES_MAX).cloned().collect();
        }
        let names = alias::chain(&self.options, &view, name).take(SERVICES_MAX);
        let keys = names.filter_map(|(name, zone_at)| match KubeName::parse(&name, zone_at) {
            KubeName::Service { key, .. } => Some(ServiceKey::from(key)),
            _ => None,
        });
        keys.collect()
    }
}

fn resource((resource, heard): (Resource, Heard)) -> MadeResource {
    MadeResource {
        resource,
        heard: heard.last(),
        version: heard.version,
    }
}

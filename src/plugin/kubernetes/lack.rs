//! Why there is no answer, and what is told of it (RFC 8914).
//!
//! No code is registered for a name that does not exist because something else does not: that is `Other`, with words. A
//! resource that was never listed is `Not Ready`. The words are few and always the same: they cost nothing, and say nothing
//! of the API server to who may not ask it. That a name has no records of the type asked needs no words.

use super::Asking;
use crate::cluster::Cluster;
use crate::cluster::object::{Resource, Trouble};
use crate::dns::edns::{ErrorCode, ExtendedError};

/// What is missing for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack<'a> {
    /// Nothing that is worth telling: it has no records of this type, or is a part of a reverse zone.
    Nothing,
    /// A name that something in a cluster can have.
    Form,
    /// Names of Pods, which the Corefile does not want.
    Pods,
    /// This resource has never been listed, and could make it an answer.
    Unlisted(Resource),
    /// The Namespace, or it is not to be told of.
    Namespace,
    /// The Service, in the Namespace of this label.
    Service(&'a [u8]),
    /// A port of this name and protocol.
    Port,
    /// Any endpoint that is ready.
    ReadyEndpoint,
    /// A ready endpoint of this name.
    Endpoint,
    /// Endpoints, which the Corefile does not want.
    Endpoints,
    /// An address in the name.
    PodAddress,
    /// A Pod that has the address.
    Pod,
    /// Who has the address.
    Address,
    /// An address at the end of the aliases.
    Target,
}

const fn other(text: &'static str) -> ExtendedError {
    ExtendedError::of(ErrorCode::Other, text)
}

static FORM: ExtendedError = other("not the name of a Service, Pod or Namespace");
static PODS: ExtendedError = other("names of Pods are not answered here");
static NAMESPACE: ExtendedError = other("no such Namespace");
static SERVICE: ExtendedError = other("no such Service in this Namespace");
static PORT: ExtendedError = other("the Service has no such port");
static READY_ENDPOINT: ExtendedError = other("the Service has no ready endpoint");
static ENDPOINT: ExtendedError = other("the Service has no ready endpoint of this name");
static ENDPOINTS: ExtendedError = other("endpoints are not answered here");
static POD_ADDRESS: ExtendedError = other("not the name of an address");
static POD: ExtendedError = other("no Pod of this Namespace has this address");
static ADDRESS: ExtendedError = other("no Service or endpoint has this address");
static TARGET: ExtendedError = other("the ExternalName leads to no address");

/// What is told of a resource that has never been listed, by the reason.
struct Unlisted {
    yet: ExtendedError,
    forbidden: ExtendedError,
    unauthorized: ExtendedError,
    refused: ExtendedError,
    unreachable: ExtendedError,
    missing: ExtendedError,
    unreadable: ExtendedError,
}

macro_rules! unlisted {
    ($resource:literal) => {
        Unlisted {
            yet: not_ready(concat!($resource, ": not listed yet")),
            forbidden: not_ready(concat!($resource, ": 403 Forbidden")),
            unauthorized: not_ready(concat!($resource, ": 401 Unauthorized")),
            refused: not_ready(concat!($resource, ": refused")),
            unreachable: not_ready(concat!($resource, ": unreachable")),
            missing: not_ready(concat!(
                $resource,
                ": manifests are missing or cannot be read"
            )),
            unreadable: not_ready(concat!($resource, ": unreadable")),
        }
    };
}

const fn not_ready(text: &'static str) -> ExtendedError {
    ExtendedError::of(ErrorCode::NotReady, text)
}

static NAMESPACES_UNLISTED: Unlisted = unlisted!("namespaces");
static SERVICES_UNLISTED: Unlisted = unlisted!("services");
static SLICES_UNLISTED: Unlisted = unlisted!("endpointslices");
static PODS_UNLISTED: Unlisted = unlisted!("pods");

impl Lack<'_> {
    /// What a client is told that can read it.
    pub(super) fn extended_error(
        self,
        asking: &Asking<'_>,
        cluster: &Cluster,
    ) -> Option<&'static ExtendedError> {
        Some(match self {
            Lack::Nothing => return None,
            Lack::Unlisted(resource) => {
                unlisted(resource, cluster.troubles()[resource as usize].as_ref())
            }
            Lack::Service(namespace) if asking.view.has_namespace(namespace) => &SERVICE,
            // A Namespace that was never listed may be there.
            Lack::Service(_) if !asking.view.is_synced(Resource::Namespaces) => &SERVICE,
            Lack::Service(_) | Lack::Namespace => &NAMESPACE,
            Lack::Form => &FORM,
            Lack::Pods => &PODS,
            Lack::Port => &PORT,
            Lack::ReadyEndpoint => &READY_ENDPOINT,
            Lack::Endpoint => &ENDPOINT,
            Lack::Endpoints => &ENDPOINTS,
            Lack::PodAddress => &POD_ADDRESS,
            Lack::Pod => &POD,
            Lack::Address => &ADDRESS,
            Lack::Target => &TARGET,
        })
    }
}

fn unlisted(resource: Resource, trouble: Option<&Trouble>) -> &'static ExtendedError {
    let told = match resource {
        Resource::Namespaces => &NAMESPACES_UNLISTED,
        Resource::Services => &SERVICES_UNLISTED,
        Resource::EndpointSlices => &SLICES_UNLISTED,
        Resource::Pods => &PODS_UNLISTED,
    };
    match trouble {
        None => &told.yet,
        Some(Trouble::Forbidden(_)) => &told.forbidden,
        Some(Trouble::Unauthorized(_)) => &told.unauthorized,
        Some(Trouble::Refused { .. }) => &told.refused,
        Some(Trouble::Unreachable(_)) => &told.unreachable,
        Some(Trouble::Missing(_)) => &told.missing,
        Some(Trouble::Unreadable(_)) => &told.unreadable,
    }
}

impl Asking<'_> {
    /// What is missing if a resource tells nothing of it: `lack`, or to hear of the resource at all.
    pub(super) fn unless_unlisted<'a>(&self, resource: Resource, lack: Lack<'a>) -> Lack<'a> {
        if self.view.is_synced(resource) {
            lack
        } else {
            Lack::Unlisted(resource)
        }
    }

    /// Likewise for endpoints, which the Corefile may not want.
    pub(super) fn unless_unlisted_endpoints<'a>(&self, lack: Lack<'a>) -> Lack<'a> {
        if self.options.no_endpoints {
            Lack::Endpoints
        } else {
            self.unless_unlisted(Resource::EndpointSlices, lack)
        }
    }
}

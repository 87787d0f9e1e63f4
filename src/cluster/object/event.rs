//! The one interface between the sources of a cluster and its index.

use std::time::Duration;

use super::{Object, Resource};

/// How many events a source may be ahead of the index. Enough that reading and indexing go on side by side; with slices of 100 endpoints,
/// some 20 KiB each, this bounds the queue of a source to 2.5 MiB.
pub const EVENTS_QUEUED_MAX: usize = 128;

/// What a source says to the index, in order, for each resource on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A full list begins: objects of this resource that are not applied before the matching [`Event::Listed`] no longer
    /// exist, if the list is believed. One that breaks off begins again with another `ListStarted`, or is given up with
    /// [`Event::Current`]; until `Listed` nothing is gone.
    ListStarted(Resource),
    /// The object exists and has this content.
    Applied(Object),
    /// The object no longer exists. Only its metadata (name, namespace, labels) is meaningful.
    Deleted(Object),
    /// The list is complete: the resource is synced, and what the list did not name is gone, unless the owner of the index
    /// doubts that.
    Listed(Resource),
    /// The object exists but cannot be read: what was known of it before stays. Only its metadata is meaningful.
    Unreadable(Object),
    /// The source has just heard from the server and missed nothing until now: a watch was accepted.
    /// Ends what the last [`Event::Trouble`] said; renews the age of the resource. A list that was not complete is given
    /// up: what it has told stays, and the watch, which goes on from before the list, may tell some of it again.
    Current(Resource),
    /// The source hears nothing from the server: a request has ended, and the next has not been accepted. It may be for a
    /// moment; what keeps it longer is told as [`Event::Trouble`].
    Away(Resource),
    /// As [`Event::Current`], and the source has come as far as this `resourceVersion`: that of a list which is complete, or
    /// of a bookmark.
    Reached(Resource, Box<str>),
    /// The source cannot follow the resource for now. What was applied before stays as it is.
    Trouble(Resource, Trouble),
    /// An answer to an [`Order`], beside what the watch says; with the number of the order.
    Audited(Resource, u64, Audited),
}

impl Event {
    /// The resource that it is about.
    pub fn resource(&self) -> Resource {
        match self {
            Event::ListStarted(resource)
            | Event::Listed(resource)
            | Event::Current(resource)
            | Event::Away(resource)
            | Event::Reached(resource, _)
            | Event::Trouble(resource, _)
            | Event::Audited(resource, ..) => *resource,
            Event::Applied(object) | Event::Deleted(object) | Event::Unreadable(object) => {
                object.resource()
            }
        }
    }
}

/// What the owner of the index asks of a source beside following; it goes with a number of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Which objects there are, and in which versions: [`Audited::Page`]s, then [`Audited::Complete`].
    Audit,
    /// These objects, as they are now: an [`Audited::Object`] each, then [`Audited::Fetched`].
    Fetch(Box<[Named]>),
    /// The whole list anew, not older than now, as a difference to what is known. [`Event::Listed`] answers it, of whichever
    /// list that is, or else [`Audited::NotListed`]; the watch goes on in either case.
    List,
}

/// Orders that may wait for a source. The owner has one audit under way and wants one list of a resource at a time; what
/// finds no room is ordered again.
pub const ORDERS_QUEUED_MAX: usize = 4;

/// An object by its names, and its version where it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Empty for a Namespace.
    pub namespace: Box<str>,
    /// Never empty.
    pub name: Box<str>,
    /// Opaque.
    pub version: Box<str>,
}

/// What a source answers to an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    /// Objects that exist.
    Page(Box<[Named]>),
    /// The pages have named all objects that existed at this `resourceVersion`, which is not older than the order.
    Complete(Box<str>),
    /// The object that was asked for; `None`: it does not exist.
    Object(Named, Option<Box<Object>>),
    /// Every object that was asked for has been told.
    Fetched,
    /// The order cannot be carried out.
    Failed(Trouble),
    /// The list that was ordered has not come, and the server wants to be asked again after this at the soonest.
    NotListed(Trouble, Duration),
}

/// Why a resource cannot be followed: what a human must know, for `/ready` and the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The server does not let us list or watch; the text is the server's own.
    #[error("403 Forbidden: {0}")]
    Forbidden(Box<str>),
    /// The server does not accept our credentials; the text is the server's own.
    #[error("401 Unauthorized: {0}")]
    Unauthorized(Box<str>),
    /// The server answered with an error.
    #[error("{status}: {message}")]
    Refused {
        /// HTTP status code.
        status: u16,
        /// The server's own text.
        message: Box<str>,
    },
    /// No answer: connection refused, timed out, cut, or TLS failed.
    #[error("{0}")]
    Unreachable(Box<str>),
    /// Manifests are not there or cannot be looked at, or what they had is kept although they have it no more.
    #[error("{0}")]
    Missing(Box<str>),
    /// The answer is not what the Kubernetes API promises.
    #[error("unreadable answer: {0}")]
    Unreadable(Box<str>),
}

//! The one interface between the sources of a cluster and its index.

use super::{Object, Resource};

/// How many events a source may be ahead of the index. Enough that reading and indexing go on side by side; with slices of 100 endpoints,
/// some 20 KiB each, this bounds the queue of a source to 2.5 MiB.
pub const EVENTS_QUEUED_MAX: usize = 128;

/// What a source says to the index, in order, for each resource on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A full list begins: objects of this resource that are not applied before the matching [`Event::Listed`] no longer exist.
    /// A list that breaks off begins again with another `ListStarted`; until `Listed` nothing is gone.
    ListStarted(Resource),
    /// The object exists and has this content.
    Applied(Object),
    /// The object no longer exists. Only its metadata (name, namespace, labels) is meaningful.
    Deleted(Object),
    /// The list is complete: the resource is synced.
    Listed(Resource),
    /// The source has just heard from the server and missed nothing until now: a watch was accepted, or a bookmark came.
    /// Ends what the last [`Event::Trouble`] said; renews the age of the resource.
    Current(Resource),
    /// As [`Event::Current`], and the source has come as far as this `resourceVersion`: that of a list which is complete, or
    /// of a bookmark.
    Reached(Resource, Box<str>),
    /// The source cannot follow the resource for now. What was applied before stays as it is.
    Trouble(Resource, Trouble),
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
    /// The answer is not what the Kubernetes API promises.
    #[error("unreadable answer: {0}")]
    Unreadable(Box<str>),
}

//! Placeholder.
use super::connection::Connection;
use super::selector::Selector;
use std::path::PathBuf;
/// Which objects are followed, and where: stanzas with equal keys share them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterKey {
    /// Who tells of them.
    pub source: Source,
    /// Only Services, EndpointSlices and Pods with these labels.
    pub labels: Option<Selector>,
    /// Only Namespaces with these labels.
    pub namespace_labels: Option<Selector>,
}

/// Who tells of the objects of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// An API server.
    Api(Connection),
    /// Files and folders.
    Manifests(Vec<PathBuf>),
}

//! A Service as it is kept for another process: its octets as they are, checked when they come back.

use std::sync::Arc;

use triomphe::ThinArc;

use super::{Head, Kind, ServiceRecords};
use crate::cluster::object::Port;
use crate::cluster::records::{is_labels, labels_in};

/// What a Service is made of, beside its ports.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) struct StoredService<'a> {
    /// How it is answered: 0 by cluster IPs, 1 by endpoints, 2 by an alias, 3 not at all.
    pub(in crate::cluster) kind: u8,
    /// Octets of the key.
    pub(in crate::cluster) key: u8,
    /// The key, then cluster IPs, each behind its length, or the labels of an alias.
    pub(in crate::cluster) octets: &'a [u8],
}

impl ServiceRecords {
    /// What is kept.
    pub(in crate::cluster) fn stored(&self) -> StoredService<'_> {
        let head = &self.0.header.header;
        StoredService {
            kind: match head.kind {
                Kind::ClusterIps => 0,
                Kind::Headless => 1,
                Kind::Alias => 2,
                Kind::NoAlias => 3,
            },
            key: head.key,
            octets: &self.0.slice,
        }
    }

    /// The Service of which this was kept; `None` if it cannot have been.
    pub(in crate::cluster) fn of_stored(
        stored: StoredService<'_>,
        ports: Arc<[Port]>,
    ) -> Option<ServiceRecords> {
        let (key, rest) = stored.octets.split_at_checked(usize::from(stored.key))?;
        let (kind, is_sound) = match stored.kind {
            0 => (Kind::ClusterIps, is_ips(rest)),
            1 => (Kind::Headless, rest.is_empty()),
            2 => (Kind::Alias, is_labels(rest)),
            3 => (Kind::NoAlias, rest.is_empty()),
            _ => return None,
        };
        if labels_in(key) != Some(2) || !is_sound {
            return None;
        }
        let head = Head {
            ports,
            kind,
            key: stored.key,
        };
        let records = ThinArc::from_header_and_slice(head, stored.octets);
        Some(ServiceRecords(records))
    }
}

/// Whether these octets are addresses, each behind its length.
fn is_ips(mut rest: &[u8]) -> bool {
    while let Some((length, octets)) = rest.split_first() {
        match octets.get(usize::from(*length)..) {
            Some(others) if matches!(length, 4 | 16) => rest = others,
            _ => return false,
        }
    }
    true
}

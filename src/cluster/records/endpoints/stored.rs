//! A slice as it is kept for another process: its numbers and its octets as they are, checked when they come back.

use std::sync::Arc;

use super::SliceRecords;
use crate::cluster::object::Port;
use crate::cluster::records::{ServiceKey, is_labels};

impl SliceRecords {
    /// How many endpoints are met at an IPv4 address, at an IPv6 address, at a name; and the octets of them.
    pub(in crate::cluster) fn stored(&self) -> ([u32; 3], &[u8]) {
        ([self.v4, self.v6, self.named], &self.octets)
    }

    /// The slice of which [`SliceRecords::stored`] gave these; `None` if it cannot have.
    pub(in crate::cluster) fn of_stored(
        service: ServiceKey,
        ports: Arc<[Port]>,
        [v4, v6, named]: [u32; 3],
        octets: Box<[u8]>,
    ) -> Option<SliceRecords> {
        let addresses = 4 * u64::from(v4) + 16 * u64::from(v6);
        let mut names = octets.get(usize::try_from(addresses).ok()?..)?;
        let count = match names.is_empty() {
            true => 0,
            false => 3 * (u64::from(v4) + u64::from(v6) + u64::from(named)),
        };
        for _ in 0..count {
            let (length, rest) = names.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            if !is_labels(name) {
                return None;
            }
            names = rest;
        }
        names.is_empty().then_some(SliceRecords {
            service,
            ports,
            v4,
            v6,
            named,
            octets,
        })
    }
}

//! A slice as it is kept for another process: its numbers and its octets as they are, checked when they come back.

use std::sync::Arc;

use triomphe::ThinArc;

use super::{Head, SliceRecords};
use crate::cluster::object::Port;
use crate::cluster::records::{ServiceKey, is_labels};

/// The API allows 1,000 endpoints of 100 addresses each.
const COUNT_MAX: u32 = 100_000;

/// What a slice is made of, beside its Service and its ports.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) struct StoredSlice<'a> {
    /// How many endpoints are met at an IPv4 address, at an IPv6 address, at a name; how many addresses are leaving.
    pub(in crate::cluster) counts: [u32; 4],
    /// Their addresses and names, and the addresses that are leaving.
    pub(in crate::cluster) octets: &'a [u8],
}

impl SliceRecords {
    /// What is kept.
    pub(in crate::cluster) fn stored(&self) -> StoredSlice<'_> {
        let head = self.head();
        StoredSlice {
            counts: [head.v4, head.v6, head.named, head.leaving],
            octets: &self.0.slice,
        }
    }

    /// The slice of which this was kept; `None` if it cannot have been.
    pub(in crate::cluster) fn of_stored(
        service: ServiceKey,
        stored: StoredSlice<'_>,
        ports: Arc<[Port]>,
    ) -> Option<SliceRecords> {
        let [v4, v6, named, leaving] = stored.counts;
        if [v4, v6, named, leaving]
            .iter()
            .any(|count| *count > COUNT_MAX)
        {
            return None;
        }
        let addresses = 4 * u64::from(v4) + 16 * u64::from(v6);
        let gone = usize::try_from(16 * u64::from(leaving)).ok()?;
        let end = stored.octets.len().checked_sub(gone)?;
        let mut names = stored.octets.get(usize::try_from(addresses).ok()?..end)?;
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
        let head = Head {
            service,
            ports,
            v4,
            v6,
            named,
            leaving,
        };
        let records = || SliceRecords(ThinArc::from_header_and_slice(head, stored.octets));
        names.is_empty().then(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_no_slice_can_have_are_refused() {
        let octets = [10, 0, 0, 1];
        for (fact, counts, is_slice) in [
            ("an address", [1, 0, 0, 0], true),
            ("more addresses than octets", [2, 0, 0, 0], false),
            ("names without end, all empty", [1, 0, u32::MAX, 0], false),
            ("more are leaving than octets", [1, 0, 0, 1], false),
            ("a sum that is too large", [u32::MAX, 1, u32::MAX, 0], false),
        ] {
            let stored = StoredSlice {
                counts,
                octets: &octets,
            };
            let service = ServiceKey::from(&b"\x03web\x04demo"[..]);
            let slice = SliceRecords::of_stored(service, stored, Arc::from([]));
            assert_eq!(slice.is_some(), is_slice, "{fact}");
        }
    }
}

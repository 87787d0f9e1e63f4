//! The endpoints of a Service, over its slices.
//!
//! They are its slices side by side: what one slice changes touches that slice. Only a Service that has an address
//! twice, which seldom lasts, has a list of its addresses beside its slices.

use std::collections::HashSet;
use std::net::IpAddr;
use std::slice;
use std::sync::Arc;

use super::SliceRecords;
use crate::cluster::records::ServiceKey;

/// All endpoints of a Service, over its slices; it has one at least. Two words, because most Services
/// have one slice and nothing beside it.
#[derive(Debug, Clone)]
pub(crate) struct EndpointSet(Slices);

#[derive(Debug, Clone)]
enum Slices {
    One(SliceRecords),
    Many(Arc<Many>),
}

/// Several slices, or one that has an address twice.
#[derive(Debug)]
struct Many {
    service: ServiceKey,
    slices: Box<[SliceRecords]>,
    /// How often an address is met that has been met already.
    repeats: u32,
    /// Present if there are repeats.
    once: Option<Box<Once>>,
}

/// The addresses of a Service that has some of them more than once, each once, in the order of its slices.
#[derive(Debug)]
struct Once {
    v4: Box<[[u8; 4]]>,
    v6: Box<[[u8; 16]]>,
}

impl EndpointSet {
    /// Aggregates slices of one Service, in which addresses are met again so many times; `None` if there are none.
    pub(crate) fn of(slices: Vec<SliceRecords>, repeats: u32) -> Option<EndpointSet> {
        let first = slices.first()?;
        if slices.len() == 1 && repeats == 0 {
            return Some(EndpointSet(Slices::One(first.clone())));
        }
        Some(EndpointSet(Slices::Many(Arc::new(Many {
            service: first.service().clone(),
            once: (repeats > 0).then(|| Box::new(Once::of(&slices))),
            slices: slices.into(),
            repeats,
        }))))
    }

    /// The key of the Service.
    #[inline]
    pub(crate) fn service(&self) -> &ServiceKey {
        match &self.0 {
            Slices::One(slice) => slice.service(),
            Slices::Many(many) => &many.service,
        }
    }

    /// The slices, in the order in which they came.
    pub(crate) fn slices(&self) -> &[SliceRecords] {
        match &self.0 {
            Slices::One(slice) => slice::from_ref(slice),
            Slices::Many(many) => &many.slices,
        }
    }

    /// How often an address is met that has been met already.
    pub(crate) fn repeats(&self) -> u32 {
        match &self.0 {
            Slices::One(_) => 0,
            Slices::Many(many) => many.repeats,
        }
    }

    /// Every IPv4 address once, in the order of the slices.
    pub(crate) fn v4(&self) -> impl Iterator<Item = &[u8; 4]> {
        let (once, slices) = self.once_or_slices();
        let once = once.into_iter().flat_map(|once| &once.v4);
        once.chain(slices.iter().flat_map(|slice| slice.v4()))
    }

    /// Every IPv6 address once, likewise.
    pub(crate) fn v6(&self) -> impl Iterator<Item = &[u8; 16]> {
        let (once, slices) = self.once_or_slices();
        let once = once.into_iter().flat_map(|once| &once.v6);
        once.chain(slices.iter().flat_map(|slice| slice.v6()))
    }

    fn once_or_slices(&self) -> (Option<&Once>, &[SliceRecords]) {
        let once = match &self.0 {
            Slices::One(_) => None,
            Slices::Many(many) => many.once.as_deref(),
        };
        match once {
            Some(once) => (Some(once), &[]),
            None => (None, self.slices()),
        }
    }

    /// Whether some endpoint is met at a name and not at an address.
    pub(crate) fn has_names(&self) -> bool {
        self.slices().iter().any(|slice| slice.head().named > 0)
    }

    /// Whether no endpoint is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.slices().iter().all(|slice| slice.is_empty())
    }
}

impl Once {
    fn of(slices: &[SliceRecords]) -> Once {
        let mut seen = HashSet::with_hasher(foldhash::fast::RandomState::default());
        let v4 = slices.iter().flat_map(|slice| slice.v4()).copied();
        let v4 = v4.filter(|ip| seen.insert(IpAddr::from(*ip))).collect();
        let v6 = slices.iter().flat_map(|slice| slice.v6()).copied();
        let v6 = v6.filter(|ip| seen.insert(IpAddr::from(*ip))).collect();
        Once { v4, v6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_takes_two_words_beside_its_slice() {
        assert_eq!(size_of::<EndpointSet>(), 2 * size_of::<usize>());
    }
}

//! Which chain a question goes to, on one listener.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chain::{Ahead, Chain};
use crate::dns::query::HEADER_LEN;
use crate::dns::{Class, Name, Question, Type};

/// The zones served on one listener. It is built whole with a generation and never changes.
#[derive(Debug, Default)]
pub struct Router {
    /// The zone that every name is in: most configurations have no other.
    root: Option<Arc<Chain>>,
    /// The others, by zone in lower-case wire form.
    zones: HashMap<Box<[u8]>, Arc<Chain>, foldhash::fast::RandomState>,
    /// Octets of the longest zone: what is longer need not be looked up.
    octets_max: usize,
    /// Some plugin answers other classes than IN, so they are let through to all.
    any_class: bool,
    ahead: Ahead,
}

impl Router {
    /// A router for these zones. `any_class`: whether classes other than IN reach the chains.
    pub fn new(zones: impl IntoIterator<Item = (Name, Arc<Chain>)>, any_class: bool) -> Router {
        let zones = zones.into_iter();
        let mut zones: HashMap<Box<[u8]>, Arc<Chain>, _> = zones
            .map(|(zone, chain)| (zone.lower().wire().into(), chain))
            .collect();
        let plugins = zones.values().flat_map(|chain| chain.plugins());
        Router {
            ahead: Ahead::of(plugins),
            root: zones.remove(Name::root().wire()),
            octets_max: zones.keys().map(|zone| zone.len()).max().unwrap_or(0),
            zones,
            any_class,
        }
    }

    /// Whether questions of this class are answered.
    pub fn serves_class(&self, class: Class) -> bool {
        class == Class::IN || self.any_class
    }

    /// Prepares for queries that have come together, whatever their packets are.
    #[inline]
    pub fn look_ahead<'a>(&self, packets: impl Iterator<Item = &'a [u8]> + Clone) {
        self.ahead
            .look(packets.filter_map(|packet| packet.get(HEADER_LEN..)));
    }

    /// The chain of the longest zone that the name is in. A DS record belongs to the parent of the zone it
    /// signs (RFC 4035 section 3.1.4.1), so the question goes to the least specific zone but the root, if there
    /// is one.
    #[inline]
    pub fn route(&self, question: &Question) -> Option<&Arc<Chain>> {
        let wire = question.name.wire();
        let mut parent = None;
        let mut at = 0;
        while wire[at] != 0 {
            if wire.len() - at <= self.octets_max
                && let Some(chain) = self.zones.get(&wire[at..])
            {
                if question.rtype != Type::DS {
                    return Some(chain);
                }
                parent = Some(chain);
            }
            at += 1 + usize::from(wire[at]);
        }
        parent.or(self.root.as_ref())
    }

    /// The zone whose chain this is; a chain has one.
    pub fn zone_of(&self, chain: &Arc<Chain>) -> Option<Name> {
        if self
            .root
            .as_ref()
            .is_some_and(|root| Arc::ptr_eq(root, chain))
        {
            return Some(Name::root());
        }
        let mut zones = self.zones.iter();
        let (zone, _) = zones.find(|(_, known)| Arc::ptr_eq(known, chain))?;
        Name::join(&zone[..zone.len() - 1], &Name::root()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_goes_to_the_longest_zone_and_ds_to_the_parent() {
        let zones = [".", "local", "cluster.local", "10.in-addr.arpa"];
        let chains: Vec<(Name, Arc<Chain>)> = zones
            .iter()
            .map(|zone| (zone.parse().unwrap(), Arc::new(Chain::new(vec![]))))
            .collect();
        let router = Router::new(chains.clone(), false);
        for (name, rtype, expected) in [
            ("web.demo.svc.Cluster.Local", Type::A, "cluster.local"),
            ("cluster.local", Type::SOA, "cluster.local"),
            ("cluster.local", Type::DS, "local"),
            ("local", Type::DS, "local"),
            ("xcluster.local", Type::A, "local"),
            ("example.com", Type::A, "."),
            (".", Type::NS, "."),
            ("1.0.0.10.in-addr.arpa", Type::PTR, "10.in-addr.arpa"),
        ] {
            let question = Question::new(name.parse().unwrap(), rtype, Class::IN);
            let chain = router.route(&question).unwrap();
            let at = chains
                .iter()
                .position(|(_, known)| Arc::ptr_eq(known, chain))
                .unwrap();
            assert_eq!(zones[at], expected, "{name} {rtype}");
            assert_eq!(router.zone_of(chain), Some(expected.parse().unwrap()));
        }
        let empty = Router::new([], false);
        assert!(
            empty
                .route(&Question::new(Name::root(), Type::A, Class::IN))
                .is_none()
        );
        assert!(!empty.serves_class(Class::CH));
    }
}

//! Where a name leads: to itself, then to what each Service of type ExternalName on the way is an alias of, as long as that
//! is in a zone of the cluster.
//!
//! For whoever must know which names an answer is made of; the answer itself goes the same way record by record.

use std::iter::successors;

use super::Options;
use super::answer::ALIASES_MAX;
use super::name::{KubeName, Part};
use crate::cluster::records::ServiceKind;
use crate::cluster::view::View;
use crate::dns::Name;

/// A name of the zone, in lower case, and where the zone starts in it.
pub(super) type InZone = (Name, usize);

/// The name and those that it leads to, in their order; no more of them than an answer follows.
pub(super) fn chain<'a>(
    options: &'a Options,
    view: &'a View,
    name: &Name,
) -> impl Iterator<Item = InZone> + 'a {
    let in_zone = |name: Name| {
        let (_, zone_at) = options.zones.matching(&name)?;
        Some((name, zone_at))
    };
    let next = move |(name, zone_at): &InZone| in_zone(target(view, name, *zone_at)?);
    successors(in_zone(name.lower()), next).take(1 + ALIASES_MAX)
}

/// What the name is an alias of.
fn target(view: &View, name: &Name, zone_at: usize) -> Option<Name> {
    let KubeName::Service {
        key,
        part: Part::Whole,
        ..
    } = KubeName::parse(name, zone_at)
    else {
        return None;
    };
    let ServiceKind::ExternalName(Some(target)) = view.service(key)?.kind() else {
        return None;
    };
    Some(Name::join(target, &Name::root()).ok()?.lower())
}

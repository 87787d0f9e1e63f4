//! Lists of zones: which of them a name belongs to.

use super::name::Name;

/// Zones in lower case. The empty list matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones {
    listed: Vec<Name>,
    /// The same: the first that a name is in is the longest that it is in.
    longest_first: Vec<Name>,
}

impl Zones {
    /// A list of these zones, in their order.
    pub fn new(zones: impl IntoIterator<Item = Name>) -> Zones {
        let listed: Vec<Name> = zones.into_iter().map(|zone| zone.lower()).collect();
        let mut longest_first = listed.clone();
        longest_first.sort_by_key(|zone| std::cmp::Reverse(zone.wire().len()));
        Zones {
            listed,
            longest_first,
        }
    }

    /// All names.
    pub fn root() -> Zones {
        Zones::new([Name::root()])
    }

    /// The longest zone that this name, in lower case, is in, and the octet at which it starts in the name.
    #[inline]
    pub fn matching(&self, name: &Name) -> Option<(&Name, usize)> {
        let mut zones = self.longest_first.iter();
        zones.find_map(|zone| Some((zone, name.offset_to_letter(zone)?)))
    }

    /// Whether the name, in lower case, is in one of the zones.
    #[inline]
    pub fn contains(&self, name: &Name) -> bool {
        let mut zones = self.listed.iter();
        zones.any(|zone| name.offset_to_letter(zone).is_some())
    }

    /// The zones in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.listed.iter()
    }

    /// Whether there is no zone.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_zone_matches_whatever_the_order() {
        let zones =
            Zones::new([".", "local", "Cluster.Local", "arpa"].map(|zone| zone.parse().unwrap()));
        for (name, expected) in [
            ("web.demo.svc.cluster.local", "cluster.local."),
            ("cluster.local", "cluster.local."),
            ("xcluster.local", "local."),
            ("example.com", "."),
        ] {
            let name: Name = name.parse().unwrap();
            let (zone, at) = zones.matching(&name).unwrap();
            assert_eq!(
                (zone.to_string().as_str(), name.suffix(at)),
                (expected, *zone),
                "{name}"
            );
        }
        assert_eq!(Zones::default().matching(&Name::root()), None);
    }
}

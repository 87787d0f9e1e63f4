//! A zone and what it holds for a question: RFC 1034 section 4.3.2 without delegations, wildcards as in RFC 4592.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::{
    rr::{LowerName, Name, RData, Record, RecordSet, RecordType, RrKey},
    serialize::txt::Parser,
};

/// A loop of aliases ends here.
const CHAIN_MAX: usize = 8;

pub(super) struct Zone {
    origin: Name,
    sets: BTreeMap<RrKey, RecordSet>,
    /// Every name of the zone, those that only lead to others among them.
    names: BTreeSet<LowerName>,
}

/// What the zone says to a question.
pub(super) enum Outcome {
    /// The question is not about this zone.
    Outside,
    Found {
        /// Aliases first, then what they lead to.
        answers: Vec<Record>,
        end: End,
    },
}

/// What stands at the end of the aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Records, or a name outside the zone.
    Records,
    /// A name without records of the type.
    NoData,
    /// A name that does not exist.
    NoName,
}

impl Zone {
    pub(super) fn parse(zone_file: &str) -> Zone {
        let parsed = Parser::new(zone_file, None, None).parse();
        let (origin, sets) = parsed.unwrap_or_else(|fault| panic!("not a zone file: {fault}"));
        let mut names = BTreeSet::new();
        for key in sets.keys() {
            let mut name = Name::from(key.name.clone());
            while origin.zone_of(&name) {
                names.insert(LowerName::from(&name));
                if name.is_root() {
                    break;
                }
                name = name.base_name();
            }
        }
        Zone {
            origin,
            sets,
            names,
        }
    }

    /// What the zone holds for the question; owners are in the case of the question.
    pub(super) fn find(&self, name: &Name, rtype: RecordType) -> Outcome {
        if !self.origin.zone_of(name) {
            return Outcome::Outside;
        }
        let mut answers = Vec::new();
        let mut owner = name.clone();
        for _ in 0..CHAIN_MAX {
            let Some(node) = self.node(&owner) else {
                let end = End::NoName;
                return Outcome::Found { answers, end };
            };
            let records = self.records(&node, rtype, &owner);
            if !records.is_empty() {
                answers.extend(records);
                break;
            }
            let aliases = self.records(&node, RecordType::CNAME, &owner);
            let Some(target) = aliases.iter().find_map(target) else {
                let end = End::NoData;
                return Outcome::Found { answers, end };
            };
            answers.extend(aliases);
            owner = target;
            if !self.origin.zone_of(&owner) {
                break;
            }
        }
        let end = End::Records;
        Outcome::Found { answers, end }
    }

    /// The records of a negative answer: the SOA, its TTL as RFC 2308 section 3 has it.
    pub(super) fn authority(&self) -> Vec<Record> {
        let mut soa = self.records(&self.origin, RecordType::SOA, &self.origin);
        for record in &mut soa {
            if let RData::SOA(data) = &record.data {
                record.ttl = record.ttl.min(data.minimum);
            }
        }
        soa
    }

    /// The addresses of the name servers among the answers.
    pub(super) fn glue(&self, answers: &[Record]) -> Vec<Record> {
        let servers = answers.iter().filter_map(|record| match &record.data {
            RData::NS(server) => Some(&server.0),
            _ => None,
        });
        let addresses = |server| {
            [RecordType::A, RecordType::AAAA].map(|rtype| self.records(server, rtype, server))
        };
        servers.flat_map(addresses).flatten().collect()
    }

    /// The name whose records answer for `name`: itself, or the wildcard below its closest encloser.
    fn node(&self, name: &Name) -> Option<Name> {
        if self.names.contains(&LowerName::from(name)) {
            return Some(name.clone());
        }
        let mut encloser = name.base_name();
        while !self.names.contains(&LowerName::from(&encloser)) {
            encloser = encloser.base_name();
        }
        let wildcard = encloser
            .prepend_label("*")
            .expect("it is no longer than the name");
        self.names
            .contains(&LowerName::from(&wildcard))
            .then_some(wildcard)
    }

    fn records(&self, node: &Name, rtype: RecordType, owner: &Name) -> Vec<Record> {
        let set = self.sets.get(&RrKey::new(LowerName::from(node), rtype));
        let records = set
            .into_iter()
            .flat_map(|set| set.records_without_rrsigs().cloned());
        records
            .map(|mut record| {
                record.name = owner.clone();
                record
            })
            .collect()
    }
}

fn target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        _ => None,
    }
}

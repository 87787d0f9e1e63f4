//! Addresses, aliases and names of addresses.

use std::net::IpAddr;

use super::distinct::Distinct;
use super::find::{Found, Selection};
use super::lack::Lack;
use super::{Asking, Truth};
use crate::cluster::object::Resource;
use crate::cluster::records::{DashedAddress, EndpointRecord, EndpointSet, Place, ServiceKey};
use crate::dns::name::NAME_MAX;
use crate::dns::reply::Owner;
use crate::dns::{Name, Query, Question, Records, Section, Type};

/// The most aliases inside the zone that are followed for one question, as in CoreDNS.
pub(super) const ALIASES_MAX: usize = 10;

/// The labels between a Namespace and the zone.
pub(super) const SVC: &[u8] = b"\x03svc";

/// The label that ends a name.
const ROOT: &[u8] = b"\0";

impl<'a> Asking<'a> {
    /// A and AAAA.
    pub(super) fn addresses(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        if self.is_name_server(query) {
            return self.name_server_addresses(query, records);
        }
        let question = &query.question;
        let alias = match self.find(&question.name, self.zone_at) {
            Found::Nothing(lack) => return Truth::NxDomain(lack),
            Found::Node => return Truth::NoData(Lack::Nothing),
            Found::Alias(target) => Some(target),
            found => self.push_addresses(records, Owner::Asked(0), question.rtype, found),
        };
        match alias {
            Some(target) if records.is_empty() => self.follow(question, target, records),
            _ => settled(records),
        }
    }

    /// Appends the addresses of one family; a name in their place is returned.
    fn push_addresses<'b>(
        &self,
        records: &mut Records,
        owner: Owner,
        rtype: Type,
        found: Found<'b>,
    ) -> Option<&'b [u8]> {
        let ttl = self.ttl;
        let push = |records: &mut Records, ip: IpAddr| match (ip, rtype) {
            (IpAddr::V4(ip), Type::A) => {
                records.push(Section::Answer, owner, Type::A, ttl, &[&ip.octets()])
            }
            (IpAddr::V6(ip), Type::AAAA) => {
                records.push(Section::Answer, owner, Type::AAAA, ttl, &[&ip.octets()])
            }
            _ => {}
        };
        match found {
            Found::Nothing(_) | Found::Node | Found::Alias(_) => {}
            Found::Pod(ip, _) => push(records, ip),
            Found::ClusterIps(_, ips, _) => ips.iter().for_each(|ip| push(records, ip)),
            Found::Endpoints(set, selection) if selection.is_all() => {
                match rtype {
                    Type::A => set.v4().for_each(|ip| push(records, (*ip).into())),
                    _ => set.v6().for_each(|ip| push(records, (*ip).into())),
                }
                return name_in_place_of_address(set, selection);
            }
            Found::Endpoints(set, selection) => {
                let mut distinct = Distinct::new(records);
                for (_, endpoint) in selection.of(set) {
                    if let Place::Ip(ip) = endpoint.place {
                        distinct.push(records, |records| push(records, ip));
                    }
                }
                return name_in_place_of_address(set, selection);
            }
        }
        None
    }

    /// Follows aliases as long as they stay in the zone.
    fn follow(&self, question: &Question, target: &[u8], records: &mut Records) -> Truth<'a> {
        let zone = question.name.suffix(self.zone_at);
        let mut aliases: Vec<Name> = Vec::new();
        let (mut owner, mut name, mut target) = (Owner::Asked(0), question.name, target);
        while let Ok(to) = Name::join(target, &Name::root()) {
            // A target at or below the name that points to it leads nowhere.
            if to.is_within(&name) || aliases.contains(&to) || aliases.len() >= ALIASES_MAX {
                break;
            }
            let ttl = self.ttl;
            records.push(Section::Answer, owner, Type::CNAME, ttl, &[to.wire()]);
            let Some(zone_at) = to.offset_of(&zone) else {
                return Truth::Alias(Box::new(to));
            };
            aliases.push(to);
            owner = records.owner(&[to.wire()]);
            name = to.lower();
            let found = self.find(&name, zone_at);
            let next = match found {
                Found::Alias(next) => Some(next),
                // What it leads to may be there.
                Found::Nothing(Lack::Unlisted(resource)) => {
                    return Truth::NoData(Lack::Unlisted(resource));
                }
                found => self.push_addresses(records, owner, question.rtype, found),
            };
            if records.entries().len() > aliases.len() {
                return Truth::Records;
            }
            let Some(next) = next else { break };
            target = next;
        }
        // An alias that leads to nothing is not told.
        Truth::NoData(Lack::Target)
    }

    /// CNAME: the alias itself, wherever it leads.
    pub(super) fn cname(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        if self.is_name_server(query) {
            return Truth::NoData(Lack::Nothing);
        }
        let target = match self.find(&query.question.name, self.zone_at) {
            Found::Nothing(lack) => return Truth::NxDomain(lack),
            Found::Alias(target) => Some(target),
            Found::Endpoints(set, selection) => name_in_place_of_address(set, selection),
            Found::Node | Found::ClusterIps(..) | Found::Pod(..) => None,
        };
        let Some(target) = target else {
            return Truth::NoData(Lack::Nothing);
        };
        let (owner, ttl) = (Owner::Asked(0), self.ttl);
        records.push(Section::Answer, owner, Type::CNAME, ttl, &[target, ROOT]);
        Truth::Records
    }

    /// PTR: the Service that has the address, or else every endpoint that has it.
    pub(super) fn reverse(&self, records: &mut Records, ip: IpAddr) -> Truth<'a> {
        let may_tell = |key: &ServiceKey| self.may_tell(namespace_of(key)).is_ok();
        if let Some(key) = self.view.cluster_ip_owner(ip).filter(|key| may_tell(key)) {
            self.push_pointer(records, &[], key);
        } else if !self.options.no_endpoints {
            for key in self.view.endpoint_owners(ip).filter(|key| may_tell(key)) {
                self.push_endpoint_pointers(records, key, ip);
            }
        }
        if records.is_empty() {
            Truth::NxDomain(self.lack_of_address())
        } else {
            Truth::Records
        }
    }

    /// What is missing for an address that nobody is known to have.
    fn lack_of_address(&self) -> Lack<'a> {
        let tell_of_it = [
            Some(Resource::Services),
            (!self.options.no_endpoints).then_some(Resource::EndpointSlices),
            (self.options.namespaces_selected).then_some(Resource::Namespaces),
        ];
        let unlisted = |resource: &Resource| !self.view.is_synced(*resource);
        let unlisted = tell_of_it.into_iter().flatten().find(unlisted);
        unlisted.map_or(Lack::Address, Lack::Unlisted)
    }

    fn push_endpoint_pointers(&self, records: &mut Records, key: &ServiceKey, ip: IpAddr) {
        let Some(set) = self.view.endpoints(key) else {
            return;
        };
        let mut distinct = Distinct::new(records);
        for slice in set.slices() {
            let at_ip = |endpoint: &EndpointRecord<'_>| endpoint.place == Place::Ip(ip);
            for endpoint in slice.endpoints().filter(at_ip) {
                let mut dashed = DashedAddress::default();
                let host = endpoint.host_labels(self.options.endpoint_pod_names, &mut dashed);
                distinct.push(records, |records| self.push_pointer(records, host, key));
            }
        }
    }

    /// Appends `HOST.SVC.NS.svc.(primary zone)`, if that is a name.
    fn push_pointer(&self, records: &mut Records, host: &[u8], key: &ServiceKey) {
        let target = [host, key, SVC, self.options.primary_zone.wire()];
        if target.iter().map(|part| part.len()).sum::<usize>() <= NAME_MAX {
            let ttl = self.ttl;
            records.push(Section::Answer, Owner::Asked(0), Type::PTR, ttl, &target);
        }
    }
}

/// The target that the first endpoint has in place of an address (slices of type FQDN).
fn name_in_place_of_address<'a>(
    set: &'a EndpointSet,
    selection: Selection<'a>,
) -> Option<&'a [u8]> {
    // Seldom an endpoint has one, and there may be thousands to look at.
    if !set.has_names() {
        return None;
    }
    selection
        .of(set)
        .find_map(|(_, endpoint)| match endpoint.place {
            Place::Name(name) => Some(name),
            Place::Ip(_) => None,
        })
}

/// The label of the Namespace in the key of a Service.
fn namespace_of(key: &ServiceKey) -> &[u8] {
    &key[1 + usize::from(key[0])..]
}

/// Whether there are records; none are NODATA.
pub(super) fn settled(records: &Records) -> Truth<'static> {
    if records.is_empty() {
        Truth::NoData(Lack::Nothing)
    } else {
        Truth::Records
    }
}

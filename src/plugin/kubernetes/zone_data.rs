//! What belongs to the zone itself: SOA, name servers, and the negative answers that carry the SOA.

use std::collections::HashSet;
use std::net::IpAddr;

use super::answer::{SVC, settled};
use super::{Asking, Truth};
use crate::cluster::records::{DashedAddress, Place, ServiceKind};
use crate::dns::name::NAME_MAX;
use crate::dns::reply::Owner;
use crate::dns::{Query, Rcode, Records, Reply, Section, Type};

/// The name server that stands for us where no Service does.
const NAME_SERVER: &[u8] = b"\x02ns\x03dns";
pub(super) const HOSTMASTER: &[u8] = b"\x0ahostmaster";
/// Refresh, retry and expire in seconds, as CoreDNS sends them.
const TIMERS: [u32; 3] = [7200, 1800, 86_400];
/// Seconds that a SOA may be kept at most, whatever the `ttl`.
const SOA_TTL_MAX: u32 = 300;

impl Asking<'_> {
    /// An answer without records, with the SOA that says how long that may be kept (RFC 2308 section 3).
    /// It is made in the memory of `records`.
    pub(super) fn negative(&self, query: &Query, rcode: Rcode, mut records: Records) -> Reply {
        records.clear();
        self.push_soa(&mut records, Section::Authority, query);
        Reply::authoritative_with(query, rcode, records)
    }

    /// SOA of the zone.
    pub(super) fn push_soa(&self, records: &mut Records, section: Section, query: &Query) {
        let zone = &query.question.asked.wire()[self.zone_at..];
        let ttl = self.ttl;
        let mut numbers = [0; 20];
        let [refresh, retry, expire] = TIMERS;
        for (to, number) in
            numbers
                .chunks_exact_mut(4)
                .zip([self.view.serial(), refresh, retry, expire, ttl])
        {
            to.copy_from_slice(&number.to_be_bytes());
        }
        let data: [&[u8]; 5] = [NAME_SERVER, zone, HOSTMASTER, zone, &numbers];
        records.push(
            section,
            Owner::Asked(self.zone_at as u8),
            Type::SOA,
            ttl.min(SOA_TTL_MAX),
            &data,
        );
    }

    /// Whether the name is `ns.dns.(zone)`.
    pub(super) fn is_name_server(&self, query: &Query) -> bool {
        &query.question.name.wire()[..self.zone_at] == NAME_SERVER
    }

    /// A and AAAA of `ns.dns.(zone)`.
    pub(super) fn name_server_addresses(
        &self,
        query: &Query,
        records: &mut Records,
    ) -> Truth<'static> {
        let rtype = query.question.rtype;
        for (_, ip) in self.servers() {
            push_address(
                records,
                Section::Answer,
                Owner::Asked(0),
                Some(rtype),
                self.ttl,
                ip,
            );
        }
        settled(records)
    }

    /// NS at the apex, with the addresses of the servers.
    pub(super) fn name_servers(&self, query: &Query, records: &mut Records) -> Truth<'static> {
        let zone = &query.question.asked.wire()[self.zone_at..];
        let mut servers = self.servers();
        servers.retain(|(labels, _)| labels.len() + zone.len() <= NAME_MAX);
        let mut seen = HashSet::new();
        for (labels, _) in &servers {
            if seen.insert(labels) {
                records.push(
                    Section::Answer,
                    Owner::Asked(0),
                    Type::NS,
                    self.ttl,
                    &[labels, zone],
                );
            }
        }
        for (labels, ip) in &servers {
            let owner = records.owner(&[labels, zone]);
            push_address(records, Section::Additional, owner, None, self.ttl, *ip);
        }
        settled(records)
    }

    /// The name servers of the zone, as labels to the left of it and an address: the Services that this server
    /// is an endpoint of, or else the server itself.
    fn servers(&self) -> Vec<(Vec<u8>, IpAddr)> {
        let mut servers = Vec::new();
        let mut is_endpoint = false;
        for local in &self.options.local_addresses {
            for key in self.view.endpoint_owners(*local) {
                is_endpoint = true;
                let Some(service) = self.view.service(key) else {
                    continue;
                };
                match service.kind() {
                    ServiceKind::ClusterIps(ips) => {
                        servers.extend(ips.iter().map(|ip| ([key, SVC].concat(), ip)));
                    }
                    ServiceKind::Headless => servers.extend(self.endpoint_servers(key, *local)),
                    ServiceKind::ExternalName(_) => {}
                }
            }
        }
        if !is_endpoint {
            servers.extend(
                self.options
                    .local_addresses
                    .iter()
                    .map(|ip| (NAME_SERVER.to_vec(), *ip)),
            );
        }
        servers
    }

    /// The endpoints of the slices that this server is in.
    fn endpoint_servers(&self, key: &[u8], local: IpAddr) -> Vec<(Vec<u8>, IpAddr)> {
        let mut servers = Vec::new();
        let slices = self.endpoints(key).into_iter().flat_map(|set| set.slices());
        for slice in slices.filter(|slice| slice.ips().any(|ip| ip == local)) {
            for endpoint in slice.endpoints() {
                let Place::Ip(ip) = endpoint.place else {
                    continue;
                };
                let mut dashed = DashedAddress::default();
                let host = endpoint.host_labels(self.options.endpoint_pod_names, &mut dashed);
                servers.push(([host, key, SVC].concat(), ip));
            }
        }
        servers
    }
}

/// Appends an address; of another family than the type asked for, nothing.
fn push_address(
    records: &mut Records,
    section: Section,
    owner: Owner,
    rtype: Option<Type>,
    ttl: u32,
    ip: IpAddr,
) {
    match ip {
        IpAddr::V4(ip) if rtype != Some(Type::AAAA) => {
            records.push(section, owner, Type::A, ttl, &[&ip.octets()])
        }
        IpAddr::V6(ip) if rtype != Some(Type::A) => {
            records.push(section, owner, Type::AAAA, ttl, &[&ip.octets()])
        }
        _ => {}
    }
}

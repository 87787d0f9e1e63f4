//! SRV: ports of Services and endpoints (RFC 2782; specification sections 2.3.2 and 2.4.2).
//!
//! The cluster is gone through once for each thing that is needed of it: how many there are, their ports, their
//! addresses. That costs less than to remember it.

use std::net::IpAddr;

use super::answer::{SVC, settled};
use super::distinct::Distinct;
use super::find::Found;
use super::lack::Lack;
use super::{Asking, Truth};
use crate::cluster::records::{DashedAddress, Place};
use crate::dns::name::NAME_MAX;
use crate::dns::reply::{Owner, RECORDS_MAX};
use crate::dns::{Query, Records, Section, Type};

/// An SRV record to be: its port, and the target with its address.
struct Target<'a> {
    /// Without one it makes no record, but has its share of the weight.
    port: Option<u16>,
    /// Labels to the left of the zone, in parts.
    labels: [&'a [u8]; 3],
    ip: IpAddr,
}

impl<'a> Asking<'a> {
    /// One record a port and target, and the addresses of the targets.
    pub(super) fn srv(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        if self.is_name_server(query) {
            return Truth::NoData(Lack::Nothing);
        }
        let question = &query.question;
        let found = self.find(&question.name, self.zone_at);
        match found {
            Found::Nothing(lack) => return Truth::NxDomain(lack),
            Found::Node | Found::Alias(_) => return Truth::NoData(Lack::Nothing),
            Found::Pod(..) | Found::ClusterIps(..) | Found::Endpoints(..) => {}
        }
        let zone = &question.asked.wire()[self.zone_at..];
        let mut entries = 0;
        each_target(found, |_| entries += 1);
        // All records have priority 0 and share the weight 100; 0 would mean "rarely" (RFC 2782).
        let weight = (100 / entries.max(1)).max(1);
        self.push_ports(records, found, weight as u16, zone);
        self.push_target_addresses(records, found, zone);
        settled(records)
    }

    fn push_ports(&self, records: &mut Records, found: Found<'_>, weight: u16, zone: &[u8]) {
        let ttl = self.ttl;
        let mut distinct = Distinct::new(records);
        each_target(found, |target| {
            let Some(port) = target.port.filter(|_| target.fits(zone)) else {
                return;
            };
            let (weight, port) = (weight.to_be_bytes(), port.to_be_bytes());
            let [first, second, third] = target.labels;
            let data: [&[u8]; 7] = [&[0, 0], &weight, &port, first, second, third, zone];
            distinct.push(records, |records| {
                records.push(Section::Answer, Owner::Asked(0), Type::SRV, ttl, &data);
            });
        });
    }

    fn push_target_addresses(&self, records: &mut Records, found: Found<'_>, zone: &[u8]) {
        let ttl = self.ttl;
        let mut distinct = Distinct::new(records);
        each_target(found, |target| {
            let is_full = records.entries().len() >= RECORDS_MAX;
            if target.port.is_none() || !target.fits(zone) || is_full {
                return;
            }
            let [first, second, third] = target.labels;
            distinct.push(records, |records| {
                let owner = records.owner(&[first, second, third, zone]);
                match target.ip {
                    IpAddr::V4(ip) => {
                        records.push(Section::Additional, owner, Type::A, ttl, &[&ip.octets()])
                    }
                    IpAddr::V6(ip) => {
                        records.push(Section::Additional, owner, Type::AAAA, ttl, &[&ip.octets()])
                    }
                }
            });
        });
    }
}

impl Target<'_> {
    /// Whether there is room for its name.
    fn fits(&self, zone: &[u8]) -> bool {
        let labels = self.labels.iter().map(|part| part.len()).sum::<usize>();
        labels + zone.len() <= NAME_MAX
    }
}

/// Tells all pairs of port and address: of a Service with addresses of its own they are of the Service, or else of each
/// endpoint. A Pod has no ports, which makes one record for port 0.
fn each_target(found: Found<'_>, mut tell: impl FnMut(Target<'_>)) {
    match found {
        Found::Nothing(_) | Found::Node | Found::Alias(_) => {}
        Found::Pod(ip, labels) => tell(Target {
            port: Some(0),
            labels: [labels, &[], &[]],
            ip,
        }),
        Found::ClusterIps(service, ips, ports) => {
            for port in ports.of(service.ports()) {
                for ip in ips.iter() {
                    let labels: [&[u8]; 3] = [service.key(), SVC, &[]];
                    tell(Target { port, labels, ip });
                }
            }
        }
        Found::Endpoints(set, selection) => {
            for (slice, endpoint) in selection.of(set) {
                let Place::Ip(ip) = endpoint.place else {
                    continue;
                };
                let mut dashed = DashedAddress::default();
                let host = endpoint.host_labels(selection.pod_names, &mut dashed);
                for port in selection.ports.of(slice.ports()) {
                    let labels: [&[u8]; 3] = [host, set.service(), SVC];
                    tell(Target { port, labels, ip });
                }
            }
        }
    }
}

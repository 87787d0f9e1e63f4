//! SRV: ports of Services and endpoints (RFC 2782; specification sections 2.3.2 and 2.4.2).

use std::collections::HashSet;
use std::net::IpAddr;

use super::answer::{SVC, settled};
use super::find::{Found, Ports, Selection};
use super::{Asking, Truth};
use crate::cluster::records::{DashedAddress, EndpointSet, Place, ServiceRecords};
use crate::dns::name::NAME_MAX;
use crate::dns::reply::{Owner, RECORDS_MAX};
use crate::dns::{Query, Rcode, Records, Reply, Section, Type};

/// An SRV record to be: its port, and the target with its address.
struct Target {
    port: u16,
    /// Labels to the left of the zone.
    labels: Vec<u8>,
    ip: IpAddr,
}

impl Asking<'_> {
    /// One record a port and target, and the addresses of the targets.
    pub(super) fn srv(&self, query: &mut Query) -> Truth {
        if self.is_name_server(query) {
            return Truth::NoData;
        }
        let question = query.question;
        let (targets, entries) = match self.find(&question.name, self.zone_at) {
            Found::Nothing => return Truth::NxDomain,
            Found::Node | Found::Alias(_) => return Truth::NoData,
            Found::Pod(ip, labels) => pod_target(ip, labels),
            Found::ClusterIps(service, ips, ports) => service_targets(service, ips, ports),
            Found::Endpoints(set, selection) => endpoint_targets(set, selection),
        };
        let mut reply = Reply::authoritative(query, Rcode::NOERROR);
        // All records have priority 0 and share the weight 100; 0 would mean "rarely" (RFC 2782).
        let weight = (100 / entries.max(1)).max(1) as u16;
        self.push_targets(
            &mut reply.records,
            &targets,
            weight,
            &question.asked.wire()[self.zone_at..],
        );
        settled(query, reply)
    }

    fn push_targets(&self, records: &mut Records, targets: &[Target], weight: u16, zone: &[u8]) {
        let ttl = self.options.ttl;
        let fits = |target: &&Target| target.labels.len() + zone.len() <= NAME_MAX;
        let mut seen = HashSet::new();
        for target in targets
            .iter()
            .filter(fits)
            .filter(|target| seen.insert((&target.labels, target.port)))
        {
            let (weight, port) = (weight.to_be_bytes(), target.port.to_be_bytes());
            let data: [&[u8]; 5] = [&[0, 0], &weight, &port, &target.labels, zone];
            records.push(Section::Answer, Owner::Asked(0), Type::SRV, ttl, &data);
        }
        let mut seen = HashSet::new();
        for target in targets
            .iter()
            .filter(fits)
            .filter(|target| seen.insert((&target.labels, target.ip)))
        {
            let owner = records.owner(&[&target.labels, zone]);
            match target.ip {
                IpAddr::V4(ip) => {
                    records.push(Section::Additional, owner, Type::A, ttl, &[&ip.octets()])
                }
                IpAddr::V6(ip) => {
                    records.push(Section::Additional, owner, Type::AAAA, ttl, &[&ip.octets()])
                }
            }
        }
    }
}

/// A Service with addresses of its own is the target. The second value counts every pair of port and address,
/// also those that make no record: the weight is shared among them.
fn service_targets(
    service: &ServiceRecords,
    ips: &[IpAddr],
    ports: Ports<'_>,
) -> (Vec<Target>, usize) {
    let mut targets = Vec::new();
    let mut entries = 0;
    for number in ports.of(&service.ports) {
        entries += ips.len();
        let Some(port) = number else { continue };
        targets.extend(ips.iter().map(|ip| Target {
            port,
            labels: [&service.key, SVC].concat(),
            ip: *ip,
        }));
    }
    (targets, entries)
}

/// A Pod has no ports, which makes one record for port 0.
fn pod_target(ip: IpAddr, labels: &[u8]) -> (Vec<Target>, usize) {
    (
        vec![Target {
            port: 0,
            labels: labels.to_vec(),
            ip,
        }],
        1,
    )
}

/// Each endpoint is a target of its own.
fn endpoint_targets(set: &EndpointSet, selection: Selection<'_>) -> (Vec<Target>, usize) {
    let mut targets = Vec::new();
    let mut entries = 0;
    for (slice, endpoint) in selection.of(set) {
        let Place::Ip(ip) = endpoint.place else {
            continue;
        };
        for number in selection.ports.of(&slice.ports) {
            entries += 1;
            let Some(port) = number else { continue };
            let mut dashed = DashedAddress::default();
            let host = endpoint.host_labels(selection.pod_names, &mut dashed);
            if targets.len() >= RECORDS_MAX {
                continue;
            }
            targets.push(Target {
                port,
                labels: [host, &set.service, SVC].concat(),
                ip,
            });
        }
    }
    (targets, entries)
}

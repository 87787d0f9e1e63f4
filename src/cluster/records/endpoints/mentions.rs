//! Whom a slice tells of at all, whatever it says of them.

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::{EndpointRecord, IpSet, ips, push_pod};
use crate::cluster::object::EndpointSlice;

/// The endpoints of a slice, ready or not: their addresses and their Pods.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    ips: IpSet,
    /// By the family of the address at which the Pod is met: names as in [`super::SliceRecords`].
    pods: HashSet<(bool, Box<[u8]>), RandomState>,
}

impl Mentions {
    /// Those of a slice.
    pub(crate) fn of(slice: &EndpointSlice) -> Mentions {
        let mut mentions = Mentions::default();
        for endpoint in &slice.endpoints {
            for ip in ips(endpoint) {
                mentions.ips.insert(ip);
                let mut pod = Vec::new();
                push_pod(&mut pod, endpoint);
                mentions.pods.insert((ip.is_ipv4(), pod[1..].into()));
            }
        }
        mentions
    }

    /// Whether this address is told of.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.ips.contains(&ip)
    }

    /// Whether the Pod of an endpoint is told of, at an address of the same family.
    pub(crate) fn has_pod_of(&self, endpoint: &EndpointRecord<'_>) -> bool {
        let pod = endpoint.pod();
        pod.is_some_and(|(is_v4, name)| self.pods.contains(&(is_v4, name.into())))
    }
}

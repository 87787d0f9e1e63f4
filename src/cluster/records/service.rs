//! What a Service contributes: its name, and its addresses or its alias.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use triomphe::ThinArc;

use super::{ServiceKey, service_labels};
use crate::cluster::object::{Exposure, Port, Service};
use crate::dns::Name;

mod stored;

pub(in crate::cluster) use stored::StoredService;

/// A Service. Its key and its addresses lie side by side in one allocation, because a look-up compares the one and
/// sends the other, and among thousands of Services neither is in the cache of the processor: with three allocations
/// two fifths of what a query cost outside of the kernel was waiting for them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServiceRecords(ThinArc<Head, u8>);

#[derive(PartialEq, Eq)]
struct Head {
    ports: Arc<[Port]>,
    kind: Kind,
    /// Octets of the key. What comes after it are cluster IPs, each behind its length, or the labels of an alias.
    key: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIps,
    Headless,
    Alias,
    /// ExternalName, with what cannot be an alias.
    NoAlias,
}

/// How a Service is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceKind<'a> {
    /// By addresses of its own.
    ClusterIps(ClusterIps<'a>),
    /// By the addresses of its endpoints.
    Headless,
    /// By an alias of this name: labels in wire form without the root, in the case of the manifest. `None`: an
    /// address or no name at all, which is not answered.
    ExternalName(Option<&'a [u8]>),
}

/// The cluster IPs of a Service, in the order of the manifest: each its octets behind their number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterIps<'a>(&'a [u8]);

impl ServiceRecords {
    /// The records of a Service, if its name can be one. `shared` gives the list of equal ports that others hold.
    pub(crate) fn of(
        service: &Service,
        shared: impl FnOnce(&[Port]) -> Arc<[Port]>,
    ) -> Option<ServiceRecords> {
        let mut octets = service_labels(&service.metadata.namespace, &service.metadata.name)?;
        let key = u8::try_from(octets.len()).expect("two labels have at most 128 octets");
        let kind = match &service.exposure {
            Exposure::ClusterIps(ips) => {
                ips.iter().for_each(|ip| push_ip(&mut octets, *ip));
                Kind::ClusterIps
            }
            Exposure::Headless => Kind::Headless,
            Exposure::ExternalName(target) => match alias(target) {
                Some(target) => {
                    octets.extend_from_slice(target.labels_wire());
                    Kind::Alias
                }
                None => Kind::NoAlias,
            },
        };
        let ports = shared(&service.ports);
        let head = Head { ports, kind, key };
        let records = ThinArc::from_header_and_slice(head, &octets);
        Some(ServiceRecords(records))
    }

    /// The labels of the Service and its Namespace.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.0.header.header.key)]
    }

    /// How it is answered.
    #[inline]
    pub(crate) fn kind(&self) -> ServiceKind<'_> {
        let head = &self.0.header.header;
        let rest = &self.0.slice[usize::from(head.key)..];
        match head.kind {
            Kind::ClusterIps => ServiceKind::ClusterIps(ClusterIps(rest)),
            Kind::Headless => ServiceKind::Headless,
            Kind::Alias => ServiceKind::ExternalName(Some(rest)),
            Kind::NoAlias => ServiceKind::ExternalName(None),
        }
    }

    /// Its ports, in the order of the manifest.
    pub(crate) fn ports(&self) -> &Arc<[Port]> {
        &self.0.header.header.ports
    }

    /// The cluster IPs; none if it is answered in another way.
    pub(crate) fn cluster_ips(&self) -> ClusterIps<'_> {
        match self.kind() {
            ServiceKind::ClusterIps(ips) => ips,
            ServiceKind::Headless | ServiceKind::ExternalName(_) => ClusterIps(&[]),
        }
    }
}

impl fmt::Debug for ServiceRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceRecords")
            .field("key", &ServiceKey::from(self.key()))
            .field("kind", &self.kind())
            .field("ports", self.ports())
            .finish()
    }
}

impl<'a> ClusterIps<'a> {
    /// Whether there is none: none has been allocated yet.
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = IpAddr> + 'a {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (length, octets) = rest.split_first()?;
            let (ip, others) = octets.split_at(usize::from(*length));
            rest = others;
            match ip.first_chunk::<16>() {
                Some(v6) => Some(IpAddr::from(*v6)),
                None => ip.first_chunk::<4>().map(|v4| IpAddr::from(*v4)),
            }
        })
    }
}

impl fmt::Debug for ClusterIps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn push_ip(octets: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            octets.push(4);
            octets.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            octets.push(16);
            octets.extend(ip.octets());
        }
    }
}

/// An external name as the target of a CNAME; an address is none.
fn alias(target: &str) -> Option<Name> {
    if target.is_empty() || target.parse::<IpAddr>().is_ok() {
        return None;
    }
    target.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::Metadata;

    fn records(exposure: Exposure) -> ServiceRecords {
        let metadata = Metadata {
            namespace: "Demo".into(),
            name: "web".into(),
            ..Metadata::default()
        };
        let service = Service {
            metadata,
            exposure,
            ports: Box::default(),
            external: Box::default(),
        };
        ServiceRecords::of(&service, |ports| ports.into()).unwrap()
    }

    #[test]
    fn key_and_addresses_come_back_as_they_were_told() {
        for told in [&[][..], &["10.96.0.1"], &["fd00::96", "10.96.0.1"]] {
            let ips: Vec<IpAddr> = told.iter().map(|ip| ip.parse().unwrap()).collect();
            let records = records(Exposure::ClusterIps(ips.clone().into()));
            assert_eq!(records.key(), b"\x03web\x04demo");
            let ServiceKind::ClusterIps(known) = records.kind() else {
                panic!("{records:?}");
            };
            assert_eq!(known.iter().collect::<Vec<_>>(), ips);
            assert_eq!(known.is_empty(), ips.is_empty());
            assert_eq!(records.cluster_ips(), known);
        }
        let headless = records(Exposure::Headless);
        assert_eq!(headless.kind(), ServiceKind::Headless);
        assert!(headless.cluster_ips().is_empty());
    }

    #[test]
    fn an_alias_is_a_name_and_never_an_address() {
        for (target, expected) in [
            ("www.example.com", Some(&b"\x03www\x07example\x03com"[..])),
            ("WWW.example.com.", Some(b"\x03WWW\x07example\x03com")),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
            ("", None),
            ("a..b", None),
        ] {
            let records = records(Exposure::ExternalName(target.into()));
            assert_eq!(
                records.kind(),
                ServiceKind::ExternalName(expected),
                "{target}"
            );
        }
    }
}

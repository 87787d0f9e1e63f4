//! The endpoints of a slice, and in `set` those of a Service.
//!
//! Of all that is known of a cluster most is endpoints, so a slice is one allocation: its head, and behind it a row of
//! octets with the addresses first, ready to send, and the names after them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use triomphe::ThinArc;

use super::{DashedAddress, ServiceKey, single_label};
use crate::cluster::object::{Address, Endpoint, EndpointSlice, Port};
use crate::dns::Name;
use crate::dns::name::LABEL_MAX;

mod mentions;
mod set;
mod stored;

pub(crate) use mentions::Mentions;
pub(crate) use set::EndpointSet;
pub(in crate::cluster) use stored::StoredSlice;

/// Addresses, each once.
pub(crate) type IpSet = HashSet<IpAddr, RandomState>;

/// The endpoints of one EndpointSlice that are ready, each address on its own; of the others, which addresses they have.
///
/// The octets are the addresses; then, unless no endpoint has a name at all, for each endpoint three names, each a length
/// octet and labels in wire form without the root: where it is met if that is a name, its hostname, its Pod. Last stand the
/// addresses that are leaving, all as IPv6: most slices have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceRecords(ThinArc<Head, u8>);

#[derive(Debug, PartialEq, Eq)]
struct Head {
    service: ServiceKey,
    ports: Arc<[Port]>,
    /// How many endpoints are met at an IPv4 address, at an IPv6 address, at a name; they stand in this order.
    v4: u32,
    v6: u32,
    named: u32,
    /// How many addresses are said to be not ready, or on their way out. Nothing is answered with them for that.
    leaving: u32,
}

/// One address of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndpointRecord<'a> {
    pub(crate) place: Place<'a>,
    hostname: &'a [u8],
    pod: &'a [u8],
}

/// Where an endpoint is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// At an address.
    Ip(IpAddr),
    /// At another name (slices of type FQDN): labels in wire form without the root.
    Name(&'a [u8]),
}

impl SliceRecords {
    /// The records of a slice, of the Service of this key. `shared` gives the list of equal ports that others hold.
    pub(crate) fn of(
        slice: &EndpointSlice,
        service: ServiceKey,
        shared: impl FnOnce(&[Port]) -> Arc<[Port]>,
    ) -> SliceRecords {
        let (mut v4, mut v6, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            for address in &endpoint.addresses {
                match address {
                    Address::Ip(IpAddr::V4(ip)) => v4.push((ip.octets(), endpoint)),
                    Address::Ip(IpAddr::V6(ip)) => v6.push((ip.octets(), endpoint)),
                    Address::Name(name) => named.push((&**name, endpoint)),
                }
            }
        }
        let mut octets: Vec<u8> = v4.iter().flat_map(|(ip, _)| *ip).collect();
        octets.extend(v6.iter().flat_map(|(ip, _)| ip));
        let addresses = octets.len();
        let at_addresses = v4.iter().map(|(_, at)| ("", *at));
        let at_addresses = at_addresses.chain(v6.iter().map(|(_, at)| ("", *at)));
        for (place, endpoint) in at_addresses.chain(named.iter().copied()) {
            push_names(&mut octets, place, endpoint);
        }
        cut_empty_names(&mut octets, addresses);
        let before = octets.len();
        let is_leaving = |endpoint: &&Endpoint| !endpoint.ready || endpoint.terminating;
        for ip in slice.endpoints.iter().filter(is_leaving).flat_map(ips) {
            octets.extend_from_slice(&as_v6(ip));
        }
        let leaving = (octets.len() - before) / 16;
        let count = |len: usize| u32::try_from(len).expect("an object has at most 8 MiB");
        let head = Head {
            service,
            ports: shared(&slice.ports),
            v4: count(v4.len()),
            v6: count(v6.len()),
            named: count(named.len()),
            leaving: count(leaving),
        };
        SliceRecords(ThinArc::from_header_and_slice(head, &octets))
    }

    /// The endpoints of this slice that are met at one of these addresses, as a slice of their own.
    pub(crate) fn at(&self, ips: &IpSet) -> SliceRecords {
        let at: Vec<_> = self
            .endpoints()
            .filter_map(|endpoint| Some((endpoint.ip()?, endpoint)))
            .filter(|(ip, _)| ips.contains(ip))
            .collect();
        let mut octets = Vec::new();
        for (ip, _) in &at {
            match ip {
                IpAddr::V4(ip) => octets.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => octets.extend_from_slice(&ip.octets()),
            }
        }
        let addresses = octets.len();
        for name in at.iter().flat_map(|(_, at)| [&[], at.hostname, at.pod]) {
            octets.push(name.len() as u8);
            octets.extend_from_slice(name);
        }
        cut_empty_names(&mut octets, addresses);
        let v4 = at.iter().filter(|(ip, _)| ip.is_ipv4()).count() as u32;
        let head = Head {
            service: self.head().service.clone(),
            ports: self.head().ports.clone(),
            v4,
            v6: at.len() as u32 - v4,
            named: 0,
            leaving: 0,
        };
        SliceRecords(ThinArc::from_header_and_slice(head, &octets))
    }

    /// Whether the same is answered with both slices.
    pub(crate) fn answers_as(&self, other: &SliceRecords) -> bool {
        let shape = |head: &Head| (head.v4, head.v6, head.named);
        let (own, others) = (self.head(), other.head());
        own.service == others.service
            && shape(own) == shape(others)
            && self.split().0 == other.split().0
            && own.ports == others.ports
    }

    /// Whether the slice says of this address that it is not ready, or is on its way out.
    pub(crate) fn is_leaving(&self, ip: IpAddr) -> bool {
        let ip = as_v6(ip);
        self.split().1.as_chunks().0.contains(&ip)
    }

    /// What is answered, and the addresses that are leaving.
    fn split(&self) -> (&[u8], &[u8]) {
        let octets = &self.0.slice;
        octets.split_at(octets.len() - 16 * self.head().leaving as usize)
    }

    /// The Service that the slice belongs to.
    pub(crate) fn service(&self) -> &ServiceKey {
        &self.head().service
    }

    /// The ports of every endpoint.
    pub(crate) fn ports(&self) -> &[Port] {
        &self.head().ports
    }

    /// Whether both are the same records, not merely equal ones.
    pub(crate) fn is(&self, other: &SliceRecords) -> bool {
        std::ptr::eq(self.head(), other.head())
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.0.header.header
    }

    /// The endpoints: those at IPv4 addresses first, those at names last, else in the order of the slice.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointRecord<'_>> {
        let mut names = &self.split().0[4 * self.v4().len() + 16 * self.v6().len()..];
        let ips = self.ips().map(Some);
        let places = ips.chain(std::iter::repeat_n(None, self.head().named as usize));
        places.map(move |ip| {
            let name = take_name(&mut names);
            EndpointRecord {
                place: ip.map_or(Place::Name(name), Place::Ip),
                hostname: take_name(&mut names),
                pod: take_name(&mut names),
            }
        })
    }

    /// The addresses of one family, as they are sent.
    pub(crate) fn v4(&self) -> &[[u8; 4]] {
        self.0.slice[..4 * self.head().v4 as usize].as_chunks().0
    }

    /// The addresses of the other family.
    pub(crate) fn v6(&self) -> &[[u8; 16]] {
        let from = 4 * self.head().v4 as usize;
        self.0.slice[from..from + 16 * self.head().v6 as usize]
            .as_chunks()
            .0
    }

    /// All addresses.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4().iter().map(|ip| IpAddr::from(*ip));
        v4.chain(self.v6().iter().map(|ip| IpAddr::from(*ip)))
    }

    fn is_empty(&self) -> bool {
        let head = self.head();
        head.v4 + head.v6 + head.named == 0
    }
}

/// The addresses of an endpoint.
fn ips(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint
        .addresses
        .iter()
        .filter_map(|address| match address {
            Address::Ip(ip) => Some(*ip),
            Address::Name(_) => None,
        })
}

/// One form for both families: no address is a mapped IPv4.
fn as_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Names that are all empty, from `addresses` on, need not stand there.
fn cut_empty_names(octets: &mut Vec<u8>, addresses: usize) {
    if octets[addresses..].iter().all(|octet| *octet == 0) {
        octets.truncate(addresses);
    }
}

fn push_names(octets: &mut Vec<u8>, place: &str, endpoint: &Endpoint) {
    push_name(octets, place, false);
    let hostname = endpoint.hostname.as_deref().unwrap_or_default();
    push_name(octets, hostname, true);
    push_pod(octets, endpoint);
}

fn push_pod(octets: &mut Vec<u8>, endpoint: &Endpoint) {
    let pod = endpoint.target.as_deref();
    let pod = pod.filter(|pod| pod.len() <= LABEL_MAX);
    push_name(octets, pod.unwrap_or_default(), true);
}

/// Appends the labels of a name; one that cannot be a name counts as none.
fn push_name(octets: &mut Vec<u8>, text: &str, lower: bool) {
    let name = text.parse::<Name>().ok().filter(|_| !text.is_empty());
    let name = name.unwrap_or_else(Name::root);
    let name = if lower { name.lower() } else { name };
    octets.push(name.labels_wire().len() as u8);
    octets.extend_from_slice(name.labels_wire());
}

/// Takes the next name off; where there are none, each is empty.
fn take_name<'a>(names: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = names.split_first() else {
        return &[];
    };
    let (name, rest) = rest.split_at(usize::from(*length));
    *names = rest;
    name
}

impl<'a> EndpointRecord<'a> {
    /// Its address, if it is met at one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self.place {
            Place::Ip(ip) => Some(ip),
            Place::Name(_) => None,
        }
    }

    /// What a Pod has one address for, if it is known which Pod it is: whether that is an IPv4 address, and its name.
    pub(crate) fn pod(&self) -> Option<(bool, &'a [u8])> {
        let ip = self.ip().filter(|_| !self.pod.is_empty())?;
        Some((ip.is_ipv4(), self.pod))
    }

    /// The labels of an endpoint's own name, in wire form: its hostname; else, if `pod_names`, the name of its
    /// Pod; else its address with dashes.
    pub(crate) fn host_labels<'b>(&self, pod_names: bool, dashed: &'b mut DashedAddress) -> &'b [u8]
    where
        'a: 'b,
    {
        match (self.own_name(pod_names), self.place) {
            ([], Place::Ip(ip)) => dashed.write(ip),
            (name, _) => name,
        }
    }

    /// Whether this one label, without its length octet, is the endpoint's own name. `spelled` is the address that
    /// the label spells in full, if it does, so that a list is searched without writing any address.
    pub(crate) fn is_named(&self, pod_names: bool, label: &[u8], spelled: Option<IpAddr>) -> bool {
        match self.own_name(pod_names) {
            [] => spelled.is_some_and(|ip| self.place == Place::Ip(ip)),
            name => single_label(name) == Some(label),
        }
    }

    fn own_name(&self, pod_names: bool) -> &'a [u8] {
        match self.hostname {
            [] if pod_names => self.pod,
            hostname => hostname,
        }
    }
}

//! `kubernetes`: answers for the zones of a cluster, from the view that the cluster room publishes.
//!
//! A question becomes a [`name::KubeName`], which is looked up in the view ([`find`]) and answered by type
//! ([`answer`], [`srv`], [`zone_data`]), with records that are each told once ([`distinct`]). What is not there is told with
//! the reason ([`lack`]); if it may be there because a resource that could tell was never listed, and only then, the answer is
//! SERVFAIL. Nothing here waits, and nothing knows where the view comes from.
//! The rules are those of the Kubernetes DNS specification, version 1.1.0, and of CoreDNS where it says more.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::chain::Step;
use crate::cluster::Lease;
use crate::cluster::object::Resource;
use crate::cluster::view::{AHEAD_MAX, View};
use crate::dns::edns::Explanation;
use crate::dns::{Name, Query, Rcode, Records, Reply, Section, Type, Zones, reverse};

mod alias;
mod answer;
mod config;
mod distinct;
mod find;
mod lack;
mod made_of;
mod name;
mod srv;
mod stale;
mod told;
mod zone_data;

use find::Found;
use lack::Lack;
use name::{Foreseen, KubeName};

pub use config::{Config, Snapshots, parse};
pub(crate) use made_of::{MadeObject, MadeOf, MadeResource};
pub(crate) use name::read_any as read_any_name;

/// What the Corefile says about a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The zones, reverse zones among them; at least one is not reverse.
    pub zones: Zones,
    /// The zone of names in answers to reverse queries: the first that is not reverse.
    pub primary_zone: Name,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    /// How names of Pods are answered.
    pub pods: Pods,
    /// Endpoints without a hostname are named after their Pod.
    pub endpoint_pod_names: bool,
    /// Endpoints are not known.
    pub no_endpoints: bool,
    /// A Service without endpoints does not exist.
    pub ignore_empty_service: bool,
    /// Labels in lower-case wire form of the only Namespaces that are told of; empty for all.
    pub namespaces: Vec<Box<[u8]>>,
    /// Only some Namespaces are in the view, because of a label selector.
    pub namespaces_selected: bool,
    /// Names that do not exist go to the next plugin if they are in these zones.
    pub fallthrough: Zones,
    /// Addresses of this server, for the name server records of the zone.
    pub local_addresses: Vec<IpAddr>,
}

/// `pods`: how `1-2-3-4.NS.pod` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    /// Not at all.
    Disabled,
    /// By the address that the name spells, in any Namespace that exists.
    Insecure,
    /// Likewise, if a Pod of the Namespace has that address.
    Verified,
}

/// The plugin.
#[derive(Debug)]
pub struct Kubernetes {
    options: Options,
    /// Those that the options need, for `/ready`. An answer needs those that it depends on.
    resources: Vec<Resource>,
    cluster: Lease,
    /// How long a snapshot waits for the API server before it makes the plugin ready.
    patience: Duration,
}

/// What is true about a name and type.
#[derive(Debug)]
enum Truth<'a> {
    /// There are records.
    Records,
    /// There are records up to this alias, which leads out of the zone.
    Alias(Box<Name>),
    /// The name exists, without records of this type.
    NoData(Lack<'a>),
    /// The name does not exist.
    NxDomain(Lack<'a>),
}

/// A question to one zone of the cluster, and the picture that answers it.
#[derive(Clone, Copy)]
struct Asking<'a> {
    options: &'a Options,
    view: &'a View,
    /// Seconds that the answer may be kept.
    ttl: u32,
    /// Where the zone starts in the name.
    zone_at: usize,
}

impl Kubernetes {
    /// A plugin that answers from this cluster. It holds the lease, so that whoever can still ask has what it needs.
    /// `patience` is how long a snapshot waits for the API server before it makes the plugin ready.
    pub fn new(options: Options, cluster: Lease, patience: Duration) -> Kubernetes {
        let resources = options.resources();
        Kubernetes {
            options,
            resources,
            cluster,
            patience,
        }
    }

    /// Answers what is in the zones.
    pub(crate) fn down(&self, query: &mut Query) -> Step {
        let Some((_, zone_at)) = self.options.zones.matching(&query.question.name) else {
            return Step::Next;
        };
        if matches!(query.question.rtype, Type::AXFR | Type::IXFR) {
            return Step::Reply(Reply::new(query, Rcode::REFUSED));
        }
        let view = self.cluster.view();
        let stale = if view.has_stale() {
            self.stale_since(&view, &query.question.name)
        } else {
            None
        };
        let asking = Asking {
            options: &self.options,
            view: &view,
            ttl: stale::ttl(self.options.ttl, stale),
            zone_at,
        };
        if query.trace.is_some() {
            self.tell(query, &asking);
        }
        let mut records = query.take_records();
        let positive = |records| {
            let reply = Reply::authoritative_with(query, Rcode::NOERROR, records);
            stale::explained(reply, query, stale)
        };
        let (rcode, lack) = match asking.truth(query, &mut records) {
            Truth::Records => return Step::Reply(positive(records)),
            Truth::Alias(target) => {
                let reply = positive(records);
                return Step::Follow { reply, target };
            }
            // What we have not heard of may well exist as long as we have not heard all that could tell of it.
            Truth::NoData(lack @ Lack::Unlisted(_)) | Truth::NxDomain(lack @ Lack::Unlisted(_)) => {
                (Rcode::SERVFAIL, lack)
            }
            Truth::NoData(lack) => (Rcode::NOERROR, lack),
            Truth::NxDomain(_) if self.options.fallthrough.contains(&query.question.name) => {
                query.recycle(records);
                return Step::Next;
            }
            Truth::NxDomain(lack) => (Rcode::NXDOMAIN, lack),
        };
        let mut reply = asking.negative(query, rcode, records);
        if query.edns.is_some() {
            let error = lack.extended_error(&asking, &self.cluster);
            reply.error = error.map(Explanation::Known);
        }
        Step::Reply(stale::explained(reply, query, stale))
    }

    /// Looks at what queries for these names will look up. The names stand at the beginnings of the texts, in wire form; one
    /// that is not in lower case, as nearly all are, is looked for in vain.
    pub(crate) fn look_ahead<'a>(&self, names: impl Iterator<Item = &'a [u8]>) {
        let view = self.cluster.view();
        if !view.is_large() {
            return;
        }
        let (mut services, mut of_services) = ([0; AHEAD_MAX], 0);
        let (mut ips, mut of_ips) = ([Ipv4Addr::UNSPECIFIED; AHEAD_MAX], 0);
        for foreseen in names.take(AHEAD_MAX).filter_map(Foreseen::of) {
            match foreseen {
                Foreseen::Service(key) => {
                    services[of_services] = view.hash(key);
                    of_services += 1;
                }
                Foreseen::Address(IpAddr::V4(ip)) => {
                    ips[of_ips] = ip;
                    of_ips += 1;
                }
                Foreseen::Address(IpAddr::V6(_)) => {}
            }
        }
        view.look_ahead(&services[..of_services], &ips[..of_ips]);
    }

    /// When what decides the answer for this name was current, if some of it is known from a snapshot alone.
    #[cold]
    fn stale_since(&self, view: &View, name: &Name) -> Option<u64> {
        let resources = self.resources.iter().copied();
        view.stale_since(resources.filter(|resource| {
            view.is_stale(*resource) && self.options.depends(view, name, *resource)
        }))
    }

    /// Why the plugin is not ready, a line for each resource; empty if it is.
    pub fn not_ready(&self) -> Vec<String> {
        self.cluster.not_ready(&self.resources, self.patience)
    }

    /// What is served from a snapshot and how old it is, a line for each resource; empty if nothing is.
    pub fn from_snapshot(&self) -> Vec<String> {
        self.cluster.from_snapshot(&self.resources)
    }

    /// What is wrong with what is answered from, a line for each thing; empty if nothing is.
    pub fn wrong(&self) -> Vec<String> {
        self.cluster.wrong(&self.resources)
    }
}

impl Options {
    /// What a stanza for this zone says that says no more.
    #[cfg(test)]
    pub(crate) fn of_zone(zone: Name) -> Options {
        Options {
            zones: Zones::new([zone]),
            primary_zone: zone,
            ttl: 5,
            pods: Pods::Disabled,
            endpoint_pod_names: false,
            no_endpoints: false,
            ignore_empty_service: false,
            namespaces: vec![],
            namespaces_selected: false,
            fallthrough: Zones::default(),
            local_addresses: vec![],
        }
    }

    /// The resources that must be followed for these options.
    pub fn resources(&self) -> Vec<Resource> {
        let mut resources = vec![Resource::Namespaces, Resource::Services];
        if !self.no_endpoints {
            resources.push(Resource::EndpointSlices);
        }
        if self.pods == Pods::Verified {
            resources.push(Resource::Pods);
        }
        resources
    }

    /// Whether what is known of a resource decides what is answered for a name, or for one that it is an alias of. That a
    /// Service or a Pod is there shows that its Namespace is, as [`Asking::may_tell`] has it; and a Service that is not
    /// there is missing whether or not its Namespace exists.
    fn depends(&self, view: &View, name: &Name, resource: Resource) -> bool {
        let is_of_services = matches!(resource, Resource::Services | Resource::EndpointSlices);
        if self.namespaces_selected && resource == Resource::Namespaces {
            return true;
        }
        if reverse::is_reverse(name) {
            return is_of_services;
        }
        let mut names = alias::chain(self, view, name);
        names.any(|(name, zone_at)| match KubeName::parse(&name, zone_at) {
            KubeName::Namespace { .. } => resource == Resource::Namespaces,
            KubeName::Pod { .. } if self.pods == Pods::Verified => resource == Resource::Pods,
            KubeName::Pod { .. } => resource == Resource::Namespaces,
            KubeName::Service { .. } | KubeName::Node | KubeName::Invalid => is_of_services,
        })
    }
}

impl<'a> Asking<'a> {
    /// What is true; `records`, which is empty, is given the records of a positive answer.
    fn truth(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        let is_apex = self.zone_at == 0;
        match query.question.rtype {
            Type::A | Type::AAAA => self.addresses(query, records),
            Type::SRV => self.srv(query, records),
            Type::CNAME => self.cname(query, records),
            Type::PTR => self.ptr(query, records),
            Type::TXT => self.txt(query, records),
            Type::SOA if is_apex => {
                self.push_soa(records, Section::Answer, query);
                Truth::Records
            }
            // CoreDNS does not look whether the name exists.
            Type::SOA => Truth::NoData(Lack::Nothing),
            Type::NS if is_apex => self.name_servers(query, records),
            _ => self.no_data(query),
        }
    }

    /// For a type that no name here has: NODATA or NXDOMAIN.
    fn no_data(&self, query: &'a Query) -> Truth<'a> {
        if self.is_name_server(query) {
            return Truth::NoData(Lack::Nothing);
        }
        match self.find(&query.question.name, self.zone_at) {
            Found::Nothing(lack) => Truth::NxDomain(lack),
            _ => Truth::NoData(Lack::Nothing),
        }
    }

    /// The version of the specification that we follow (section 2.2), or nothing.
    fn txt(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        const VERSION: &[u8] = b"\x051.1.0";
        const VERSION_TTL: u32 = 28_800;
        if &query.question.name.wire()[..self.zone_at] == b"\x0bdns-version" {
            let owner = crate::dns::reply::Owner::Asked(0);
            records.push(Section::Answer, owner, Type::TXT, VERSION_TTL, &[VERSION]);
            return Truth::Records;
        }
        // CoreDNS takes names that only have names below them for not existing, for this type alone.
        match self.find(&query.question.name, self.zone_at) {
            Found::Nothing(lack) => Truth::NxDomain(lack),
            found if found.has_records() => Truth::NoData(Lack::Nothing),
            _ => Truth::NxDomain(Lack::Nothing),
        }
    }

    fn ptr(&self, query: &'a Query, records: &mut Records) -> Truth<'a> {
        match reverse::address(&query.question.name) {
            Some(ip) => self.reverse(records, ip),
            None => self.no_data(query),
        }
    }
}

#[cfg(test)]
mod tests;

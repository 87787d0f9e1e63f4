//! What the Corefile says about upstreams: the `forward` directives of a server block, read into plain data.
//!
//! [`parse`] takes all stanzas of a block at once, because `next` leads from one to those written below it. Files of
//! certificates and of upstreams are read here, so that what is wrong with them is told with the Corefile; files of
//! upstreams are then followed by the `roster`.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Scope, value};
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};
use crate::dns::{Name, Query, Rcode, Transport, Zones};

use super::endpoint::{Endpoint, Host};
use super::policy::Policy;
use super::tls::Tls;

mod doubts;
mod properties;
mod reach;
mod resolv_conf;
#[cfg(test)]
mod tests;
mod upstreams;

use properties::Properties;
pub use upstreams::UPSTREAMS_MAX;
pub(super) use upstreams::{PORT, listed};

/// The stanzas of a server block, in written order; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The stanzas.
    pub stanzas: Vec<Stanza>,
}

/// One `forward` directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// The zone whose names go to these upstreams.
    pub from: Name,
    /// Zones below it that do not.
    pub except: Zones,
    /// The upstreams; at least one and at most [`UPSTREAMS_MAX`].
    pub to: Vec<Target>,
    /// Who knows the addresses of those that have names.
    pub resolvers: Resolvers,
    /// The address that queries are sent from; upstreams of the other family are not asked.
    pub source_address: Option<IpAddr>,
    /// The certificates of upstreams within TLS, and ours.
    pub tls: Tls,
    /// How a query is put into a request of HTTP.
    pub doh_method: DohMethod,
    /// In which order they are asked.
    pub policy: Policy,
    /// Over what they are asked.
    pub carriage: Carriage,
    /// How long one of them may take to answer.
    pub read_timeout: Duration,
    /// How often they are asked for one query.
    pub attempts_max: AttemptsMax,
    /// How many queries may wait for them.
    pub max_concurrent: Option<NonZeroUsize>,
    /// Failed checks that an upstream may have and not be down; 0: it is never down, and never checked.
    pub max_fails: u32,
    /// How an upstream that failed is checked.
    pub health_check: HealthCheck,
    /// What is done when all are down.
    pub all_down: AllDown,
    /// Codes for which another upstream is asked.
    pub failover: Vec<Rcode>,
    /// Answers for which the stanzas below are asked.
    pub next: Next,
    /// How connections are kept for further queries.
    pub idle: Idle,
}

/// A word after the zone, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address.
    Address(Endpoint),
    /// A file that lists addresses.
    File {
        /// The file.
        path: PathBuf,
        /// What it listed when it was read.
        listed: Vec<SocketAddr>,
    },
    /// A name whose addresses are to be asked for.
    Host(Box<Host>),
}

/// Who knows the addresses of upstreams that have names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolvers {
    /// The name servers of this machine (`/etc/resolv.conf`), whichever they are when one is asked.
    System,
    /// These.
    These(Vec<SocketAddr>),
}

/// How a query is put into a request of HTTP (RFC 8484 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DohMethod {
    /// As its body.
    Post,
    /// In its address.
    Get,
}

/// How often upstreams are asked for one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptsMax {
    /// Each twice.
    TwiceEach,
    /// So often in all.
    InAll(NonZeroU32),
    /// Until its time is over.
    Unlimited,
}

/// Over what upstreams are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// What the client came over.
    AsClient,
    /// TCP.
    Tcp,
    /// UDP, then TCP if the reply was cut.
    UdpFirst,
}

/// How an upstream that failed is checked, until it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The pause between two checks.
    pub interval: Duration,
    /// Whether the check asks for recursion.
    pub recursion_desired: bool,
    /// The name whose name servers it asks for.
    pub domain: Name,
}

/// What is done when all upstreams are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllDown {
    /// The checks are not believed: one upstream is asked at random.
    AskOne,
    /// The query fails at once.
    Fail,
}

/// Answers for which the stanzas below are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next {
    /// These codes.
    pub rcodes: Vec<Rcode>,
    /// Success without any answer.
    pub on_nodata: bool,
}

/// How connections are kept for further queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// How long one may lie unused.
    pub expire: Duration,
    /// How old it may be.
    pub max_age: Option<Duration>,
    /// How many may lie unused, for one upstream.
    pub max: Option<NonZeroUsize>,
}

/// Reads the `forward` directives of a server block. `None` if there is none, or a fault was reported.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    // All are read, also behind a fault, so that all faults are told at once.
    let read: Vec<Option<Stanza>> = occurrences
        .iter()
        .map(|directive| stanza(&Reader::new(directive, faults), scope))
        .collect();
    let stanzas = read.into_iter().collect::<Option<Vec<Stanza>>>()?;
    doubts::of_order(occurrences, &stanzas, faults);
    (!stanzas.is_empty()).then_some(Config { stanzas })
}

fn stanza(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Stanza> {
    let [from, to @ ..] = reader.at_least(2)? else {
        return None;
    };
    let from = match value::zones(&from.text).as_deref() {
        Ok([zone]) => Some(*zone),
        Ok([zone, ..]) => {
            let message = format!(
                "Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{zone}'.",
                from.text
            );
            reader.warn(from, message);
            Some(*zone)
        }
        Ok([]) | Err(_) => reader.refuse(from, format!("unable to normalize '{}'", from.text)),
    };
    let properties = properties::read(reader, scope.outside);
    let server_name = properties.as_ref().and_then(Properties::server_name);
    let to = upstreams::read(reader, to, server_name, scope.outside);
    properties?.stanza(from?, to?, reader)
}

impl Stanza {
    /// The upstreams whose addresses were known when the Corefile was read, none twice.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        upstreams::endpoints(&self.to)
    }
}

impl Target {
    /// The upstreams whose addresses are known.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        match self {
            Target::Address(endpoint) => vec![endpoint.clone()],
            Target::File { listed, .. } => listed.iter().copied().map(Endpoint::plain).collect(),
            Target::Host(_) => vec![],
        }
    }
}

impl AttemptsMax {
    /// How often, with so many upstreams; `None`: until the time is over.
    pub(super) fn of(self, upstreams: usize) -> Option<NonZeroU32> {
        match self {
            AttemptsMax::TwiceEach => NonZeroU32::new(2 * upstreams as u32),
            AttemptsMax::InAll(max) => Some(max),
            AttemptsMax::Unlimited => None,
        }
    }
}

impl Carriage {
    /// Over what this query is sent. One without a client has come over nothing.
    pub(super) fn of(self, query: &Query) -> Carriage {
        match self {
            Carriage::AsClient if query.is_background => Carriage::UdpFirst,
            carriage => carriage,
        }
    }

    /// Over what a query is sent first.
    pub(super) fn first(self, query: &Query) -> Transport {
        match self {
            Carriage::AsClient => query.transport,
            Carriage::Tcp => Transport::Tcp,
            Carriage::UdpFirst => Transport::Udp,
        }
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            interval: Duration::from_millis(500),
            recursion_desired: true,
            domain: Name::root(),
        }
    }
}

impl Default for Idle {
    fn default() -> Idle {
        Idle {
            expire: Duration::from_secs(10),
            max_age: None,
            max: None,
        }
    }
}

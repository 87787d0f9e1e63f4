//! What the Corefile says about upstreams: the `forward` directives of a server block, read into plain data.
//!
//! [`parse`] takes all stanzas of a block at once, because `next` leads from one to those written below it. Files of
//! upstreams are read here, once: what runs later knows addresses alone.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::config::{Scope, value};
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};
use crate::dns::{Name, Query, Rcode, Transport, Zones};

use super::policy::Policy;

mod properties;
mod resolv_conf;
#[cfg(test)]
mod tests;
mod upstreams;

pub use upstreams::UPSTREAMS_MAX;

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
    /// Addresses and ports, none twice; at least one and at most [`UPSTREAMS_MAX`].
    pub upstreams: Vec<std::net::SocketAddr>,
    /// In which order they are asked.
    pub policy: Policy,
    /// Over what they are asked.
    pub carriage: Carriage,
    /// How long one of them may take to answer.
    pub read_timeout: Duration,
    /// How often they are asked for one query; `None`: until its time is over.
    pub attempts_max: Option<NonZeroU32>,
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
    let upstreams = upstreams::read(reader, to, scope.outside);
    let properties = properties::read(reader, scope.outside);
    let (from, upstreams, properties) = (from?, upstreams?, properties?);
    Some(properties.stanza(from, upstreams))
}

impl Carriage {
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

//! Asks resolvers for the addresses of a name, in the way in which upstreams are asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;
use tokio::runtime::Handle;

use crate::blocking;
use crate::corefile::{Filesystem, Outside};
use crate::dns::query::flag;
use crate::dns::{Class, Name, Query, Question, Rcode, Reply, Section, Type};
use crate::plugin::bind;
use crate::plugin::forward::config::{
    Carriage, DohMethod, HealthCheck, Idle, PORT, Resolvers, listed,
};
use crate::plugin::forward::endpoint::Endpoint;
use crate::plugin::forward::observer::Unobserved;
use crate::plugin::forward::tls::{Clients, Tls};
use crate::plugin::forward::upstream::{Settings, Upstream};

use super::known::{Addresses, Answer};

/// Where the name servers of this machine are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long one resolver may take.
const RESOLVER_TIME: Duration = Duration::from_secs(2);

/// How long all of them may take.
const LOOKUP_TIME: Duration = Duration::from_secs(10);

/// Resolvers that are asked before a look-up fails.
const RESOLVERS_MAX: usize = 5;

/// Addresses of one family that are taken from an answer; more could not be used.
const ADDRESSES_MAX: usize = super::UPSTREAMS_MAX;

/// Who is asked, and over what.
pub(super) struct Lookup {
    resolvers: Resolvers,
    home: Handle,
}

impl Lookup {
    pub(super) fn new(resolvers: Resolvers, home: Handle) -> Lookup {
        Lookup { resolvers, home }
    }

    /// The addresses of a name: IPv4, IPv6.
    pub(super) async fn addresses(&self, name: Name) -> [Answer; 2] {
        let resolvers = match self.resolvers().await {
            Ok(resolvers) => resolvers,
            Err(why) => return [Err(why.clone()), Err(why)],
        };
        let deadline = Instant::now() + LOOKUP_TIME;
        let ask = |rtype| ask_each(&resolvers, name, rtype, deadline);
        let (v4, v6) = join(ask(Type::A), ask(Type::AAAA)).await;
        [v4, v6]
    }

    async fn resolvers(&self) -> Result<Vec<Arc<Upstream>>, String> {
        let addresses = match &self.resolvers {
            Resolvers::These(addresses) => addresses.clone(),
            Resolvers::System => {
                let read = blocking::run("resolv.conf", of_this_machine).await;
                read.map_err(|why| why.to_string())??
            }
        };
        let addresses = addresses.into_iter().take(RESOLVERS_MAX);
        Ok(addresses.map(|address| self.resolver(address)).collect())
    }

    fn resolver(&self, address: SocketAddr) -> Arc<Upstream> {
        let settings = Settings {
            carriage: Carriage::UdpFirst,
            read_timeout: RESOLVER_TIME,
            // Asked now and then, each time anew.
            max_fails: 0,
            health_check: HealthCheck::default(),
            idle: Idle::default(),
            source_address: None,
            tls: Tls::default(),
            doh_method: DohMethod::Post,
        };
        Arc::new(Upstream::new(
            Endpoint::plain(address),
            &settings,
            &Clients::default(),
            self.home.clone(),
            Arc::new(Unobserved),
        ))
    }
}

/// The name servers of this machine. Those that listen on an address of this machine come last: one of them may be
/// this server, which cannot resolve what it has to resolve first.
fn of_this_machine() -> Result<Vec<SocketAddr>, String> {
    let content = Filesystem.read(Path::new(RESOLV_CONF));
    let content = content.map_err(|why| format!("{RESOLV_CONF}: {why}"))?;
    let mut servers = listed(&content);
    if servers.is_empty() {
        return Err(format!("{RESOLV_CONF} lists no name server"));
    }
    let own: Vec<IpAddr> = bind::interfaces().into_iter().map(|(_, ip)| ip).collect();
    servers.sort_by_key(|server| {
        server.port() == PORT && (server.ip().is_loopback() || own.contains(&server.ip()))
    });
    Ok(servers)
}

/// Asks one resolver after the other until one knows.
async fn ask_each(
    resolvers: &[Arc<Upstream>],
    name: Name,
    rtype: Type,
    deadline: Instant,
) -> Answer {
    let mut query = Query::empty();
    query.flags = flag::RD;
    query.question = Question::new(name, rtype, Class::IN);
    let mut last = "no resolver is named".to_owned();
    for resolver in resolvers {
        match resolver.ask(&query, deadline).await {
            Ok(reply) if matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) => {
                return Ok(addresses(&reply, rtype));
            }
            Ok(reply) => last = format!("the resolver says {}", reply.rcode),
            // Without our port, which is another each time: the same fault is told once.
            Err(unanswered) => last = unanswered.of_upstream(),
        }
    }
    Err(last)
}

/// The addresses in an answer, and how long the chain that leads to them holds.
fn addresses(reply: &Reply, rtype: Type) -> Addresses {
    let answers = || {
        let entries = reply.records.entries().iter();
        entries.filter(|entry| entry.section == Section::Answer)
    };
    let ips = answers()
        .filter(|entry| entry.rtype == rtype && entry.class == Class::IN)
        .filter_map(|entry| ip(reply.records.rdata(entry)));
    let ttl = answers().map(|entry| entry.ttl).min().unwrap_or(0);
    Addresses {
        addresses: ips.take(ADDRESSES_MAX).collect(),
        ttl: Duration::from_secs(ttl.into()),
    }
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(v6).into())
}

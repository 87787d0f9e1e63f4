//! Keys of server blocks: which zones are served on which addresses.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::value;
use crate::corefile::{Diagnostic, Faults, ServerBlock, Word, nearest};
use crate::dns::Name;

/// The port of `dns://` where neither the key nor `-dns.port` says another.
pub const DNS_PORT: u16 = 53;

/// Schemes of CoreDNS that are not built.
const SCHEMES_ABSENT: [&str; 5] = ["tls", "quic", "grpc", "https", "https3"];

/// A key of a server block: a zone on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The zone, in lower case.
    pub zone: Name,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.zone, self.port)
    }
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenAddress {
    /// `None`: every address of the machine, of both families.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl ListenAddress {
    /// The address to bind.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(
            self.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            self.port,
        )
    }
}

impl fmt::Display for ListenAddress {
    /// As metrics name a server: `dns://:53`, `dns://10.0.0.1:53`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, "dns://:{}", self.port),
            Some(ip) => write!(f, "dns://{}", SocketAddr::new(ip, self.port)),
        }
    }
}

/// Reads the keys of a server block.
pub(super) fn keys(block: &ServerBlock, dns_port: u16, faults: &Faults) -> Vec<Key> {
    block
        .keys
        .iter()
        .filter_map(|word| key(word, dns_port, faults))
        .flatten()
        .collect()
}

fn key(word: &Word, dns_port: u16, faults: &Faults) -> Option<Vec<Key>> {
    let bare = match word.text.split_once("://") {
        None => word.text.as_str(),
        Some(("dns", rest)) => rest,
        Some((scheme, _)) => return refuse_scheme(word, scheme, faults),
    };
    let refuse = |message: String| {
        faults.push(Diagnostic::error(message, word.span));
        None
    };
    let read = match value::zone_port(bare) {
        Ok(read) => read,
        Err(fault) => return refuse(format!("error inspecting server blocks: {fault}")),
    };
    let port = match read.port.as_deref().map(str::parse) {
        None => dns_port,
        Some(Ok(port)) => port,
        Some(Err(_)) => {
            return refuse(format!(
                "address {}: invalid port",
                read.port.unwrap_or_default()
            ));
        }
    };
    Some(
        read.zones
            .into_iter()
            .map(|zone| Key { zone, port })
            .collect(),
    )
}

fn refuse_scheme(word: &Word, scheme: &str, faults: &Faults) -> Option<Vec<Key>> {
    let known = SCHEMES_ABSENT.contains(&scheme);
    let message = match known {
        true => format!("{scheme}:// is known but not supported yet"),
        false => format!("unknown scheme '{scheme}://'"),
    };
    let hint = nearest(scheme, ["dns"].into_iter().chain(SCHEMES_ABSENT));
    faults.push(Diagnostic::error(message, word.span).with_nearest(hint.filter(|_| !known)));
    None
}

/// Which zones are taken, over all server blocks.
#[derive(Default)]
pub(super) struct Taken {
    /// By zone and port: the addresses that serve it.
    by_zone: HashMap<(Name, u16), Vec<Option<IpAddr>>>,
}

impl Taken {
    /// Takes a zone on an address. It may be served by one block only, and either on named addresses or on all:
    /// the kernel would give queries for a named address to either socket.
    pub(super) fn take(&mut self, key: &Key, ip: Option<IpAddr>) -> Result<(), String> {
        let ips = self.by_zone.entry((key.zone, key.port)).or_default();
        let serve = Serving(key, ip);
        if ips.contains(&ip) {
            return Err(format!("cannot serve {serve} - it is already defined"));
        }
        let other = if ip.is_none() {
            ips.first().copied()
        } else {
            ips.contains(&None).then_some(None)
        };
        if let Some(other) = other {
            let other = Serving(key, other);
            return Err(format!(
                "cannot serve {serve} - zone overlap listener capacity with {other}"
            ));
        }
        ips.push(ip);
        Ok(())
    }
}

/// A zone on an address, as CoreDNS writes it.
struct Serving<'a>(&'a Key, Option<IpAddr>);

impl fmt::Display for Serving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns://{}:{}", self.0.zone, self.0.port)?;
        self.1.map_or(Ok(()), |ip| write!(f, " on {ip}"))
    }
}

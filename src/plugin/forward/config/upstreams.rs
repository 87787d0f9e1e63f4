//! The words after FROM: addresses, or files that list them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

use crate::corefile::reader::Reader;
use crate::corefile::{Outside, Word};

use super::resolv_conf;

/// Upstreams of one stanza; the cap of CoreDNS.
pub const UPSTREAMS_MAX: usize = 15;

/// The port of a name server (RFC 1035 section 4.2).
pub(super) const PORT: u16 = 53;

/// Schemes that CoreDNS knows, with their ports.
const SCHEMES: &[(&str, u16, Scheme)] = &[
    ("dns", PORT, Scheme::Plain),
    ("tls", 853, Scheme::Absent),
    ("https", 443, Scheme::Absent),
    ("grpc", 443, Scheme::NoUpstream),
    ("quic", 853, Scheme::NoUpstream),
    ("https3", 443, Scheme::NoUpstream),
    ("unix", 0, Scheme::NoUpstream),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// UDP and TCP.
    Plain,
    /// CoreDNS speaks it to upstreams.
    Absent,
    /// CoreDNS serves it, and speaks it to no upstream.
    NoUpstream,
}

/// Reads the words; what is named twice counts once.
pub(super) fn read(
    reader: &Reader<'_>,
    words: &[Word],
    outside: &dyn Outside,
) -> Option<Vec<SocketAddr>> {
    let mut upstreams = Vec::new();
    let mut sound = Some(());
    for word in words {
        match one(reader, word, outside) {
            Some(addresses) => addresses
                .into_iter()
                .for_each(|address| push_new(&mut upstreams, address)),
            None => sound = None,
        }
    }
    sound?;
    match upstreams.len() {
        0 => reader.refuse(&words[0], "no valid upstream addresses found"),
        1..=UPSTREAMS_MAX => Some(upstreams),
        count => {
            let message = format!("more than {UPSTREAMS_MAX} TOs configured: {count}");
            reader.refuse(words.last().unwrap_or(reader.name()), message)
        }
    }
}

fn push_new(upstreams: &mut Vec<SocketAddr>, address: SocketAddr) {
    if !upstreams.contains(&address) {
        upstreams.push(address);
    }
}

fn one(reader: &Reader<'_>, word: &Word, outside: &dyn Outside) -> Option<Vec<SocketAddr>> {
    let (name, port, scheme, host) = split_scheme(&word.text);
    match scheme {
        Scheme::Absent if name == "https" && host.contains('/') => {
            return reader.refuse(word, "paths are not allowed in HTTPS upstream addresses");
        }
        Scheme::NoUpstream if name == "unix" => {
            return reader.refuse(word, not_supported(name, host));
        }
        Scheme::Plain | Scheme::Absent | Scheme::NoUpstream => {}
    }
    if host.is_empty() {
        return reader.refuse(word, format!("invalid address: {:?}", word.text));
    }
    let Some(address) = socket_address(host, port) else {
        return file(reader, word, host, outside);
    };
    match scheme {
        Scheme::Plain => Some(vec![address]),
        Scheme::Absent => {
            let message = format!("'{name}' is known but not supported yet: {name}://{address}");
            reader.refuse(word, message)
        }
        Scheme::NoUpstream => reader.refuse(word, not_supported(name, &address.to_string())),
    }
}

fn not_supported(scheme: &str, address: &str) -> String {
    format!(
        "'{scheme}' is not supported as a destination protocol in forward: {scheme}://{address}"
    )
}

/// The scheme with its port, and what stands behind it. Unknown schemes are part of a file's name.
fn split_scheme(text: &str) -> (&'static str, u16, Scheme, &str) {
    for &(name, port, scheme) in SCHEMES {
        let behind = text
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix("://"));
        if let Some(host) = behind {
            return (name, port, scheme, host);
        }
    }
    ("dns", PORT, Scheme::Plain, text)
}

/// Reads the upstreams that a file in the format of resolv.conf lists.
fn file(
    reader: &Reader<'_>,
    word: &Word,
    path: &str,
    outside: &dyn Outside,
) -> Option<Vec<SocketAddr>> {
    let Ok(content) = outside.read(Path::new(path)) else {
        return reader.refuse(word, format!("not an IP address or file: {path:?}"));
    };
    let mut addresses = Vec::new();
    for server in resolv_conf::name_servers(&content) {
        match ip(server) {
            Some(ip) => addresses.push(with_port(ip, PORT)),
            // The resolver of the C library passes over such a line too.
            None => reader.warn(word, format!("not an IP address in {path}: {server:?}")),
        }
    }
    Some(addresses)
}

/// `IP`, `IP:port`, `[IPv6]:port`, each with a zone or not.
fn socket_address(text: &str, port: u16) -> Option<SocketAddr> {
    if let Some(ip) = ip(text) {
        return Some(with_port(ip, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => ip(bracketed.strip_suffix(']')?).filter(|(ip, _)| ip.is_ipv6())?,
        None => ip(host).filter(|(ip, _)| ip.is_ipv4())?,
    };
    // A port of 0 cannot be sent to.
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(with_port(host, port))
}

/// An address and the index of its zone (RFC 4007 section 11), which is 0 where there is none.
fn ip(text: &str) -> Option<(IpAddr, u32)> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some((text.parse().ok()?, 0));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    // An interface that is not there (yet) is no reason not to start: its upstream will fail and say so.
    let index = zone
        .parse()
        .or_else(|_| nix::net::if_::if_nametoindex(zone))
        .unwrap_or(0);
    Some((address.into(), index))
}

fn with_port((ip, zone): (IpAddr, u32), port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(ip) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, zone).into(),
    }
}

//! The words after FROM: addresses, names, or files that list addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::ServerName;

use crate::corefile::reader::Reader;
use crate::corefile::{Outside, Unreadable, Word};
use crate::dns::Name;
use crate::plugin::forward::endpoint::{Endpoint, Host, Secure, Speaks};

use super::{Target, resolv_conf};

/// Upstreams of one stanza; the cap of CoreDNS.
pub const UPSTREAMS_MAX: usize = 15;

/// The port of a name server (RFC 1035 section 4.2).
pub(in crate::plugin::forward) const PORT: u16 = 53;

/// What names of files end in, and those of hosts do not.
const FILE_ENDINGS: &[&str] = &["cfg", "cnf", "conf", "list", "txt"];

/// Schemes that CoreDNS knows, with their ports.
const SCHEMES: &[(&str, u16, Scheme)] = &[
    ("dns", PORT, Scheme::Plain),
    ("tls", 853, Scheme::Secure(Secure::Tls)),
    ("https", 443, Scheme::Secure(Secure::Https)),
    ("quic", 853, Scheme::Secure(Secure::Quic)),
    ("grpc", 443, Scheme::NoUpstream),
    ("https3", 443, Scheme::NoUpstream),
    ("unix", 0, Scheme::NoUpstream),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// UDP and TCP.
    Plain,
    /// Within TLS.
    Secure(Secure),
    /// CoreDNS serves it, and nobody speaks it to an upstream.
    NoUpstream,
}

/// Reads the words. `server_name` is what the stanza says that upstreams within TLS must prove to be.
pub(super) fn read(
    reader: &Reader<'_>,
    words: &[Word],
    server_name: Option<&ServerName<'static>>,
    outside: &dyn Outside,
) -> Option<Vec<Target>> {
    // All are read, also behind a fault.
    let read: Vec<Option<Target>> = words
        .iter()
        .map(|word| one(reader, word, server_name, outside))
        .collect();
    let targets = read.into_iter().collect::<Option<Vec<Target>>>()?;
    let hosts = targets.iter().filter(|to| matches!(to, Target::Host(_)));
    match endpoints(&targets).len() + hosts.count() {
        0 => reader.refuse(&words[0], "no valid upstream addresses found"),
        1..=UPSTREAMS_MAX => Some(targets),
        count => {
            let message = format!("more than {UPSTREAMS_MAX} TOs configured: {count}");
            reader.refuse(words.last().unwrap_or(reader.name()), message)
        }
    }
}

/// The upstreams whose addresses are known; what is named twice counts once.
pub(super) fn endpoints(targets: &[Target]) -> Vec<Endpoint> {
    let mut distinct = Vec::new();
    for endpoint in targets.iter().flat_map(Target::endpoints) {
        if !distinct.contains(&endpoint) {
            distinct.push(endpoint);
        }
    }
    distinct
}

fn one(
    reader: &Reader<'_>,
    word: &Word,
    server_name: Option<&ServerName<'static>>,
    outside: &dyn Outside,
) -> Option<Target> {
    let (name, port, scheme, host) = split_scheme(&word.text);
    if name == "https" && host.contains('/') {
        return reader.refuse(word, "paths are not allowed in HTTPS upstream addresses");
    }
    if name == "unix" {
        return reader.refuse(word, not_supported(name, host));
    }
    if host.is_empty() {
        return reader.refuse(word, format!("invalid address: {:?}", word.text));
    }
    match scheme {
        Scheme::Plain => plain(reader, word, host, outside),
        Scheme::Secure(secure) => one_secure(reader, word, (name, secure), host, server_name),
        Scheme::NoUpstream => match socket_address(host, port) {
            Some(address) => reader.refuse(word, not_supported(name, &address.to_string())),
            None => reader.refuse(word, not_supported(name, host)),
        },
    }
}

/// Reads an upstream without TLS.
fn plain(reader: &Reader<'_>, word: &Word, text: &str, outside: &dyn Outside) -> Option<Target> {
    if let Some(address) = socket_address(text, PORT) {
        doubt_port(reader, word, address.port());
        return Some(Target::Address(Endpoint::plain(address)));
    }
    // A file that is there is meant, though a name server could have the name too.
    let unreadable = match outside.read(Path::new(text)) {
        Ok(content) => return Some(file(reader, word, text, &content)),
        Err(why) => why,
    };
    match host_port(text, PORT) {
        Some((name, port)) => {
            doubt_port(reader, word, port);
            match unreadable {
                Unreadable::Missing if is_like_file(text) => {
                    reader.warn(word, "no such file; taken as a host name");
                }
                Unreadable::Missing => {}
                why => reader.warn(word, format!("{why}; taken as a host name")),
            }
            Some(Target::Host(Box::new(Host {
                name,
                port,
                speaks: Speaks::Plain,
            })))
        }
        None => reader.refuse(word, format!("not an IP address or file: {text:?}")),
    }
}

/// Whether a word that could be the name of a host is more likely to be that of a file.
fn is_like_file(text: &str) -> bool {
    text.rsplit_once('.')
        .map_or(!text.contains(':'), |(_, last)| {
            FILE_ENDINGS.contains(&last.to_ascii_lowercase().as_str())
        })
}

/// Tells of an upstream without a scheme on the port of those within TLS.
fn doubt_port(reader: &Reader<'_>, word: &Word, port: u16) {
    if port == Secure::Tls.port() && !word.text.contains("://") {
        let message = format!(
            "is asked without TLS, though {port} is the port of DNS over TLS: did you mean tls://{}",
            word.text
        );
        reader.warn(word, message);
    }
}

/// Reads an upstream within TLS: `IP[%NAME][:PORT]`, or a host instead of the address.
fn one_secure(
    reader: &Reader<'_>,
    word: &Word,
    (scheme, secure): (&str, Secure),
    text: &str,
    server_name: Option<&ServerName<'static>>,
) -> Option<Target> {
    let (host, named) = split_server_name(text);
    let address = socket_address(&host, secure.port());
    if let (Some(forward), Some(proxy)) = (server_name, &named) {
        let to = address.map_or_else(|| host.clone(), |address| address.to_string());
        let message = format!(
            "both forward ('{}') and proxy level ('{proxy}') TLS servernames are set for upstream proxy '{scheme}://{to}'",
            forward.to_str()
        );
        return reader.refuse(word, message);
    }
    let named = match named {
        Some(name) => Some(reader.value(word, |_| parse_server_name(name))?),
        None => server_name.cloned(),
    };
    if let Some(address) = address {
        let name = named.unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
        let speaks = Speaks::Secure(secure, name);
        return Some(Target::Address(Endpoint { address, speaks }));
    }
    let Some((name, port)) = host_port(&host, secure.port()) else {
        return reader.refuse(word, format!("not an IP address or file: {text:?}"));
    };
    let server_name = match named {
        Some(named) => named,
        None => {
            let text = name.to_string();
            reader.value(word, |_| parse_server_name(text.trim_end_matches('.')))?
        }
    };
    let speaks = Speaks::Secure(secure, server_name);
    Some(Target::Host(Box::new(Host { name, port, speaks })))
}

/// The name, or address, that a certificate must be for.
pub(super) fn parse_server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("invalid TLS server name: {text:?}"))
}

/// The name of `IP%NAME`, `IP%NAME:PORT` or `[IP%NAME]:PORT`, and the text without it.
fn split_server_name(text: &str) -> (String, Option<&str>) {
    let Some((before, behind)) = text.rsplit_once('%') else {
        return (text.to_owned(), None);
    };
    let end = behind.find([':', ']']).unwrap_or(behind.len());
    let (name, rest) = behind.split_at(end);
    (format!("{before}{rest}"), Some(name))
}

/// `NAME` or `NAME:PORT`, of a name that a host may have (RFC 1123 section 2.1; underscores too, as people use them).
fn host_port(text: &str, port: u16) -> Option<(Name, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (text, port),
    };
    let may_be = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let is_number = |label: &str| label.bytes().all(|octet| octet.is_ascii_digit());
    // What ends in a number was meant as an address.
    let last = host.trim_end_matches('.').rsplit('.').next()?;
    if !host.bytes().all(may_be) || is_number(last) {
        return None;
    }
    Some((host.parse::<Name>().ok()?.lower(), port))
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

/// The upstreams that a file in the format of resolv.conf lists.
fn file(reader: &Reader<'_>, word: &Word, path: &str, content: &[u8]) -> Target {
    let mut listed = Vec::new();
    for server in resolv_conf::name_servers(content) {
        match ip(server) {
            Some(ip) => listed.push(with_port(ip, PORT)),
            // The resolver of the C library passes over such a line too.
            None => reader.warn(word, format!("not an IP address in {path}: {server:?}")),
        }
    }
    let path = PathBuf::from(path);
    Target::File { path, listed }
}

/// The addresses that such a file lists, without a word about what is none.
pub(in crate::plugin::forward) fn listed(content: &[u8]) -> Vec<SocketAddr> {
    let servers = resolv_conf::name_servers(content).into_iter();
    servers
        .filter_map(ip)
        .map(|ip| with_port(ip, PORT))
        .collect()
}

/// `IP`, `IP:port`, `[IPv6]:port`, each with a zone or not.
pub(super) fn socket_address(text: &str, port: u16) -> Option<SocketAddr> {
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

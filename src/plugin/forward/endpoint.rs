//! Who an upstream is: where it is, what it speaks, and whom it must prove to be.
//!
//! What cannot be asked cannot be said here: an upstream over TLS has a name that its certificate must be for, one
//! without TLS has none.

use std::fmt;
use std::net::SocketAddr;

use tokio_rustls::rustls::pki_types::ServerName;

use crate::dns::{Name, Transport};

/// An upstream whose address is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its address and port.
    pub address: SocketAddr,
    /// What it speaks.
    pub speaks: Speaks,
}

/// What an upstream speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// DNS over UDP and TCP.
    Plain,
    /// DNS within TLS, with the name or address that the certificate must be for.
    Secure(Secure, ServerName<'static>),
}

/// The protocols that keep a query secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secure {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), always HTTP/2 and `/dns-query`.
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

/// An upstream that has a name, and the addresses that the name has at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name.
    pub name: Name,
    /// The port.
    pub port: u16,
    /// What it speaks.
    pub speaks: Speaks,
}

/// Over what a query goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream within TLS.
    Tls,
    /// A request of HTTP/2.
    Https,
    /// A stream of QUIC.
    Quic,
}

impl Endpoint {
    /// An upstream that is asked over UDP and TCP.
    pub fn plain(address: SocketAddr) -> Endpoint {
        Endpoint {
            address,
            speaks: Speaks::Plain,
        }
    }
}

impl Secure {
    /// The port, where none is said.
    pub fn port(self) -> u16 {
        match self {
            Secure::Tls | Secure::Quic => 853,
            Secure::Https => 443,
        }
    }

    /// The protocol's name within TLS (ALPN), if it must be said. RFC 7858 asks for none, and a server that knows other
    /// names only has to refuse whoever says `dot` (RFC 7301 section 3.2).
    pub(super) fn alpn(self) -> Option<&'static [u8]> {
        match self {
            Secure::Tls => None,
            Secure::Https => Some(b"h2"),
            Secure::Quic => Some(b"doq"),
        }
    }
}

impl From<Secure> for Over {
    fn from(secure: Secure) -> Over {
        match secure {
            Secure::Tls => Over::Tls,
            Secure::Https => Over::Https,
            Secure::Quic => Over::Quic,
        }
    }
}

impl From<Transport> for Over {
    fn from(transport: Transport) -> Over {
        match transport {
            Transport::Udp => Over::Udp,
            Transport::Tcp => Over::Tcp,
        }
    }
}

impl Over {
    /// What carries it.
    pub fn transport(self) -> Transport {
        match self {
            Over::Udp | Over::Quic => Transport::Udp,
            Over::Tcp | Over::Tls | Over::Https => Transport::Tcp,
        }
    }

    /// As metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Over::Udp => "udp",
            Over::Tcp => "tcp",
            Over::Tls => "tcp-tls",
            Over::Https => "https",
            Over::Quic => "quic",
        }
    }
}

impl fmt::Display for Endpoint {
    /// The address as CoreDNS writes it, behind a scheme where it is not plain DNS.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.speaks {
            Speaks::Plain => "",
            Speaks::Secure(Secure::Tls, _) => "tls://",
            Speaks::Secure(Secure::Https, _) => "https://",
            Speaks::Secure(Secure::Quic, _) => "quic://",
        })?;
        self.address.fmt(f)
    }
}

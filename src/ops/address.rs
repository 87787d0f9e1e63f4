//! Listen addresses as Go's `net` package writes them: `:8080`, `localhost:9153`, `[fd00::1]:9254`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::blocking;

/// Connections that the kernel completes before we accept them; as many as we serve at once on an address.
const BACKLOG: i32 = 128;

/// Where an endpoint listens. Displayed as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// All addresses of both families. Go listens so for `0.0.0.0` and `[::]` too, wherever the system can.
    Any,
    Ip(IpAddr),
    Name(String),
}

/// What is wrong with a listen address, in the words of Go's `net`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No colon, or nothing but an address in brackets.
    #[error("address {0}: missing port in address")]
    MissingPort(String),
    /// An IPv6 address without brackets.
    #[error("address {0}: too many colons in address")]
    TooManyColons(String),
    /// A bracket that is not closed.
    #[error("address {0}: missing ']' in address")]
    MissingBracket(String),
    /// A bracket where none may be.
    #[error("address {0}: unexpected '{1}' in address")]
    UnexpectedBracket(String, char),
    /// A port that is no number, or above 65535.
    #[error("address {0}: invalid port")]
    InvalidPort(String),
}

/// A socket address that a listener is known by: names are resolved, so that `localhost:9153` and `127.0.0.1:9153` are
/// one; `None` stands for all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resolved {
    ip: Option<IpAddr>,
    port: u16,
}

/// Parses a listen address.
///
/// # Errors
/// The text has no port, or brackets and colons that do not fit.
pub fn parse_listen_address(text: &str) -> Result<ListenAddress, AddressError> {
    let owned = || text.to_owned();
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| AddressError::MissingPort(owned()))?;
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest
                .split_once(']')
                .ok_or_else(|| AddressError::MissingBracket(owned()))?;
            match after.strip_prefix(':') {
                Some(port) if port.contains(':') => {
                    return Err(AddressError::TooManyColons(owned()));
                }
                Some(_) => inside,
                None => return Err(AddressError::MissingPort(owned())),
            }
        }
        None if host.contains(':') => return Err(AddressError::TooManyColons(owned())),
        None => host,
    };
    if let Some(bracket) = host
        .chars()
        .chain(port.chars())
        .find(|c| matches!(c, '[' | ']'))
    {
        return Err(AddressError::UnexpectedBracket(owned(), bracket));
    }
    // An empty port is 0, any free one.
    let port = if port.is_empty() { Ok(0) } else { port.parse() };
    let port = port.map_err(|_| AddressError::InvalidPort(owned()))?;
    Ok(ListenAddress {
        text: owned(),
        host: Host::of(host),
        port,
    })
}

impl Host {
    fn of(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            _ if text.is_empty() => Self::Any,
            Ok(ip) if ip.is_unspecified() => Self::Any,
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse_listen_address(text)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ListenAddress {
    /// Looks a host name up; of its addresses the first of IPv4, as Go prefers it.
    pub(super) async fn resolve(&self) -> io::Result<Resolved> {
        let ip = match &self.host {
            Host::Any => None,
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) => {
                let asked = (name.clone(), self.port);
                let look_up = move || asked.to_socket_addrs().map(Iterator::collect);
                let found: Vec<SocketAddr> = blocking::run("resolve", look_up).await??;
                let first = found
                    .iter()
                    .find(|address| address.is_ipv4())
                    .or(found.first());
                let first =
                    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))?;
                Some(first.ip())
            }
        };
        Ok(Resolved {
            ip,
            port: self.port,
        })
    }
}

impl Resolved {
    /// All addresses, with the same port.
    pub(super) fn of_all(self) -> Resolved {
        Resolved { ip: None, ..self }
    }

    /// Opens a listening socket, not blocking. All addresses means both families on one socket, or IPv4 alone where
    /// the system has no IPv6.
    pub(super) fn bind(self) -> io::Result<TcpListener> {
        match self.ip {
            Some(ip) => listen(SocketAddr::new(ip, self.port)),
            None => match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port)) {
                Err(error) if lacks_ipv6(&error) => {
                    listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port))
                }
                outcome => outcome,
            },
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // A reload from `:8080` to `10.0.0.1:8080` opens the new socket before it closes the old one.
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        let ip = |text: &str| Host::Ip(text.parse().unwrap());
        let rows = [
            (":8080", Host::Any, 8080),
            ("0.0.0.0:9153", Host::Any, 9153),
            ("[::]:9153", Host::Any, 9153),
            ("127.0.0.1:0", ip("127.0.0.1"), 0),
            ("127.0.0.1:", ip("127.0.0.1"), 0),
            ("[fd00::1]:9254", ip("fd00::1"), 9254),
            ("localhost:9153", Host::Name("localhost".to_owned()), 9153),
        ];
        for (text, host, port) in rows {
            let address =
                parse_listen_address(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((&address.host, address.port), (&host, port), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn faults_are_told_as_go_tells_them() {
        let rows = [
            ("nope", "address nope: missing port in address"),
            ("", "address : missing port in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("[::1]8080", "address [::1]8080: missing port in address"),
            ("::1:8080", "address ::1:8080: too many colons in address"),
            ("a:b:c", "address a:b:c: too many colons in address"),
            (
                "[::1]:80:80",
                "address [::1]:80:80: too many colons in address",
            ),
            ("[::1:8080", "address [::1:8080: missing ']' in address"),
            ("[a[b]:80", "address [a[b]:80: unexpected '[' in address"),
            ("a]:80", "address a]:80: unexpected ']' in address"),
            (":http", "address :http: invalid port"),
            (":65536", "address :65536: invalid port"),
        ];
        for (text, expected) in rows {
            let error = parse_listen_address(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_and_its_address_are_one_listener() {
        let resolve =
            async |text: &str| parse_listen_address(text).unwrap().resolve().await.unwrap();
        assert_eq!(
            resolve("localhost:9153").await,
            resolve("127.0.0.1:9153").await
        );
        assert_eq!(resolve(":9153").await, resolve("0.0.0.0:9153").await);
        assert_ne!(resolve(":9153").await, resolve("127.0.0.1:9153").await);
    }
}

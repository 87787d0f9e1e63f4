//! Why a configuration cannot be served, in words that say what to look at.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::config::listen::ListenAddress;
use crate::generation::BuildError;
use crate::ops::OpsError;
use crate::server::BindError;

/// Why a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A plugin cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An address for DNS cannot be had.
    #[error("listen {} {}: {}", .0.transport.as_str(), .0.place(), Reason(&.0.source))]
    Bind(#[from] BindError),
    /// An address for DNS cannot be served: the system has no thread left for it.
    #[error("serve {address}: no thread could be started for it: {source}")]
    Thread {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// An address for DNS is bound and cannot be served.
    #[error("serve {address}: {source}")]
    Serve {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// An address for operators cannot be had.
    #[error("plugin/{}: listen tcp {}: {}", .0.plugin, .0.address, Reason(&.0.source))]
    Ops(#[from] OpsError),
}

impl AppError {
    /// Whether it is what the configuration says that cannot be served. Else it is what the system has to give at the
    /// moment: an address that another process has, threads, descriptors, memory.
    pub fn is_of_the_configuration(&self) -> bool {
        let source = match self {
            AppError::Build(_) => return true,
            AppError::Thread { .. } | AppError::Serve { .. } => return false,
            AppError::Bind(fault) => &fault.source,
            AppError::Ops(fault) => &fault.source,
        };
        !matches!(
            source.raw_os_error(),
            Some(
                libc::EADDRINUSE
                    | libc::EAGAIN
                    | libc::EMFILE
                    | libc::ENFILE
                    | libc::ENOBUFS
                    | libc::ENOMEM
            )
        )
    }
}

/// The system's reason as Go programs give it: `bind: address already in use`, without a number.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            None => self.0.fmt(f),
            Some(number) => {
                let text = Errno::from_raw(number).desc();
                let first = text.chars().take(1).flat_map(char::to_lowercase);
                let rest = text.chars().skip(1);
                write!(f, "bind: {}", first.chain(rest).collect::<String>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::dns::Transport;

    #[test]
    fn an_address_that_cannot_be_had_is_told_as_go_tells_it() {
        for (transport, address, number, expected) in [
            (
                Transport::Udp,
                "[::]:53",
                libc::EADDRINUSE,
                "listen udp :53: bind: address already in use",
            ),
            (
                Transport::Tcp,
                "10.0.0.1:53",
                libc::EADDRNOTAVAIL,
                "listen tcp 10.0.0.1:53: bind: cannot assign requested address",
            ),
            (
                Transport::Udp,
                "[fd00::1]:53",
                libc::EACCES,
                "listen udp [fd00::1]:53: bind: permission denied",
            ),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let source = io::Error::from_raw_os_error(number);
            let error = AppError::from(BindError {
                transport,
                address,
                source,
            });
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn an_address_without_a_thread_is_not_told_as_one_that_is_taken() {
        let error = AppError::Thread {
            address: ListenAddress { ip: None, port: 53 },
            source: io::ErrorKind::WouldBlock.into(),
        };
        let told = error.to_string();
        assert!(told.contains(":53: no thread could be started"), "{told}");
    }
}

//! How connections to an upstream are made: from which address, over which protocol, with which certificates.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::channel::Channel;
use super::config::DohMethod;
use super::exchange::{Connection, Fault, Https, Quic};

/// Makes connections that carry one query at a time.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) to: SocketAddr,
    /// Where they come from, if that is said.
    pub(super) source: Option<IpAddr>,
    /// Whom they lead to, within TLS.
    pub(super) tls: Option<Peer>,
}

/// Makes connections that carry many.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    pub(super) to: SocketAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) peer: Peer,
    pub(super) protocol: Protocol,
}

/// Who an upstream must prove to be, and by which certificates.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: ServerName<'static>,
    pub(super) client: Arc<ClientConfig>,
}

/// The protocols of which one connection carries many queries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Https(DohMethod),
    Quic,
}

impl Streams {
    /// Connects.
    pub(super) async fn open(&self, until: Instant) -> Result<Connection, Fault> {
        match &self.tls {
            None => Connection::open(self.to, self.source, until).await,
            Some(Peer { name, client }) => {
                let tls = (name, client.clone());
                Connection::open_secure(self.to, self.source, tls, until).await
            }
        }
    }
}

impl Channels {
    /// Connects.
    pub(super) async fn open(&self, until: Instant) -> Result<Channel, Fault> {
        let (to, source) = (self.to, self.source);
        let Peer { name, client } = &self.peer;
        match self.protocol {
            Protocol::Https(method) => {
                let tls = (name, client.clone());
                let connection = Connection::open_secure(to, source, tls, until).await?;
                let https = Https::open(connection, method, (name, to.port()), until).await?;
                Ok(Channel::Https(https))
            }
            Protocol::Quic => {
                let quic = Quic::open(to, source, name, client.clone(), until).await?;
                Ok(Channel::Quic(quic))
            }
        }
    }
}

//! Queries as streams of QUIC (RFC 9250), all of them on one connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, IdleTimeout, ReadError, ReadExactError,
    TransportConfig, VarInt, WriteError,
};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::chain::{Cause, Operation};
use crate::dns::Reply;
use crate::plugin::forward::tls;

use super::{Asked, Fault, within_fault};

/// Octets of a reply and its length: what the upstream may send on one stream before it is read.
const STREAM_MAX: u32 = 2 + 65_535;

/// Octets that it may send on all streams before they are read.
const CONNECTION_MAX: u32 = 16 * STREAM_MAX;

/// A connection on which nothing came for so long is gone. Longer than any query waits, and `expire` ends it sooner.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// The codes of RFC 9250 section 4.3.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);

/// A connection to an upstream that is asked over QUIC; its clones are the same connection, which is closed when the
/// last is dropped.
#[derive(Debug, Clone)]
pub(in crate::plugin::forward) struct Quic(Arc<Open>);

#[derive(Debug)]
struct Open {
    connection: Connection,
    local: Option<SocketAddr>,
}

impl Quic {
    /// Connects, from a port of its own and this address, if one is said.
    pub(in crate::plugin::forward) async fn open(
        to: SocketAddr,
        source: Option<IpAddr>,
        name: &ServerName<'static>,
        tls: Arc<rustls::ClientConfig>,
        until: Instant,
    ) -> Result<Quic, Fault> {
        let source = source.unwrap_or(match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let endpoint = Endpoint::client((source, 0).into())
            .map_err(|error| Fault::io(Operation::Dial, &error))?;
        let local = endpoint.local_addr().ok();
        let said = |words: String| Fault::new(Operation::Dial, Cause::Quic(words.into()));
        let connecting = endpoint
            .connect_with(client(tls), to, &name.to_str())
            .map_err(|error| said(error.to_string()))?;
        let connection = within_fault(until, Operation::Dial, async {
            connecting
                .await
                .map_err(|error| Fault::new(Operation::Dial, cause(&error)))
        })
        .await?;
        Ok(Quic(Arc::new(Open { connection, local })))
    }

    pub(in crate::plugin::forward) fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    pub(in crate::plugin::forward) fn is_closed(&self) -> bool {
        self.0.connection.close_reason().is_some()
    }

    /// Sends a query on a stream of its own and waits for its reply until then.
    pub(in crate::plugin::forward) async fn exchange(
        &self,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Fault> {
        // RFC 9250 section 4.2.1.
        let asked = asked.without_id();
        let message = asked.framed();
        let connection = &self.0.connection;
        let (mut send, receive) = within_fault(until, Operation::Write, async {
            let opened = connection.open_bi().await;
            opened.map_err(|error| Fault::new(Operation::Write, cause(&error)))
        })
        .await?;
        let mut receive = Receive(receive);
        within_fault(until, Operation::Write, async {
            let written = send.write_all(&message).await;
            written.map_err(|error| Fault::new(Operation::Write, of_write(&error)))
        })
        .await?;
        // The end of the query is the end of the stream (RFC 9250 section 4.2).
        let _ = send.finish();
        let mut reply = within_fault(until, Operation::Read, receive.message()).await?;
        asked.reply_in(&mut reply)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR, b"");
    }
}

/// The stream on which a reply comes. Dropped before that, it says that nobody waits any more.
struct Receive(quinn::RecvStream);

impl Receive {
    async fn message(&mut self) -> Result<Vec<u8>, Fault> {
        let mut length = [0; 2];
        self.exactly(&mut length).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.exactly(&mut message).await?;
        Ok(message)
    }

    async fn exactly(&mut self, octets: &mut [u8]) -> Result<(), Fault> {
        self.0.read_exact(octets).await.map_err(|error| {
            let cause = match error {
                ReadExactError::FinishedEarly(_) => Cause::Closed,
                ReadExactError::ReadError(ReadError::ConnectionLost(why)) => cause(&why),
                ReadExactError::ReadError(why) => Cause::Quic(why.to_string().into()),
            };
            Fault::new(Operation::Read, cause)
        })
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        // Says nothing if the stream has ended.
        let _ = self.0.stop(REQUEST_CANCELLED);
    }
}

/// The configuration of QUIC over one of TLS.
fn client(tls: Arc<rustls::ClientConfig>) -> ClientConfig {
    let crypto = QuicClientConfig::try_from(tls).expect("ring has the suite of initial packets");
    let mut transport = TransportConfig::default();
    let silent = IdleTimeout::try_from(SILENT_MAX).expect("30 s is a number of QUIC");
    transport
        .max_idle_timeout(Some(silent))
        // A resolver has nothing to open.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_MAX))
        .receive_window(VarInt::from_u32(CONNECTION_MAX));
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(Arc::new(transport));
    client
}

fn of_write(error: &WriteError) -> Cause {
    match error {
        WriteError::ConnectionLost(why) => cause(why),
        why => Cause::Quic(why.to_string().into()),
    }
}

fn cause(error: &ConnectionError) -> Cause {
    /// The first code that stands for an alert of TLS (RFC 9001 section 4.8).
    const ALERT: u64 = 0x100;
    match error {
        ConnectionError::TimedOut => Cause::Timeout,
        ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::ApplicationClosed(_) => Cause::Closed,
        ConnectionError::TransportError(why)
            if u64::from(why.code) >= ALERT && !why.reason.is_empty() =>
        {
            tls::cause_in_words(&why.reason)
        }
        ConnectionError::ConnectionClosed(why) if u64::from(why.error_code) >= ALERT => {
            tls::refused((u64::from(why.error_code) - ALERT) as u8)
        }
        ConnectionError::ConnectionClosed(_) => Cause::Closed,
        why => Cause::Quic(why.to_string().into()),
    }
}

//! A query and its reply over a stream, each behind its length (RFC 1035 section 4.2.2), within TLS or not.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::chain::{Cause, Operation};
use crate::dns::Reply;

use super::{Asked, Fault, Heard, within};

/// Messages on one connection that are none of ours before it is given up. An honest server sends none; who sends
/// many is not worth the reading.
const OTHERS_MAX: usize = 16;

/// What carries messages.
pub(in crate::plugin::forward) trait Stream:
    AsyncRead + AsyncWrite + Debug + Send + Unpin
{
}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for T {}

/// A connection to an upstream, with no query on it.
#[derive(Debug)]
pub(in crate::plugin::forward) struct Connection {
    stream: Box<dyn Stream>,
    local: Option<SocketAddr>,
    opened: Instant,
}

impl Connection {
    /// Connects, from this address, if one is said.
    pub(in crate::plugin::forward) async fn open(
        to: SocketAddr,
        source: Option<IpAddr>,
        until: Instant,
    ) -> Result<Connection, Fault> {
        let stream = connect(to, source, until).await?;
        Ok(Connection {
            local: stream.local_addr().ok(),
            stream: Box::new(stream),
            opened: Instant::now(),
        })
    }

    /// Connects likewise, and then makes sure with TLS that it is `name` who listens.
    pub(in crate::plugin::forward) async fn open_secure(
        to: SocketAddr,
        source: Option<IpAddr>,
        (name, client): (&ServerName<'static>, Arc<ClientConfig>),
        until: Instant,
    ) -> Result<Connection, Fault> {
        let stream = connect(to, source, until).await?;
        let local = stream.local_addr().ok();
        let handshake = TlsConnector::from(client).connect(name.clone(), stream);
        let stream = within(until, Operation::Dial, handshake).await?;
        Ok(Connection {
            stream: Box::new(stream),
            local,
            opened: Instant::now(),
        })
    }

    /// How old it is.
    pub(in crate::plugin::forward) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// Our end.
    pub(in crate::plugin::forward) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// The stream, for another protocol.
    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    /// Sends a query and waits for its reply until then. After a fault the connection is to be closed.
    pub(in crate::plugin::forward) async fn exchange(
        &mut self,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Fault> {
        let mut message = asked.framed();
        within(until, Operation::Write, async {
            self.stream.write_all(&message).await?;
            // TLS keeps back what it has made of it.
            self.stream.flush().await
        })
        .await?;
        for _ in 0..OTHERS_MAX {
            within(until, Operation::Read, read(&mut self.stream, &mut message)).await?;
            match asked.hear(&mut message) {
                Heard::Reply(reply) => return Ok(reply),
                Heard::Malformed(why) => {
                    return Err(Fault::new(Operation::Read, Cause::Malformed(why)));
                }
                Heard::OtherCase | Heard::Other => {}
            }
        }
        Err(Fault::new(Operation::Read, Cause::Closed))
    }
}

async fn connect(
    to: SocketAddr,
    source: Option<IpAddr>,
    until: Instant,
) -> Result<TcpStream, Fault> {
    within(until, Operation::Dial, async {
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A query is one write, and its sender waits for what comes back.
        socket.set_nodelay(true)?;
        if let Some(source) = source {
            socket.bind((source, 0).into())?;
        }
        socket.connect(to).await
    })
    .await
}

/// Reads the next message. Its length is believed as far as octets come: a peer that promises 64 KiB and sends
/// nothing holds no such buffer.
async fn read(stream: &mut Box<dyn Stream>, message: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    message.clear();
    let read = stream.take(length.into()).read_to_end(message).await?;
    if read < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

//! A query and its reply over a stream, each behind its length (RFC 1035 section 4.2.2).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chain::{Cause, Operation};
use crate::dns::Reply;

use super::{Asked, Fault, Heard, within};

/// Messages on one connection that are none of ours before it is given up. An honest server sends none; who sends
/// many is not worth the reading.
const OTHERS_MAX: usize = 16;

/// A connection to an upstream, with no query on it.
#[derive(Debug)]
pub(in crate::plugin::forward) struct Connection {
    stream: TcpStream,
    opened: Instant,
}

impl Connection {
    /// Connects.
    pub(in crate::plugin::forward) async fn open(
        to: SocketAddr,
        until: Instant,
    ) -> Result<Connection, Fault> {
        let stream = within(until, Operation::Dial, TcpStream::connect(to)).await?;
        // A query is one write, and its sender waits for what comes back.
        stream
            .set_nodelay(true)
            .map_err(|error| Fault::new(Operation::Dial, error))?;
        Ok(Connection {
            stream,
            opened: Instant::now(),
        })
    }

    /// How old it is.
    pub(in crate::plugin::forward) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// Our end.
    pub(in crate::plugin::forward) fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Sends a query and waits for its reply until then. After a fault the connection is to be closed.
    pub(in crate::plugin::forward) async fn exchange(
        &mut self,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Fault> {
        let mut message = Vec::new();
        asked.encode(&mut message);
        let length = u16::try_from(message.len()).expect("it came in as a message of that length");
        message.splice(..0, length.to_be_bytes());
        within(until, Operation::Write, self.stream.write_all(&message)).await?;
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

/// Reads the next message. Its length is believed as far as octets come: a peer that promises 64 KiB and sends
/// nothing holds no such buffer.
async fn read(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    message.clear();
    let read = stream.take(length.into()).read_to_end(message).await?;
    if read < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

//! TCP (RFC 7766): messages behind two octets of length, any number on a connection, in any order back.
//!
//! All messages that have arrived are handled together and what is known is written with one write; a query that
//! waits becomes a task, and its reply is written when it comes. A connection that is idle holds no buffer. A
//! client that is slow, in either direction, has a time to be so; one that asks more than may wait at once is
//! read from no further until it has answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::handle::{Handled, Packet, Pending, Service};
use crate::dns::{Query, Transport};

/// Octets of the length in front of each message (RFC 1035 section 4.2.2).
const LENGTH: usize = 2;
/// Room made for a read: some 80 queries, so that a client that sends many is not read bit by bit.
const READ: usize = 4096;
/// Replies are written when they have this many octets, before further messages are handled: a connection holds
/// this, one reply, and the replies that were waited for, at most.
const WRITE: usize = 16 * 1024;
/// Queries of one connection that may wait at once. What resolvers and proxies pipeline is seldom more than ten;
/// the bound keeps a single client from taking all the places of the listener.
const WAITING_MAX: usize = 128;
/// How long a client may go on sending to a connection that we have ended. To close while its messages are unread
/// resets the connection, which takes with it the replies that the client has not read yet.
const LINGER: Duration = Duration::from_secs(1);
/// After an error of `accept` that concerns more than one connection, such as no descriptor being free.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a message, from its first octet to its last; for the first message, from the connection on.
    pub read: Duration,
    /// To take what is written.
    pub write: Duration,
    /// Without a message begun and without a query waiting.
    pub idle: Duration,
}

impl Default for Timeouts {
    /// As in CoreDNS.
    fn default() -> Timeouts {
        Timeouts {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
        }
    }
}

/// What connections are told about the end of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Serving.
    Open,
    /// What was read is answered, and nothing more is read.
    Draining,
    /// Time is up.
    Closed,
}

/// Accepts connections until the phase changes. `slots` has a permit for each connection that may be open; while
/// there is none, clients wait in the backlog of the kernel.
pub(super) async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    timeouts: watch::Receiver<Timeouts>,
    phase: watch::Receiver<Phase>,
    slots: Arc<Semaphore>,
) {
    let mut ended = phase.clone();
    let next = async || {
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        (listener.accept().await, slot)
    };
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            _ = ended.wait_for(|phase| *phase != Phase::Open) => return,
        };
        match accepted {
            (Ok((stream, client)), slot) => {
                let timeouts = *timeouts.borrow();
                if let Ok(connection) = Connection::new(stream, client, &service, timeouts) {
                    tokio::spawn(connection.serve(phase.clone(), slot));
                }
            }
            (Err(error), _) if concerns_one_connection(&error) => {}
            (Err(_), _) => sleep(BACK_OFF).await,
        }
    }
}

/// Errors of a connection that was gone before it was accepted (`accept(2)`).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | HostUnreachable | NetworkUnreachable
    )
}

struct Connection {
    stream: TcpStream,
    client: SocketAddr,
    server: SocketAddr,
    service: Arc<Service>,
    timeouts: Timeouts,
    /// What was read and not yet handled.
    input: Vec<u8>,
    /// What is to be written.
    output: Vec<u8>,
    waiting: JoinSet<Framed>,
    /// When a client that says nothing more is given up.
    deadline: Instant,
    /// No more is read: the client has ended its side, or the listener ends.
    input_ended: bool,
}

/// A reply behind its length, or nothing, and the permit it was waited for by, held until it is written.
struct Framed(Vec<u8>, OwnedSemaphorePermit);

impl Connection {
    fn new(
        stream: TcpStream,
        client: SocketAddr,
        service: &Arc<Service>,
        timeouts: Timeouts,
    ) -> io::Result<Connection> {
        // Replies are written whole; there is nothing to wait for (RFC 7766 section 8).
        stream.set_nodelay(true)?;
        let server = canonical(stream.local_addr()?);
        Ok(Connection {
            stream,
            client: canonical(client),
            server,
            service: service.clone(),
            timeouts,
            input: Vec::new(),
            output: Vec::new(),
            waiting: JoinSet::new(),
            deadline: Instant::now() + timeouts.read,
            input_ended: false,
        })
    }

    /// Answers until the client or the listener ends. The slot is held until the connection is closed.
    async fn serve(mut self, mut phase: watch::Receiver<Phase>, _slot: OwnedSemaphorePermit) {
        let mut closed = phase.clone();
        tokio::select! {
            _ = self.converse(&mut phase) => {}
            _ = closed.wait_for(|phase| *phase == Phase::Closed) => {}
        }
    }

    async fn converse(&mut self, phase: &mut watch::Receiver<Phase>) -> io::Result<()> {
        let expiry = sleep_until(self.deadline);
        tokio::pin!(expiry);
        loop {
            let is_full = self.waiting.len() >= WAITING_MAX;
            if self.input_ended && self.waiting.is_empty() {
                return self.part().await;
            }
            expiry.as_mut().reset(self.deadline);
            tokio::select! {
                ready = self.stream.readable(), if !is_full && !self.input_ended => {
                    ready?;
                    self.read()?;
                }
                Some(framed) = self.waiting.join_next() => self.take(framed),
                () = &mut expiry, if self.waiting.is_empty() => return Ok(()),
                _ = phase.wait_for(|phase| *phase != Phase::Open), if !self.input_ended => {
                    self.read()?;
                    self.input_ended = true;
                }
            }
            self.answer().await?;
        }
    }

    /// Ends our side and waits for the client to end its own.
    async fn part(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut unread = [0; 512];
        let gone = async {
            while self.stream.read(&mut unread).await? > 0 {}
            Ok(())
        };
        timeout(LINGER, gone).await.unwrap_or(Ok(()))
    }

    /// Reads what is there. A message that begins has its time from now on; one that goes on gets none.
    fn read(&mut self) -> io::Result<()> {
        let is_new = self.input.is_empty();
        self.input.reserve(READ);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => self.input_ended = true,
            Ok(_) if is_new => self.deadline = Instant::now() + self.timeouts.read,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Collects a reply that was waited for, and those that have come with it.
    fn take(&mut self, first: Result<Framed, tokio::task::JoinError>) {
        let mut next = Some(first);
        while let Some(framed) = next {
            if let Ok(Framed(reply, _permit)) = framed {
                self.output.extend_from_slice(&reply);
            }
            next = if self.output.len() < WRITE {
                self.waiting.try_join_next()
            } else {
                None
            };
        }
        self.rest();
    }

    /// Handles all whole messages and writes what is known.
    async fn answer(&mut self) -> io::Result<()> {
        loop {
            let more = self.handle();
            if !self.output.is_empty() {
                let written = timeout(self.timeouts.write, self.stream.write_all(&self.output));
                written.await.map_err(|_| io::ErrorKind::TimedOut)??;
                self.output.clear();
            }
            if !more {
                break;
            }
        }
        if self.input.is_empty() {
            (self.input, self.output) = (Vec::new(), Vec::new());
        }
        Ok(())
    }

    /// Handles whole messages until too much is to be written; whether there may be more.
    fn handle(&mut self) -> bool {
        let router = self.service.router.load();
        let (mut query, mut reply) = (Query::empty(), Vec::new());
        let now = Instant::now().into_std();
        let mut at = 0;
        let mut more = false;
        while let Some(message) = framed(&self.input[at..]) {
            more = self.output.len() >= WRITE;
            if more || self.waiting.len() >= WAITING_MAX {
                break;
            }
            at += LENGTH + message.len();
            let packet = Packet {
                octets: message,
                transport: Transport::Tcp,
                client: self.client,
                server: self.server,
                received: now,
            };
            match (self.service).handle(&router, &packet, &mut query, &mut reply) {
                Handled::Reply => frame(&reply, &mut self.output),
                Handled::Silence => {}
                Handled::Waiting(pending) => {
                    let query = std::mem::replace(&mut query, Query::empty());
                    self.waiting
                        .spawn(finish(self.service.clone(), pending, query));
                }
            }
        }
        drop(router);
        if at > 0 {
            self.input.drain(..at);
            self.rest();
        }
        more
    }

    /// A message was handled or a reply has come: the time of what comes next begins.
    fn rest(&mut self) {
        let time = if self.input.is_empty() {
            self.timeouts.idle
        } else {
            self.timeouts.read
        };
        self.deadline = Instant::now() + time;
    }
}

/// The first message, if it is whole.
fn framed(input: &[u8]) -> Option<&[u8]> {
    let (length, rest) = input.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Appends a reply behind its length. What a length of 16 bits cannot say is no reply; only an OPT record that is
/// as large as a message can make one so long.
fn frame(reply: &[u8], output: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(reply.len()) else {
        return;
    };
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(reply);
}

async fn finish(service: Arc<Service>, pending: Box<Pending>, mut query: Query) -> Framed {
    let mut reply = Vec::new();
    let permit = service.finish(pending, &mut query, &mut reply).await;
    let mut output = Vec::with_capacity(LENGTH + reply.len());
    if !reply.is_empty() {
        frame(&reply, &mut output);
    }
    Framed(output, permit)
}

/// IPv4 as IPv4, on sockets that take both.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;

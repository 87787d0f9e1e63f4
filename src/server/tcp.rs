//! TCP (RFC 7766): who is let in, and for how long.
//!
//! A connection is a task of its own (`connection`), which holds no buffer while it is idle. `places` says how many
//! there may be, in all and of one client, and who goes when another one comes; a client beyond its share is turned
//! away at once. All bounds are a listener's own, and what they cost a client is told to [`Hooks`](super::Hooks).

mod connection;
mod places;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use self::connection::Connection;
pub(super) use self::places::{Phase, Places};
use super::Closing;
use super::handle::Service;

/// After an error of `accept` that concerns more than one connection, such as no descriptor being free.
const BACK_OFF: Duration = Duration::from_millis(10);
/// Such errors are told once in this time at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a message, from its first octet to its last; for the first message, from the connection on.
    pub read: Duration,
    /// To take what is written.
    pub write: Duration,
    /// Without a message begun and without a query waiting; told to clients that ask (RFC 7828).
    pub idle: Duration,
}

impl Default for Timeouts {
    /// As in CoreDNS. RFC 7766 section 6.2.3 wants a few seconds without a query.
    fn default() -> Timeouts {
        Timeouts {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
        }
    }
}

/// Who is let in, and how.
pub(super) struct Door {
    pub(super) service: Arc<Service>,
    pub(super) timeouts: watch::Receiver<Timeouts>,
    pub(super) places: Arc<Places>,
}

impl Door {
    /// Accepts connections until the sender of `closing` is gone, and then closes the socket. While all places are
    /// taken by clients that wait for an answer, further ones wait in the backlog of the kernel.
    pub(super) async fn accept(self, listener: TcpListener, mut closing: oneshot::Receiver<()>) {
        let mut failures = Failures::default();
        let bound = listener.local_addr().ok().map(canonical);
        let bound = bound.filter(|bound| !bound.ip().is_unspecified());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut closing => break,
            };
            match accepted {
                Ok((stream, client)) => self.admit(stream, client, bound).await,
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    self.service.hooks.accept_failed();
                    failures.tell(&listener, &error);
                    // A descriptor that an idle client has is worth more to one that asks.
                    self.places.make_room();
                    sleep(BACK_OFF).await;
                }
            }
        }
        // Those in the backlog believe that they are connected, and may have asked.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok((stream, client)) = listener.accept() {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| stream.try_into());
            if let Ok(stream) = stream {
                self.admit(stream, client, bound).await;
            }
        }
    }

    async fn admit(&self, stream: TcpStream, client: SocketAddr, bound: Option<SocketAddr>) {
        let hooks = &self.service.hooks;
        hooks.connection_opened();
        let client = canonical(client);
        let Some(place) = self.places.take(client.ip()).await else {
            return hooks.connection_closed(Closing::ClientLimit);
        };
        let server = bound.map_or_else(|| stream.local_addr().map(canonical), Ok);
        let Ok(server) = server else {
            return hooks.connection_closed(Closing::Client);
        };
        let (service, timeouts) = (self.service.clone(), *self.timeouts.borrow());
        let connection = Connection::new(stream, client, server, service, timeouts, place);
        tokio::spawn(connection.serve());
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

/// Errors of `accept` in the log, which a hundred of them a second must not fill.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn tell(&mut self, listener: &TcpListener, error: &io::Error) {
        self.untold += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return;
        }
        let times = std::mem::take(&mut self.untold);
        self.told = Some(now);
        let place = listener.local_addr().map(|address| address.to_string());
        let place = place.unwrap_or_default();
        tracing::error!(
            "TCP connections to {place} cannot be accepted: {error} ({times} times since this was last said)"
        );
    }
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

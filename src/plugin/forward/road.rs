//! The road to one upstream: its sockets and connections, which are kept for further queries.
//!
//! A query over UDP goes and comes by a socket of the thread that asks. Connections are opened, and live, on the
//! runtime of the process (`home`): they outlive the query and are for all threads.
//!
//! What is said of the upstream's health, and whether to ask it at all, is decided elsewhere. A query that is dropped
//! on its way takes at most the connection that it had for itself with it.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::chain::{Cause, Operation, Unanswered};
use crate::dns::Reply;

use super::channel::{Channel, Held, Nth, Slot, Taken};
use super::connections::{Connections, Kept};
use super::dial::{Channels, Peer, Protocol, Streams};
use super::endpoint::{Endpoint, Over, Secure, Speaks};
use super::exchange::{self, Asked, Connection, Fault};
use super::observer::UpstreamObserver;
use super::sockets;
use super::tls::Clients;
use super::upstream::Settings;

/// How long a connection may take to come up, TLS included: a lost SYN is sent again after a second, and that one may
/// arrive.
const DIAL_MAX: Duration = Duration::from_millis(1500);

/// The least pause between two looks for connections that expired: `expire 0s` is allowed, and would be a loop without
/// any. What expired is not used in the meantime.
const EXPIRY_MIN: Duration = Duration::from_millis(100);

/// The road to one upstream.
pub(super) struct Road {
    to: SocketAddr,
    read_timeout: Duration,
    way: Way,
    home: Handle,
    observer: Arc<dyn UpstreamObserver>,
}

/// What is kept of it.
enum Way {
    /// Connections for one query at a time. Datagrams go beside them, where there is no TLS.
    Streams(Streams, Connections),
    /// One connection for all.
    Channel(Channels, Slot),
}

impl Road {
    pub(super) fn new(
        endpoint: &Endpoint,
        settings: &Settings,
        clients: &Clients,
        home: Handle,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Road {
        let (to, source) = (endpoint.address, settings.source_address);
        let peer = |secure, name: &_| Peer {
            name: Clone::clone(name),
            client: clients.client(secure),
        };
        let streams = |tls| {
            let streams = Streams { to, source, tls };
            Way::Streams(streams, Connections::new(settings.idle))
        };
        let channel = |peer, protocol| {
            let channels = Channels {
                to,
                source,
                peer,
                protocol,
            };
            Way::Channel(channels, Slot::new(settings.idle))
        };
        let way = match &endpoint.speaks {
            Speaks::Plain => streams(None),
            Speaks::Secure(Secure::Tls, name) => streams(Some(peer(Secure::Tls, name))),
            Speaks::Secure(Secure::Https, name) => channel(
                peer(Secure::Https, name),
                Protocol::Https(settings.doh_method),
            ),
            Speaks::Secure(Secure::Quic, name) => channel(peer(Secure::Quic, name), Protocol::Quic),
        };
        Road {
            to,
            read_timeout: settings.read_timeout,
            way,
            home,
            observer,
        }
    }

    /// Asks once over UDP, and listens until then. The road must have that way, which those within TLS have not.
    pub(super) async fn ask_by_datagram(
        &self,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Unanswered> {
        let Way::Streams(streams, _) = &self.way else {
            unreachable!("nobody asks over UDP what speaks HTTPS or QUIC");
        };
        self.observer.connection_made(Over::Udp);
        self.over_udp(streams, asked, until).await
    }

    /// Asks once over a connection. One that was kept and turned out closed is followed by a new one.
    pub(super) async fn ask_by_connection(
        self: &Arc<Self>,
        over: Over,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        match &self.way {
            Way::Streams(streams, kept) => {
                self.over_streams(over, streams, kept, asked, deadline)
                    .await
            }
            Way::Channel(channels, slot) => {
                self.over_channel(over, channels, slot, asked, deadline)
                    .await
            }
        }
    }

    /// Asks once, over a connection that is made for it and not kept: whether new ones can be had is what matters. Over
    /// UDP every port is new. `time` is what the exchange may take.
    pub(super) async fn exchange_anew(
        &self,
        over: Over,
        asked: Asked<'_>,
        time: Duration,
    ) -> Result<Reply, Unanswered> {
        let unanswered = |from, fault| self.unanswered(over, from, fault);
        let dialed = Instant::now() + DIAL_MAX;
        match &self.way {
            Way::Streams(streams, _) if over == Over::Udp => {
                self.over_udp(streams, asked, Instant::now() + time).await
            }
            Way::Streams(streams, _) => {
                let connection = streams.open(dialed).await;
                let mut connection = connection.map_err(|fault| unanswered(None, fault))?;
                let answer = connection.exchange(asked, Instant::now() + time).await;
                answer.map_err(|fault| unanswered(connection.local(), fault))
            }
            Way::Channel(channels, _) => {
                let channel = channels.open(dialed).await;
                let channel = channel.map_err(|fault| unanswered(None, fault))?;
                let answer = channel.exchange(asked, Instant::now() + time).await;
                answer.map_err(|fault| unanswered(channel.local(), fault))
            }
        }
    }

    async fn over_udp(
        &self,
        streams: &Streams,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Unanswered> {
        let unanswered = |from, fault| self.unanswered(Over::Udp, from, fault);
        let socket = match streams.source {
            None => sockets::connect(self.to),
            Some(source) => sockets::connect_from(source, self.to),
        };
        let socket =
            socket.map_err(|error| unanswered(None, Fault::io(Operation::Dial, &error)))?;
        match exchange::udp(&socket, asked, until, || self.observer.answer_discarded()).await {
            Ok(reply) => {
                if streams.source.is_none() {
                    sockets::keep(socket, self.to);
                }
                Ok(reply)
            }
            Err(fault) => Err(unanswered(socket.local_addr().ok(), fault)),
        }
    }

    async fn over_streams(
        self: &Arc<Self>,
        over: Over,
        streams: &Streams,
        kept: &Connections,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        if let Some(connection) = kept.take(Instant::now()) {
            self.observer.connection_reused(over);
            match self
                .over_connection(over, connection, kept, asked, deadline)
                .await
            {
                // A server may close what lies idle at any time (RFC 7766 section 6.2.3); that says nothing of it.
                Err(unanswered) if unanswered.is_closed() => kept.clear(),
                Err(unanswered) => {
                    // What forgot one connection, as a NAT may, has forgotten the others. They would cost as long each.
                    if unanswered.cause == Cause::Timeout {
                        kept.clear();
                    }
                    return Err(unanswered);
                }
                answer => return answer,
            }
        }
        self.observer.connection_made(over);
        let until = deadline.min(Instant::now() + DIAL_MAX);
        let connection = self.open(streams.clone(), until).await;
        let connection = connection.map_err(|fault| self.unanswered(over, None, fault))?;
        self.over_connection(over, connection, kept, asked, deadline)
            .await
    }

    /// Opens a connection for one query, which is given up with the query.
    async fn open(&self, streams: Streams, until: Instant) -> Result<Connection, Fault> {
        // A set ends its tasks when it is dropped.
        let mut dialing = JoinSet::new();
        dialing.spawn_on(async move { streams.open(until).await }, &self.home);
        match dialing.join_next().await {
            Some(Ok(opened)) => opened,
            // The runtime ends.
            _ => Err(Fault::new(Operation::Dial, Cause::Closed)),
        }
    }

    async fn over_connection(
        self: &Arc<Self>,
        over: Over,
        mut connection: Connection,
        kept: &Connections,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        match connection.exchange(asked, self.read_until(deadline)).await {
            Ok(reply) => {
                if kept.keep(connection, Instant::now()) == Kept::First {
                    self.begin_expiry();
                }
                Ok(reply)
            }
            Err(fault) => Err(self.unanswered(over, connection.local(), fault)),
        }
    }

    async fn over_channel(
        self: &Arc<Self>,
        over: Over,
        channels: &Channels,
        slot: &Slot,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let (held, is_ours) = self.channel(over, channels, slot, deadline).await?;
        match self.on_channel(over, &held, slot, asked, deadline).await {
            Err(unanswered) if !is_ours && (unanswered.is_closed() || held.channel.is_closed()) => {
                slot.clear(&held);
                let (held, _) = self.channel(over, channels, slot, deadline).await?;
                self.on_channel(over, &held, slot, asked, deadline).await
            }
            answer => answer,
        }
    }

    async fn on_channel(
        &self,
        over: Over,
        held: &Held,
        slot: &Slot,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let sent = Instant::now();
        let channel = &held.channel;
        let answer = channel.exchange(asked, self.read_until(deadline)).await;
        match &answer {
            Ok(_) => slot.answered(held, Instant::now()),
            Err(fault) if fault.cause == Cause::Timeout => slot.unanswered(held, sent),
            Err(_) => {}
        }
        answer.map_err(|fault| self.unanswered(over, channel.local(), fault))
    }

    /// The connection for all queries, and whether it was opened for this one.
    async fn channel(
        self: &Arc<Self>,
        over: Over,
        channels: &Channels,
        slot: &Slot,
        deadline: Instant,
    ) -> Result<(Held, bool), Unanswered> {
        let taken = slot.take(Instant::now(), |nth| {
            let opening = open(Arc::downgrade(self), channels.clone(), nth);
            let gone = |_| Err(Fault::new(Operation::Dial, Cause::Closed));
            self.home
                .spawn(opening)
                .map(move |opened| opened.unwrap_or_else(gone))
        });
        let (opening, is_ours) = match taken {
            Taken::Open(held) => {
                self.observer.connection_reused(over);
                return Ok((held, false));
            }
            Taken::Shared(opening) => {
                self.observer.connection_reused(over);
                (opening, false)
            }
            Taken::New(opening) => {
                self.observer.connection_made(over);
                (opening, true)
            }
        };
        let timeout = Fault::new(Operation::Dial, Cause::Timeout);
        let opened = tokio::time::timeout_at(deadline.into(), opening).await;
        let opened = opened.unwrap_or(Err(timeout));
        let held = opened.map_err(|fault| self.unanswered(over, None, fault))?;
        Ok((held, is_ours))
    }

    /// Enters what became of an opening.
    fn opened(self: &Arc<Self>, nth: Nth, opened: &Result<Channel, Fault>) {
        if let Way::Channel(_, slot) = &self.way
            && slot.opened(nth, opened, Instant::now()) == Kept::First
        {
            self.begin_expiry();
        }
    }

    /// Until when a reply is waited for, from now on.
    fn read_until(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.read_timeout)
    }

    fn unanswered(
        &self,
        over: Over,
        from: Option<SocketAddr>,
        Fault { operation, cause }: Fault,
    ) -> Unanswered {
        Unanswered {
            operation,
            transport: over.transport(),
            from,
            to: self.to,
            cause,
        }
    }

    /// Closes connections in the background as they expire.
    fn begin_expiry(self: &Arc<Self>) {
        let pause = match &self.way {
            Way::Streams(_, kept) => kept.expire_after(),
            Way::Channel(_, slot) => slot.expire_after(),
        };
        self.home
            .spawn(expiry(Arc::downgrade(self), pause.max(EXPIRY_MIN)));
    }

    fn expire(&self, now: Instant) -> bool {
        match &self.way {
            Way::Streams(_, kept) => kept.expire(now),
            Way::Channel(_, slot) => slot.expire(now),
        }
    }
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Road")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// Opens the connection for all queries. Who wanted it may be gone when it is open; it is entered, and watched, all the
/// same.
async fn open(road: Weak<Road>, channels: Channels, nth: Nth) -> Result<Channel, Fault> {
    let opened = channels.open(Instant::now() + DIAL_MAX).await;
    if let Some(road) = road.upgrade() {
        road.opened(nth, &opened);
    }
    opened
}

/// Closes what expires, until no connection is left or nobody has the upstream any more.
async fn expiry(road: Weak<Road>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        match road.upgrade() {
            Some(road) if road.expire(Instant::now()) => {}
            _ => return,
        }
    }
}

//! One upstream: asks it, keeps its connections, and checks it while it fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::chain::{Cause, Operation, Unanswered};
use crate::dns::query::flag;
use crate::dns::{Class, Query, Question, Reply, Transport, Type};

use super::conduct::Conduct;
use super::config::{Carriage, Stanza};
use super::connections::{Connections, Kept};
use super::exchange::{self, Asked, Connection, Fault};
use super::health::{Check, Checks, Health};
use super::observer::UpstreamObserver;
use super::policy::Standing;
use super::sockets::Sockets;

/// How long a connection may take to come up: a lost SYN is sent again after a second, and that one may arrive.
const DIAL_MAX: Duration = Duration::from_millis(1500);

/// How long the answer to a health check may take; CoreDNS's.
const CHECK_MAX: Duration = Duration::from_secs(1);

/// The least pause between two checks, whatever `health_check` says: `0s` is allowed, and would be a flood.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// One upstream of a stanza.
pub(super) struct Upstream {
    address: SocketAddr,
    carriage: Carriage,
    read_timeout: Duration,
    check: Query,
    check_interval: Duration,
    health: Health,
    conduct: Mutex<Conduct>,
    /// It answers with the name in another case than it was asked for.
    changes_case: AtomicBool,
    connections: Connections,
    sockets: Arc<Sockets>,
    observer: Arc<dyn UpstreamObserver>,
}

impl Upstream {
    /// The upstream at an address, as its stanza says.
    pub(super) fn new(
        address: SocketAddr,
        stanza: &Stanza,
        sockets: Arc<Sockets>,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Upstream {
        let mut check = Query::empty();
        check.question = Question::new(stanza.health_check.domain, Type::NS, Class::IN);
        if stanza.health_check.recursion_desired {
            check.flags = flag::RD;
        }
        Upstream {
            address,
            carriage: stanza.carriage,
            read_timeout: stanza.read_timeout,
            check,
            check_interval: stanza.health_check.interval.max(CHECK_INTERVAL_MIN),
            health: Health::new(stanza.max_fails),
            conduct: Mutex::default(),
            changes_case: AtomicBool::new(false),
            connections: Connections::new(stanza.idle),
            sockets,
            observer,
        }
    }

    /// Whether it is to be passed over.
    pub(super) fn is_down(&self) -> bool {
        self.health.is_down()
    }

    /// How it stands among the others.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.conduct(), self.health.is_failing())
    }

    /// How long it may take before it is late.
    pub(super) fn patience(&self) -> Duration {
        self.conduct().patience()
    }

    /// A query to it was not answered, or is late.
    pub(super) fn left_unanswered(self: &Arc<Self>) {
        let mut conduct = self.conduct();
        conduct.failed();
        let is_unreliable = conduct.is_unreliable();
        drop(conduct);
        if is_unreliable {
            self.begin_checks();
        }
    }

    /// Is told of a query that is sent to it on suspicion.
    pub(super) fn hedged(&self) {
        self.observer.hedged();
    }

    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn set_failed_checks(&self, count: usize) {
        for _ in 0..count {
            self.health.checked(Check::Failed);
        }
    }

    /// Asks once, over UDP and then TCP where the stanza says so. A failure begins the health checks.
    pub(super) async fn ask(
        self: &Arc<Self>,
        query: &Query,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let transport = self.carriage.first(query);
        let mut answer = self.ask_over(transport, query, deadline).await;
        if self.carriage == Carriage::UdpFirst
            && answer
                .as_ref()
                .is_ok_and(|reply| reply.flags & flag::TC != 0)
        {
            answer = self.ask_over(Transport::Tcp, query, deadline).await;
        }
        match &answer {
            Ok(_) => self.health.query_answered(),
            Err(unanswered) if unanswered.is_local() => {}
            Err(_) => self.begin_checks(),
        }
        answer
    }

    async fn ask_over(
        self: &Arc<Self>,
        transport: Transport,
        query: &Query,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let began = Instant::now();
        let asked = Asked::query(query);
        let reply = match transport {
            Transport::Udp => {
                self.observer.connection_made(Transport::Udp);
                self.over_udp(asked, deadline.min(began + self.read_timeout))
                    .await
            }
            // Boxed, so that the many queries that go over UDP do not hold its room.
            Transport::Tcp => Box::pin(self.over_tcp(asked, deadline)).await,
        }?;
        let elapsed = began.elapsed();
        self.conduct().answered(elapsed);
        self.observer.answered(reply.rcode, elapsed);
        Ok(reply)
    }

    /// Asks with the name in random case, unless the upstream is known not to repeat it; and once more if it turns out
    /// that it does not.
    async fn over_udp(&self, asked: Asked<'_>, until: Instant) -> Result<Reply, Unanswered> {
        let keeps_case = !self.changes_case.load(Ordering::Relaxed);
        if keeps_case {
            match self.once_over_udp(asked.in_random_case(), until).await {
                Err(unanswered) if unanswered.cause == Cause::OtherCase => {}
                answer => return answer,
            }
        }
        let reply = self.once_over_udp(asked.anew(), until).await?;
        if keeps_case {
            self.changes_case.store(true, Ordering::Relaxed);
        }
        Ok(reply)
    }

    async fn once_over_udp(&self, asked: Asked<'_>, until: Instant) -> Result<Reply, Unanswered> {
        let to = self.address;
        let unanswered = |from, fault: Fault| self.unanswered(Transport::Udp, from, fault);
        let socket = self.sockets.connect(to).map_err(|error| {
            let operation = Operation::Dial;
            let cause = error.into();
            unanswered(None, Fault { operation, cause })
        })?;
        match exchange::udp(&socket, asked, until).await {
            Ok(reply) => {
                self.sockets.keep(socket, to);
                Ok(reply)
            }
            Err(fault) => Err(unanswered(socket.local_addr().ok(), fault)),
        }
    }

    async fn over_tcp(
        self: &Arc<Self>,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        if let Some(kept) = self.connections.take(Instant::now()) {
            self.observer.connection_reused(Transport::Tcp);
            match self.over_connection(kept, asked, deadline).await {
                // A server may close what lies idle at any time (RFC 7766 section 6.2.3); that says nothing of it.
                Err(unanswered) if unanswered.is_closed() => self.connections.clear(),
                answer => return answer,
            }
        }
        self.observer.connection_made(Transport::Tcp);
        let until = deadline.min(Instant::now() + DIAL_MAX);
        let connection = Connection::open(self.address, until)
            .await
            .map_err(|fault| self.unanswered(Transport::Tcp, None, fault))?;
        self.over_connection(connection, asked, deadline).await
    }

    async fn over_connection(
        self: &Arc<Self>,
        mut connection: Connection,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let until = deadline.min(Instant::now() + self.read_timeout);
        match connection.exchange(asked, until).await {
            Ok(reply) => {
                if self.connections.keep(connection, Instant::now()) == Kept::First {
                    self.begin_expiry();
                }
                Ok(reply)
            }
            Err(fault) => Err(self.unanswered(Transport::Tcp, connection.local(), fault)),
        }
    }

    fn unanswered(
        &self,
        transport: Transport,
        from: Option<SocketAddr>,
        Fault { operation, cause }: Fault,
    ) -> Unanswered {
        Unanswered {
            operation,
            transport,
            from,
            to: self.address,
            cause,
        }
    }

    /// Checks it in the background until it answers, unless that is under way.
    fn begin_checks(self: &Arc<Self>) {
        if self.health.query_failed() {
            tokio::spawn(checks(Arc::downgrade(self), self.check_interval));
        }
    }

    /// Closes its connections in the background as they expire.
    fn begin_expiry(self: &Arc<Self>) {
        let pause = self.connections.expire_after();
        tokio::spawn(expiry(Arc::downgrade(self), pause));
    }

    async fn check(&self) -> Check {
        let asked = Asked::probe(&self.check);
        let until = Instant::now() + CHECK_MAX;
        let answer = match self.carriage {
            Carriage::AsClient | Carriage::UdpFirst => self.over_udp(asked, until).await,
            Carriage::Tcp => self.check_tcp(asked, until).await,
        };
        match answer {
            Ok(_) => Check::Answered,
            Err(unanswered) if unanswered.is_local() => Check::NotMade,
            Err(_) => {
                self.observer.healthcheck_failed();
                Check::Failed
            }
        }
    }

    /// Over a connection of its own: whether new ones can be had is what matters.
    async fn check_tcp(&self, asked: Asked<'_>, until: Instant) -> Result<Reply, Unanswered> {
        let unanswered = |from, fault| self.unanswered(Transport::Tcp, from, fault);
        let connection = Connection::open(self.address, until).await;
        let mut connection = connection.map_err(|fault| unanswered(None, fault))?;
        let answer = connection.exchange(asked, until).await;
        answer.map_err(|fault| unanswered(connection.local(), fault))
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// Checks an upstream until it answers or nobody has it any more.
async fn checks(upstream: Weak<Upstream>, interval: Duration) {
    while let Some(upstream) = upstream.upgrade() {
        let check = upstream.check().await;
        if upstream.health.checked(check) == Checks::End {
            return;
        }
        // The many servers that watched the same upstream die shall not all ask at once.
        let spread = rand::rng().random_range(0.9..1.1);
        let pause = upstream.health.pause(interval).mul_f64(spread);
        drop(upstream);
        tokio::time::sleep(pause).await;
    }
}

/// Closes what expires, until no connection is left or nobody has the upstream any more.
async fn expiry(upstream: Weak<Upstream>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        match upstream.upgrade() {
            Some(upstream) if upstream.connections.expire(Instant::now()) => {}
            _ => return,
        }
    }
}

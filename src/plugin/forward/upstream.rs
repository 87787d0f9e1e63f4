//! One upstream: asks it, and checks it while it fails.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::runtime::Handle;

use crate::chain::{Cause, Unanswered};
use crate::dns::query::flag;
use crate::dns::{Class, Query, Question, Reply, Type, Verdict};

use super::FORWARD;
use super::case::CaseKept;
use super::conduct::Conduct;
use super::config::{Carriage, DohMethod, HealthCheck, Idle, Stanza};
use super::endpoint::{Endpoint, Over, Speaks};
use super::exchange::Asked;
use super::forwarding::is_in_vain;
use super::health::{Check, Checks, Health, News};
use super::observer::UpstreamObserver;
use super::policy::Standing;
use super::road::Road;
use super::tls::{Clients, Tls};

/// How long the answer to a health check may take; CoreDNS's.
const CHECK_MAX: Duration = Duration::from_secs(1);

/// After so long without a word from an upstream within TLS its connection is taken to be closed: `expire`, unless it is
/// set.
const WARM_FOR: Duration = Duration::from_secs(10);

/// How much longer the first query on a connection within TLS takes: a round trip for TCP, one or two for TLS, and the
/// work of both.
const HANDSHAKE: u32 = 4;

/// The least pause between two checks, whatever `health_check` says: `0s` is allowed, and would be a flood.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// What a stanza says of each of its upstreams. Where it is the same, the upstream is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) carriage: Carriage,
    pub(super) read_timeout: Duration,
    pub(super) max_fails: u32,
    pub(super) health_check: HealthCheck,
    pub(super) idle: Idle,
    pub(super) source_address: Option<IpAddr>,
    pub(super) tls: Tls,
    pub(super) doh_method: DohMethod,
}

/// One upstream of a stanza.
pub(super) struct Upstream {
    endpoint: Endpoint,
    carriage: Carriage,
    read_timeout: Duration,
    check: Query,
    check_interval: Duration,
    health: Health,
    conduct: Mutex<Conduct>,
    case: CaseKept,
    road: Arc<Road>,
    /// Where checks run.
    home: Handle,
    observer: Arc<dyn UpstreamObserver>,
}

impl Settings {
    /// What this stanza says.
    pub(super) fn of(stanza: &Stanza) -> Settings {
        Settings {
            carriage: stanza.carriage,
            read_timeout: stanza.read_timeout,
            max_fails: stanza.max_fails,
            health_check: stanza.health_check.clone(),
            idle: stanza.idle,
            source_address: stanza.source_address,
            tls: stanza.tls.clone(),
            doh_method: stanza.doh_method,
        }
    }
}

impl Upstream {
    /// The upstream that is found there, as its stanza says.
    pub(super) fn new(
        endpoint: Endpoint,
        settings: &Settings,
        clients: &Clients,
        home: Handle,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Upstream {
        let mut check = Query::empty();
        check.question = Question::new(settings.health_check.domain, Type::NS, Class::IN);
        if settings.health_check.recursion_desired {
            check.flags = flag::RD;
        }
        let road = Road::new(&endpoint, settings, clients, home.clone(), observer.clone());
        Upstream {
            endpoint,
            carriage: settings.carriage,
            read_timeout: settings.read_timeout,
            check,
            check_interval: settings.health_check.interval.max(CHECK_INTERVAL_MIN),
            health: Health::new(settings.max_fails),
            conduct: Mutex::default(),
            case: CaseKept::default(),
            road: Arc::new(road),
            home,
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
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let conduct = self.conduct();
        let is_warm = || {
            let since = now.checked_sub(WARM_FOR);
            since.is_some_and(|since| conduct.is_heard_since(since))
        };
        match self.endpoint.speaks {
            Speaks::Secure(..) if !is_warm() => conduct.patience() * HANDSHAKE,
            _ => conduct.patience(),
        }
    }

    /// Whether it has said anything since then.
    pub(super) fn is_heard_since(&self, then: Instant) -> bool {
        self.conduct().is_heard_since(then)
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

    /// Notes that it is down, if it is, for a query that is traced.
    pub(super) fn tell_down(&self, query: &Query, now: Instant) {
        if let Some((since, why)) = self.health.down() {
            let seconds = now.saturating_duration_since(since).as_secs();
            query.note(FORWARD.name(), Verdict::Looks, || {
                format!("{} has been down for {seconds} s: {why}", self.endpoint)
            });
        }
    }

    /// Is told of a query that is sent to it on suspicion.
    pub(super) fn hedged(&self) {
        self.observer.hedged();
    }

    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
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
        let over = self.over(query);
        let mut answer = self.ask_over(over, query, deadline).await;
        if over == Over::Udp
            && self.carriage.of(query) == Carriage::UdpFirst
            && answer
                .as_ref()
                .is_ok_and(|reply| reply.flags & flag::TC != 0)
        {
            answer = self.ask_over(Over::Tcp, query, deadline).await;
        }
        match &answer {
            Ok(_) => {
                if self.health.query_answered() {
                    self.tell_if_up();
                }
            }
            Err(unanswered) if unanswered.is_local() => {}
            Err(_) => self.begin_checks(),
        }
        answer
    }

    /// Over what a query is sent first.
    fn over(&self, query: &Query) -> Over {
        match self.endpoint.speaks {
            Speaks::Plain => self.carriage.of(query).first(query).into(),
            Speaks::Secure(secure, _) => secure.into(),
        }
    }

    async fn ask_over(
        &self,
        over: Over,
        query: &Query,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let began = Instant::now();
        let asked = Asked::query(query);
        let answer = match over {
            Over::Udp => {
                self.over_udp(asked, deadline.min(began + self.read_timeout))
                    .await
            }
            // Boxed, so that the many queries that go over UDP do not hold its room.
            _ => Box::pin(self.road.ask_by_connection(over, asked, deadline)).await,
        };
        self.tell_came(query, over, &answer, began);
        let reply = answer?;
        let elapsed = began.elapsed();
        let mut conduct = self.conduct();
        conduct.heard(began + elapsed);
        if is_in_vain(reply.rcode) {
            conduct.answered_in_vain();
        } else {
            conduct.answered(elapsed);
        }
        drop(conduct);
        self.observer.answered(reply.rcode, elapsed);
        Ok(reply)
    }

    /// What came of asking, for a query that is traced.
    fn tell_came(
        &self,
        query: &Query,
        over: Over,
        answer: &Result<Reply, Unanswered>,
        began: Instant,
    ) {
        query.note(FORWARD.name(), Verdict::Looks, || {
            let ms = began.elapsed().as_secs_f64() * 1000.0;
            match answer {
                Ok(reply) => {
                    let cut = if reply.flags & flag::TC == 0 {
                        ""
                    } else {
                        ", cut"
                    };
                    let (to, over) = (&self.endpoint, over.as_str());
                    format!("{to} over {over}: {}{cut}, after {ms:.1} ms", reply.rcode)
                }
                Err(unanswered) => format!("{}, after {ms:.1} ms", unanswered.of_upstream()),
            }
        });
    }

    /// Asks with the name in random case, unless the upstream is known not to repeat it; and once more if it does not.
    async fn over_udp(&self, asked: Asked<'_>, until: Instant) -> Result<Reply, Unanswered> {
        let is_random = self.case.is_expected();
        if is_random {
            let asked = asked.in_random_case();
            match self.road.ask_by_datagram(asked, until).await {
                Err(unanswered) if unanswered.cause == Cause::OtherCase => {}
                Ok(reply) => {
                    self.case.kept();
                    return Ok(reply);
                }
                unanswered => return unanswered,
            }
        }
        let reply = self.road.ask_by_datagram(asked.anew(), until).await?;
        if is_random {
            self.case.changed();
        }
        Ok(reply)
    }

    /// Checks it in the background until it answers, unless that is under way.
    pub(super) fn begin_checks(self: &Arc<Self>) {
        if self.health.query_failed() {
            self.home
                .spawn(checks(Arc::downgrade(self), self.check_interval));
        }
    }

    async fn check(&self) -> Checks {
        let asked = Asked::probe(&self.check);
        let answer = self
            .road
            .exchange_anew(self.over(&self.check), asked, CHECK_MAX)
            .await;
        match answer {
            Ok(_) => {
                self.conduct().heard(Instant::now());
                let checks = self.health.checked(Check::Answered);
                self.tell_if_up();
                checks
            }
            Err(unanswered) if unanswered.is_local() => self.health.checked(Check::NotMade),
            Err(unanswered) => {
                self.observer.healthcheck_failed();
                let checks = self.health.checked(Check::Failed);
                self.tell_if_down(&unanswered);
                checks
            }
        }
    }

    fn tell_if_down(&self, unanswered: &Unanswered) {
        let why = &unanswered.of_upstream();
        let Some(news) = self.health.went_down(Instant::now(), why) else {
            return;
        };
        self.observer.went_down();
        if news == News::Logged {
            tracing::warn!(target: "plugin/forward", "{} is down: {unanswered}", self.endpoint);
        }
    }

    fn tell_if_up(&self) {
        let Some((news, down)) = self.health.came_up(Instant::now()) else {
            return;
        };
        self.observer.came_up();
        if news == News::Logged {
            let (to, seconds) = (&self.endpoint, down.as_secs());
            tracing::info!(target: "plugin/forward", "{to} is up again, it was down for {seconds}s");
        }
    }
}

impl Drop for Upstream {
    /// Nobody asks it any more: it is not missed.
    fn drop(&mut self) {
        if self.health.is_told_down() {
            self.observer.came_up();
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("endpoint", &self.endpoint)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// Checks an upstream until it answers or nobody has it any more.
async fn checks(upstream: Weak<Upstream>, interval: Duration) {
    while let Some(upstream) = upstream.upgrade() {
        if upstream.check().await == Checks::End {
            return;
        }
        // The many servers that watched the same upstream die shall not all ask at once.
        let spread = rand::rng().random_range(0.9..1.1);
        let pause = upstream.health.pause(interval).mul_f64(spread);
        drop(upstream);
        tokio::time::sleep(pause).await;
    }
}

//! `forward`: asks upstream servers for the names of a zone.
//!
//! ```text
//! query ─▶ stanza (whose zone is it?) ─▶ flights (is it being asked?) ─▶ race (whom next, and when?) ─▶ upstream ─▶ exchange
//! reply ◀─ `next`: the stanzas below ◀──────────────────────────────── `failover`: another upstream ◀──────────────────┘
//! ```
//!
//! All stanzas of a server block are one plugin, tried in written order. Decisions ([`policy`], the race, conduct,
//! health, which connection may be used again, when a name is resolved anew) are plain functions of the time they are
//! given; sockets are opened in `sockets` and `exchange` alone. What is under way, and with it sockets and memory, is bounded for the process
//! by [`Outbound`] and for a stanza by `max_concurrent`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;

use crate::chain::{Failure, Reason, Step, Unanswered};
use crate::dns::query::opcode;
use crate::dns::{Query, Rcode, Reply, Section, Type};

mod budget;
mod case;
mod channel;
mod conduct;
mod config;
mod connections;
mod dial;
mod endpoint;
mod exchange;
mod flights;
mod health;
mod limit;
mod observer;
mod outbound;
mod policy;
mod race;
mod road;
mod roster;
mod sockets;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;

use super::PluginId;
use budget::Budget;
pub use config::{
    AllDown, AttemptsMax, Carriage, Config, DohMethod, HealthCheck, Idle, Next, Resolvers, Stanza,
    Target, UPSTREAMS_MAX, parse,
};
pub use endpoint::{Endpoint, Host, Over, Secure, Speaks};
use flights::{Flights, Outcome};
use limit::Limit;
pub use observer::{Observer, Unobserved, UpstreamObserver};
pub use outbound::Outbound;
pub use policy::Policy;
use policy::Standing;
use race::{Field, Move, Race, Rules};
use roster::{Pace, Roster};
pub use tls::Tls;
use upstream::Upstream;

/// How long a query may take in all. The resolver of the C library waits for five seconds before it asks again:
/// what comes later comes to nobody, and so the client hears of a failure while it listens. (CoreDNS takes the whole
/// five.)
const ANSWER_WITHIN: Duration = Duration::from_millis(4500);

const FORWARD: PluginId = PluginId::of("forward");

/// The plugin.
#[derive(Debug)]
pub struct Forward {
    stanzas: Vec<Forwarding>,
    outbound: Arc<Outbound>,
}

/// A stanza that runs.
#[derive(Debug)]
struct Forwarding {
    config: Stanza,
    upstreams: Roster,
    waiting: Limit,
    flights: Flights,
    budget: Budget,
    /// The memory of `policy round_robin`.
    turn: AtomicUsize,
}

/// The upstreams that one race is about.
struct Starters<'a> {
    upstreams: &'a [Arc<Upstream>],
    budget: &'a Budget,
    /// So many queries wait that nothing is asked on suspicion.
    is_busy: bool,
}

impl Forward {
    /// A plugin that forwards as configured.
    pub fn new(config: Config, outbound: Arc<Outbound>) -> Forward {
        let stanzas = config.stanzas.into_iter();
        Forward {
            stanzas: stanzas
                .map(|stanza| Forwarding::new(stanza, &outbound))
                .collect(),
            outbound,
        }
    }

    /// Whether some upstreams are listed in files or have names, and [`Forward::follow`] is to be called.
    pub fn changes(&self) -> bool {
        let mut stanzas = self.stanzas.iter();
        stanzas.any(|stanza| stanza.upstreams.changes())
    }

    /// Follows files of upstreams and the addresses of their names, for ever.
    pub async fn follow(self: Arc<Forward>) {
        let stanzas = self.stanzas.iter();
        join_all(stanzas.map(|stanza| stanza.upstreams.follow(Pace::default()))).await;
    }

    /// Whether the name goes to an upstream at all. What can be refused without one is refused here, where it costs
    /// no task.
    pub(crate) fn down(&self, query: &mut Query) -> Step {
        let Some(stanza) = self.stanza_for(query, 0).map(|at| &self.stanzas[at]) else {
            return Step::Next;
        };
        // A notification is for this server and no other (RFC 1996 section 3).
        if query.opcode() != opcode::QUERY {
            return Step::Reply(Reply::new(query, Rcode::NOTIMP));
        }
        // Transfers are many messages, of which CoreDNS passes on one and leaves the others to the next query.
        if matches!(query.question.rtype, Type::AXFR | Type::IXFR) {
            return Step::Reply(Reply::new(query, Rcode::REFUSED));
        }
        match [&stanza.waiting, &self.outbound.waiting]
            .into_iter()
            .find(|limit| limit.is_full())
        {
            Some(limit) => self.too_many(limit),
            None => Step::Ask,
        }
    }

    /// Asks. The runtime must be tokio's.
    pub(crate) async fn ask(&self, query: &Query) -> Step {
        let Some(_permit) = self.outbound.waiting.enter() else {
            return self.too_many(&self.outbound.waiting);
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut from = 0;
        while let Some(at) = self.stanza_for(query, from) {
            let stanza = &self.stanzas[at];
            let Some(_permit) = stanza.waiting.enter() else {
                return self.too_many(&stanza.waiting);
            };
            match stanza.ask(query, &self.outbound, deadline).await {
                Ok(reply) => {
                    let is_last = at + 1 == self.stanzas.len();
                    if is_last || !stanza.config.next.wants(&reply) {
                        return Step::Reply(reply);
                    }
                }
                Err(reason) => return fail(reason),
            }
            from = at + 1;
        }
        Step::Next
    }

    /// The first stanza from this one on that the name goes to.
    fn stanza_for(&self, query: &Query, from: usize) -> Option<usize> {
        let stanzas = self.stanzas[from..].iter();
        stanzas
            .map(|stanza| &stanza.config)
            .position(|config| config.takes(query))
            .map(|at| from + at)
    }

    fn too_many(&self, limit: &Limit) -> Step {
        self.outbound.observer.rejected();
        fail(Reason::TooManyConcurrent(limit.max()))
    }
}

impl Stanza {
    /// Whether the name goes to these upstreams. Nothing is excepted of the zone's own name.
    fn takes(&self, query: &Query) -> bool {
        let name = &query.question.name;
        name.is_within(&self.from) && (*name == self.from || !self.except.contains(name))
    }
}

impl Next {
    fn wants(&self, reply: &Reply) -> bool {
        let is_nodata = || {
            reply.rcode == Rcode::NOERROR
                && reply.records.count(Section::Answer) == 0
                && reply.flags & crate::dns::query::flag::TC == 0
        };
        self.rcodes.contains(&reply.rcode) || (self.on_nodata && is_nodata())
    }
}

impl Forwarding {
    fn new(config: Stanza, outbound: &Arc<Outbound>) -> Forwarding {
        Forwarding {
            upstreams: Roster::new(&config, outbound.clone()),
            waiting: Limit::new(config.max_concurrent.map_or(usize::MAX, usize::from)),
            flights: Flights::default(),
            budget: Budget::default(),
            turn: AtomicUsize::new(0),
            config,
        }
    }

    /// Asks, or waits with others who ask the same.
    async fn ask(&self, query: &Query, outbound: &Outbound, deadline: Instant) -> Outcome {
        let ask = || self.race(query, outbound, deadline);
        let joined = || outbound.observer.joined();
        self.flights.ask(query, deadline, ask, joined).await
    }

    /// Asks until one upstream answers, or says why none did.
    async fn race(&self, query: &Query, outbound: &Outbound, deadline: Instant) -> Outcome {
        let current = self.upstreams.current();
        let upstreams = &current.upstreams;
        if upstreams.is_empty() {
            return Err(Reason::NoAddress(current.trouble()));
        }
        let field = Starters {
            upstreams,
            budget: &self.budget,
            is_busy: outbound.waiting.is_half_full(),
        };
        let mut race = self.start(upstreams, deadline);
        let mut out = FuturesUnordered::new();
        let mut failed: Option<Unanswered> = None;
        let mut passed_over = None;
        self.budget.earn();
        loop {
            let now = Instant::now();
            while let Some(late) = race.late(now) {
                upstreams[late].left_unanswered();
            }
            let random = |count| rand::rng().random_range(0..count);
            let until = match race.next(now, &field, random) {
                next @ (Move::Ask(at) | Move::Hedge(at) | Move::AskDown(at)) => {
                    match next {
                        Move::Hedge(_) => upstreams[at].hedged(),
                        Move::AskDown(_) => outbound.observer.healthcheck_broken(),
                        _ => {}
                    }
                    let upstream = &upstreams[at];
                    let number = race.asked(at, upstream.patience(), now, &field);
                    out.push(
                        async move { (number, upstream, upstream.ask(query, deadline).await) },
                    );
                    continue;
                }
                Move::AllDown => {
                    outbound.observer.healthcheck_broken();
                    break;
                }
                Move::Rest if out.is_empty() => break,
                Move::Rest => deadline,
                Move::Wait(until) => until,
            };
            let Some((number, upstream, answer)) = first_of(&mut out, until).await else {
                continue;
            };
            match answer {
                Ok(reply) if self.fails_over(&reply) => {
                    race.failed(number);
                    passed_over = Some(reply);
                    if out.is_empty() && !race.has_other(&field) {
                        break;
                    }
                }
                Ok(reply) if is_in_vain(reply.rcode) => return Ok(better(reply, out).await),
                Ok(reply) => return Ok(reply),
                Err(unanswered) => {
                    if race.failed(number) && !unanswered.is_local() {
                        upstream.left_unanswered();
                    }
                    failed = Some(unanswered);
                }
            }
        }
        match (passed_over, failed) {
            // Nobody had a better one.
            (Some(reply), _) => Ok(reply),
            (None, Some(last)) => Err(Reason::Upstream(Box::new(last))),
            (None, None) => Err(Reason::NoHealthyUpstream),
        }
    }

    /// A race of these upstreams.
    fn start(&self, upstreams: &[Arc<Upstream>], deadline: Instant) -> Race {
        let (config, mut rng) = (&self.config, rand::rng());
        let count = upstreams.len();
        let mut order = config.policy.order(count, &self.turn, &mut rng);
        let mut standings = [Standing::default(); UPSTREAMS_MAX];
        for (standing, upstream) in standings.iter_mut().zip(upstreams) {
            *standing = upstream.standing();
        }
        order.prefer(
            config.policy,
            &standings[..count],
            Policy::is_trial(&mut rng),
        );
        let rules = Rules {
            attempts_max: config.attempts_max.of(count),
            all_down: config.all_down,
            repeats: config.policy.repeats(),
            deadline,
        };
        Race::new(order, rules, Instant::now())
    }

    fn fails_over(&self, reply: &Reply) -> bool {
        self.config.failover.contains(&reply.rcode)
    }
}

impl Field for Starters<'_> {
    fn is_down(&self, upstream: usize) -> bool {
        self.upstreams[upstream].is_down()
    }

    fn is_unreliable(&self, upstream: usize) -> bool {
        self.upstreams[upstream].standing().is_unreliable
    }

    fn spend(&self) -> bool {
        !self.is_busy && self.budget.spend()
    }
}

/// Whether a code says no more than that this upstream could not, or would not.
fn is_in_vain(rcode: Rcode) -> bool {
    matches!(
        rcode,
        Rcode::SERVFAIL | Rcode::REFUSED | Rcode::NOTIMP | Rcode::FORMERR
    )
}

/// What one of those that are still out says, if it is more than this. Nobody else is asked: such a reply is passed on,
/// but it must not win a race for being the quickest.
async fn better<T>(
    reply: Reply,
    mut out: FuturesUnordered<impl Future<Output = (T, &Arc<Upstream>, Result<Reply, Unanswered>)>>,
) -> Reply {
    while let Some((.., answer)) = out.next().await {
        if let Ok(other) = answer
            && !is_in_vain(other.rcode)
        {
            return other;
        }
    }
    reply
}

/// The first of those that are out to come back until then. With nobody out it is a pause.
async fn first_of<F: Future>(out: &mut FuturesUnordered<F>, until: Instant) -> Option<F::Output> {
    if out.is_empty() {
        tokio::time::sleep_until(until.into()).await;
        return None;
    }
    let first = tokio::time::timeout_at(until.into(), out.next()).await;
    first.ok().flatten()
}

fn fail(reason: Reason) -> Step {
    Step::Fail(Failure {
        by: Some(FORWARD),
        reason,
    })
}

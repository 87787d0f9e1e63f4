//! A stanza that runs: one query, and whoever asks the same, taken through a race of its upstreams.
//!
//! The [`Race`] decides whom to ask and when; here they are asked, told of what they came to, and what they say is
//! judged.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::admission::Admission;
use crate::chain::{Reason, Unanswered};
use crate::dns::{Query, Rcode, Reply, Verdict};

use super::FORWARD;
use super::budget::Budget;
use super::config::{Stanza, UPSTREAMS_MAX};
use super::flights::{Flights, Outcome};
use super::limit::Limit;
use super::outbound::{Outbound, STANZA_WAITING_MAX};
use super::policy::{Policy, Standing};
use super::race::{Field, Move, Race, Rules};
use super::roster::Roster;
use super::runners::Runners;
use super::upstream::Upstream;

/// How long a query waits for an upstream that is asked though all are down: what a check does not reach in a second
/// hardly answers sooner, and who waits takes the place of queries to others.
const ASK_DOWN_MAX: Duration = Duration::from_millis(500);
/// Queries that may wait so at a time, for each stanza: enough to find out, and few enough to let the others know at
/// once.
const ASKING_DOWN_MAX: usize = 256;

/// A stanza that runs.
#[derive(Debug)]
pub(super) struct Forwarding {
    pub(super) config: Stanza,
    pub(super) upstreams: Roster,
    pub(super) waiting: Arc<Admission>,
    asking_down: Limit,
    flights: Flights,
    pub(super) budget: Budget,
    /// The memory of `policy round_robin`.
    pub(super) turn: AtomicUsize,
}

/// The upstreams that one race is about.
struct Starters<'a> {
    upstreams: &'a [Arc<Upstream>],
    budget: &'a Budget,
    /// So many queries wait that nothing is asked on suspicion.
    is_busy: bool,
}

/// What came of a runner: its number, who ran, and what was said.
type Came<'a> = (u32, &'a Arc<Upstream>, Result<Reply, Unanswered>);

/// What was heard so far and is not the answer.
#[derive(Default)]
struct Kept {
    /// A reply that `failover` passes over.
    passed_over: Option<Reply>,
    failed: Option<Unanswered>,
}

/// What to make of it.
enum Judged {
    /// It is the answer.
    Answer(Reply),
    /// It is, unless somebody who is out already has a better one.
    InVain(Reply),
    /// Somebody else is to answer.
    GoOn,
    /// Somebody else may have a better one, if there is anybody.
    GoOnWithOthers,
}

impl Forwarding {
    /// A stanza with the upstreams that are known already.
    pub(super) fn new(config: Stanza, outbound: &Arc<Outbound>) -> Forwarding {
        Forwarding {
            upstreams: Roster::new(&config, outbound.clone()),
            waiting: Admission::new(
                config
                    .max_concurrent
                    .map_or(STANZA_WAITING_MAX, usize::from),
            ),
            asking_down: Limit::new(ASKING_DOWN_MAX),
            flights: Flights::default(),
            budget: Budget::default(),
            turn: AtomicUsize::new(0),
            config,
        }
    }

    /// Asks, or waits with others who ask the same.
    pub(super) async fn ask(
        &self,
        query: &Query,
        outbound: &Outbound,
        deadline: Instant,
    ) -> Outcome {
        let ask = || self.race(query, outbound, deadline);
        let joined = || {
            query.note(FORWARD.name(), Verdict::Looks, || {
                "the same is being asked already: its answer is waited for".to_owned()
            });
            outbound.observer.joined();
        };
        self.flights.ask(query, deadline, ask, joined).await
    }

    /// Asks until one upstream answers, or says why none did.
    async fn race(&self, query: &Query, outbound: &Outbound, deadline: Instant) -> Outcome {
        let current = self.upstreams.current();
        let upstreams = &current.upstreams;
        if upstreams.is_empty() {
            return Err(Reason::NoAddress(current.trouble()));
        }
        if query.trace.is_some() {
            let now = Instant::now();
            upstreams.iter().for_each(|each| each.tell_down(query, now));
        }
        let field = Starters {
            upstreams,
            budget: &self.budget,
            is_busy: outbound.waiting.is_half_full(),
        };
        let mut race = self.start(upstreams, deadline);
        let first = pin!(None);
        let mut out = Runners::new(first);
        let mut kept = Kept::default();
        let mut deadline = deadline;
        let mut _asking_down = None;
        self.budget.earn();
        loop {
            let now = Instant::now();
            while let Some(late) = race.late(now) {
                let to = upstreams[late].endpoint();
                query.note(FORWARD.name(), Verdict::Looks, || format!("{to} is late"));
                upstreams[late].left_unanswered();
                if self.config.policy.repeats() {
                    upstreams[late].begin_checks();
                }
            }
            let random = |count| rand::rng().random_range(0..count);
            let until = match race.next(now, &field, random) {
                next @ (Move::Ask(at) | Move::Hedge(at) | Move::AskDown(at)) => {
                    match next {
                        Move::Hedge(_) => upstreams[at].hedged(),
                        Move::AskDown(_) => {
                            outbound.observer.healthcheck_broken();
                            _asking_down = self.asking_down.enter();
                            if _asking_down.is_none() {
                                break;
                            }
                            deadline = deadline.min(now + ASK_DOWN_MAX);
                        }
                        _ => {}
                    }
                    let upstream = &upstreams[at];
                    tell_asked(query, next, upstream);
                    let number = race.asked(at, upstream.patience(now), now, &field);
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
            let Some(came) = first_of(&mut out, until).await else {
                continue;
            };
            match self.judge(came, &mut race, &mut kept) {
                Judged::Answer(reply) => return Ok(reply),
                Judged::InVain(reply) => return Ok(better(reply, &mut out).await),
                Judged::GoOn => {}
                Judged::GoOnWithOthers if !out.is_empty() || race.has_other(&field) => {}
                Judged::GoOnWithOthers => break,
            }
        }
        kept.outcome()
    }

    /// What to make of what came of a runner.
    fn judge(&self, came: Came<'_>, race: &mut Race, kept: &mut Kept) -> Judged {
        let (number, upstream, answer) = came;
        match answer {
            Ok(reply) if self.config.failover.contains(&reply.rcode) => {
                race.failed(number);
                kept.passed_over = Some(reply);
                Judged::GoOnWithOthers
            }
            Ok(reply) if is_in_vain(reply.rcode) => Judged::InVain(reply),
            Ok(reply) => Judged::Answer(reply),
            Err(unanswered) => {
                if race.failed(number) && !unanswered.is_local() {
                    upstream.left_unanswered();
                }
                kept.failed = Some(unanswered);
                Judged::GoOn
            }
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
}

impl Kept {
    fn outcome(self) -> Outcome {
        match (self.passed_over, self.failed) {
            // Nobody had a better one.
            (Some(reply), _) => Ok(reply),
            (None, Some(last)) => Err(Reason::Upstream(Box::new(last))),
            (None, None) => Err(Reason::NoHealthyUpstream),
        }
    }
}

impl Field for Starters<'_> {
    fn is_down(&self, upstream: usize) -> bool {
        self.upstreams[upstream].is_down()
    }

    fn is_unreliable(&self, upstream: usize) -> bool {
        self.upstreams[upstream].standing().is_unreliable
    }

    fn is_heard_since(&self, upstream: usize, then: Instant) -> bool {
        self.upstreams[upstream].is_heard_since(then)
    }

    fn spend(&self) -> bool {
        !self.is_busy && self.budget.spend()
    }
}

/// Whom a query that is traced goes to, and why.
fn tell_asked(query: &Query, next: Move, upstream: &Upstream) {
    query.note(FORWARD.name(), Verdict::Looks, || {
        let why = match next {
            Move::Hedge(_) => ", beside the one asked before",
            Move::AskDown(_) => ", though all are down",
            Move::Ask(_) | Move::Wait(_) | Move::Rest | Move::AllDown => "",
        };
        let conduct = if upstream.standing().is_unreliable {
            ", which has failed more than one query in six lately"
        } else {
            ""
        };
        format!("asks {}{why}{conduct}", upstream.endpoint())
    });
}

/// Whether a code says no more than that this upstream could not, or would not.
pub(super) fn is_in_vain(rcode: Rcode) -> bool {
    matches!(
        rcode,
        Rcode::SERVFAIL | Rcode::REFUSED | Rcode::NOTIMP | Rcode::FORMERR
    )
}

/// What one of those that are still out says, if it is more than this. Nobody else is asked: such a reply is passed on,
/// but it must not win a race for being the quickest.
async fn better<'a, F: Future<Output = Came<'a>>>(reply: Reply, out: &mut Runners<'_, F>) -> Reply {
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
async fn first_of<F: Future>(out: &mut Runners<'_, F>, until: Instant) -> Option<F::Output> {
    if out.is_empty() {
        tokio::time::sleep_until(until.into()).await;
        return None;
    }
    let first = tokio::time::timeout_at(until.into(), out.next()).await;
    first.ok().flatten()
}

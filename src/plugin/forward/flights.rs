//! Queries that are alike and under way at the same time are asked once.
//!
//! It spares the upstream, and it spares us: an attacker who makes one question be asked many times at once has so
//! many chances for each forged answer (the birthday attack that RFC 5452 section 5 describes). Queries for one
//! question that differ in what else they carry (a cookie, a client subnet) cannot share an answer, so that their number
//! is bounded.

use std::future::Future;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::chain::Reason;
use crate::dns::{Class, Edns, Name, Query, Question, Reply, Transport, Type};

/// Queries for one question that differ in something else and may be under way at a time: more than clients with reason
/// make, and few enough to leave a forger nothing.
const DIFFERENT_MAX: usize = 64;

/// How long one that waits for another stays beyond its own time. Both began together, as a rule: when nobody has
/// answered, the one that asked knows why, a moment after both have run out of time.
const LANDING: Duration = Duration::from_millis(100);

/// What a query came to.
pub(super) type Outcome = Result<Reply, Reason>;

/// The queries of a stanza that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    hasher: RandomState,
    /// Found by their questions.
    under_way: Mutex<HashTable<Flight>>,
}

/// One query that is under way, for all who would ask the same.
#[derive(Debug)]
struct Flight {
    key: Arc<Key>,
    /// Made when the first waits for it. Closed without a word if who asks gives up.
    landed: Option<watch::Sender<Option<Arc<Outcome>>>>,
}

/// What a query becomes.
enum Seat<'a> {
    /// The one that is asked.
    Pilot(Pilot<'a>),
    /// One that waits for the answer to another.
    Passenger(watch::Receiver<Option<Arc<Outcome>>>),
    /// One of too many.
    None,
}

/// A flight until it lands or is given up.
struct Pilot<'a> {
    flights: &'a Flights,
    key: Arc<Key>,
    /// Whether it is on the board. It leaves once: a moment later the same place may be another's.
    is_out: bool,
}

/// What makes queries alike: the question, and the rest.
#[derive(Debug)]
struct Key {
    hash: u64,
    name: Name,
    rtype: Type,
    class: Class,
    transport: Transport,
    asks_authentic: bool,
    is_background: bool,
    flags: u16,
    edns: Option<Edns>,
}

impl Flights {
    /// Asks, unless the same is being asked: then what it comes to is waited for, until a moment after the deadline.
    /// `joined` is told of that.
    pub(super) async fn ask<F: Future<Output = Outcome>>(
        &self,
        query: &Query,
        deadline: Instant,
        ask: impl FnOnce() -> F,
        joined: impl FnOnce(),
    ) -> Outcome {
        let mut joined = Some(joined);
        loop {
            match self.board(query) {
                Seat::Pilot(pilot) => {
                    let outcome = ask().await;
                    return pilot.land(outcome);
                }
                Seat::Passenger(landed) => {
                    joined.take().into_iter().for_each(|joined| joined());
                    match timeout_at((deadline + LANDING).into(), landing(landed)).await {
                        Ok(Some(outcome)) => return Arc::unwrap_or_clone(outcome),
                        Ok(None) => {}
                        Err(_) => return Err(Reason::StillAsked),
                    }
                }
                Seat::None => return Err(Reason::TooManyAlike(DIFFERENT_MAX)),
            }
        }
    }

    fn board(&self, query: &Query) -> Seat<'_> {
        let question = &query.question;
        let hash = (self.hasher).hash_one((question.name.wire(), question.rtype.0));
        let mut under_way = self.lock();
        let mut different = 0;
        for flight in under_way.iter_hash_mut(hash) {
            if flight.key.has_question(question) {
                if flight.key.has_rest(query) {
                    return Seat::Passenger(flight.landing());
                }
                different += 1;
            }
        }
        if different >= DIFFERENT_MAX {
            return Seat::None;
        }
        let key = Arc::new(Key::of(query, hash));
        let flight = Flight {
            key: key.clone(),
            landed: None,
        };
        under_way.insert_unique(hash, flight, |flight| flight.key.hash);
        Seat::Pilot(Pilot {
            flights: self,
            key,
            is_out: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashTable<Flight>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn landing(&mut self) -> watch::Receiver<Option<Arc<Outcome>>> {
        let landed = self.landed.get_or_insert_with(|| watch::channel(None).0);
        landed.subscribe()
    }
}

impl Pilot<'_> {
    fn land(mut self, outcome: Outcome) -> Outcome {
        let Some(landed) = self.leave() else {
            return outcome;
        };
        let outcome = Arc::new(outcome);
        landed.send_replace(Some(outcome.clone()));
        Arc::unwrap_or_clone(outcome)
    }

    /// Takes the flight off the board. Says who waits for it, if anybody does.
    fn leave(&mut self) -> Option<watch::Sender<Option<Arc<Outcome>>>> {
        if !std::mem::replace(&mut self.is_out, false) {
            return None;
        }
        let is_this = |flight: &Flight| Arc::ptr_eq(&flight.key, &self.key);
        let mut under_way = self.flights.lock();
        let found = under_way.find_entry(self.key.hash, is_this).ok()?;
        found.remove().0.landed
    }
}

impl Drop for Pilot<'_> {
    fn drop(&mut self) {
        // Those who wait see it closed, and one of them asks.
        drop(self.leave());
    }
}

impl Key {
    fn of(query: &Query, hash: u64) -> Key {
        let Question {
            name, rtype, class, ..
        } = query.question;
        Key {
            hash,
            name,
            rtype,
            class,
            transport: query.transport,
            asks_authentic: query.asks_authentic,
            is_background: query.is_background,
            flags: query.flags,
            edns: query.edns.clone(),
        }
    }

    fn has_question(&self, question: &Question) -> bool {
        self.name == question.name && self.rtype == question.rtype && self.class == question.class
    }

    fn has_rest(&self, query: &Query) -> bool {
        self.transport == query.transport
            && self.asks_authentic == query.asks_authentic
            && self.is_background == query.is_background
            && self.flags == query.flags
            && self.edns == query.edns
    }
}

/// Waits until it lands; `None` if it was given up.
async fn landing(mut landed: watch::Receiver<Option<Arc<Outcome>>>) -> Option<Arc<Outcome>> {
    let outcome = landed.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;
    use crate::dns::Rcode;
    use crate::dns::query::flag;

    fn query(name: &str) -> Query {
        let mut query = Query::empty();
        query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
        query
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn cookie(octet: u8) -> Query {
        let mut query = query("www.example.");
        query.edns = Some(Edns {
            options: vec![0, 10, 0, 1, octet],
            ..Edns::default()
        });
        query
    }

    /// Asks all at once, lets the answers come when all have asked, and says how often an upstream was asked.
    async fn times_asked(queries: Vec<Query>) -> (usize, usize) {
        let (flights, go) = (Flights::default(), Notify::new());
        let (made, joined) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let asks = queries.iter().map(|query| {
            let ask = async || {
                made.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                Ok(Reply::new(&mut query.clone(), Rcode::NXDOMAIN))
            };
            let joined = || {
                joined.fetch_add(1, Ordering::Relaxed);
            };
            flights.ask(query, later(), ask, joined)
        });
        let mut all = Box::pin(futures_util::future::join_all(asks));
        assert!((&mut all).now_or_never().is_none(), "nobody answers yet");
        let at_once = made.load(Ordering::Relaxed);
        let landing = async {
            loop {
                go.notify_waiters();
                tokio::task::yield_now().await;
            }
        };
        let outcomes = tokio::select! {
            outcomes = all => outcomes,
            () = landing => unreachable!("goes on for ever"),
        };
        for outcome in outcomes {
            match outcome {
                Ok(reply) => assert_eq!(reply.rcode, Rcode::NXDOMAIN),
                Err(reason) => assert_eq!(reason, Reason::TooManyAlike(DIFFERENT_MAX)),
            }
        }
        assert!(flights.lock().is_empty(), "all have landed");
        (at_once, joined.into_inner())
    }

    #[tokio::test]
    async fn queries_that_are_alike_are_asked_once() {
        let with = |change: fn(&mut Query)| {
            let mut other = query("www.example.");
            change(&mut other);
            vec![query("www.example."), other]
        };
        for (what, queries, expected) in [
            ("the same", vec![query("www.example."); 100], 1),
            (
                "in another case",
                vec![query("www.example."), query("WWW.example.")],
                1,
            ),
            ("under another id", with(|query| query.id = 7), 1),
            (
                "another name",
                vec![query("www.example."), query("ww.example.")],
                2,
            ),
            (
                "another type",
                with(|query| query.question.rtype = Type::AAAA),
                2,
            ),
            (
                "over TCP",
                with(|query| query.transport = crate::dns::Transport::Tcp),
                2,
            ),
            ("with CD", with(|query| query.flags |= flag::CD), 2),
            (
                "with EDNS",
                with(|query| query.edns = Some(Edns::default())),
                2,
            ),
            ("with another cookie", vec![cookie(1), cookie(2)], 2),
        ] {
            let count = queries.len();
            let (asked, joined) = times_asked(queries).await;
            assert_eq!(asked, expected, "{what}");
            assert_eq!(joined, count - expected, "{what}");
        }
    }

    #[tokio::test]
    async fn one_question_is_not_under_way_in_more_than_a_few_forms() {
        let queries = (0..200).map(cookie).collect();
        assert_eq!(times_asked(queries).await.0, DIFFERENT_MAX);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_same_is_never_out_twice_whoever_lands_and_boards_meanwhile() {
        let flights = Arc::new(Flights::default());
        let (out, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (flights, out, most) = (flights.clone(), out.clone(), most.clone());
            tasks.spawn(async move {
                let query = query("www.example.");
                for _ in 0..50 {
                    let ask = async || {
                        most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        out.fetch_sub(1, Ordering::SeqCst);
                        Ok(Reply::new(&mut query.clone(), Rcode::NOERROR))
                    };
                    flights.ask(&query, later(), ask, || {}).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_a_query_that_nobody_answers_is_told_why_it_failed() {
        let flights = Flights::default();
        let (query, deadline) = (query("www.example."), later());
        let failing = async || {
            tokio::time::sleep_until(deadline.into()).await;
            // Who waits runs out of time before this one can say what it came to.
            tokio::time::sleep(LANDING / 2).await;
            Err(Reason::NoHealthyUpstream)
        };
        let ask = || flights.ask(&query, deadline, failing, || {});
        let (asked, joined) = tokio::join!(ask(), ask());
        assert_eq!(asked.unwrap_err(), Reason::NoHealthyUpstream);
        assert_eq!(joined.unwrap_err(), Reason::NoHealthyUpstream);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_another_more_than_a_moment_beyond_the_time_of_his_own() {
        let flights = Flights::default();
        let query = query("www.example.");
        let never = || std::future::pending::<Outcome>();
        let mut first = Box::pin(flights.ask(&query, later(), never, || {}));
        assert!((&mut first).now_or_never().is_none());
        let began = tokio::time::Instant::now();
        let second = flights.ask(&query, began.into(), never, || {});
        assert_eq!(second.await.unwrap_err(), Reason::StillAsked);
        assert!(began.elapsed() < LANDING * 2);
    }

    #[tokio::test]
    async fn when_who_asks_gives_up_another_asks() {
        let flights = Flights::default();
        let query = query("www.example.");
        let never = || std::future::pending::<Outcome>();
        let mut first = Box::pin(flights.ask(&query, later(), never, || {}));
        assert!((&mut first).now_or_never().is_none());
        let answer = async || Ok(Reply::new(&mut query.clone(), Rcode::NOERROR));
        let mut second = Box::pin(flights.ask(&query, later(), answer, || {}));
        assert!(
            (&mut second).now_or_never().is_none(),
            "it waits for the first"
        );
        drop(first);
        assert_eq!(second.await.unwrap().rcode, Rcode::NOERROR);
    }
}

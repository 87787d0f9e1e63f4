//! `cache`: keeps answers from below for as long as their TTL says, within the bounds of the Corefile.
//!
//! ```text
//! query ─▶ key ─▶ store ─▶ fresh ─▶ reply, and a refresh where `prefetch` wants one
//!                   ├────▶ stale ─▶ reply and a refresh, or those below first: `serve_stale`
//!                   └────▶ nothing ─▶ those below ─▶ verdict ─▶ succession ─▶ store, reply
//! ```
//!
//! A query is looked up under its whole key; what is found is copied into the reply, with the time that is left. A
//! reply from below is judged: what its TTL becomes, and whether it is kept, in the place of what. The rules are
//! CoreDNS's, but: a hit repeats the name in the case in which it is asked; answers of always fresh plugins are not
//! kept; that no upstream could be asked is, for seconds (RFC 9520), and no failure in the place of an answer; what
//! is thrown out of a full cache is what is asked least.
//!
//! A [`Store`] outlives the chains that use it: a reload after which the stanza keeps the same takes it over.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::chain::{Answer, Below, Refresher, Step};
use crate::dns::query::{flag, opcode};
use crate::dns::{Query, Rcode, Records, Reply, Type, Zones};

use super::PluginId;

mod config;
mod counters;
mod entry;
mod keeping;
mod key;
mod popularity;
mod refresh;
mod sieve;
mod store;
mod succession;
mod table;
mod told;
mod verdict;

pub use config::{Config, Limits, Prefetch, Refresh, ServeStale, parse};
pub use counters::{Counters, Kind, Uncounted};
pub use keeping::{Keeping, Kept, Which};
pub use refresh::Refreshes;
pub use store::{Entries, Store};

use entry::{Entry, Standing};
use key::Key;
use refresh::{NotBegun, Refreshing};
use table::Found;

const CACHE: PluginId = PluginId::of("cache");

/// The plugin in the chains of one listener.
#[derive(Debug)]
pub struct Cache {
    config: Arc<Config>,
    store: Arc<Store>,
    counters: Arc<dyn Counters>,
    refreshes: Arc<Refreshes>,
    /// Names in these zones are never kept, and so not looked up.
    uncached: Zones,
}

/// What came of a reply from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// It is the reply.
    Taken,
    /// What is known is better, if anything is: those below failed, or denied what is preferred to their denial.
    Unwanted,
}

impl Cache {
    /// A plugin that looks up and keeps in `store`, which was made for `config`. `uncached` are the zones that an
    /// always fresh plugin below answers for alone, without letting names through to others.
    pub fn new(
        config: Arc<Config>,
        store: Arc<Store>,
        counters: Arc<dyn Counters>,
        refreshes: Arc<Refreshes>,
        uncached: Zones,
    ) -> Cache {
        Cache {
            config,
            store,
            counters,
            refreshes,
            uncached,
        }
    }

    /// Answers what is known.
    #[inline]
    pub(crate) fn down(self: &Arc<Cache>, query: &mut Query) -> Step {
        if !is_cacheable(query)
            || self.uncached.contains(&query.question.name)
            || !self.config.zones.contains(&query.question.name)
        {
            self.tell_not_kept(query);
            return Step::Next;
        }
        let counters = self.counters(query);
        counters.requested();
        let now = query.received;
        if let Some(entry) = self.store.find(&Key::of(query)) {
            let standing = entry.standing(now, self.config.stale_for());
            self.tell_found(query, &entry, standing, now);
            match standing {
                Standing::Fresh(left) => {
                    counters.hit(entry.kind());
                    let records = query.take_records();
                    let reply = self.fresh(query, records, &entry, left);
                    return match &self.config.prefetch {
                        Some(_) if query.trace.is_some() => Step::Reply(reply),
                        Some(prefetch) => self.prefetch(query, prefetch, &entry, left, now, reply),
                        None => Step::Reply(reply),
                    };
                }
                Standing::Stale => return self.down_stale(query, &entry, now),
                Standing::Gone => {}
            }
        }
        self.tell_missed(query);
        counters.missed();
        query.asks_authentic = true;
        Step::Next
    }

    /// Who counts what is done for the client of this query; nobody if it has none and is explained.
    #[inline]
    fn counters(&self, query: &Query) -> &dyn Counters {
        if query.trace.is_some() {
            &Uncounted
        } else {
            &*self.counters
        }
    }

    #[inline]
    fn fresh(&self, query: &Query, records: Records, entry: &Entry, left: u32) -> Reply {
        let ttl = if self.config.keep_ttl {
            entry.ttl()
        } else {
            left
        };
        entry.reply(query, records, ttl)
    }

    fn prefetch(
        self: &Arc<Cache>,
        query: &Query,
        prefetch: &Prefetch,
        entry: &Found,
        left: u32,
        now: Instant,
        reply: Reply,
    ) -> Step {
        let wanted = entry.is_popular(now, prefetch.amount, prefetch.gap_max)
            && prefetch.is_due(entry.ttl(), left)
            && !entry.is_failure();
        if wanted {
            self.reply_and_refresh(query, reply, entry, now)
        } else {
            Step::Reply(reply)
        }
    }

    /// Gives an answer after its time, or asks those below first.
    #[cold]
    fn down_stale(self: &Arc<Cache>, query: &mut Query, entry: &Found, now: Instant) -> Step {
        let Some(stale) = &self.config.stale else {
            return Step::Next;
        };
        self.counters(query).hit(entry.kind());
        if let Refresh::Before(limit) = stale.refresh
            && !entry.rests(now)
        {
            query.asks_authentic = true;
            return Step::NextWithin(limit);
        }
        let records = query.take_records();
        let reply = self.stale(query, records, entry, stale);
        if stale.refresh == Refresh::After {
            self.reply_and_refresh(query, reply, entry, now)
        } else {
            Step::Reply(reply)
        }
    }

    fn stale(&self, query: &Query, records: Records, entry: &Entry, stale: &ServeStale) -> Reply {
        self.counters(query).served_stale();
        entry.stale_reply(query, records, stale.ttl)
    }

    /// This reply; and those below are asked for the successor of an entry, unless somebody does so, or may not now.
    fn reply_and_refresh(
        self: &Arc<Cache>,
        query: &Query,
        reply: Reply,
        entry: &Found,
        now: Instant,
    ) -> Step {
        if !entry.may_refresh(now) {
            return Step::Reply(reply);
        }
        match self.refreshes.begin(entry.share()) {
            Ok(refreshing) => {
                self.counters(query).refreshed();
                let cache = self.clone();
                let run = move |below| cache.spawn_refresh(refreshing, below);
                return Step::ReplyAndRefresh(reply, Refresher::new(run));
            }
            Err(NotBegun::NoRoom) => self.counters(query).refresh_left_out(),
            Err(NotBegun::UnderWay) => {}
        }
        Step::Reply(reply)
    }

    /// Shapes a reply from below, and keeps it; where those below failed, a stale answer takes its place.
    #[inline]
    pub(crate) fn up(&self, query: &Query, answer: &mut Answer) {
        self.up_at(query, answer, now);
    }

    #[inline]
    fn up_at(&self, query: &Query, answer: &mut Answer, clock: impl Fn() -> Instant) {
        if let Received::Unwanted = self.receive(query, answer, &clock) {
            self.put_known(query, answer, clock());
        }
    }

    /// Puts what is known in the place of a reply that says less.
    #[cold]
    fn put_known(&self, query: &Query, answer: &mut Answer, now: Instant) {
        let Some(entry) = self.find(query).filter(|entry| !entry.is_failure()) else {
            return;
        };
        let standing = entry.standing(now, self.config.stale_for());
        self.tell_put(query, &entry, standing, now);
        let records = std::mem::take(&mut answer.reply.records);
        answer.reply = match (standing, &self.config.stale) {
            (Standing::Fresh(left), _) => self.fresh(query, records, &entry, left),
            (Standing::Stale, Some(stale)) => self.stale(query, records, &entry, stale),
            (Standing::Stale | Standing::Gone, _) => {
                answer.reply.records = records;
                return;
            }
        };
        (answer.by, answer.failure) = (Some(CACHE), None);
    }

    /// The stale answer for a client that has waited long enough for those below.
    pub(crate) fn overdue(&self, query: &mut Query) -> Option<Step> {
        self.overdue_at(query, now())
    }

    fn overdue_at(&self, query: &mut Query, now: Instant) -> Option<Step> {
        let stale = self.config.stale.as_ref()?;
        let entry = self.find(query)?;
        let standing = entry.standing(now, stale.stale_for);
        if standing == Standing::Gone || entry.is_failure() {
            return None;
        }
        self.tell_put(query, &entry, standing, now);
        let records = query.take_records();
        let reply = if let Standing::Fresh(left) = standing {
            self.fresh(query, records, &entry, left)
        } else {
            // Others need not wait as long for what is late: when it comes, it is there for them.
            let pause = verdict::failure_ttl_max(&self.config);
            entry.rest(now, stale.recheck.max(Duration::from_secs(pause.into())));
            self.stale(query, records, &entry, stale)
        };
        Some(Step::Reply(reply))
    }

    /// Lets those below go on for the successor of the entry that `query` was answered from.
    pub(crate) fn refresh(self: &Arc<Cache>, query: &Query, below: Below) {
        let entry = self.find(query).map(|entry| entry.share());
        if let Some(Ok(refreshing)) = entry.map(|entry| self.refreshes.begin(entry)) {
            self.clone().spawn_refresh(refreshing, below);
        }
    }

    fn spawn_refresh(self: Arc<Cache>, refreshing: Refreshing, mut below: Below) {
        let refreshes = self.refreshes.clone();
        refreshes.spawn(async move {
            let (query, answer) = below.answer().await;
            if let Some(mut answer) = answer {
                self.receive(&query, &mut answer, now);
            }
            drop(refreshing);
        });
    }

    fn find(&self, query: &Query) -> Option<Found> {
        self.store.find(&Key::of(query))
    }

    /// Takes a reply from below into the store, as far as it is good for that, and shapes it for a client. `clock` is
    /// asked only for what is kept.
    #[inline]
    fn receive(&self, query: &Query, answer: &mut Answer, clock: impl Fn() -> Instant) -> Received {
        if !is_cacheable(query) || !self.config.zones.contains(&query.question.name) {
            return Received::Taken;
        }
        let Some(by) = answer.by else {
            return self.receive_failure(query, answer, clock());
        };
        let reply = &mut answer.reply;
        let outcome = verdict::outcome(query, reply, SystemTime::now);
        let verdict = verdict::judge(&self.config, outcome, query, reply);
        reply.records.set_ttl(verdict.ttl);
        let received = match verdict.keep {
            Some(kind) if !by.is_always_fresh() => {
                self.keep(kind, query, reply, verdict.ttl, clock())
            }
            // Most of these are of the cluster, and cost no look at the clock.
            _ if by.is_always_fresh() && self.config.stale.is_none() => Received::Taken,
            _ => self.let_pass(query, reply, by.is_always_fresh(), clock()),
        };
        // EDNS goes from hop to hop (RFC 6891 section 6.2.1): the server writes its own.
        reply.options = None;
        if !wants_authentic(query) {
            reply.flags &= !flag::AD;
        }
        received
    }

    /// Those below have no reply: what the server says then is true of the chain, and only if it is for want of an
    /// upstream true of the name too, for a while.
    #[cold]
    fn receive_failure(&self, query: &Query, answer: &Answer, now: Instant) -> Received {
        let Some(failure) = &answer.failure else {
            return Received::Taken;
        };
        let before = self.find(query);
        let before = before.filter(|entry| entry.is_failure() && entry.is_remembered(now));
        let ttl = verdict::failure_ttl(&self.config, failure, before.map(|entry| entry.ttl()));
        if ttl > 0 && !self.config.denial.except.contains(&query.question.name) {
            let key = Key::of(query);
            let entry = self
                .store
                .entry(&key, Kind::Denial, &answer.reply, ttl, now);
            let why = failure.extended_error().text.into_owned();
            self.keep_entry(entry.because(why), query, now)
        } else {
            self.rest(query, now)
        }
    }

    fn keep(&self, kind: Kind, query: &Query, reply: &Reply, ttl: u32, now: Instant) -> Received {
        let entry = self.store.entry(&Key::of(query), kind, reply, ttl, now);
        self.keep_entry(entry, query, now)
    }

    fn keep_entry(&self, entry: Entry, query: &Query, now: Instant) -> Received {
        if entry.octets() > store::ENTRY_OCTETS_MAX {
            return self.drop_large(query, &entry, now);
        }
        self.tell_kept(query, &entry);
        let mut received = Received::Taken;
        let stale_for = self.config.stale_for();
        self.store.insert(entry, now, stale_for, |old, new| {
            let follows = succession::follows(&self.config, old, new, now);
            if !follows {
                received = Received::Unwanted;
            }
            follows
        });
        received
    }

    /// What is too large to be kept ends all the same what it would have taken the place of.
    #[cold]
    fn drop_large(&self, query: &Query, new: &Entry, now: Instant) -> Received {
        self.counters(query).dropped();
        let Some(old) = self.find(query) else {
            return Received::Taken;
        };
        if !succession::follows(&self.config, &old, new, now) {
            return Received::Unwanted;
        }
        self.store.remove(&old);
        Received::Taken
    }

    /// A reply that is not kept: one that says something of the name ends what is stale.
    #[cold]
    fn let_pass(&self, query: &Query, reply: &Reply, fresh: bool, now: Instant) -> Received {
        if !matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
            return if fresh {
                Received::Taken
            } else {
                self.rest(query, now)
            };
        }
        let Some((stale, entry)) = self.config.stale.as_ref().zip(self.find(query)) else {
            return Received::Taken;
        };
        if entry.standing(now, stale.stale_for) != Standing::Stale || reply.flags & flag::TC != 0 {
            return Received::Taken;
        }
        if stale.prefers_positive && entry.is_positive() && !fresh {
            return self.rest(query, now);
        }
        self.store.remove(&entry);
        Received::Taken
    }

    /// Those below said nothing of use, and are left alone for a while where there is something older to give.
    fn rest(&self, query: &Query, now: Instant) -> Received {
        if let Some((stale, entry)) = self.config.stale.as_ref().zip(self.find(query)) {
            entry.rest(now, stale.recheck);
        }
        Received::Unwanted
    }
}

/// The time by the clock of the runtime, which tests may stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether this is a question about a name, and not a transfer of a zone or a notification.
fn is_cacheable(query: &Query) -> bool {
    query.opcode() == opcode::QUERY && !matches!(query.question.rtype, Type::AXFR | Type::IXFR)
}

/// Whether the client is told that data is authentic (RFC 6840 section 5.8).
fn wants_authentic(query: &Query) -> bool {
    query.flags & flag::AD != 0 || query.dnssec_ok()
}

#[cfg(test)]
mod tests;

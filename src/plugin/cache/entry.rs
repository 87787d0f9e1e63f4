//! An answer that is kept, and how it ages: good, stale, gone.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::popularity::Popularity;
use super::{Kind, wants_authentic};
use crate::dns::edns::{ErrorCode, ExtendedError};
use crate::dns::query::flag;
use crate::dns::{Query, Rcode, Records, Reply, Section};

static STALE_ANSWER: ExtendedError = ExtendedError::of(ErrorCode::StaleAnswer, "");
static STALE_NXDOMAIN: ExtendedError = ExtendedError::of(ErrorCode::StaleNxDomain, "");

/// What an entry takes besides itself, its key and its records: the counts of its reference, the headers of four
/// allocations, its slot in the order of eviction, its share of the table.
const OVERHEAD_OCTETS: usize = 16 + 4 * 16 + 16 + 16;

/// The least that an entry takes.
pub(super) const ENTRY_OCTETS_MIN: usize = size_of::<Entry>() + OVERHEAD_OCTETS;

/// How long a failure that is over is remembered, so that the next in a row is kept for longer.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(10);

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    key: Box<[u8]>,
    hash: u64,
    kind: Kind,
    rcode: Rcode,
    /// RA and AD as the reply had them.
    flags: u16,
    /// Seconds that it was good for when it was stored.
    ttl: u32,
    stored: Instant,
    records: Records,
    /// Why nobody could be asked; empty for what an upstream said.
    why: Box<str>,
    /// Somebody asked for it since the hand of the eviction came by.
    asked_for: AtomicBool,
    /// Those below are being asked for its successor.
    refreshing: AtomicBool,
    /// Where it is in the order of eviction.
    slot: AtomicU32,
    /// Milliseconds of its life until which those below are not asked again, because they failed.
    rests_until: AtomicU64,
    popularity: Popularity,
}

/// What an entry is good for at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be given, for so many whole seconds.
    Fresh(u32),
    /// To be given if there is nothing better.
    Stale,
    /// Nothing.
    Gone,
}

impl Entry {
    /// `reply` as what is known under this key from now on, for `ttl` seconds.
    pub(super) fn new(
        (key, hash): (Box<[u8]>, u64),
        kind: Kind,
        reply: &Reply,
        ttl: u32,
        now: Instant,
    ) -> Entry {
        Entry {
            key,
            hash,
            kind,
            rcode: reply.rcode,
            flags: reply.flags & (flag::RA | flag::AD),
            ttl,
            stored: now,
            records: reply.records.clone(),
            why: Box::default(),
            asked_for: AtomicBool::new(false),
            refreshing: AtomicBool::new(false),
            slot: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            popularity: Popularity::default(),
        }
    }

    /// The same with the reason why nobody could be asked: who asks while it is kept wants to know it too.
    pub(super) fn because(mut self, why: String) -> Entry {
        self.why = why.into();
        self
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Seconds that it was good for when it was stored.
    pub(super) fn ttl(&self) -> u32 {
        self.ttl
    }

    pub(super) fn rcode(&self) -> Rcode {
        self.rcode
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// Octets that it takes in all.
    pub(super) fn octets(&self) -> usize {
        ENTRY_OCTETS_MIN + self.key.len() + self.records.octets() + self.why.len()
    }

    /// What it is good for, if it may be given for `stale_for` after its time. Failures never are: that nobody knew
    /// says nothing of now.
    #[inline]
    pub(super) fn standing(&self, now: Instant, stale_for: Duration) -> Standing {
        let age = now.saturating_duration_since(self.stored).as_secs();
        let ttl = u64::from(self.ttl);
        if age < ttl {
            Standing::Fresh((ttl - age) as u32)
        } else if age - ttl < stale_for.as_secs() && !self.is_failure() {
            Standing::Stale
        } else {
            Standing::Gone
        }
    }

    /// Whether its memory may be given back.
    pub(super) fn is_dead(&self, now: Instant, stale_for: Duration) -> bool {
        match self.standing(now, stale_for) {
            Standing::Gone if self.is_failure() => !self.is_remembered(now),
            Standing::Gone => true,
            Standing::Fresh(_) | Standing::Stale => false,
        }
    }

    /// Whether a failure that follows this one follows it closely.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        let ttl = Duration::from_secs(self.ttl.into());
        now.saturating_duration_since(self.stored) < ttl + FAILURE_REMEMBERED
    }

    /// Whether it says no more than that nobody knew.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self.rcode, Rcode::SERVFAIL | Rcode::NOTIMP)
    }

    /// Whether it has records that answer.
    pub(super) fn is_positive(&self) -> bool {
        self.kind == Kind::Success && self.records.count(Section::Answer) > 0
    }

    /// Marks it as asked for. Only the first mark is written.
    #[inline]
    pub(super) fn mark(&self) {
        if !self.asked_for.load(Ordering::Relaxed) {
            self.asked_for.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the mark away and says whether there was one.
    pub(super) fn unmark(&self) -> bool {
        self.asked_for.swap(false, Ordering::Relaxed)
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot.load(Ordering::Relaxed)
    }

    pub(super) fn set_slot(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// Counts a hit at this time; see [`Popularity::count`].
    pub(super) fn is_popular(&self, now: Instant, enough: u32, gap_max: Duration) -> bool {
        let at_ms = u32::try_from(self.age_ms(now)).unwrap_or(u32::MAX);
        self.popularity.count(at_ms, enough, gap_max)
    }

    /// Is as popular as the entry that it follows.
    pub(super) fn inherit(&self, old: &Entry) {
        self.popularity.inherit(&old.popularity);
    }

    /// Takes the only right to ask for its successor; to be given back with [`Entry::end_refresh`].
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }

    /// Those below failed: they are not asked again for this long.
    pub(super) fn rest(&self, now: Instant, period: Duration) {
        let until = self.age_ms(now) + u64::try_from(period.as_millis()).unwrap_or(u64::MAX >> 1);
        self.rests_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Whether those below failed so shortly before that they are not asked.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.age_ms(now) < self.rests_until.load(Ordering::Relaxed)
    }

    /// Whether those below should be asked now: nobody is doing so, and they did not fail just before.
    pub(super) fn may_refresh(&self, now: Instant) -> bool {
        !self.refreshing.load(Ordering::Relaxed) && !self.rests(now)
    }

    /// The reply to `query`, with this TTL, in the memory of `records`. AA is set, as CoreDNS has it: some clients ask
    /// for it.
    #[inline]
    pub(super) fn reply(&self, query: &Query, mut records: Records, ttl: u32) -> Reply {
        let mut flags = query.repeated_flags() | flag::AA | self.flags & flag::RA;
        if wants_authentic(query) {
            flags |= self.flags & flag::AD;
        }
        records.copy_from(&self.records);
        records.set_ttl(ttl);
        let mut reply = Reply {
            rcode: self.rcode,
            flags,
            records,
            options: None,
            error: None,
        };
        if self.is_failure() && query.edns.is_some() {
            let error = ExtendedError {
                code: ErrorCode::CachedError,
                text: String::from(self.why.clone()).into(),
            };
            reply.error = Some(error.into());
        }
        reply
    }

    /// The reply to `query` after its time, which says so to those who can read it (RFC 8767 section 6).
    pub(super) fn stale_reply(&self, query: &Query, records: Records, ttl: u32) -> Reply {
        let mut reply = self.reply(query, records, ttl);
        let error = match self.rcode {
            Rcode::NXDOMAIN => &STALE_NXDOMAIN,
            _ => &STALE_ANSWER,
        };
        reply.error = query.edns.is_some().then(|| error.into());
        reply
    }

    fn age_ms(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.stored).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX >> 1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry of a made-up key.
    pub(in super::super) fn entry_of(key: &str, hash: u64) -> Entry {
        let reply = Reply::new(&mut Query::empty(), Rcode::NOERROR);
        let key = (key.as_bytes().into(), hash);
        Entry::new(key, Kind::Success, &reply, 30, Instant::now())
    }

    #[test]
    fn an_entry_is_good_then_stale_then_gone() {
        let entry = |rcode| Entry {
            rcode,
            ..entry_of("www", 0)
        };
        let hour = Duration::from_secs(3600);
        let (good, failure) = (Rcode::NOERROR, Rcode::SERVFAIL);
        for (fact, rcode, age_ms, stale_for, expected) in [
            ("new", good, 0, hour, Standing::Fresh(30)),
            ("in its last second", good, 29_999, hour, Standing::Fresh(1)),
            ("after its time", good, 30_000, hour, Standing::Stale),
            (
                "and nothing stale is wanted",
                good,
                30_000,
                Duration::ZERO,
                Standing::Gone,
            ),
            ("at the end", good, 3_629_999, hour, Standing::Stale),
            ("over the end", good, 3_630_000, hour, Standing::Gone),
            ("a failure", failure, 29_000, hour, Standing::Fresh(1)),
            (
                "a failure that is over",
                failure,
                30_000,
                hour,
                Standing::Gone,
            ),
        ] {
            let entry = entry(rcode);
            let now = entry.stored + Duration::from_millis(age_ms);
            assert_eq!(entry.standing(now, stale_for), expected, "{fact}");
        }
        let failed = entry(failure);
        for (age, dead) in [(31, false), (39, false), (40, true)] {
            let now = failed.stored + Duration::from_secs(age);
            assert_eq!(failed.is_dead(now, hour), dead, "a failure of {age} s");
        }
    }

    #[test]
    fn an_entry_rests_from_a_failure_as_long_as_the_longest_says() {
        let entry = entry_of("www", 0);
        let after = |seconds| entry.stored + Duration::from_secs(seconds);
        assert!(entry.may_refresh(after(40)));
        entry.rest(after(40), Duration::from_secs(30));
        entry.rest(after(41), Duration::from_secs(5));
        for (seconds, rests) in [(41, true), (69, true), (70, false)] {
            assert_eq!(entry.rests(after(seconds)), rests, "{seconds} s");
        }
        assert!(entry.begin_refresh());
        assert!(!entry.may_refresh(after(80)), "one is under way");
        assert!(!entry.begin_refresh(), "there is one at a time");
        entry.end_refresh();
        assert!(entry.may_refresh(after(80)));
    }
}

//! An answer that is kept, and how it ages.

use std::time::Instant;

use super::wants_authentic;
use crate::dns::query::flag;
use crate::dns::{Query, Rcode, Records, Reply};

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    rcode: Rcode,
    /// RA and AD as the reply had them.
    flags: u16,
    /// Seconds that it was good for when it was stored.
    ttl: u32,
    stored: Instant,
    records: Records,
}

impl Entry {
    pub(super) fn new(reply: &Reply, ttl: u32, now: Instant) -> Entry {
        Entry {
            rcode: reply.rcode,
            flags: reply.flags & (flag::RA | flag::AD),
            ttl,
            stored: now,
            records: reply.records.clone(),
        }
    }

    /// Seconds that it was good for when it was stored.
    pub(super) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Whole seconds that it is still good for; `None` once there are none.
    #[inline]
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let age = now.saturating_duration_since(self.stored).as_secs();
        let left = u64::from(self.ttl)
            .checked_sub(age)
            .filter(|left| *left > 0)?;
        Some(left as u32)
    }

    /// Whether it says no more than that nobody knew.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self.rcode, Rcode::SERVFAIL | Rcode::NOTIMP)
    }

    /// Octets that it takes, more or less.
    pub(super) fn octets(&self) -> usize {
        self.records.octets()
    }

    /// The reply to `query`, with this TTL. AA is set, as CoreDNS has it: some clients ask for it.
    #[inline]
    pub(super) fn reply(&self, query: &mut Query, ttl: u32) -> Reply {
        let mut reply = Reply::authoritative(query, self.rcode);
        reply.flags |= self.flags & flag::RA;
        if wants_authentic(query) {
            reply.flags |= self.flags & flag::AD;
        }
        reply.records.copy_from(&self.records);
        reply.records.set_ttl(ttl);
        reply
    }
}

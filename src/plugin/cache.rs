//! `cache`: keeps answers from below for as long as their TTL says, within the bounds of the Corefile.
//!
//! A query is looked up under its whole key ([`key`]); what is found is copied into the reply, with the time that
//! is left. A reply from below is judged ([`verdict`]): what its TTL becomes, for the client at once, and whether
//! it is kept. The rules are CoreDNS's, with these differences. A hit repeats the name in the case in which it is
//! asked, not in that of the first asker. Answers of plugins that are always fresh are shaped but not kept. What
//! is thrown out of a full cache is what is asked least, not anything.
//!
//! A [`Store`] outlives the chains that use it: a reload that leaves [`Config`] as it is keeps it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::chain::{Answer, Step};
use crate::dns::query::{flag, opcode};
use crate::dns::{Query, Type, Zones};

mod config;
mod counters;
mod entry;
mod key;
mod store;
mod verdict;

pub use config::{Config, Limits, parse};
pub use counters::{Counters, Kind, Uncounted};
pub use store::{Entries, Store};

use entry::Entry;
use key::Key;

/// The plugin in the chains of one listener.
#[derive(Debug)]
pub struct Cache {
    store: Arc<Store>,
    counters: Arc<dyn Counters>,
    /// Names in these zones are never kept, and so not looked up.
    uncached: Zones,
}

impl Cache {
    /// A plugin that looks up and keeps in `store`. `uncached` are the zones that an always fresh plugin below
    /// answers for alone, without letting names through to others.
    pub fn new(store: Arc<Store>, counters: Arc<dyn Counters>, uncached: Zones) -> Cache {
        Cache {
            store,
            counters,
            uncached,
        }
    }

    /// Where answers are kept.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Answers what is known.
    #[inline]
    pub(crate) fn down(&self, query: &mut Query) -> Step {
        let config = self.store.config();
        if !is_cacheable(query)
            || self.uncached.contains(&query.question.name)
            || !config.zones.contains(&query.question.name)
        {
            return Step::Next;
        }
        self.counters.requested();
        match self.store.look_up(&Key::of(query), query.received) {
            Some(hit) => {
                self.counters.hit(hit.kind);
                let ttl = if config.keep_ttl {
                    hit.entry.ttl()
                } else {
                    hit.left
                };
                Step::Reply(hit.entry.reply(query, ttl))
            }
            None => {
                self.counters.missed();
                query.asks_authentic = true;
                Step::Next
            }
        }
    }

    /// Shapes a reply from below, and keeps it.
    #[inline]
    pub(crate) fn up(&self, query: &Query, answer: &mut Answer) {
        // What the server says because the chain failed is true of the chain, not of the name.
        let Some(by) = answer.by else { return };
        let config = self.store.config();
        if !is_cacheable(query) || !config.zones.contains(&query.question.name) {
            return;
        }
        let reply = &mut answer.reply;
        let outcome = verdict::outcome(query, reply, SystemTime::now);
        let verdict = verdict::judge(config, outcome, query, reply);
        reply.records.set_ttl(verdict.ttl);
        if let Some(kind) = verdict.keep.filter(|_| !by.is_always_fresh()) {
            self.keep(kind, query, Entry::new(reply, verdict.ttl, Instant::now()));
        }
        // EDNS goes from hop to hop (RFC 6891 section 6.2.1): the server writes its own.
        reply.options = None;
        if !wants_authentic(query) {
            reply.flags &= !flag::AD;
        }
    }

    fn keep(&self, kind: Kind, query: &Query, entry: Entry) {
        if entry.octets() > store::ENTRY_OCTETS_MAX {
            self.counters.dropped();
            return;
        }
        self.store.insert(kind, &Key::of(query), entry);
    }
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

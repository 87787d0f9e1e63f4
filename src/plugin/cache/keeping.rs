//! What an operator can see of a cache, and take out of it.
//!
//! The table is gone through once, as queries read it: no lock is held, and what is taken out is taken out one by one.
//! Whoever else has work on the same thread goes first after every few entries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::entry::{Entry, Standing};
use super::key::KeyParts;
use super::{Config, Store};
use crate::dns::{Class, Name, Rcode, Records, Type, Zones};

/// The cache of a server block.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// The keys of the block.
    pub server: String,
    /// What its stanza says.
    pub config: Config,
    /// What it keeps.
    pub store: Arc<Store>,
    /// Names in these zones are never kept.
    pub uncached: Zones,
}

/// Which entries are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those of this name, whatever their type.
    Name(Name),
    /// Those of all names in this zone.
    Zone(Name),
    /// All.
    All,
}

/// An entry at some time.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The name, in lower case.
    pub name: Name,
    /// The type that was asked for.
    pub rtype: Type,
    /// The class.
    pub class: Class,
    /// It is for clients that want DNSSEC records.
    pub dnssec_ok: bool,
    /// It is for clients that want data which is not validated too.
    pub checking_disabled: bool,
    /// It is for clients that want recursion, as nearly all do.
    pub recursion_desired: bool,
    /// The response code.
    pub rcode: Rcode,
    /// How long it has been kept.
    pub age: Duration,
    /// Seconds that it was good for.
    pub ttl: u32,
    /// Seconds that it is still good for; `None` after its time.
    pub left: Option<u32>,
    /// It may be given after its time, if those below fail.
    pub is_stale: bool,
    /// Octets that it takes.
    pub octets: usize,
    /// Its records.
    pub records: Records,
    /// Why nobody could be asked; empty for what an upstream said.
    pub why: String,
}

/// Entries that are looked at before others on the thread have their turn: some 50 µs.
const AT_ONCE: usize = 512;

/// Octets of entries that are shown; what is beyond is counted.
const SHOWN_OCTETS_MAX: usize = 256 << 10;

impl Which {
    fn is(self, name: &Name) -> bool {
        match self {
            Which::Name(wanted) => *name == wanted,
            Which::Zone(zone) => name.is_within(&zone),
            Which::All => true,
        }
    }
}

impl Keeping {
    /// The entries that are meant, `max` of them, and how many there are.
    pub async fn kept(&self, which: Which, now: Instant, max: usize) -> (Vec<Kept>, usize) {
        let (mut kept, mut count, mut octets) = (Vec::new(), 0, 0);
        let take = |parts: &KeyParts, entry: &Arc<Entry>| {
            count += 1;
            if kept.len() < max && octets < SHOWN_OCTETS_MAX {
                octets += entry.octets();
                kept.push(self.as_kept(parts, entry, now));
            }
        };
        self.each(which, take).await;
        kept.sort_by_key(|kept| (kept.name.to_string(), kept.rtype));
        (kept, count)
    }

    /// Forgets the entries that are meant and says how many. What is asked of an upstream already is kept when it comes.
    pub async fn forget(&self, which: Which) -> usize {
        let mut count = 0;
        let take =
            |_: &KeyParts, entry: &Arc<Entry>| count += usize::from(self.store.forget(entry));
        self.each(which, take).await;
        count
    }

    async fn each(&self, which: Which, mut take: impl FnMut(&KeyParts, &Arc<Entry>)) {
        for (number, entry) in self.store.all().enumerate() {
            if number % AT_ONCE == AT_ONCE - 1 {
                yield_now().await;
            }
            let parts = KeyParts::of(entry.key());
            if let Some(parts) = parts.filter(|parts| which.is(&parts.name)) {
                take(&parts, &entry);
            }
        }
    }

    fn as_kept(&self, parts: &KeyParts, entry: &Entry, now: Instant) -> Kept {
        let standing = entry.standing(now, self.config.stale_for());
        Kept {
            name: parts.name,
            rtype: parts.rtype,
            class: parts.class,
            dnssec_ok: parts.dnssec_ok,
            checking_disabled: parts.checking_disabled,
            recursion_desired: parts.recursion_desired,
            rcode: entry.rcode(),
            age: entry.age(now),
            ttl: entry.ttl(),
            left: match standing {
                Standing::Fresh(left) => Some(left),
                Standing::Stale | Standing::Gone => None,
            },
            is_stale: standing == Standing::Stale,
            octets: entry.octets(),
            records: entry.records().clone(),
            why: entry.why().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Uncounted};
    use super::*;
    use crate::dns::query::flag;
    use crate::dns::{Edns, Query, Question, Reply};
    use crate::plugin::case;

    fn keeping() -> Keeping {
        let config = case::read("cache", "cache 30", super::super::parse).unwrap();
        let counters: Arc<dyn super::super::Counters> = Arc::new(Uncounted);
        Keeping {
            server: ".:53".to_owned(),
            store: Arc::new(Store::new(&config, &counters)),
            config,
            uncached: Zones::default(),
        }
    }

    fn keep(keeping: &Keeping, name: &str, rtype: Type, dnssec_ok: bool, now: Instant) {
        let mut query = Query::empty();
        query.flags = flag::RD;
        query.question = Question::new(name.parse().unwrap(), rtype, Class::IN);
        query.edns = dnssec_ok.then(|| Edns {
            dnssec_ok,
            ..Edns::default()
        });
        let reply = Reply::new(&mut query, Rcode::NOERROR);
        let key = super::super::Key::of(&query);
        let entry = keeping.store.entry(&key, Kind::Success, &reply, 30, now);
        let follows = |_: &Entry, _: &Entry| true;
        keeping.store.insert(entry, now, Duration::ZERO, follows);
    }

    fn filled(now: Instant) -> Keeping {
        let keeping = keeping();
        for (name, rtype, dnssec_ok) in [
            ("www.example.com.", Type::A, false),
            ("WWW.example.com.", Type::A, true),
            ("www.example.com.", Type::AAAA, false),
            ("example.com.", Type::A, false),
            ("www.example.org.", Type::A, false),
        ] {
            keep(&keeping, name, rtype, dnssec_ok, now);
        }
        keeping
    }

    fn which(text: &str) -> Which {
        match text.split_once(' ') {
            Some(("name", name)) => Which::Name(name.parse().unwrap()),
            Some((_, zone)) => Which::Zone(zone.parse().unwrap()),
            None => Which::All,
        }
    }

    #[tokio::test]
    async fn what_is_meant_is_shown_and_taken_out_and_nothing_else() {
        let now = Instant::now();
        for (text, meant) in [
            ("name www.Example.com", 3),
            ("name com", 0),
            ("zone example.com", 4),
            ("zone .", 5),
            ("all", 5),
        ] {
            let keeping = filled(now);
            let which = which(text);
            let (kept, count) = keeping.kept(which, now, 9).await;
            assert_eq!((kept.len(), count), (meant, meant), "{text}");
            assert_eq!(keeping.forget(which).await, meant, "{text}");
            assert_eq!(keeping.kept(which, now, 9).await.1, 0, "{text}");
            assert_eq!(
                keeping.kept(Which::All, now, 9).await.1,
                5 - meant,
                "{text}"
            );
            let entries = keeping.store.entries();
            assert_eq!(entries.success, 5 - meant as u64, "{text}: the ledger");
        }
    }

    #[tokio::test]
    async fn an_entry_is_shown_as_it_stands() {
        let now = Instant::now();
        let keeping = filled(now);
        let later = now + Duration::from_secs(12);
        let (kept, count) = keeping.kept(Which::All, later, 2).await;
        assert_eq!((kept.len(), count), (2, 5), "no more than wanted");
        let (kept, _) = keeping.kept(which("name www.example.com"), later, 9).await;
        let first = &kept[0];
        assert_eq!(
            (first.rtype, first.ttl, first.left),
            (Type::A, 30, Some(18))
        );
        assert_eq!(first.age.as_secs(), 12);
        assert!(first.recursion_desired && !first.checking_disabled);
        assert!(kept.iter().filter(|kept| kept.dnssec_ok).count() == 1);
        let over = now + Duration::from_secs(30);
        let (kept, _) = keeping.kept(which("name www.example.org"), over, 9).await;
        assert_eq!((kept[0].left, kept[0].is_stale), (None, false));
    }
}

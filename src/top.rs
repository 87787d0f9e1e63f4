//! Who asks most: the names, Namespaces, clients and response codes of the last minute.
//!
//! ```text
//! one query of 64 ─▶ the sketches of its thread ──┐
//! one query of 64 ─▶ the sketches of its thread ──┴─▶ report
//! ```
//!
//! A listener tells [`Top`] of about one query in [`SAMPLED_EVERY`](crate::server::SAMPLED_EVERY), drawn by lot. There are as many sketches as
//! threads that are busy, so that counting hardly ever meets another thread; where it does, or while they are being read, the sample is
//! left out and counted as such. A report
//! is of half a minute to a minute: of two halves the older is forgotten when the newer is full.
//!
//! How good the figures are: of `n` samples no count is too high by more than `n / 256`, and whatever came more often is
//! there ([`sketch`]). That a sample stands for 64 queries is right up to chance: of `k` samples, give or take
//! `√k`.
//!
//! What it costs: some 40 of the 3,330 instructions of the answer for a Service, spread over all queries (callgrind, optimized
//! but with overflow checks; the countdown and the looks at [`Query::trace`] are some ten more). Sketches
//! take 214 KiB each at most, half of it names, from the first sample of a thread on; memory that nothing was written to is
//! not there. They live as long as the process: a reload forgets nothing.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use crate::dns::name::LABEL_MAX;
use crate::dns::{Name, Query, Rcode, Zones};
use crate::server::Hooks;

mod sketch;

use sketch::{Counted, Sketch};

/// Half of the time that a report is of.
const HALF: Duration = Duration::from_secs(30);

/// Shards, whatever the number of cores: threads beyond share them.
const SHARDS_MAX: usize = 32;

/// Response codes that are counted by themselves; the others are counted together, as the last.
const RCODES: usize = 25;

/// A Namespace: one label in lower-case wire form.
type Label = [u8; LABEL_MAX + 1];

/// What the listeners of the process were asked most.
#[derive(Debug)]
pub struct Top {
    hasher: RandomState,
    began: Instant,
    shards: Box<[Mutex<Shard>]>,
    /// The zones whose names have a Namespace.
    clusters: ArcSwap<Zones>,
    left_out: AtomicU64,
}

/// What the threads of one shard were asked, in two halves.
#[derive(Debug)]
struct Shard {
    /// The number of the half that is counted in, from the begin of the process.
    half: u64,
    recent: Sketches,
    before: Sketches,
}

#[derive(Debug)]
struct Sketches {
    samples: u64,
    names: Sketch<Name>,
    namespaces: Sketch<Label>,
    clients: Sketch<IpAddr>,
    rcodes: [u32; RCODES],
}

/// Who asked most.
#[derive(Debug)]
pub struct Report {
    /// The time that it is of.
    pub span: Duration,
    /// Queries that were looked at; each stands for [`SAMPLED_EVERY`](crate::server::SAMPLED_EVERY).
    pub samples: u64,
    /// Queries that were to be looked at since the start and were not, because the sketches were being read.
    pub left_out: u64,
    /// By name.
    pub names: Vec<Ranked>,
    /// By Namespace, of names of a cluster.
    pub namespaces: Vec<Ranked>,
    /// By address of the client.
    pub clients: Vec<Ranked>,
    /// By response code.
    pub rcodes: Vec<Ranked>,
}

/// How often something came, in samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// What.
    pub what: String,
    /// At least.
    pub at_least: u64,
    /// At most.
    pub at_most: u64,
}

impl Top {
    /// Nothing counted. Threads take memory for what they count when they begin to: a machine has more cores than threads
    /// that are asked.
    pub fn new() -> Top {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // A thread for UDP and one of the runtime for each core.
        let shards = 0..(2 * cores).min(SHARDS_MAX);
        Top {
            hasher: RandomState::default(),
            began: Instant::now(),
            shards: shards.map(|_| Mutex::new(Shard::new())).collect(),
            clusters: ArcSwap::default(),
            left_out: AtomicU64::new(0),
        }
    }

    /// From now on names in these zones have a Namespace.
    pub fn set_clusters(&self, zones: Zones) {
        self.clusters.store(zones.into());
    }

    /// Who asked most until now, `count` of each kind.
    pub fn report(&self, now: Instant, count: usize) -> Report {
        let half = self.half(now);
        let mut merged = Merged::default();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.turn(half);
            merged.add(&shard.before);
            merged.add(&shard.recent);
        }
        let since_begin = now.saturating_duration_since(self.began);
        let forgotten = HALF * u32::try_from(half.saturating_sub(1)).unwrap_or(u32::MAX);
        Report {
            span: since_begin.saturating_sub(forgotten),
            samples: merged.samples,
            left_out: self.left_out.load(Ordering::Relaxed),
            names: ranked(merged.names, count, |name| name.to_string()),
            namespaces: ranked(merged.namespaces, count, label_text),
            clients: ranked(merged.clients, count, |ip| ip.to_string()),
            rcodes: ranked(merged.rcodes, count, |rcode| match usize::from(*rcode) {
                others if others + 1 == RCODES => "others".to_owned(),
                _ => Rcode(*rcode).to_string(),
            }),
        }
    }

    fn half(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / HALF.as_secs()
    }

    fn count(&self, shard: &mut Shard, query: &Query, rcode: Rcode) {
        shard.turn(self.half(query.received));
        let sketches = &mut shard.recent;
        sketches.samples += 1;
        let name = &query.question.name;
        let is_name = |known: &Name| known.wire() == name.wire();
        sketches
            .names
            .add(&self.hasher, name.wire(), is_name, || *name);
        let clusters = self.clusters.load();
        let cluster = clusters.matching(name);
        if let Some(label) = cluster.and_then(|(_, zone_at)| namespace(name, zone_at)) {
            let is_label = |known: &Label| known[..label.len()] == *label;
            let key = || {
                let mut key = [0; LABEL_MAX + 1];
                key[..label.len()].copy_from_slice(label);
                key
            };
            sketches.namespaces.add(&self.hasher, label, is_label, key);
        }
        let client = query.client.ip();
        let octets = match client {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let is_client = |known: &IpAddr| *known == client;
        sketches
            .clients
            .add(&self.hasher, &octets, is_client, || client);
        sketches.rcodes[usize::from(rcode.0).min(RCODES - 1)] += 1;
    }
}

impl Default for Top {
    fn default() -> Top {
        Top::new()
    }
}

impl Hooks for Top {
    fn sampled(&self, query: &Query, rcode: Rcode) {
        match self.shards[ordinal() % self.shards.len()].try_lock() {
            Ok(mut shard) => self.count(&mut shard, query, rcode),
            Err(TryLockError::Poisoned(shard)) => {
                self.count(&mut shard.into_inner(), query, rcode);
            }
            Err(TryLockError::WouldBlock) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Shard {
    fn new() -> Shard {
        Shard {
            half: 0,
            recent: Sketches::new(),
            before: Sketches::new(),
        }
    }

    /// Goes on to this half, and forgets those before the last.
    fn turn(&mut self, half: u64) {
        if half <= self.half {
            return;
        }
        std::mem::swap(&mut self.recent, &mut self.before);
        self.recent.clear();
        if half > self.half + 1 {
            self.before.clear();
        }
        self.half = half;
    }
}

impl Sketches {
    fn new() -> Sketches {
        Sketches {
            samples: 0,
            names: Sketch::new(),
            namespaces: Sketch::new(),
            clients: Sketch::new(),
            rcodes: [0; RCODES],
        }
    }

    fn clear(&mut self) {
        self.samples = 0;
        self.names.clear();
        self.namespaces.clear();
        self.clients.clear();
        self.rcodes = [0; RCODES];
    }
}

/// The counts of all shards and halves.
#[derive(Default)]
struct Merged {
    samples: u64,
    names: Counts<Name>,
    namespaces: Counts<Label>,
    clients: Counts<IpAddr>,
    rcodes: Counts<u16>,
}

/// Counts over several sketches. A key that is missing in one may have come there as often as the least that is counted
/// there; so its most is what all sketches may have missed, and what is more than that where it has a counter.
struct Counts<K> {
    of: HashMap<K, (u64, u64)>,
    missed: u64,
}

impl<K> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts {
            of: HashMap::new(),
            missed: 0,
        }
    }
}

impl Merged {
    fn add(&mut self, sketches: &Sketches) {
        self.samples += sketches.samples;
        self.names.add(&sketches.names);
        self.namespaces.add(&sketches.namespaces);
        self.clients.add(&sketches.clients);
        for (rcode, count) in (0u16..)
            .zip(sketches.rcodes)
            .filter(|(_, count)| *count > 0)
        {
            let (at_least, beyond) = self.rcodes.of.entry(rcode).or_default();
            *at_least += u64::from(count);
            *beyond += u64::from(count);
        }
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    fn add(&mut self, sketch: &Sketch<K>) {
        let missed = sketch.missed_at_most();
        self.missed += u64::from(missed);
        for Counted {
            key,
            at_most,
            at_least,
        } in sketch.counted()
        {
            let (least, beyond) = self.of.entry(key).or_default();
            *least += u64::from(at_least);
            *beyond += u64::from(at_most - missed);
        }
    }
}

/// The first of them, most first.
fn ranked<K>(counts: Counts<K>, count: usize, text: impl Fn(&K) -> String) -> Vec<Ranked> {
    let missed = counts.missed;
    let all = counts.of.into_iter();
    let mut ranked: Vec<Ranked> = all
        .map(|(key, (at_least, beyond))| Ranked {
            what: text(&key),
            at_least,
            at_most: beyond + missed,
        })
        .collect();
    ranked.sort_by(|a, b| {
        let by_count = (b.at_least, b.at_most).cmp(&(a.at_least, a.at_most));
        by_count.then_with(|| a.what.cmp(&b.what))
    });
    ranked.truncate(count);
    ranked
}

/// The label of the Namespace in a name of a cluster, in front of `svc` or `pod`.
fn namespace(name: &Name, zone_at: usize) -> Option<&[u8]> {
    let left = &name.wire()[..zone_at];
    let (mut at, mut before) = (0, None);
    loop {
        let end = at + 1 + usize::from(*left.get(at)?);
        let label = &left[at..end];
        if end == left.len() {
            let is_kind = matches!(label, b"\x03svc" | b"\x03pod");
            return before.filter(|_| is_kind);
        }
        (at, before) = (end, Some(label));
    }
}

fn label_text(label: &Label) -> String {
    let labels = &label[..=usize::from(label[0])];
    let name = Name::join(labels, &Name::root()).unwrap_or_default();
    let text = name.to_string();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of this thread among those that have ever counted.
fn ordinal() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static ORDINAL: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    ORDINAL.with(|ordinal| {
        if ordinal.get() == usize::MAX {
            ordinal.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        ordinal.get()
    })
}

#[cfg(test)]
mod tests;

//! `loop [fatal]`: finds out whether queries that are forwarded come back.
//!
//! A query for a name that nobody else can know is sent to the server itself (`probing`). If it is seen more than twice
//! it goes in circles, and so would every name that goes the same way: those are told SERVFAIL from then on, while all
//! that is answered without an upstream goes on. The probe is repeated, and when nothing comes back any more the names
//! are forwarded again. With `fatal` the process is told, and ends, as CoreDNS does.

mod probing;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chain::{Failure, Reason, Step};
use crate::config::Scope;
use crate::corefile::reader;
use crate::corefile::{Directive, Faults, quoted};
use crate::dns::{Name, Query, Type};

use super::PluginId;

/// The probe and one that was asked again are no loop yet.
const SEEN_MAX: u32 = 2;

const LOOP: PluginId = PluginId::of("loop");

/// What the Corefile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The zone that is probed: the first of the server block.
    pub zone: Name,
    /// Whether a loop ends the process.
    pub is_fatal: bool,
}

/// Reads `loop`.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let is_fatal = match reader.args().first() {
        Some(word) if word.text == "fatal" => {
            reader.at_most(1)?;
            true
        }
        _ => {
            reader.none()?;
            false
        }
    };
    reader.no_block()?;
    let zone = scope.zones.first().copied().unwrap_or_default();
    Some(Config { zone, is_fatal })
}

/// A loop that was found. Displayed in CoreDNS's words, which operators look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Who sent the query that came too often: the last server of the circle.
    pub from: SocketAddr,
    /// The address that this server is known by.
    pub to: String,
    /// The zone.
    pub zone: Name,
    /// The name that went in circles.
    pub probe: Name,
}

/// What is told of a loop. It has been logged.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// It was found, and names are no longer forwarded.
    Found(&'a Loop),
    /// It is gone, and they are again.
    Gone,
}

/// What is done about loops.
pub type Tell = dyn Fn(News<'_>) + Send + Sync;

/// What is done about a loop that shall end the process.
pub type OnLoop = dyn Fn(&Loop) + Send + Sync;

/// Whether a name, the second, is forwarded to those whom the probe, the first, is forwarded to.
pub type GoesWith = dyn Fn(&Name, &Name) -> bool + Send + Sync;

/// The plugin.
pub struct LoopGuard {
    zone: Name,
    address: String,
    /// Whether the guard speaks of the end that the process will come to.
    is_fatal: bool,
    state: AtomicU8,
    round: Mutex<Round>,
    seen: AtomicU32,
    /// What clients are told while there is a loop.
    reason: Arc<str>,
    goes_with: Box<GoesWith>,
    tell: Box<Tell>,
}

/// What the guard knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// Nothing yet: it probes.
    Watching,
    /// There is a loop.
    Looping,
    /// There is none. It has stepped aside for ever.
    Aside,
}

/// The probe that is out.
struct Round {
    /// The name that is asked for; `None` where the zone has no room for one.
    probe: Option<Name>,
    /// The loop that was found.
    found: Option<Loop>,
}

impl LoopGuard {
    /// A guard that makes up names of its own. `address` is where the server listens, as the log shall have it.
    pub fn new(
        config: Config,
        address: String,
        goes_with: Box<GoesWith>,
        tell: Box<Tell>,
    ) -> LoopGuard {
        let probe = probing::name(&config.zone);
        let state = match probe {
            Some(_) => State::Watching,
            None => State::Aside,
        };
        let zone = quoted(&config.zone.to_string());
        LoopGuard {
            zone: config.zone,
            address,
            is_fatal: config.is_fatal,
            state: AtomicU8::new(state as u8),
            round: Mutex::new(Round { probe, found: None }),
            seen: AtomicU32::new(0),
            reason: format!(
                "queries for zone {zone} come back from their upstream: a forwarding loop"
            )
            .into(),
            goes_with,
            tell,
        }
    }

    /// Counts the probe, and stops what would go in circles.
    #[inline]
    pub(crate) fn down(&self, query: &Query) -> Step {
        match self.state() {
            State::Aside => Step::Next,
            State::Watching if query.question.rtype != Type::HINFO => Step::Next,
            State::Watching | State::Looping => self.judge(query),
        }
    }

    #[cold]
    fn judge(&self, query: &Query) -> Step {
        let name = &query.question.name;
        let probe = self.round().probe;
        let Some(probe) = probe else {
            return Step::Next;
        };
        if query.question.rtype == Type::HINFO && *name == probe {
            let seen = self.seen.fetch_add(1, Ordering::Relaxed);
            if seen == SEEN_MAX {
                self.found(query.client, probe);
            }
            // One that has come so often would come again.
            return if seen < SEEN_MAX {
                Step::Next
            } else {
                self.refuse()
            };
        }
        if self.state() == State::Looping && (self.goes_with)(&probe, name) {
            return self.refuse();
        }
        Step::Next
    }

    fn refuse(&self) -> Step {
        Step::Fail(Failure {
            by: Some(LOOP),
            reason: Reason::Looping(self.reason.clone()),
        })
    }

    fn found(&self, from: SocketAddr, probe: Name) {
        if self.state() == State::Looping {
            return;
        }
        let found = Loop {
            from,
            to: self.address.clone(),
            zone: self.zone,
            probe,
        };
        self.enter(State::Looping);
        self.round().found = Some(found.clone());
        if !self.is_fatal {
            tracing::error!(
                target: "plugin/loop",
                "{found}. Names that are forwarded are told SERVFAIL until nothing comes back"
            );
        }
        (self.tell)(News::Found(&found));
    }

    fn gone(&self) {
        if self.state() == State::Looping {
            self.round().found = None;
            tracing::info!(target: "plugin/loop", "No loop any more for zone {:?}: names are forwarded again", self.zone.to_string());
            (self.tell)(News::Gone);
        }
    }

    fn state(&self) -> State {
        let all = [State::Watching, State::Looping, State::Aside];
        all[usize::from(self.state.load(Ordering::Relaxed))]
    }

    fn enter(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LoopGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopGuard")
            .field("zone", &self.zone)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loop {
            from,
            to,
            zone,
            probe,
        } = self;
        write!(f, "Loop ({from} -> {to}) detected for zone \"{zone}\", ")?;
        f.write_str("see https://coredns.io/plugins/loop#troubleshooting. ")?;
        write!(f, "Query: \"HINFO {probe}\"")
    }
}

#[cfg(test)]
mod tests;

//! The upstreams of a stanza at this moment.
//!
//! ```text
//! targets: addresses ───────────────────────▶ found ─▶ the first fifteen ─▶ upstreams, swapped in whole
//!          files ── looked at now and then ──▶   ▲
//!          names ── asked for as TTLs end ───────┘
//! ```
//!
//! A file that cannot be read and a name that cannot be resolved change nothing: the last good list stays. An upstream
//! whose endpoint stays is the same upstream, with its health and its connections; also over a reload, because they
//! are found in [`Outbound`]. Files are looked at by their paths, without the kernel's word: a mounted ConfigMap
//! changes by symbolic links and a bind mount elsewhere, and a look costs some ten microseconds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;

use crate::blocking;
use crate::corefile::{Filesystem, Outside};

mod known;
mod lookup;

use super::Outbound;
use super::config::{Resolvers, Stanza, Target, UPSTREAMS_MAX, listed};
use super::endpoint::{Endpoint, Host};
use super::tls::Clients;
use super::upstream::{Settings, Upstream};
use known::{Known, Learned};
use lookup::Lookup;

/// The upstreams of a stanza.
pub(super) struct Roster {
    targets: Vec<Target>,
    resolvers: Resolvers,
    settings: Settings,
    clients: Clients,
    outbound: Arc<Outbound>,
    found: Mutex<Vec<Found>>,
    current: ArcSwap<Current>,
}

/// The upstreams at one moment.
#[derive(Debug, Default)]
pub(super) struct Current {
    pub(super) upstreams: Vec<Arc<Upstream>>,
    /// Why there are none, if there are none.
    trouble: String,
}

/// What is known of a target.
#[derive(Debug, Default)]
struct Found {
    endpoints: Vec<Endpoint>,
    trouble: Option<String>,
}

/// How often targets are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The pause between two looks at a file.
    pub(super) look: Duration,
    /// The least and the most time that addresses of a name are believed, whatever their TTL.
    pub(super) believe: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            look: Duration::from_secs(2),
            // Below the least a resolver would be asked more than it should be; beyond the most a move of a resolver
            // would be seen too late.
            believe: (Duration::from_secs(5), Duration::from_secs(300)),
        }
    }
}

impl Current {
    /// Why there are no upstreams.
    pub(super) fn trouble(&self) -> Arc<str> {
        self.trouble.as_str().into()
    }
}

impl Roster {
    /// The upstreams that are known already.
    pub(super) fn new(stanza: &Stanza, outbound: Arc<Outbound>) -> Roster {
        let found = stanza.to.iter().map(|target| match target {
            Target::Address(_) | Target::File { .. } => Found {
                endpoints: target.endpoints(),
                trouble: None,
            },
            // A configuration before this one may have known it.
            Target::Host(host) => Found {
                endpoints: at(host, &outbound.addresses(&host.name)),
                trouble: Some(format!("{} has not been resolved yet", host.name)),
            },
        });
        let roster = Roster {
            found: Mutex::new(found.collect()),
            targets: stanza.to.clone(),
            resolvers: stanza.resolvers.clone(),
            settings: Settings::of(stanza),
            clients: Clients::new(stanza.tls.clone()),
            outbound,
            current: ArcSwap::default(),
        };
        roster.publish();
        roster
    }

    /// The upstreams at this moment. A query uses one list to its end.
    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Whether the list may change.
    pub(super) fn changes(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| !matches!(target, Target::Address(_)))
    }

    /// Follows files and names, for ever.
    pub(super) async fn follow(&self, pace: Pace) {
        let targets = self.targets.iter().enumerate();
        let follow = targets.map(|(at, target)| async move {
            match target {
                Target::Address(_) => {}
                Target::File { path, listed } => {
                    self.follow_file(at, path.clone(), listed.clone(), pace)
                        .await;
                }
                Target::Host(host) => self.follow_host(at, host, pace).await,
            }
        });
        join_all(follow).await;
    }

    async fn follow_file(&self, at: usize, path: PathBuf, mut served: Vec<SocketAddr>, pace: Pace) {
        let mut told = None;
        loop {
            tokio::time::sleep(pace.look).await;
            let read = path.clone();
            // The file may lie on a slow disk; the runtime's threads answer queries.
            let read = blocking::run("upstreams", move || Filesystem.read(&read));
            let fault = match read.await {
                Ok(Ok(content)) => match listed(&content) {
                    none if none.is_empty() => "lists no name server".to_owned(),
                    now if now == served => {
                        told = None;
                        continue;
                    }
                    now => {
                        served = now;
                        told = None;
                        let endpoints = served.iter().copied().map(Endpoint::plain).collect();
                        tracing::info!(target: "plugin/forward", "{} lists other name servers now: {}", path.display(), words(&served));
                        self.found(at, endpoints);
                        continue;
                    }
                },
                Ok(Err(why)) => format!("cannot be read: {why}"),
                Err(why) => format!("cannot be read: {why}"),
            };
            if told.as_ref() != Some(&fault) {
                tracing::warn!(target: "plugin/forward", "{} {fault}; {} stay in use", path.display(), words(&served));
                told = Some(fault);
            }
        }
    }

    async fn follow_host(&self, at_target: usize, host: &Host, pace: Pace) {
        let lookup = Lookup::new(self.resolvers.clone(), self.outbound.home.clone());
        let mut known = Known::new(
            self.outbound.addresses(&host.name),
            pace.believe,
            Instant::now(),
        );
        let mut told = None;
        loop {
            let answers = lookup.addresses(host.name).await;
            match known.learn(answers, Instant::now()) {
                Learned::Same => told = None,
                Learned::Moved(addresses) => {
                    told = None;
                    tracing::info!(target: "plugin/forward", "{} is at {} now", host.name, words(&addresses));
                    self.outbound.remember(host.name, &addresses);
                    self.found(at_target, at(host, &addresses));
                }
                Learned::Failed(why) => {
                    if told.as_ref() != Some(&why) {
                        let addresses = known.addresses();
                        let stay = if addresses.is_empty() {
                            "no address of it is known".to_owned()
                        } else {
                            format!("{} stay in use", words(&addresses))
                        };
                        tracing::warn!(target: "plugin/forward", "{} cannot be resolved: {why}; {stay}", host.name);
                        self.failed(
                            at_target,
                            format!("{} cannot be resolved: {why}", host.name),
                        );
                        told = Some(why);
                    }
                }
            }
            tokio::time::sleep_until(known.due().into()).await;
        }
    }

    fn found(&self, at: usize, endpoints: Vec<Endpoint>) {
        self.lock()[at].endpoints = endpoints;
        self.publish();
    }

    fn failed(&self, at: usize, why: String) {
        self.lock()[at].trouble = Some(why);
        self.publish();
    }

    /// Makes what was found the list.
    fn publish(&self) {
        let found = self.lock();
        let mut endpoints: Vec<&Endpoint> = Vec::new();
        for endpoint in found.iter().flat_map(|found| &found.endpoints) {
            if self.can_be_asked(endpoint) && !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.len() > UPSTREAMS_MAX {
            let left: Vec<String> = endpoints[UPSTREAMS_MAX..]
                .iter()
                .map(ToString::to_string)
                .collect();
            tracing::warn!(target: "plugin/forward", "more than {UPSTREAMS_MAX} upstreams: {} are not asked", left.join(" "));
            endpoints.truncate(UPSTREAMS_MAX);
        }
        let upstreams = endpoints.into_iter().map(|endpoint| {
            self.outbound
                .upstream(endpoint, &self.settings, &self.clients)
        });
        let troubles = found.iter().filter_map(|found| found.trouble.as_deref());
        let current = Current {
            upstreams: upstreams.collect(),
            trouble: troubles.collect::<Vec<_>>().join("; "),
        };
        // Under the lock, so that of two changes the later one stays.
        self.current.store(Arc::new(current));
    }

    fn can_be_asked(&self, endpoint: &Endpoint) -> bool {
        let source = self.settings.source_address;
        source.is_none_or(|source| source.is_ipv4() == endpoint.address.is_ipv4())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roster")
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

/// The upstreams that a host makes at these addresses.
fn at(host: &Host, addresses: &[std::net::IpAddr]) -> Vec<Endpoint> {
    let addresses = addresses.iter();
    addresses
        .map(|address| Endpoint {
            address: (*address, host.port).into(),
            speaks: host.speaks.clone(),
        })
        .collect()
}

fn words(items: &[impl ToString]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(" ")
}

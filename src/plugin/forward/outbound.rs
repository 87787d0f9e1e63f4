//! What the queries of all configurations share on their way out: the bound on how many there are, sockets, and the
//! upstreams themselves, so that a reload that keeps an upstream keeps its health, its connections and its TLS sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;

use crate::admission::Admission;
use crate::dns::Name;

use super::endpoint::Endpoint;
use super::observer::Observer;
use super::tls::Clients;
use super::upstream::{Settings, Upstream};

/// Queries of the whole process that may wait for upstreams. Each holds up to 6 KB, which makes 24 MB, and a socket, and
/// so one of the 28,000 ports from which the kernel draws: with more of them taken the rest would be easier to guess. At
/// 50 ms an answer it is 80,000 queries a second; with nobody answering, 900.
const WAITING_MAX: usize = 4_096;

/// Of which one stanza takes no more, unless `max_concurrent` says so: its dead upstreams leave room for the others.
pub(super) const STANZA_WAITING_MAX: usize = WAITING_MAX / 2;

/// Names of upstreams whose addresses are remembered over reloads: more than a Corefile has, through many of them.
const HOSTS_MAX: usize = 1024;

/// What the queries of all generations share on their way out. It lives as long as the process.
pub struct Outbound {
    pub(super) waiting: Arc<Admission>,
    /// Where connections live, and checks run: a thread that reads queries turns its own runtime only while one waits.
    pub(super) home: Handle,
    upstreams: Mutex<Vec<Shared>>,
    /// The last addresses of upstreams that have names.
    addresses: Mutex<HashMap<Name, Vec<IpAddr>>>,
    pub(super) observer: Arc<dyn Observer>,
}

/// An upstream that some stanza asks, and by which all stanzas that say the same of it find it.
struct Shared {
    endpoint: Endpoint,
    settings: Settings,
    upstream: Weak<Upstream>,
}

impl Outbound {
    /// Nothing under way yet; connections live on `home`, and what happens is told to `observer`.
    pub fn new(observer: Arc<dyn Observer>, home: Handle) -> Outbound {
        Outbound {
            waiting: Admission::new(WAITING_MAX),
            home,
            upstreams: Mutex::default(),
            addresses: Mutex::default(),
            observer,
        }
    }

    /// The upstream that is found there and of which that is said, with its connections and what is known of its
    /// health if a stanza has it already, of this configuration or of the one before.
    pub(super) fn upstream(
        &self,
        endpoint: &Endpoint,
        settings: &Settings,
        clients: &Clients,
    ) -> Arc<Upstream> {
        let mut shared = lock(&self.upstreams);
        shared.retain(|shared| shared.upstream.strong_count() > 0);
        let mut same = shared
            .iter()
            .filter(|shared| shared.endpoint == *endpoint && shared.settings == *settings);
        if let Some(upstream) = same.find_map(|shared| shared.upstream.upgrade()) {
            return upstream;
        }
        let upstream = Arc::new(Upstream::new(
            endpoint.clone(),
            settings,
            clients,
            self.home.clone(),
            self.observer.upstream(endpoint.address),
        ));
        shared.push(Shared {
            endpoint: endpoint.clone(),
            settings: settings.clone(),
            upstream: Arc::downgrade(&upstream),
        });
        upstream
    }

    /// The last addresses of an upstream's name, if there were any.
    pub(super) fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        lock(&self.addresses).get(name).cloned().unwrap_or_default()
    }

    pub(super) fn remember(&self, name: Name, addresses: &[IpAddr]) {
        let mut known = lock(&self.addresses);
        if known.len() < HOSTS_MAX || known.contains_key(&name) {
            known.insert(name, addresses.to_vec());
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

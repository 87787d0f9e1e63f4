//! The operator's HTTP: `/health`, `/ready` and `/metrics`, off the path of queries.
//!
//! `Ops` owns the sockets. A generation says which endpoints it wants, and `apply` makes the difference: an address that
//! stays keeps its socket, a new one is open before an old one closes, and if one cannot be opened nothing changes.
//! Endpoints with the same address share a socket, whatever their kinds. Pages are made from `telemetry` and from
//! `Readiness`, which a generation fills; this room knows nothing of DNS.

mod address;
mod health;
mod listener;
mod metrics;
mod page;
mod ready;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::telemetry::Metrics;
use address::Resolved;
use page::{Paths, Site, Sources};

pub use address::{AddressError, ListenAddress, parse_listen_address};
pub use ready::{Check, Monitor, Readiness, ReadyWatches, Remarks, Report};

/// What an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// `/health`, and the server's own request to it once a second.
    Health,
    /// `/ready`.
    Ready(Monitor),
    /// `/metrics`.
    Metrics,
}

impl EndpointKind {
    /// The plugin that asks for such an endpoint.
    #[must_use]
    pub fn plugin(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready(_) => "ready",
            Self::Metrics => "prometheus",
        }
    }
}

/// An endpoint that a configuration wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it serves.
    pub kind: EndpointKind,
    /// Where.
    pub address: ListenAddress,
}

/// An endpoint that is being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundEndpoint {
    /// As it was wanted.
    pub endpoint: Endpoint,
    /// The address of its socket, with the port that the system chose where port 0 was wanted.
    pub local: SocketAddr,
}

/// Why endpoints were not applied.
#[derive(Debug, thiserror::Error)]
#[error("plugin/{plugin}: listen tcp {address}: {source}")]
pub struct OpsError {
    /// The plugin that wanted the address.
    pub plugin: &'static str,
    /// The address as it was written.
    pub address: ListenAddress,
    /// What the system said.
    pub source: io::Error,
}

/// The operator's listeners. Dropped, it closes them, and open requests are answered first.
pub struct Ops {
    sources: Arc<Sources>,
    listeners: HashMap<Resolved, Listener>,
}

struct Listener {
    local: SocketAddr,
    site: Arc<Site>,
    poll: Option<AbortHandle>,
    /// Gone, it stops the listener.
    _stop: watch::Sender<()>,
}

/// A socket for an address that no listener has yet.
struct Opened {
    local: SocketAddr,
    socket: tokio::net::TcpListener,
}

impl Ops {
    /// No listeners yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self {
            sources: Arc::new(Sources::new(metrics, readiness)),
            listeners: HashMap::new(),
        }
    }

    /// Serves `wanted` and nothing else. To be called on a tokio runtime, which then runs the listeners.
    ///
    /// # Errors
    /// An address could not be resolved or bound; then everything is as it was.
    pub async fn apply(&mut self, wanted: &[Endpoint]) -> Result<Vec<BoundEndpoint>, OpsError> {
        let mut resolved = Vec::with_capacity(wanted.len());
        let mut paths: HashMap<Resolved, Paths> = HashMap::new();
        for endpoint in wanted {
            let address = endpoint.address.resolve().await;
            let address = address.map_err(|source| endpoint.refused(source))?;
            paths.entry(address).or_default().add(endpoint.kind);
            resolved.push(address);
        }
        let mut opened: HashMap<Resolved, Opened> = HashMap::new();
        for (endpoint, address) in wanted.iter().zip(&resolved) {
            if self.listeners.contains_key(address) || opened.contains_key(address) {
                continue;
            }
            match address.bind().and_then(Opened::new) {
                Ok(socket) => opened.insert(*address, socket),
                Err(source) => {
                    self.hand_back(opened);
                    return Err(endpoint.refused(source));
                }
            };
        }
        for (address, opened) in opened {
            self.listeners.insert(
                address,
                Listener::start(opened, &self.sources, paths[&address]),
            );
        }
        self.listeners.retain(|address, listener| {
            if let Some(paths) = paths.get(address) {
                listener.serve(*paths, true);
                return true;
            }
            // What comes to a socket of one address while it closes is lost, and does not come to that of all addresses:
            // so it stays open beside it.
            let of_all = paths.get(&address.of_all());
            if let Some(paths) = of_all {
                listener.serve(*paths, false);
            }
            of_all.is_some()
        });
        let bound = wanted.iter().zip(resolved);
        Ok(bound
            .map(|(endpoint, address)| BoundEndpoint {
                endpoint: endpoint.clone(),
                local: self.listeners[&address].local,
            })
            .collect())
    }

    /// Ends sockets that were opened in vain. Those of one address have taken connections from the socket of all
    /// addresses from the moment they were open, and answer these as it would.
    fn hand_back(&self, opened: HashMap<Resolved, Opened>) {
        for (address, opened) in opened {
            if let Some(of_all) = self.listeners.get(&address.of_all()) {
                drop(Listener::start(
                    opened,
                    &self.sources,
                    **of_all.site.paths.load(),
                ));
            }
        }
    }
}

impl Endpoint {
    fn refused(&self, source: io::Error) -> OpsError {
        OpsError {
            plugin: self.kind.plugin(),
            address: self.address.clone(),
            source,
        }
    }
}

impl Paths {
    fn add(&mut self, kind: EndpointKind) {
        match kind {
            EndpointKind::Health => self.health = true,
            // Two monitors on one address: the stricter, because it says no where the other would say yes.
            EndpointKind::Ready(Monitor::Continuously) => self.ready = Some(Monitor::Continuously),
            EndpointKind::Ready(monitor) => self.ready = self.ready.or(Some(monitor)),
            EndpointKind::Metrics => self.metrics = true,
        }
    }
}

impl Opened {
    fn new(socket: TcpListener) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            local,
            socket: tokio::net::TcpListener::from_std(socket)?,
        })
    }
}

impl Listener {
    fn start(opened: Opened, sources: &Arc<Sources>, paths: Paths) -> Self {
        let site = Arc::new(Site {
            sources: Arc::clone(sources),
            paths: ArcSwap::from_pointee(paths),
        });
        let (stop, stopped) = watch::channel(());
        tokio::spawn(listener::serve(opened.socket, Arc::clone(&site), stopped));
        Self {
            local: opened.local,
            site,
            poll: None,
            _stop: stop,
        }
    }

    /// Serves these paths from now on. `is_polled`: whether the server asks itself here, if one of them is its health.
    fn serve(&mut self, paths: Paths, is_polled: bool) {
        self.site.paths.store(Arc::new(paths));
        if !paths.health || !is_polled {
            self.stop_poll();
        } else if self.poll.is_none() {
            let poll = health::poll(self.local, Arc::clone(&self.site.sources.metrics));
            self.poll = Some(tokio::spawn(poll).abort_handle());
        }
    }

    fn stop_poll(&mut self) {
        if let Some(poll) = self.poll.take() {
            poll.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_poll();
    }
}

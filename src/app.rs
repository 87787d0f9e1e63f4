//! The only room that knows all rooms: builds a generation, gives it sockets, swaps it for the next, stops it.
//!
//! What a change needs is made first, and nothing is taken away before all of it is there: a configuration that
//! cannot be served, because an address is taken or a client cannot be built, changes nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::admin::{self, Admin};
use crate::config::listen::ListenAddress;
use crate::config::{Config, Setting};
use crate::counting::Listening;
use crate::generation::{Generation, Process};
use crate::ops::{BoundEndpoint, Endpoint, Ops, Readiness};
use crate::server::router::Router;
use crate::server::{ListenError, Listener, Serving};

mod error;

pub use error::AppError;

/// How long queries that are being answered may take when the server stops, as in CoreDNS.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A running server.
pub struct App {
    process: Process,
    generation: Generation,
    listeners: HashMap<ListenAddress, Serving>,
    ops: Ops,
    endpoints: Vec<BoundEndpoint>,
    readiness: Readiness,
    admin: Arc<Admin>,
}

impl App {
    /// Starts to serve. Must be called on the runtime of `process`.
    ///
    /// # Errors
    /// The configuration cannot be served.
    pub async fn start(config: Config, process: Process) -> Result<App, AppError> {
        let generation = Generation::build(config, &process, None)?;
        let (bound, fault) = bind(&generation, &process, |_| true);
        fault.map_or(Ok(()), Err)?;
        let readiness = Readiness::default();
        // Before anybody can ask: no watches would mean ready.
        readiness.replace(generation.readiness());
        let mut ops = Ops::new(process.metrics.clone(), readiness.clone());
        let endpoints = ops.apply(&wanted(&generation.config)).await?;
        let (listeners, fault) = serve(bound, &generation, &process);
        fault.map_or(Ok(()), Err)?;
        let admin = Arc::new(Admin::new(process.top.clone()));
        let mut app = App {
            process,
            generation,
            listeners,
            ops,
            endpoints,
            readiness,
            admin,
        };
        app.tell();
        Ok(app)
    }

    /// Serves another configuration instead. Sockets that both want stay open; queries that are on their way end
    /// under the configuration under which they began. Dropped before it is done, it may have opened sockets: the kernel
    /// gives them queries, so they are served until [`App::stop`] drains them with the others.
    ///
    /// # Errors
    /// The new configuration cannot be served; the old one goes on as if nothing had been.
    pub async fn reload(&mut self, config: Config) -> Result<(), AppError> {
        let generation = Generation::build(config, &self.process, Some(&self.generation))?;
        let (bound, fault) = bind(&generation, &self.process, |address| {
            !self.listeners.contains_key(address)
        });
        if let Some(fault) = fault {
            // What cannot be served even as before can only be dropped.
            let (opened, _) = serve(bound, &self.generation, &self.process);
            self.hand_back(opened);
            return Err(fault);
        }
        // If the next step fails, these have served a moment too early; the other way round, operators would look at
        // endpoints of a configuration that is not served.
        let (opened, fault) = serve(bound, &generation, &self.process);
        if let Some(fault) = fault {
            self.hand_back(opened);
            return Err(fault);
        }
        let addresses: Vec<ListenAddress> = opened.keys().copied().collect();
        self.listeners.extend(opened);
        self.endpoints = match self.ops.apply(&wanted(&generation.config)).await {
            Ok(endpoints) => endpoints,
            Err(fault) => {
                let opened = self.listeners.extract_if(|at, _| addresses.contains(at));
                let opened = opened.collect();
                self.hand_back(opened);
                return Err(fault.into());
            }
        };
        for (address, listener) in &self.listeners {
            if let Some(router) = router_at(&generation, address) {
                listener.set_router(router.clone());
            }
        }
        self.generation = generation;
        let served = &self.generation;
        let gone = self
            .listeners
            .extract_if(|address, _| router_at(served, address).is_none());
        for (address, listener) in gone {
            self.process.runtime.spawn(drain(address, listener));
        }
        self.tell();
        Ok(())
    }

    /// Ends listeners that were opened in vain, when they have answered what they were asked; but for those of one
    /// address beside a listener of all addresses: they have taken its queries from the moment they were open, and go on
    /// to answer these as it would. The next try finds them open.
    fn hand_back(&mut self, opened: HashMap<ListenAddress, Serving>) {
        for (address, listener) in opened {
            if let Some(router) = router_at(&self.generation, &address) {
                listener.set_router(router.clone());
                self.listeners.insert(address, listener);
            } else {
                self.process.runtime.spawn(drain(address, listener));
            }
        }
    }

    /// Stops: not ready at once, then `lameduck` of serving as before, so that clients learn to go elsewhere, then
    /// the end of what is on its way.
    pub async fn stop(self) {
        self.readiness.drain();
        self.listeners.values().for_each(Serving::leave);
        let lameduck = self.lameduck();
        if !lameduck.is_zero() {
            tracing::info!(target: "plugin/health", "Going into lameduck mode for {lameduck:?}");
            tokio::time::sleep(lameduck).await;
        }
        let drains: Vec<_> = self
            .listeners
            .into_iter()
            .map(|(address, listener)| tokio::spawn(drain(address, listener)))
            .collect();
        for drain in drains {
            // A drain that panicked has dropped its sockets, which is all that is left to do.
            let _ = drain.await;
        }
        self.process.clusters.save().await;
    }

    /// What is served.
    pub fn config(&self) -> &Config {
        &self.generation.config
    }

    /// The address of each listener's sockets, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> Vec<(ListenAddress, SocketAddr)> {
        self.listeners
            .iter()
            .map(|(address, listener)| (*address, listener.local_address()))
            .collect()
    }

    /// The operator's endpoints, likewise.
    pub fn endpoints(&self) -> &[BoundEndpoint] {
        &self.endpoints
    }

    /// Whether queries may be sent here, as `/ready` says it.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What an operator of this machine may ask and do.
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// What the server counts.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Tells the rooms that outlive a generation about the one that is served.
    fn tell(&mut self) {
        let debug = self.generation.config.has("debug");
        self.process.panics_end_it.store(debug, Ordering::Relaxed);
        let listeners = &self.listeners;
        let bound = |address: &ListenAddress| listeners.get(address).map(Serving::local_address);
        self.process.metrics.loops().forget();
        self.generation.probe(&self.process.runtime, bound);
        self.generation.tell_unsynced(&self.process.runtime);
        self.readiness.replace(self.generation.readiness());
        self.process
            .top
            .set_clusters(self.generation.cluster_zones());
        self.admin.replace(self.served());
        self.process
            .metrics
            .enabled_plugins(self.generation.enabled_plugins());
        self.process
            .metrics
            .reload()
            .running(&self.generation.config.sha512);
    }

    /// What is served, for those who ask about it.
    fn served(&self) -> admin::Served {
        let listeners = self.listeners.iter();
        let listeners = listeners.filter_map(|(address, listener)| {
            Some(admin::Listener {
                address: *address,
                bound: listener.local_address(),
                router: self.generation.routers.get(address)?.clone(),
            })
        });
        let mut listeners: Vec<_> = listeners.collect();
        listeners.sort_by_key(|listener| listener.address);
        admin::Served {
            listeners,
            caches: self.generation.caches().collect(),
        }
    }

    /// The longest that any block asks for: they all wait at the same time.
    fn lameduck(&self) -> Duration {
        let settings = self
            .generation
            .config
            .blocks
            .iter()
            .flat_map(|block| &block.settings);
        settings
            .filter_map(Setting::lameduck)
            .max()
            .unwrap_or_default()
    }
}

/// Ends a listener when it has answered what it was asked, and tells what it could not answer in time: those clients were
/// told SERVFAIL.
async fn drain(address: ListenAddress, listener: Serving) {
    let given_up = listener.drain(DRAIN_TIME).await;
    if given_up > 0 {
        tracing::warn!(
            "{address}: closed after {DRAIN_TIME:?}; {given_up} queries that still waited were told SERVFAIL"
        );
    }
}

/// What a generation serves on an address that is bound. What comes to a socket of one address while it closes is lost,
/// and does not come to that of all addresses: so it stays open beside it and serves the same.
fn router_at<'a>(generation: &'a Generation, address: &ListenAddress) -> Option<&'a Arc<Router>> {
    let of_all = ListenAddress {
        ip: None,
        ..*address
    };
    let routers = &generation.routers;
    routers.get(address).or_else(|| routers.get(&of_all))
}

/// Binds the listeners of a generation that are wanted, up to the first that cannot be had.
fn bind(
    generation: &Generation,
    process: &Process,
    wanted: impl Fn(&ListenAddress) -> bool,
) -> (Vec<(ListenAddress, Listener)>, Option<AppError>) {
    let mut bound = Vec::new();
    for address in generation.routers.keys().filter(|address| wanted(address)) {
        match Listener::bind(address.socket(), process.listener) {
            Ok(listener) => bound.push((*address, listener)),
            Err(ListenError::Bind(fault)) => return (bound, Some(fault.into())),
            Err(ListenError::Thread(source)) => {
                let address = *address;
                return (bound, Some(AppError::Thread { address, source }));
            }
        }
    }
    (bound, None)
}

/// Starts listeners that are bound, and gives the first reason why one could not be: what could is to be ended with care,
/// for it has been given queries. What the generation does not serve is closed.
fn serve(
    bound: Vec<(ListenAddress, Listener)>,
    generation: &Generation,
    process: &Process,
) -> (HashMap<ListenAddress, Serving>, Option<AppError>) {
    let (mut serving, mut fault) = (HashMap::new(), None);
    for (address, listener) in bound {
        let Some(router) = router_at(generation, &address).cloned() else {
            continue;
        };
        let panics_end_it = process.panics_end_it.clone();
        let hooks = Arc::new(Listening::new(
            process.metrics.clone(),
            address,
            panics_end_it,
            process.top.clone(),
        ));
        match listener.serve(router, hooks, &process.runtime) {
            Ok(started) => drop(serving.insert(address, started)),
            Err(source) => {
                fault.get_or_insert(AppError::Serve { address, source });
            }
        }
    }
    (serving, fault)
}

/// The operator's endpoints that a configuration asks for.
fn wanted(config: &Config) -> Vec<Endpoint> {
    let settings = config.blocks.iter().flat_map(|block| &block.settings);
    settings.filter_map(Setting::endpoint).collect()
}

#[cfg(test)]
mod tests;

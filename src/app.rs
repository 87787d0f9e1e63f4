//! The only room that knows all rooms: builds a generation, gives it sockets, swaps it for the next, stops it.
//!
//! What a change needs is made first, and nothing is taken away before all of it is there: a configuration that
//! cannot be served, because an address is taken or a client cannot be built, changes nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::listen::ListenAddress;
use crate::config::{Config, Setting};
use crate::counting::Listening;
use crate::generation::{Generation, Process};
use crate::ops::{BoundEndpoint, Endpoint, Ops, Readiness};
use crate::server::{Listener, Serving};

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
}

impl App {
    /// Starts to serve. Must be called on the runtime of `process`.
    ///
    /// # Errors
    /// The configuration cannot be served.
    pub async fn start(config: Config, process: Process) -> Result<App, AppError> {
        let generation = Generation::build(config, &process, None)?;
        let bound = bind(&generation, &process, |_| true)?;
        let readiness = Readiness::default();
        // Before anybody can ask: no watches would mean ready.
        readiness.replace(generation.readiness());
        let mut ops = Ops::new(process.metrics.clone(), readiness.clone());
        let endpoints = ops.apply(&wanted(&generation.config)).await?;
        let listeners = serve(bound, &generation, &process)?;
        let mut app = App {
            process,
            generation,
            listeners,
            ops,
            endpoints,
            readiness,
        };
        app.tell();
        Ok(app)
    }

    /// Serves another configuration instead. Sockets that both want stay open; queries that are on their way end
    /// under the configuration under which they began.
    ///
    /// # Errors
    /// The new configuration cannot be served; the old one goes on as if nothing had been.
    pub async fn reload(&mut self, config: Config) -> Result<(), AppError> {
        let generation = Generation::build(config, &self.process, Some(&self.generation))?;
        let bound = bind(&generation, &self.process, |address| {
            !self.listeners.contains_key(address)
        })?;
        // Dropped if the next step fails, these have served a moment too early; the other way round, operators would
        // look at endpoints of a configuration that is not served.
        let opened = serve(bound, &generation, &self.process)?;
        self.endpoints = self.ops.apply(&wanted(&generation.config)).await?;
        for (address, listener) in &self.listeners {
            if let Some(router) = generation.routers.get(address) {
                listener.set_router(router.clone());
            }
        }
        self.generation = generation;
        self.listeners.extend(opened);
        let served = &self.generation.routers;
        let gone = self
            .listeners
            .extract_if(|address, _| !served.contains_key(address));
        for (_, listener) in gone {
            self.process.runtime.spawn(listener.drain(DRAIN_TIME));
        }
        self.tell();
        Ok(())
    }

    /// Stops: not ready at once, then `lameduck` of serving as before, so that clients learn to go elsewhere, then
    /// the end of what is on its way.
    pub async fn stop(self) {
        self.readiness.drain();
        let lameduck = self.lameduck();
        if !lameduck.is_zero() {
            tracing::info!(target: "plugin/health", "Going into lameduck mode for {lameduck:?}");
            tokio::time::sleep(lameduck).await;
        }
        let drains: Vec<_> = self
            .listeners
            .into_values()
            .map(|listener| tokio::spawn(listener.drain(DRAIN_TIME)))
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
        self.generation.probe(&self.process.runtime, bound);
        self.generation.tell_unsynced(&self.process.runtime);
        self.readiness.replace(self.generation.readiness());
        self.process
            .metrics
            .enabled_plugins(self.generation.enabled_plugins());
        self.process
            .metrics
            .reload()
            .running(&self.generation.config.sha512);
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

/// Binds the listeners of a generation that are wanted, all or none.
fn bind(
    generation: &Generation,
    process: &Process,
    wanted: impl Fn(&ListenAddress) -> bool,
) -> Result<Vec<(ListenAddress, Listener)>, AppError> {
    let addresses = generation.routers.keys().filter(|address| wanted(address));
    let bound = addresses.map(|address| {
        let bound = Listener::bind(address.socket(), process.listener)?;
        Ok((*address, bound))
    });
    bound.collect()
}

/// Starts listeners that are bound, all or none.
fn serve(
    bound: Vec<(ListenAddress, Listener)>,
    generation: &Generation,
    process: &Process,
) -> Result<HashMap<ListenAddress, Serving>, AppError> {
    let started = bound.into_iter().map(|(address, listener)| {
        let router = generation.routers[&address].clone();
        let panics_end_it = process.panics_end_it.clone();
        let hooks = Arc::new(Listening::new(
            process.metrics.clone(),
            address,
            panics_end_it,
        ));
        let serving = listener.serve(router, hooks, &process.runtime);
        serving
            .map(|serving| (address, serving))
            .map_err(|source| AppError::Serve { address, source })
    });
    started.collect()
}

/// The operator's endpoints that a configuration asks for.
fn wanted(config: &Config) -> Vec<Endpoint> {
    let settings = config.blocks.iter().flat_map(|block| &block.settings);
    settings.filter_map(Setting::endpoint).collect()
}

//! A configuration made ready to serve: plugins, chains and routers, built whole, swapped whole.
//!
//! What lives longer than a generation is handed in as the [`Process`]: metrics, log, clusters. What need not
//! end with the generation before is taken over from it: a cache whose stanza still means the same keeps its
//! answers, an upstream its connections.

mod build;
mod caches;
mod process;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::config::listen::ListenAddress;
use crate::config::{Block, Config, Setting};
use crate::dns::{Zones, reverse};
use crate::ops::ReadyWatches;
use crate::plugin::cache::{Keeping, Store};
use crate::plugin::kubernetes::Kubernetes;
use crate::plugin::loop_guard::LoopGuard;
use crate::server::router::Router;
use crate::telemetry::EnabledPlugin;
use caches::answered_alone;

pub use build::BuildError;
pub use process::Process;

/// A configuration that is served, or can be.
pub struct Generation {
    /// What it was built from.
    pub config: Config,
    /// What each listener serves.
    pub routers: BTreeMap<ListenAddress, Arc<Router>>,
    /// With the time after which it is told that one is not synced.
    kubernetes: Vec<(Arc<Kubernetes>, Duration)>,
    /// The answers kept by each block, for the generation after.
    stores: Vec<(Block, Arc<Store>)>,
    /// Loop guards, and the listener that each probes.
    guards: Vec<(ListenAddress, Arc<LoopGuard>)>,
    /// What the plugins do beside answering; dropped, it ends.
    tasks: JoinSet<()>,
}

impl Generation {
    /// Tells of each cluster that has not been listed whole when its `startup_timeout` ends. Nobody waits for it:
    /// names that are known already, and those of others, are answered from the start.
    pub fn tell_unsynced(&mut self, runtime: &Handle) {
        for (kubernetes, timeout) in &self.kubernetes {
            let (kubernetes, timeout) = (kubernetes.clone(), *timeout);
            self.tasks.spawn_on(
                async move {
                    tokio::time::sleep(timeout).await;
                    for note in kubernetes.from_snapshot() {
                        tracing::warn!(target: "plugin/kubernetes", "starting server with unsynced Kubernetes API: {note}");
                    }
                    for reason in kubernetes.not_ready() {
                        tracing::warn!(target: "plugin/kubernetes", "starting server with unsynced Kubernetes API: {reason}");
                    }
                },
                runtime,
            );
        }
    }

    /// Probes for loops, now that there are listeners; `bound` says where they are.
    pub fn probe(
        &mut self,
        runtime: &Handle,
        bound: impl Fn(&ListenAddress) -> Option<SocketAddr>,
    ) {
        for (address, guard) in &self.guards {
            if let Some(server) = bound(address) {
                let guard = guard.clone();
                self.tasks
                    .spawn_on(async move { guard.probe(server).await }, runtime);
            }
        }
    }

    /// What must be true before queries may be sent here.
    pub fn readiness(&self) -> ReadyWatches {
        let mut watches = ReadyWatches::default();
        for (kubernetes, _) in &self.kubernetes {
            let remarked = kubernetes.clone();
            watches.remark("kubernetes", Arc::new(move || remarked.from_snapshot()));
            let kubernetes = kubernetes.clone();
            watches.watch(
                "kubernetes",
                Arc::new(move || match kubernetes.not_ready() {
                    reasons if reasons.is_empty() => Ok(()),
                    reasons => Err(reasons),
                }),
            );
        }
        for (kubernetes, _) in &self.kubernetes {
            let kubernetes = kubernetes.clone();
            watches.remark("kubernetes", Arc::new(move || kubernetes.wrong()));
        }
        watches
    }

    /// The zones of all clusters, those of addresses left out: their names have a Namespace.
    pub fn cluster_zones(&self) -> Zones {
        let settings = self.config.blocks.iter().flat_map(|block| &block.settings);
        let zones = settings.filter_map(|setting| match setting {
            Setting::Kubernetes(config) => Some(config.options.zones.iter().copied()),
            _ => None,
        });
        Zones::new(zones.flatten().filter(|zone| !reverse::is_reverse(zone)))
    }

    /// The caches of the server blocks.
    pub fn caches(&self) -> impl Iterator<Item = Keeping> {
        self.stores.iter().filter_map(|(block, store)| {
            let mut settings = block.settings.iter();
            let config = settings.find_map(|setting| match setting {
                Setting::Cache(config) => Some(config.clone()),
                _ => None,
            })?;
            let keys = block.keys.iter().map(ToString::to_string);
            Some(Keeping {
                server: keys.collect::<Vec<_>>().join(" "),
                config,
                store: store.clone(),
                uncached: answered_alone(block),
            })
        })
    }

    /// The handlers of each block that has `prometheus`, as CoreDNS tells them: on all of its addresses, under the
    /// first of its zones.
    pub fn enabled_plugins(&self) -> Vec<EnabledPlugin> {
        let counted = |block: &&Block| {
            let mut settings = block.settings.iter();
            settings.any(|setting| matches!(setting, Setting::Prometheus(_)))
        };
        let servers = self.config.blocks.iter().filter(counted).flat_map(|block| {
            let first = block.keys.first();
            let addresses = block.addresses();
            addresses
                .filter(move |(key, _)| Some(*key) == first)
                .map(move |(key, address)| (block, key, address))
        });
        servers
            .flat_map(|(block, key, address)| {
                let handlers = block.settings.iter().filter(|setting| setting.is_handler());
                handlers.map(move |setting| EnabledPlugin {
                    server: address.to_string(),
                    zone: key.zone.to_string(),
                    view: String::new(),
                    name: setting.name().to_owned(),
                })
            })
            .collect()
    }
}

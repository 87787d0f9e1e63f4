//! From a configuration to a generation: the plugins of each block, the chains of its zones, the router of each listener.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::caches::{answered_alone, cache_counters, cache_metrics, keeps_alike};
use super::{Generation, Process};
use crate::chain::Chain;
use crate::cluster::ClusterKey;
use crate::cluster::connection::ConnectionError;
use crate::cluster::registry::Need;
use crate::config::listen::ListenAddress;
use crate::config::{Block, Config, Setting};
use crate::counting::{Caching, Looping};
use crate::dns::{Name, Zones};
use crate::plugin::cache::{self, Cache, Counters, Store, Uncounted};
use crate::plugin::errors::{self, Errors};
use crate::plugin::forward::{self, Forward};
use crate::plugin::kubernetes::{self, Kubernetes};
use crate::plugin::log::{Log, Sink};
use crate::plugin::loop_guard::{self, LoopGuard, News};
use crate::plugin::prometheus::Prometheus;
use crate::plugin::{Plugin, bind};
use crate::server::router::Router;

/// Why a configuration that is sound cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("plugin/{plugin}: {reason}")]
pub struct BuildError {
    plugin: &'static str,
    reason: String,
}

impl Generation {
    /// Builds everything that `config` asks for, except sockets.
    ///
    /// # Errors
    /// What a plugin needs from the system cannot be had.
    pub fn build(
        config: Config,
        process: &Process,
        previous: Option<&Generation>,
    ) -> Result<Generation, BuildError> {
        let mut building = Generation {
            config,
            routers: BTreeMap::new(),
            kubernetes: vec![],
            stores: vec![],
            guards: vec![],
            tasks: JoinSet::new(),
        };
        let config = building.config.clone();
        let mut zones: BTreeMap<ListenAddress, Listening> = BTreeMap::new();
        for block in &config.blocks {
            let parts = building.parts(block, process, previous)?;
            for (key, address) in block.addresses() {
                let listening = zones.entry(address).or_default();
                listening.any_class |= block.settings.iter().any(answers_any_class);
                let chain = chain(&parts, address, &key.zone, process);
                listening.zones.push((key.zone, Arc::new(chain)));
            }
        }
        let routers = zones.into_iter();
        building.routers = routers
            .map(|(address, listening)| (address, listening.router()))
            .collect();
        Ok(building)
    }

    /// The plugins of a block that its chains share.
    fn parts(
        &mut self,
        block: &Block,
        process: &Process,
        previous: Option<&Generation>,
    ) -> Result<Vec<Part>, BuildError> {
        let mut settings = block.settings.iter();
        let forward = settings.find_map(|setting| match setting {
            Setting::Forward(config) => Some(self.forward(config, process)),
            _ => None,
        });
        let settings = block.settings.iter();
        let parts: Result<Vec<Option<Part>>, BuildError> = settings
            .map(|setting| self.part(setting, block, process, previous, forward.as_ref()))
            .collect();
        Ok(parts?.into_iter().flatten().collect())
    }

    fn part(
        &mut self,
        setting: &Setting,
        block: &Block,
        process: &Process,
        previous: Option<&Generation>,
        forward: Option<&Arc<Forward>>,
    ) -> Result<Option<Part>, BuildError> {
        let plugin = match setting {
            Setting::Prometheus(_) => return Ok(Some(Part::Prometheus)),
            Setting::Cache(config) => {
                return Ok(Some(self.cache(config, block, process, previous)));
            }
            Setting::Reload(_)
            | Setting::Bind(_)
            | Setting::Debug(_)
            | Setting::Ready(_)
            | Setting::Health(_) => {
                return Ok(None);
            }
            Setting::Kubernetes(config) => {
                Plugin::Kubernetes(self.kubernetes(config, block, process)?)
            }
            Setting::Bufsize(config) => Plugin::Bufsize(*config),
            Setting::Errors(config) => Plugin::Errors(self.errors(config, process)),
            Setting::Log(config) => {
                Plugin::Log(Arc::new(Log::new(config.clone(), query_log(process))))
            }
            Setting::Loadbalance(_) => Plugin::Loadbalance,
            Setting::Loop(config) => {
                Plugin::Loop(self.loop_guard(config, block, process, forward.cloned()))
            }
            Setting::Forward(_) => {
                return Ok(forward.cloned().map(Plugin::Forward).map(Part::Shared));
            }
            Setting::Whoami(_) => Plugin::Whoami,
        };
        Ok(Some(Part::Shared(plugin)))
    }

    fn kubernetes(
        &mut self,
        config: &kubernetes::Config,
        block: &Block,
        process: &Process,
    ) -> Result<Arc<Kubernetes>, BuildError> {
        let failed = |fault: ConnectionError| BuildError {
            plugin: "kubernetes",
            reason: fault.to_string(),
        };
        let lease = process
            .clusters
            .lease(&config.cluster, &self.need(&config.cluster))
            .map_err(failed)?;
        let mut options = config.options.clone();
        options.local_addresses = if block.bind.is_empty() {
            interface_addresses()
        } else {
            block.bind.clone()
        };
        let patience = config.startup_timeout;
        let kubernetes = Arc::new(Kubernetes::new(options, lease, patience));
        self.kubernetes
            .push((kubernetes.clone(), config.startup_timeout));
        Ok(kubernetes)
    }

    /// What all stanzas of a cluster need together. The first of them must have it all: a resource that is in the
    /// snapshot and that nobody needs is forgotten at once.
    fn need(&self, cluster: &ClusterKey) -> Need {
        let settings = self.config.blocks.iter().flat_map(|block| &block.settings);
        let mut need = Need::default();
        for setting in settings {
            if let Setting::Kubernetes(config) = setting
                && config.cluster == *cluster
            {
                need.resources.extend(config.options.resources());
                need.snapshot = need.snapshot.or_else(|| config.snapshot.clone());
            }
        }
        need
    }

    /// Errors that are told many together, or left out, are told by a task, which ends with the generation.
    fn errors(&mut self, config: &errors::Config, process: &Process) -> Arc<Errors> {
        let errors = Arc::new(Errors::new(config.clone()));
        self.tasks
            .spawn_on(errors.clone().report(), &process.runtime);
        errors
    }

    /// Upstreams that are listed in files or have names are followed by a task, which ends with the generation.
    fn forward(&mut self, config: &forward::Config, process: &Process) -> Arc<Forward> {
        let forward = Arc::new(Forward::new(config.clone(), process.outbound.clone()));
        if forward.changes() {
            self.tasks
                .spawn_on(forward.clone().follow(), &process.runtime);
        }
        forward
    }

    /// A guard that probes the first listener of its block. Names that the block forwards as it forwards the probe are
    /// those that would go in circles, too.
    fn loop_guard(
        &mut self,
        config: &loop_guard::Config,
        block: &Block,
        process: &Process,
        forward: Option<Arc<Forward>>,
    ) -> Arc<LoopGuard> {
        let address = block.addresses().next().map(|(_, address)| address);
        let text = address.map_or(String::new(), |address| match address.ip {
            None => format!(":{}", address.port),
            Some(ip) => SocketAddr::new(ip, address.port).to_string(),
        });
        let goes_with = move |probe: &Name, name: &Name| {
            let mut forward = forward.iter();
            forward.any(|forward| forward.goes_with(probe, name))
        };
        let server = address.map_or(String::new(), |address| address.to_string());
        let looping = Looping::new(process.metrics.clone(), server, config.zone);
        let on_loop = config.is_fatal.then(|| process.on_loop.clone());
        let tell = move |news: News<'_>| {
            looping.told(news);
            if let (News::Found(found), Some(on_loop)) = (news, &on_loop) {
                on_loop(found);
            }
        };
        let guard = LoopGuard::new(*config, text, Box::new(goes_with), Box::new(tell));
        let guard = Arc::new(guard);
        self.guards
            .extend(address.map(|address| (address, guard.clone())));
        guard
    }

    /// The cache of a block, with the answers of the block before where they are as good as ever.
    fn cache(
        &mut self,
        config: &cache::Config,
        block: &Block,
        process: &Process,
        previous: Option<&Generation>,
    ) -> Part {
        let stores = previous.into_iter().flat_map(|previous| &previous.stores);
        let mut same = stores.filter(|(old, _)| keeps_alike(old, block));
        let store = same.next().map_or_else(
            || {
                // What makes room does not know for which listener: it is counted on the first.
                let evictions: Arc<dyn Counters> = match block.addresses().next() {
                    Some((_, address)) => {
                        Arc::new(Caching(cache_metrics(config, address, process)))
                    }
                    None => Arc::new(Uncounted),
                };
                Arc::new(Store::new(config, &evictions))
            },
            |(_, store)| store.clone(),
        );
        self.stores.push((block.clone(), store.clone()));
        Part::Cache(Arc::new(config.clone()), store, answered_alone(block))
    }
}

/// What a directive puts into the chains of its block.
enum Part {
    /// The same plugin in every chain.
    Shared(Plugin),
    /// Counters of its own in each chain.
    Prometheus,
    /// Counters of its own on each listener, and answers that all share. The zones are not looked up.
    Cache(Arc<cache::Config>, Arc<Store>, Zones),
}

/// What is served on one address, while it is collected.
#[derive(Default)]
struct Listening {
    zones: Vec<(Name, Arc<Chain>)>,
    any_class: bool,
}

impl Listening {
    fn router(self) -> Arc<Router> {
        Arc::new(Router::new(self.zones, self.any_class))
    }
}

/// The chain of one zone on one listener.
fn chain(parts: &[Part], address: ListenAddress, zone: &Name, process: &Process) -> Chain {
    let plugins = parts.iter().map(|part| match part {
        Part::Shared(plugin) => plugin.clone(),
        Part::Prometheus => {
            let metrics = process
                .metrics
                .block(&address.to_string(), &zone.to_string(), "");
            Plugin::Prometheus(Arc::new(Prometheus::new(metrics)))
        }
        Part::Cache(config, store, uncached) => {
            let counters = cache_counters(config, store, address, process);
            Plugin::Cache(Arc::new(Cache::new(
                config.clone(),
                store.clone(),
                counters,
                process.refreshes.clone(),
                uncached.clone(),
            )))
        }
    });
    Chain::new(plugins.collect())
}

/// Where lines of the query log go.
fn query_log(process: &Process) -> Arc<Sink> {
    let lines = process.lines.clone();
    Arc::new(move |line: &mut dyn FnMut(&mut Vec<u8>)| lines.push_query(line, |_| {}))
}

/// Whether a plugin answers other classes than IN; the others are then asked too.
fn answers_any_class(setting: &Setting) -> bool {
    matches!(setting.name(), "forward" | "chaos")
}

/// The addresses of this machine by which others reach it.
fn interface_addresses() -> Vec<IpAddr> {
    let addresses = bind::interfaces().into_iter().map(|(_, ip)| ip);
    addresses
        .filter(|ip| !ip.is_loopback() && !is_link_local(*ip))
        .collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

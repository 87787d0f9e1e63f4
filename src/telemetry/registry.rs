//! `Metrics`: all that the process counts, made once at the start, handed down, and shown by `render`.
//!
//! It outlives every generation: a room of a new generation asks for its series by their labels and goes on counting in
//! the ones it had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};

use super::block::{BlockMetrics, Blocks};
use super::cache::{CacheMetrics, Caches};
use super::family::{CounterFamily, GaugeFamily, Schema, counter};
use super::kubernetes::KubernetesMetrics;
use super::lines::Lines;
use super::process::Process;
use super::rooms::{
    ForwardMetrics, HealthMetrics, HostsMetrics, LocalMetrics, LoopMetrics, ReloadMetrics, Rooms,
    ServerMetrics,
};
use super::upstream::{UpstreamMetrics, Upstreams};

/// What `coredns_build_info` says.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The version of the package.
    pub version: &'static str,
    /// The commit it was built from.
    pub revision: &'static str,
    /// CoreDNS's label for the toolchain. There is no Go here, and the compiler does not tell its version without a
    /// build script, so it names the language; an empty value would drop the label that dashboards join on.
    pub goversion: &'static str,
}

impl BuildInfo {
    /// This build: the commit is taken from `CAIRN_REVISION` of the build's environment.
    #[must_use]
    pub const fn current() -> Self {
        let revision = match option_env!("CAIRN_REVISION") {
            Some(revision) => revision,
            None => "unknown",
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision,
            goversion: "rust",
        }
    }
}

/// A plugin that a server block of the running configuration has; a series of `coredns_plugin_enabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnabledPlugin {
    /// As in [`Metrics::block`].
    pub server: String,
    /// As in [`Metrics::block`].
    pub zone: String,
    /// As in [`Metrics::block`].
    pub view: String,
    /// The directive's name.
    pub name: String,
}

/// All that the process counts.
pub struct Metrics {
    registry: Registry,
    blocks: Blocks,
    caches: Caches,
    upstreams: Upstreams,
    enabled: GaugeFamily,
    counters: Mutex<BTreeMap<&'static str, CounterFamily>>,
    server: ServerMetrics,
    health: HealthMetrics,
    reload: ReloadMetrics,
    loops: LoopMetrics,
    forward: ForwardMetrics,
    hosts: HostsMetrics,
    local: LocalMetrics,
    kubernetes: KubernetesMetrics,
}

impl Metrics {
    /// The metrics of a process started at `started`. `plugins` are the names that a
    /// [`PluginId`](super::PluginId) indexes; `lines` is asked for the log lines it dropped.
    #[must_use]
    pub fn new(
        build: BuildInfo,
        started: SystemTime,
        plugins: &'static [&'static str],
        lines: Lines,
    ) -> Self {
        let mut rooms = Rooms::default();
        let metrics = Self {
            registry: Registry::new(),
            blocks: Blocks::new(plugins),
            caches: Caches::new(),
            upstreams: Upstreams::new(),
            enabled: GaugeFamily::new(
                "coredns_plugin_enabled",
                "A metric that indicates whether a plugin is enabled on per server and zone basis.",
                &["server", "zone", "view", "name"],
            ),
            counters: Mutex::new(BTreeMap::new()),
            server: ServerMetrics::new(&mut rooms),
            health: HealthMetrics::new(&mut rooms),
            reload: ReloadMetrics::new(&mut rooms),
            loops: LoopMetrics::new(&mut rooms),
            forward: ForwardMetrics::new(&mut rooms),
            hosts: HostsMetrics::new(&mut rooms),
            local: LocalMetrics::new(&mut rooms),
            kubernetes: KubernetesMetrics::new(&mut rooms),
        };
        let mut collectors = rooms.collectors;
        collectors.extend(metrics.caches.collectors());
        collectors.extend(metrics.upstreams.collectors());
        collectors.push(Box::new(metrics.blocks.clone()));
        collectors.push(Box::new(metrics.enabled.clone()));
        collectors.push(Box::new(build_info(build)));
        collectors.push(Box::new(Process::new(started)));
        collectors.push(Box::new(DroppedLines::new(lines)));
        for collector in collectors {
            metrics.register(collector);
        }
        metrics
    }

    /// The counters of queries to `server` (`dns://:53`) in `zone` (`.`, `cluster.local.`, or `dropped` for queries that
    /// no block is for) and `view` (empty outside of views).
    #[must_use]
    pub fn block(&self, server: &str, zone: &str, view: &str) -> Arc<BlockMetrics> {
        self.blocks.with(server, zone, view)
    }

    /// The counters of the cache of `server`, `zones` (joined by commas) and `view`.
    #[must_use]
    pub fn cache(&self, server: &str, zones: &str, view: &str) -> Arc<CacheMetrics> {
        self.caches.with(server, zones, view)
    }

    /// The counters of the upstream `to` (`8.8.8.8:53`) of the plugin `proxy_name` (`forward`).
    #[must_use]
    pub fn upstream(&self, proxy_name: &str, to: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.with(proxy_name, to)
    }

    /// A family of counters that a plugin declares itself; the same family each time its name is asked for. The name
    /// must not be one that this room already has, nor may it change its labels.
    #[must_use]
    pub fn counters(
        &self,
        name: &'static str,
        help: &str,
        labels: &'static [&'static str],
    ) -> CounterFamily {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counters.get(name) {
            return known.clone();
        }
        let family = CounterFamily::new(name, help, labels);
        self.register(Box::new(family.clone()));
        counters.insert(name, family.clone());
        family
    }

    /// States the plugins of the running configuration; those of the last one that are not among them vanish.
    pub fn enabled_plugins(&self, plugins: impl IntoIterator<Item = EnabledPlugin>) {
        let series = plugins.into_iter().map(|plugin| {
            (
                vec![plugin.server, plugin.zone, plugin.view, plugin.name],
                1.0,
            )
        });
        self.enabled.replace(series);
    }

    /// What the server counts beside queries.
    #[must_use]
    pub fn server(&self) -> &ServerMetrics {
        &self.server
    }

    /// What `health` counts.
    #[must_use]
    pub fn health(&self) -> &HealthMetrics {
        &self.health
    }

    /// What `reload` counts.
    #[must_use]
    pub fn reload(&self) -> &ReloadMetrics {
        &self.reload
    }

    /// What `loop` counts.
    #[must_use]
    pub fn loops(&self) -> &LoopMetrics {
        &self.loops
    }

    /// What `forward` counts of all upstreams together.
    #[must_use]
    pub fn forward(&self) -> &ForwardMetrics {
        &self.forward
    }

    /// What `hosts` states.
    #[must_use]
    pub fn hosts(&self) -> &HostsMetrics {
        &self.hosts
    }

    /// What `local` counts.
    #[must_use]
    pub fn local(&self) -> &LocalMetrics {
        &self.local
    }

    /// What the cluster room counts; a clone counts in the same series.
    #[must_use]
    pub fn kubernetes(&self) -> &KubernetesMetrics {
        &self.kubernetes
    }

    /// Everything in the text format 0.0.4, families sorted by name.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // The encoder refuses a family without name or series; the registry has dropped those without series.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(target: "plugin/prometheus", %error, "Metrics could not be written");
        }
        text
    }

    fn register(&self, collector: Box<dyn Collector>) {
        self.registry
            .register(collector)
            .expect("each family is declared once, under a name of its own");
    }
}

fn build_info(build: BuildInfo) -> GaugeFamily {
    let help = "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.";
    let family = GaugeFamily::new(
        "coredns_build_info",
        help,
        &["version", "revision", "goversion"],
    );
    family.set(&[build.version, build.revision, build.goversion], 1.0);
    family
}

/// Shows how many lines the log dropped.
struct DroppedLines {
    lines: Lines,
    schema: Schema,
}

impl DroppedLines {
    fn new(lines: Lines) -> Self {
        let help = "Log lines thrown away because they came faster than standard output took them.";
        Self {
            lines,
            schema: Schema::new(
                MetricType::COUNTER,
                "cairn_log_lines_dropped_total",
                help,
                &[],
            ),
        }
    }
}

impl Collector for DroppedLines {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.schema.desc()]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            self.schema
                .family(vec![counter(Vec::new(), self.lines.dropped())]),
        ]
    }
}

//! The closed list of plugins: their order, and what each does with a query and a reply.
//!
//! A plugin is a file here (its configuration, its parser, its behavior, its tests), a variant of [`Plugin`]
//! and a row of `config::directives`. It feels those below it in the chain and does not care about those above;
//! no plugin names another. Chains hold plugins by reference count, because the chains of one server block, one
//! a zone and listener, share them.

use std::fmt;
use std::sync::Arc;

use crate::chain::{Answer, Below, Step};
use crate::dns::Query;

pub mod bind;
pub mod bufsize;
pub mod cache;
#[cfg(test)]
mod case;
pub mod debug;
pub mod errors;
pub mod forward;
pub mod health;
pub mod kubernetes;
pub mod loadbalance;
pub mod log;
pub mod loop_guard;
pub mod prometheus;
pub mod ready;
pub mod reload;
#[cfg(test)]
pub mod scripted;
pub mod whoami;

/// Every directive of CoreDNS, in the order in which chains are compiled (its `plugin.cfg`).
pub const ORDER: [&str; 61] = [
    "root",
    "metadata",
    "geoip",
    "cancel",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "bind",
    "debug",
    "trace",
    "ready",
    "health",
    "pprof",
    "shed",
    "prometheus",
    "errors",
    "log",
    "dnstap",
    "local",
    "dns64",
    "any",
    "chaos",
    "loadbalance",
    "tsig",
    "rewrite",
    "autopath",
    "acl",
    "cache",
    "header",
    "dnssec",
    "tls",
    "minimal",
    "template",
    "transfer",
    "hosts",
    "route53",
    "azure",
    "clouddns",
    "k8s_external",
    "kubernetes",
    "file",
    "auto",
    "secondary",
    "etcd",
    "loop",
    "forward",
    "grpc",
    "erratic",
    "whoami",
    "on",
    "sign",
    "view",
    "nomad",
    "import",
];

/// A directive, by its place in [`ORDER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(u8);

impl PluginId {
    /// The plugin of this name.
    pub const fn named(name: &str) -> Option<PluginId> {
        let mut at = 0;
        while at < ORDER.len() {
            if equal(ORDER[at].as_bytes(), name.as_bytes()) {
                return Some(PluginId(at as u8));
            }
            at += 1;
        }
        None
    }

    /// Its name, as metrics and logs write it.
    pub const fn name(self) -> &'static str {
        ORDER[self.0 as usize]
    }

    /// Its place in the order.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether its answers come from a picture in memory that follows its source: a copy of them could only be
    /// older, and costs no less to look up.
    pub fn is_always_fresh(self) -> bool {
        const KUBERNETES: PluginId = PluginId::of("kubernetes");
        self == KUBERNETES
    }

    /// For the table of plugins that are built: a misspelled name does not compile.
    const fn of(name: &str) -> PluginId {
        match PluginId::named(name) {
            Some(id) => id,
            None => panic!("no directive of this name"),
        }
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plugin in a chain.
#[derive(Debug, Clone)]
pub enum Plugin {
    /// Lowers the size of replies.
    Bufsize(bufsize::Config),
    /// Counts replies.
    Prometheus(Arc<prometheus::Prometheus>),
    /// Tells the log why there is no better answer.
    Errors(Arc<errors::Errors>),
    /// Writes the query log.
    Log(Arc<log::Log>),
    /// Puts addresses into a random order.
    Loadbalance,
    /// Keeps answers.
    Cache(Arc<cache::Cache>),
    /// Answers for a cluster.
    Kubernetes(Arc<kubernetes::Kubernetes>),
    /// Finds out whether queries come back.
    Loop(Arc<loop_guard::LoopGuard>),
    /// Asks upstream servers.
    Forward(Arc<forward::Forward>),
    /// Tells the client who it is.
    Whoami,
    /// Does what a test wants.
    #[cfg(test)]
    Scripted(Arc<scripted::Scripted>),
}

impl Plugin {
    /// Which plugin it is.
    pub fn id(&self) -> PluginId {
        macro_rules! named {
            ($name:literal) => {{
                const ID: PluginId = PluginId::of($name);
                ID
            }};
        }
        match self {
            Plugin::Bufsize(_) => named!("bufsize"),
            Plugin::Prometheus(_) => named!("prometheus"),
            Plugin::Errors(_) => named!("errors"),
            Plugin::Log(_) => named!("log"),
            Plugin::Loadbalance => named!("loadbalance"),
            Plugin::Cache(_) => named!("cache"),
            Plugin::Kubernetes(_) => named!("kubernetes"),
            Plugin::Loop(_) => named!("loop"),
            Plugin::Forward(_) => named!("forward"),
            Plugin::Whoami => named!("whoami"),
            #[cfg(test)]
            Plugin::Scripted(_) => named!("erratic"),
        }
    }

    /// What the plugin says to a query on its way down. In place, as is [`Plugin::up`]: most say nothing to most queries, and
    /// to call them for that took 200 of the 3,200 instructions of a hit.
    #[inline(always)]
    pub(crate) fn down(&self, query: &mut Query) -> Step {
        match self {
            Plugin::Bufsize(config) => {
                bufsize::down(*config, query);
                Step::Next
            }
            Plugin::Prometheus(_) | Plugin::Errors(_) | Plugin::Log(_) | Plugin::Loadbalance => {
                Step::Next
            }
            Plugin::Cache(cache) => cache.down(query),
            Plugin::Kubernetes(kubernetes) => kubernetes.down(query),
            Plugin::Loop(guard) => guard.down(query),
            Plugin::Forward(forward) => forward.down(query),
            Plugin::Whoami => whoami::down(query),
            #[cfg(test)]
            Plugin::Scripted(scripted) => scripted.down(query),
        }
    }

    /// What it does to a reply from below, on its way up.
    #[inline(always)]
    pub(crate) fn up(&self, query: &Query, answer: &mut Answer) {
        match self {
            Plugin::Prometheus(prometheus) => prometheus.up(query, answer),
            Plugin::Errors(errors) => errors.up(query, answer),
            Plugin::Log(log) => log.up(query, answer),
            Plugin::Loadbalance => loadbalance::up(query, answer),
            Plugin::Cache(cache) => cache.up(query, answer),
            Plugin::Bufsize(_)
            | Plugin::Kubernetes(_)
            | Plugin::Loop(_)
            | Plugin::Forward(_)
            | Plugin::Whoami => {}
            #[cfg(test)]
            Plugin::Scripted(_) => {}
        }
    }

    /// As [`Plugin::up`] for a query that is not a client's, of which nobody is told.
    pub(crate) fn up_untold(&self, query: &Query, answer: &mut Answer) {
        match self {
            Plugin::Errors(errors) => errors.shape(answer),
            plugin if plugin.only_tells() => {}
            plugin => plugin.up(query, answer),
        }
    }

    /// Whether it tells of queries and replies on their way down, and changes none.
    pub(crate) fn only_tells(&self) -> bool {
        matches!(
            self,
            Plugin::Prometheus(_) | Plugin::Errors(_) | Plugin::Log(_)
        )
    }

    /// What it says when those below take too long, after it has said [`Step::NextWithin`]; `None` if it must wait for
    /// them after all.
    pub(crate) fn overdue(&self, query: &mut Query) -> Option<Step> {
        match self {
            Plugin::Cache(cache) => cache.overdue(query),
            _ => unreachable!("only the cache says NextWithin"),
        }
    }

    /// Lets those below go on for its own sake, or not, after it has answered `query` without them.
    pub(crate) fn refresh(&self, query: &Query, below: Below) {
        match self {
            Plugin::Cache(cache) => cache.refresh(query, below),
            _ => unreachable!("only the cache answers without those below"),
        }
    }

    /// What it says when it has asked, after it has said [`Step::Ask`].
    pub(crate) async fn ask(&self, query: &Query) -> Step {
        match self {
            Plugin::Forward(forward) => forward.ask(query).await,
            #[cfg(test)]
            Plugin::Scripted(scripted) => scripted.ask(query).await,
            Plugin::Bufsize(_)
            | Plugin::Prometheus(_)
            | Plugin::Errors(_)
            | Plugin::Log(_)
            | Plugin::Loadbalance
            | Plugin::Cache(_)
            | Plugin::Kubernetes(_)
            | Plugin::Loop(_)
            | Plugin::Whoami => unreachable!("only plugins that say Ask are asked"),
        }
    }
}

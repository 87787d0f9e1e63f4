//! What lives as long as the process and every generation is handed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use tokio::runtime::Handle;

use crate::cluster::registry::Clusters;
use crate::counting::{Following, Forwarding};
use crate::plugin::ORDER;
use crate::plugin::cache::Refreshes;
use crate::plugin::forward::Outbound;
use crate::plugin::loop_guard::OnLoop;
use crate::server;
use crate::telemetry::lines::Lines;
use crate::telemetry::{BuildInfo, Metrics};

/// What generations share, and what outlives them.
pub struct Process {
    /// Where the work that waits is done.
    pub runtime: Handle,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// Where log lines go, those of queries among them.
    pub lines: Lines,
    /// The clusters that are followed.
    pub clusters: Clusters,
    /// What all queries share on their way to upstreams.
    pub outbound: Arc<Outbound>,
    /// What all caches do behind the backs of clients.
    pub refreshes: Arc<Refreshes>,
    /// What a listener may use.
    pub listener: server::Config,
    /// A panic ends the process and not one query, as the served configuration says (`debug`).
    pub panics_end_it: Arc<AtomicBool>,
    /// What is done about a forwarding loop that shall end the process (`loop fatal`).
    pub on_loop: Arc<OnLoop>,
}

impl Process {
    /// A process that has just started. Its work runs on `runtime`, its log goes to `lines`.
    pub fn new(runtime: Handle, lines: Lines) -> Process {
        let metrics = Arc::new(Metrics::new(
            BuildInfo::current(),
            SystemTime::now(),
            &ORDER,
            lines.clone(),
        ));
        let panics_end_it = Arc::<AtomicBool>::default();
        let observer = Following::new(metrics.clone(), panics_end_it.clone());
        let clusters = Clusters::new(runtime.clone(), Arc::new(observer));
        let outbound = Arc::new(Outbound::new(
            Arc::new(Forwarding(metrics.clone())),
            runtime.clone(),
        ));
        Process {
            refreshes: Arc::new(Refreshes::on(runtime.clone())),
            runtime,
            metrics,
            lines,
            clusters,
            outbound,
            listener: server::Config::default(),
            panics_end_it,
            on_loop: Arc::new(|found| tracing::error!(target: "plugin/loop", "{found}")),
        }
    }
}

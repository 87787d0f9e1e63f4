//! What the process says about itself: log lines and metrics.
//!
//! `log` turns `tracing` events into lines, `lines` takes lines from any thread without waiting and writes them from a
//! thread of its own; the query log pushes its lines there too. `registry` holds all metrics of the process: the path
//! of a query counts in `sharded` cells (`block`, `cache`, `upstream`), everything else in `rooms`.
//!
//! This room knows no other room. Names, types, labels and buckets are CoreDNS's, because dashboards and alerts are
//! written for them; what CoreDNS does not have is named `cairn_*`.

mod block;
mod cache;
mod family;
mod freshness;
mod histogram;
mod kubernetes;
mod labels;
pub mod lines;
pub mod log;
mod old_names;
mod process;
mod registry;
mod rooms;
mod sharded;
mod snapshot;
mod upstream;

pub use block::{Answered, BlockMetrics};
pub use cache::{CacheEntries, CacheMetrics, CacheType, CountEntries};
pub use family::CounterFamily;
pub use freshness::FreshnessMetrics;
pub use kubernetes::{KubernetesMetrics, ServiceKind};
pub use labels::{Family, PluginId, Proto};
pub use registry::{BuildInfo, EnabledPlugin, Metrics};
pub use rooms::{
    ForwardMetrics, HealthMetrics, HostsMetrics, LocalMetrics, LoopMetrics, ReloadMetrics,
    ServerMetrics,
};
pub use sharded::Counter;
pub use snapshot::SnapshotMetrics;
pub use upstream::{UpstreamMetrics, UpstreamProto};

//! What the plugin tells whoever counts. It knows no registry: the metrics of the process implement these.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::Rcode;

use super::endpoint::Over;

/// Is told of all upstreams together.
pub trait Observer: Send + Sync {
    /// Who is told of one upstream; asked once for each when a configuration is built.
    fn upstream(&self, to: SocketAddr) -> Arc<dyn UpstreamObserver>;
    /// A query found all upstreams down.
    fn healthcheck_broken(&self);
    /// A query was refused because too many wait.
    fn rejected(&self);
    /// A query was not sent, because the same was under way.
    fn joined(&self);
}

/// Is told of one upstream.
pub trait UpstreamObserver: Send + Sync {
    /// A reply came, so long after its query was sent.
    fn answered(&self, rcode: Rcode, elapsed: Duration);
    /// A query went over a connection that lay idle.
    fn connection_reused(&self, over: Over);
    /// A query needed a new connection; over UDP every query does.
    fn connection_made(&self, over: Over);
    /// A health check failed.
    fn healthcheck_failed(&self);
    /// It was found down.
    fn went_down(&self);
    /// It is up again, or nobody asks it any more.
    fn came_up(&self);
    /// A message came from its address that is not the answer to what was asked over UDP.
    fn answer_discarded(&self);
    /// A query was sent to it beside one that another, or it, has not answered yet.
    fn hedged(&self);
}

/// Nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn upstream(&self, _: SocketAddr) -> Arc<dyn UpstreamObserver> {
        Arc::new(Unobserved)
    }
    fn healthcheck_broken(&self) {}
    fn rejected(&self) {}
    fn joined(&self) {}
}

impl UpstreamObserver for Unobserved {
    fn answered(&self, _: Rcode, _: Duration) {}
    fn connection_reused(&self, _: Over) {}
    fn connection_made(&self, _: Over) {}
    fn healthcheck_failed(&self) {}
    fn went_down(&self) {}
    fn came_up(&self) {}
    fn answer_discarded(&self) {}
    fn hedged(&self) {}
}

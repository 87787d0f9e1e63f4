//! What is told of upstreams, and of queries that come back from them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::{Name, Rcode};
use crate::plugin::forward::{self, Over, UpstreamObserver};
use crate::plugin::loop_guard::News;
use crate::telemetry::{Metrics, UpstreamMetrics, UpstreamProto};

/// Counts what is asked of upstreams.
pub(crate) struct Forwarding(pub(crate) Arc<Metrics>);

impl forward::Observer for Forwarding {
    fn upstream(&self, to: SocketAddr) -> Arc<dyn UpstreamObserver> {
        Arc::new(ToUpstream(self.0.upstream("forward", &to.to_string())))
    }

    fn healthcheck_broken(&self) {
        self.0.forward().healthcheck_broken();
    }

    fn rejected(&self) {
        self.0.forward().rejected();
    }

    fn joined(&self) {
        self.0.forward().joined();
    }
}

struct ToUpstream(Arc<UpstreamMetrics>);

impl UpstreamObserver for ToUpstream {
    fn answered(&self, rcode: Rcode, elapsed: Duration) {
        self.0.answered(rcode.0, elapsed);
    }

    fn connection_reused(&self, over: Over) {
        self.0.connection_reused(proto(over));
    }

    fn connection_made(&self, over: Over) {
        self.0.connection_made(proto(over));
    }

    fn healthcheck_failed(&self) {
        self.0.healthcheck_failed();
    }

    fn went_down(&self) {
        self.0.went_down();
    }

    fn came_up(&self) {
        self.0.came_up();
    }

    fn answer_discarded(&self) {
        self.0.answer_discarded();
    }

    fn hedged(&self) {
        self.0.hedged();
    }
}

fn proto(over: Over) -> UpstreamProto {
    match over {
        Over::Udp => UpstreamProto::Udp,
        Over::Tcp => UpstreamProto::Tcp,
        Over::Tls => UpstreamProto::Tls,
        Over::Https => UpstreamProto::Https,
        Over::Quic => UpstreamProto::Quic,
    }
}

/// States whether a server block forwards in circles.
pub(crate) struct Looping {
    metrics: Arc<Metrics>,
    server: String,
    zone: String,
}

impl Looping {
    pub(crate) fn new(metrics: Arc<Metrics>, server: String, zone: Name) -> Looping {
        Looping {
            metrics,
            server,
            zone: zone.to_string(),
        }
    }

    pub(crate) fn told(&self, news: News<'_>) {
        let loops = self.metrics.loops();
        match news {
            News::Found(_) => loops.found(&self.server, &self.zone),
            News::Gone => loops.gone(&self.server, &self.zone),
        }
    }
}

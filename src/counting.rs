//! Who counts what: each room tells what happens in words of its own, and here the words become metrics.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster::audit::{self, Repairs};
use crate::cluster::connection::{Request, RequestObserver};
use crate::cluster::freshness::Heard;
use crate::cluster::object::Resource;
use crate::cluster::snapshot::SnapshotEvent;
use crate::cluster::{HeldEnds, Observer, unix_seconds};
use crate::config::listen::ListenAddress;
use crate::dns::{Name, Query, Rcode, Transport};
use crate::plugin::cache::{Counters, Kind};
use crate::plugin::forward::{self, Over, UpstreamObserver};
use crate::plugin::loop_guard::News;
use crate::server::{Closing, Hooks, Overload};
use crate::telemetry::{
    Answered, BlockMetrics, CacheMetrics, CacheType, Counter, Family, KubernetesMetrics, Metrics,
    PluginId, Proto, ServiceKind, UpstreamMetrics, UpstreamProto,
};
use crate::top::Top;

/// The zone label of queries that no server block is for.
const DROPPED: &str = "dropped";

/// Clients that are limited are told of no more often than this.
const LIMITED_TOLD_EACH: Duration = Duration::from_secs(60);

/// Counts what a listener answers by itself.
pub(crate) struct Listening {
    metrics: Arc<Metrics>,
    dropped: Arc<BlockMetrics>,
    overloaded: [(Overload, Arc<Counter>); 3],
    unsent: Arc<Counter>,
    unread: Arc<Counter>,
    limited: Arc<Counter>,
    /// When that was last told or would have been, in Unix time in seconds.
    limited_told: AtomicU64,
    connections_opened: Arc<Counter>,
    connections_closed: [(Closing, Arc<Counter>); 8],
    accept_failures: Arc<Counter>,
    panics_end_it: Arc<AtomicBool>,
    top: Arc<Top>,
}

impl Listening {
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        address: ListenAddress,
        panics_end_it: Arc<AtomicBool>,
        top: Arc<Top>,
    ) -> Listening {
        let server = address.to_string();
        let counter = |name, help| metrics.counters(name, help, &["server"]).with(&[&server]);
        Listening {
            dropped: metrics.block(&server, DROPPED, ""),
            overloaded: overloads(&metrics, &server),
            limited: counter(
                "cairn_clients_limited_total",
                "Times that clients began to be limited, because they sent more than others left them of what can be read.",
            ),
            limited_told: AtomicU64::new(0),
            unread: counter(
                "cairn_datagrams_unread_total",
                "Datagrams lost before they were read: there was no time, or their client sent more than its share.",
            ),
            unsent: counter(
                "cairn_replies_unsent_total",
                "Replies that the kernel did not take.",
            ),
            connections_opened: counter(
                "cairn_tcp_connections_opened_total",
                "TCP connections that clients have made.",
            ),
            connections_closed: closings(&metrics, &server),
            accept_failures: counter(
                "cairn_tcp_accept_failures_total",
                "Times that a TCP connection could not be accepted, because the system lacked something.",
            ),
            metrics,
            panics_end_it,
            top,
        }
    }
}

impl Hooks for Listening {
    fn panicked(&self) {
        panicked(&self.metrics, &self.panics_end_it);
    }

    fn overloaded(&self, why: Overload) {
        increment(&self.overloaded, why);
    }

    fn sampled(&self, query: &Query, rcode: Rcode) {
        self.top.sampled(query, rcode);
    }

    fn limited(&self, clients: &[IpAddr]) {
        self.limited.increment();
        let now = unix_seconds();
        let last = self.limited_told.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) < LIMITED_TOLD_EACH.as_secs() {
            // Told again once there was quiet for so long.
            return;
        }
        let clients: Vec<String> = clients.iter().map(IpAddr::to_string).collect();
        tracing::warn!(
            "More is asked than can be read, most of it by {}: a part of what they send is lost, so that others have answers",
            clients.join(", ")
        );
    }

    fn unread(&self, count: usize) {
        self.unread.add(count as u64);
    }

    fn unsent(&self, count: usize) {
        self.unsent.add(count as u64);
    }

    fn connection_opened(&self) {
        self.connections_opened.increment();
    }

    fn connection_closed(&self, why: Closing) {
        increment(&self.connections_closed, why);
    }

    fn accept_failed(&self) {
        self.accept_failures.increment();
    }

    fn answered_outside(&self, query: &Query, rcode: Rcode, size: usize) {
        self.dropped.replied(&answered(
            query,
            rcode,
            size,
            PluginId::SERVER,
            Duration::ZERO,
        ));
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

/// A counter for each reason that a TCP connection may end for.
fn closings(metrics: &Metrics, server: &str) -> [(Closing, Arc<Counter>); 8] {
    let closed = metrics.counters(
        "cairn_tcp_connections_closed_total",
        "TCP connections of clients that have ended, by the reason.",
        &["server", "reason"],
    );
    let reasons = [
        (Closing::Client, "client"),
        (Closing::Idle, "idle"),
        (Closing::Shutdown, "shutdown"),
        (Closing::Room, "room"),
        (Closing::ClientLimit, "client_limit"),
        (Closing::SlowQuery, "slow_query"),
        (Closing::SlowReader, "slow_reader"),
        (Closing::Memory, "memory"),
    ];
    reasons.map(|(why, word)| (why, closed.with(&[server, word])))
}

/// Counts one more for this reason.
fn increment<T: PartialEq>(counters: &[(T, Arc<Counter>)], why: T) {
    if let Some((_, counter)) = counters.iter().find(|(of, _)| *of == why) {
        counter.increment();
    }
}

/// Queries that came to nothing because there were too many, by the reason.
fn overloads(metrics: &Metrics, server: &str) -> [(Overload, Arc<Counter>); 3] {
    let overloaded = metrics.counters(
        "cairn_queries_overloaded_total",
        "Queries that came to nothing because too many waited, by the reason: told SERVFAIL, or not begun and told nothing.",
        &["server", "reason"],
    );
    let reasons = [
        (Overload::Full, "full"),
        (Overload::Displaced, "displaced"),
        (Overload::NotBegun, "not_begun"),
    ];
    reasons.map(|(why, word)| (why, overloaded.with(&[server, word])))
}

/// Counts a panic that was contained, unless it is to end the process.
fn panicked(metrics: &Metrics, ends_it: &AtomicBool) {
    metrics.server().panicked();
    if ends_it.load(Ordering::Relaxed) {
        std::process::abort();
    }
}

/// A reply, as the counters of its zone take it.
pub(crate) fn answered(
    query: &Query,
    rcode: Rcode,
    size: usize,
    plugin: PluginId,
    elapsed: Duration,
) -> Answered {
    Answered {
        proto: match query.transport {
            Transport::Udp => Proto::Udp,
            Transport::Tcp => Proto::Tcp,
        },
        family: if query.client.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        },
        qtype: query.question.rtype.0,
        do_bit: query.dnssec_ok(),
        request_len: query.size,
        reply_len: size,
        rcode: rcode.0,
        plugin,
        elapsed,
    }
}

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

/// Counts what a cache does.
pub(crate) struct Caching(pub(crate) Arc<CacheMetrics>);

impl Counters for Caching {
    fn requested(&self) {
        self.0.requests.increment();
    }

    fn hit(&self, kind: Kind) {
        self.0.hit(cache_type(kind));
    }

    fn missed(&self) {
        self.0.misses.increment();
    }

    fn evicted(&self, kind: Kind) {
        self.0.evicted(cache_type(kind));
    }

    fn dropped(&self) {
        self.0.drops.increment();
    }

    fn refreshed(&self) {
        self.0.prefetches.increment();
    }

    fn refresh_left_out(&self) {
        self.0.refreshes_left_out.increment();
    }

    fn served_stale(&self) {
        self.0.served_stale.increment();
    }
}

impl std::fmt::Debug for Caching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caching")
    }
}

fn cache_type(kind: Kind) -> CacheType {
    match kind {
        Kind::Success => CacheType::Success,
        Kind::Denial => CacheType::Denial,
    }
}

/// Counts what is asked of API servers and what is known of clusters.
pub(crate) struct Following {
    metrics: Arc<Metrics>,
    panics_end_it: Arc<AtomicBool>,
}

impl Following {
    pub(crate) fn new(metrics: Arc<Metrics>, panics_end_it: Arc<AtomicBool>) -> Following {
        Following {
            metrics,
            panics_end_it,
        }
    }

    fn room(&self) -> &KubernetesMetrics {
        self.metrics.kubernetes()
    }
}

impl Observer for Following {
    fn holds(&self, cluster: &str, resource: Resource, objects: usize, synced: bool) {
        self.room()
            .holds(cluster, &resource.to_string(), objects as u64, synced);
    }

    fn forgets(&self, cluster: &str, resource: Resource) {
        self.room().forgets(cluster, &resource.to_string());
    }

    fn heard(&self, cluster: &str, resource: Resource, heard: &Heard) {
        let resource = resource.to_string();
        for (way, at) in [
            ("event", heard.event),
            ("bookmark", heard.bookmark),
            ("list", heard.list),
            ("contact", heard.contact),
        ] {
            if let Some(at) = at {
                self.room().freshness().heard(cluster, &resource, way, at);
            }
        }
        if let Ok(version) = heard.version.parse() {
            self.room().freshness().reached(cluster, &resource, version);
        }
    }

    fn audited(&self, cluster: &str, resource: Resource, result: audit::Result) {
        let result = match result {
            audit::Result::Same => "same",
            audit::Result::Repaired => "repaired",
            audit::Result::Failed => "failed",
            audit::Result::Older => "older",
        };
        self.room()
            .freshness()
            .audited(cluster, &resource.to_string(), result);
    }

    fn repaired(&self, cluster: &str, resource: Resource, repairs: Repairs) {
        for (kind, count) in repairs.each() {
            let kind = match kind {
                audit::Kind::Missing => "missing",
                audit::Kind::Changed => "changed",
                audit::Kind::Extra => "extra",
            };
            self.room()
                .freshness()
                .repaired(cluster, &resource.to_string(), kind, count);
        }
    }

    fn doubted(&self, cluster: &str, resource: Resource) {
        self.room()
            .freshness()
            .doubted(cluster, &resource.to_string());
    }

    fn rewound(&self, cluster: &str, resource: Resource) {
        self.room()
            .freshness()
            .rewound(cluster, &resource.to_string());
    }

    fn programmed(&self, headless: bool, elapsed: Duration) {
        let kind = if headless {
            ServiceKind::HeadlessWithSelector
        } else {
            ServiceKind::ClusterIp
        };
        self.room().programmed(kind, elapsed);
    }

    fn held(&self, cluster: &str, ends: HeldEnds) {
        let HeldEnds {
            moved,
            gone,
            no_room,
        } = ends;
        for (outcome, endpoints) in [("moved", moved), ("gone", gone), ("no_room", no_room)] {
            self.room().held(cluster, outcome, endpoints);
        }
    }

    fn snapshot(&self, cluster: &str, event: SnapshotEvent) {
        let snapshot = self.room().snapshot();
        match event {
            SnapshotEvent::Written { octets, at } => snapshot.written(cluster, octets, at),
            SnapshotEvent::CurrentAsOf(time) => snapshot.current_as_of(cluster, time),
            SnapshotEvent::NotKept => snapshot.not_kept(cluster),
            SnapshotEvent::WriteFailed => snapshot.write_failed(cluster),
            SnapshotEvent::ReadFailed(reason) => snapshot.read_failed(cluster, reason),
            SnapshotEvent::Serves(resource, as_of) => {
                snapshot.serves(cluster, &resource.to_string(), as_of)
            }
        }
    }

    fn panicked(&self) {
        panicked(&self.metrics, &self.panics_end_it);
    }
}

impl RequestObserver for Following {
    fn answered(&self, request: &Request<'_>) {
        let (host, method) = (request.host, request.method.as_str());
        let code = request
            .code
            .map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.room().requested(host, method, &code, request.duration);
        self.room().held_back(host, method, request.waited);
    }
}

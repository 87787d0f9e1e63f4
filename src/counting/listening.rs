//! What a listener tells, of queries that no chain saw and of its connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{answered, panicked};
use crate::cluster::unix_seconds;
use crate::config::listen::ListenAddress;
use crate::dns::{Query, Rcode};
use crate::server::{Closing, Hooks, Overload};
use crate::telemetry::{BlockMetrics, Counter, Metrics, PluginId};
use crate::top::Top;

/// The zone label of queries that no server block is for.
const DROPPED: &str = "dropped";

/// Clients that are limited are told of no more often than this.
const LIMITED_TOLD_EACH: Duration = Duration::from_secs(60);

/// Counts what a listener answers by itself.
pub(crate) struct Listening {
    metrics: Arc<Metrics>,
    dropped: Arc<BlockMetrics>,
    overloaded: ByReason<Overload, 3>,
    unsent: Arc<Counter>,
    unread: Arc<Counter>,
    limited: Arc<Counter>,
    /// When that was last told or would have been, in Unix time in seconds.
    limited_told: AtomicU64,
    connections_opened: Arc<Counter>,
    connections_closed: ByReason<Closing, 8>,
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
            overloaded: ByReason::new(
                &metrics,
                &server,
                "cairn_queries_overloaded_total",
                "Queries that came to nothing because too many waited, by the reason: told SERVFAIL, or not begun and told nothing.",
                [
                    (Overload::Full, "full"),
                    (Overload::Displaced, "displaced"),
                    (Overload::NotBegun, "not_begun"),
                ],
            ),
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
            connections_closed: ByReason::new(
                &metrics,
                &server,
                "cairn_tcp_connections_closed_total",
                "TCP connections of clients that have ended, by the reason.",
                [
                    (Closing::Client, "client"),
                    (Closing::Idle, "idle"),
                    (Closing::Shutdown, "shutdown"),
                    (Closing::Room, "room"),
                    (Closing::ClientLimit, "client_limit"),
                    (Closing::SlowQuery, "slow_query"),
                    (Closing::SlowReader, "slow_reader"),
                    (Closing::Memory, "memory"),
                ],
            ),
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
        self.overloaded.increment(why);
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
        self.connections_closed.increment(why);
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

/// A counter for each reason that there may be.
struct ByReason<T, const N: usize>([(T, Arc<Counter>); N]);

impl<T: PartialEq, const N: usize> ByReason<T, N> {
    /// The counters of this name on a server, by the reasons and their words.
    fn new(
        metrics: &Metrics,
        server: &str,
        name: &'static str,
        help: &'static str,
        reasons: [(T, &str); N],
    ) -> ByReason<T, N> {
        let counters = metrics.counters(name, help, &["server", "reason"]);
        ByReason(reasons.map(|(why, word)| (why, counters.with(&[server, word]))))
    }

    fn increment(&self, why: T) {
        if let Some((_, counter)) = self.0.iter().find(|(of, _)| *of == why) {
            counter.increment();
        }
    }
}

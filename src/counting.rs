//! Who counts what: each room tells what happens in words of its own, and here the words become metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::dns::{Query, Rcode, Transport};
use crate::telemetry::{Answered, Family, Metrics, PluginId, Proto};

mod caching;
mod following;
mod forwarding;
mod listening;

pub(crate) use caching::Caching;
pub(crate) use following::Following;
pub(crate) use forwarding::{Forwarding, Looping};
pub(crate) use listening::Listening;

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

/// Counts a panic that was contained, unless it is to end the process.
fn panicked(metrics: &Metrics, ends_it: &AtomicBool) {
    metrics.server().panicked();
    if ends_it.load(Ordering::Relaxed) {
        std::process::abort();
    }
}

//! A query that nobody's client has sent, taken the way of all others to be told what becomes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::handle::{Handled, Packet, Service};
use super::router::Router;
use crate::admission::Admission;
use crate::dns::query::flag;
use crate::dns::trace::Notes;
use crate::dns::{Edns, Name, Query, Question, Trace, Transport, encode};

/// The payload size that the client has: what resolvers send, so that a reply is cut as theirs would be.
const PAYLOAD: u16 = 1232;

/// What became of it.
#[derive(Debug)]
pub struct Explained {
    /// The zone whose chain it went to, if it is in one.
    pub zone: Option<Name>,
    /// What was decided on the way.
    pub notes: Notes,
    /// The reply as the client would have it; empty for silence.
    pub reply: Vec<u8>,
    /// How long that took.
    pub elapsed: Duration,
}

/// Asks as if `client` had sent this question to `server` over UDP, with EDNS and wanting recursion. Listeners do not
/// hear of it, and no place among the queries that may wait is taken; what it costs upstreams and caches is real.
pub async fn explain(
    router: Arc<Router>,
    question: Question,
    client: SocketAddr,
    server: SocketAddr,
) -> Explained {
    let mut query = Query::empty();
    query.question = question;
    query.flags = flag::RD;
    query.edns = Some(Edns {
        payload: PAYLOAD,
        ..Edns::default()
    });
    let mut octets = Vec::new();
    encode::query(&query, &question.asked, 0, &mut octets);
    let service = Service {
        router: ArcSwap::new(router.clone()),
        hooks: Arc::new(()),
        waiting: Admission::new(1),
    };
    let received = Instant::now();
    let packet = Packet {
        octets: &octets,
        transport: Transport::Udp,
        client,
        server,
        received,
    };
    let trace = Trace::new(received);
    query.trace = Some(Box::new(trace.clone()));
    let mut reply = Vec::new();
    if let Handled::Waiting(pending) = service.handle(&router, &packet, &mut query, &mut reply) {
        drop(service.finish(pending, &mut query, &mut reply).await);
    }
    let chain = router.route(&question);
    Explained {
        zone: chain.and_then(|chain| router.zone_of(chain)),
        notes: trace.notes(),
        reply,
        elapsed: received.elapsed(),
    }
}

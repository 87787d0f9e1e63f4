//! One query, from its octets to those of its reply.
//!
//! Everything that a packet can be is decided here, in the order of CoreDNS: no message, not a query that we know,
//! another class, another version of EDNS, no zone of ours, a question for a chain. Sockets are not known here:
//! the caller brings the octets and takes the reply away. A panic below costs one query its answer and nothing
//! else.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_util::FutureExt;

use super::router::Router;
use super::{Hooks, Overload, sampling};
use crate::admission::{Admission, Displaced, Place, Refused};
use crate::chain::{Answer, Progress, Waiting};
use crate::dns::edns::{ErrorCode, Explanation, ExtendedError};
use crate::dns::{Query, Rcode, Reply, Transport, encode};

/// Why a query is not taken that would have to wait.
static LEAVING: ExtendedError = ExtendedError::of(ErrorCode::NotReady, "this server is leaving");

/// Why a query is refused.
static IN_NO_ZONE: ExtendedError = ExtendedError::of(
    ErrorCode::NotAuthoritative,
    "the name is in no zone of this server",
);

/// Why a query that waited, or would have to, is not answered.
static OVERLOADED: ExtendedError = ExtendedError::of(ErrorCode::Other, "too many queries wait");

/// Why there is no answer where the log has more.
static PANICKED: ExtendedError = ExtendedError::of(ErrorCode::Other, "a fault of this server");

/// What the sockets of a listener share.
pub(super) struct Service {
    /// The generation's; loaded once for all queries that arrived together.
    pub(super) router: ArcSwap<Router>,
    pub(super) hooks: Arc<dyn Hooks>,
    /// One place for each query that may wait. Closed, none may any more.
    pub(super) waiting: Arc<Admission>,
}

/// A packet and where it came from.
pub(super) struct Packet<'a> {
    pub(super) octets: &'a [u8],
    pub(super) transport: Transport,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) received: Instant,
}

/// What became of a packet.
pub(super) enum Handled {
    /// The reply is encoded.
    Reply,
    /// It gets no reply.
    Silence,
    /// It must wait; [`Service::finish`] goes on with it.
    Waiting(Box<Pending>),
}

/// A query that waits.
pub(super) struct Pending {
    waiting: Waiting,
    place: Place,
}

impl Service {
    /// Takes a packet as far as it goes without waiting. `query` is parsed into; the reply, if there is one, is
    /// in `out`, which is empty otherwise.
    #[inline]
    pub(super) fn handle(
        &self,
        router: &Arc<Router>,
        packet: &Packet<'_>,
        query: &mut Query,
        out: &mut Vec<u8>,
    ) -> Handled {
        out.clear();
        (query.client, query.server, query.received) =
            (packet.client, packet.server, packet.received);
        if let Err(reject) = query.parse(packet.octets, packet.transport) {
            encode::reject(query, reject, out);
            return if out.is_empty() {
                Handled::Silence
            } else {
                Handled::Reply
            };
        }
        if !router.serves_class(query.question.class) {
            return self.answer_outside(query, Rcode::REFUSED, &IN_NO_ZONE, out);
        }
        if query.edns.as_ref().is_some_and(|edns| edns.version != 0) {
            encode::bad_version(query, out);
            return Handled::Reply;
        }
        let chain = router.route(&query.question);
        let Some(chain) = chain.filter(|chain| !chain.plugins().is_empty()) else {
            return self.answer_outside(query, Rcode::REFUSED, &IN_NO_ZONE, out);
        };
        let run = AssertUnwindSafe(|| match chain.run(router, query) {
            Progress::Answered(answer) => self.reply(query, answer, out),
            Progress::Dropped => Handled::Silence,
            Progress::Waiting(waiting) => self.wait(query, waiting, out),
        });
        catch_unwind(run).unwrap_or_else(|_| self.fail(query, out))
    }

    /// Takes a query that waits, which must be the one that was handled, to its end; the place it waited in is
    /// to be held until the reply is sent. This room keeps no time: the plugin that made it wait does.
    pub(super) async fn finish(
        &self,
        pending: Box<Pending>,
        query: &mut Query,
        out: &mut Vec<u8>,
    ) -> Place {
        let Pending { waiting, place } = *pending;
        out.clear();
        if place.is_displaced() {
            match waiting.instead(query) {
                Some(answer) => drop(self.reply(query, answer, out)),
                None => drop(self.displaced(query, out)),
            }
            return place;
        }
        // Boxed, because a future that is handed on before it runs is held once for each hand: 3.5 KB of each query that
        // waits.
        let run = AssertUnwindSafe(Box::pin(waiting.finish(query)));
        let ended = place.unless_displaced(pin!(run.catch_unwind())).await;
        match ended {
            Ok(Ok(Some(answer))) => drop(self.reply(query, answer, out)),
            Ok(Ok(None)) => {}
            Ok(Err(_)) => drop(self.fail(query, out)),
            Err(Displaced) => drop(self.displaced(query, out)),
        }
        place
    }

    /// Says what can be said at once to a query that waits and was not begun; `None`: nothing can. The place is to be held
    /// until the reply is sent.
    pub(super) fn instead(
        &self,
        pending: Pending,
        query: &mut Query,
        out: &mut Vec<u8>,
    ) -> Option<Place> {
        let Pending { waiting, place } = pending;
        let answer = waiting.instead(query)?;
        self.reply(query, answer, out);
        Some(place)
    }

    fn wait(&self, query: &mut Query, waiting: Waiting, out: &mut Vec<u8>) -> Handled {
        let refused = match self.waiting.enter(query.client.ip()) {
            Ok(place) => return Handled::Waiting(Box::new(Pending { waiting, place })),
            Err(refused) => refused,
        };
        if let Some(answer) = waiting.instead(query) {
            return self.reply(query, answer, out);
        }
        match refused {
            Refused::Full => self.overloaded(query, Overload::Full, out),
            Refused::Closed => self.leaving(query, out),
        }
    }

    /// The place that a query waited in was wanted back: another needs it, or the listener ends.
    fn displaced(&self, query: &mut Query, out: &mut Vec<u8>) -> Handled {
        if self.waiting.is_closed() {
            self.leaving(query, out)
        } else {
            self.overloaded(query, Overload::Displaced, out)
        }
    }

    fn leaving(&self, query: &mut Query, out: &mut Vec<u8>) -> Handled {
        query.restore_question();
        self.answer_outside(query, Rcode::SERVFAIL, &LEAVING, out)
    }

    fn overloaded(&self, query: &mut Query, why: Overload, out: &mut Vec<u8>) -> Handled {
        self.hooks.overloaded(why);
        query.restore_question();
        self.answer_outside(query, Rcode::SERVFAIL, &OVERLOADED, out)
    }

    fn fail(&self, query: &mut Query, out: &mut Vec<u8>) -> Handled {
        self.hooks.panicked();
        query.restore_question();
        self.answer_outside(query, Rcode::SERVFAIL, &PANICKED, out)
    }

    /// The server's own answer: the question and a code, with the reason for a client with EDNS.
    fn answer_outside(
        &self,
        query: &mut Query,
        rcode: Rcode,
        why: &'static ExtendedError,
        out: &mut Vec<u8>,
    ) -> Handled {
        let mut reply = Reply::new(query, rcode);
        reply.error = Some(Explanation::Known(why));
        encode::reply(query, &reply, out);
        query.recycle(reply.records);
        self.hooks.answered_outside(query, rcode, out.len());
        self.sample(query, rcode);
        Handled::Reply
    }

    /// Plugins that rewrite change the question; the client is answered its own.
    fn reply(&self, query: &mut Query, answer: Answer, out: &mut Vec<u8>) -> Handled {
        query.restore_question();
        encode::reply(query, &answer.reply, out);
        query.recycle(answer.reply.records);
        self.sample(query, answer.reply.rcode);
        Handled::Reply
    }

    #[inline]
    fn sample(&self, query: &Query, rcode: Rcode) {
        if sampling::is_drawn() {
            self.hooks.sampled(query, rcode);
        }
    }
}

#[cfg(test)]
mod tests;

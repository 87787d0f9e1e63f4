//! One query to one upstream and its reply, over one protocol.
//!
//! What comes back is believed only if it comes from the upstream's address and port and has our id, our question
//! and our opcode (RFC 5452 section 9), over UDP with the name in the very case in which it was sent: each letter is
//! one more bit to guess. Nothing else ends the wait over UDP, because anybody may have sent it: a forged packet must
//! not be able to keep out the genuine one.

use std::future::Future;
use std::io;
use std::time::Instant;

use futures_util::FutureExt;
use tokio_rustls::rustls;

use crate::chain::{Cause, Operation};
use crate::dns::message::{self, MessageError, Received};
use crate::dns::name::NAME_MAX;
use crate::dns::reply::Records;
use crate::dns::{Name, Query, Question, Reply, encode};

use super::tls;

mod https;
mod quic;
mod tcp;
mod udp;

pub(super) use https::Https;
pub(super) use quic::Quic;
pub(super) use tcp::Connection;
pub(super) use udp::exchange as udp;

/// What is asked of an upstream, and what of that which comes back is the reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    query: &'a Query,
    id: u16,
    /// The letters of the name that are sent in the other case.
    flips: Option<Flips>,
    take: Take,
}

/// A bit for each octet of a name.
type Flips = [u8; NAME_MAX.div_ceil(8)];

/// What is taken for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// A well-formed answer to the question.
    Answer,
    /// Any response with our id: it shows that somebody is there.
    AnyResponse,
}

/// What a message is to us.
#[derive(Debug)]
enum Heard {
    /// The reply.
    Reply(Reply),
    /// It has our id and question, but cannot be read.
    Malformed(MessageError),
    /// The reply, but for the case of the name. Who can forge the rest of it needs no more, so it is the upstream's.
    OtherCase,
    /// Somebody else's.
    Other,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The step.
    pub(super) operation: Operation,
    /// Why.
    pub(super) cause: Cause,
}

impl<'a> Asked<'a> {
    /// A query, under an id of its own.
    pub(super) fn query(query: &'a Query) -> Asked<'a> {
        Asked {
            query,
            id: rand::random(),
            flips: None,
            take: Take::Answer,
        }
    }

    /// The same under another id: what was sent under the first is known to somebody.
    pub(super) fn anew(self) -> Asked<'a> {
        Asked {
            id: rand::random(),
            ..self
        }
    }

    /// The same with the name in a case drawn by lot.
    pub(super) fn in_random_case(self) -> Asked<'a> {
        Asked {
            flips: Some(rand::random()),
            ..self
        }
    }

    /// A query of which only matters whether it is answered.
    pub(super) fn probe(query: &'a Query) -> Asked<'a> {
        Asked {
            take: Take::AnyResponse,
            ..Asked::query(query)
        }
    }

    /// The same with the id 0, for protocols that tell replies apart by other means.
    fn without_id(self) -> Asked<'a> {
        Asked { id: 0, ..self }
    }

    /// Writes the message into `out`, which is cleared first.
    fn encode(&self, out: &mut Vec<u8>) {
        encode::query(self.query, &self.sent(), self.id, out);
    }

    /// The message behind its length.
    fn framed(&self) -> Vec<u8> {
        let mut message = Vec::new();
        self.encode(&mut message);
        let length = u16::try_from(message.len()).expect("it came in as a message of that length");
        message.splice(..0, length.to_be_bytes());
        message
    }

    /// The reply, where nothing else may come.
    fn reply_in(&self, message: &mut [u8]) -> Result<Reply, Fault> {
        match self.hear(message) {
            Heard::Reply(reply) => Ok(reply),
            Heard::Malformed(why) => Err(Fault::new(Operation::Read, Cause::Malformed(why))),
            Heard::OtherCase | Heard::Other => Err(Fault::new(Operation::Read, Cause::OtherReply)),
        }
    }

    /// The name as it is sent.
    fn sent(&self) -> Name {
        let asked = &self.query.question.asked;
        self.flips.map_or(*asked, |flips| asked.flip_case(&flips))
    }

    /// What a message is; the case of its question becomes that of the client's.
    fn hear(&self, message: &mut [u8]) -> Heard {
        let Ok(head) = Received::parse(message) else {
            return Heard::Other;
        };
        if head.id != self.id || head.opcode() != self.query.opcode() {
            return Heard::Other;
        }
        if self.take == Take::AnyResponse {
            return Heard::Reply(head.empty_reply(Records::default()));
        }
        if !head.answers(&self.query.question) {
            return Heard::Other;
        }
        let (asked, sent) = (&self.query.question.asked, self.sent());
        let repeats = |got: Question| got.asked.wire() == sent.wire();
        if self.flips.is_some() && !head.question.is_some_and(repeats) {
            return Heard::OtherCase;
        }
        head.put_case(message, asked);
        match message::decode_into(message, &head, asked, &sent, Records::default()) {
            Ok(reply) => Heard::Reply(reply),
            // Some servers cut inside a record. What they sent is not to be used anyway (RFC 2181 section 9).
            Err(_) if head.is_truncated() => Heard::Reply(head.empty_reply(Records::default())),
            Err(why) => Heard::Malformed(why),
        }
    }
}

impl Fault {
    pub(super) fn new(operation: Operation, cause: impl Into<Cause>) -> Fault {
        Fault {
            operation,
            cause: cause.into(),
        }
    }

    /// A fault of the system, or of TLS, which hides in one.
    pub(super) fn io(operation: Operation, error: &io::Error) -> Fault {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(why) => Fault::new(operation, tls::cause(why)),
            None => Fault::new(operation, error),
        }
    }
}

/// Does a step of the system until then. No `async fn`, nor is the other: that would hold the step twice.
fn within<T>(
    until: Instant,
    operation: Operation,
    step: impl Future<Output = io::Result<T>>,
) -> impl Future<Output = Result<T, Fault>> {
    let step = step.map(move |done| done.map_err(|error| Fault::io(operation, &error)));
    within_fault(until, operation, step)
}

/// Does a step that knows its faults until then.
fn within_fault<T>(
    until: Instant,
    operation: Operation,
    step: impl Future<Output = Result<T, Fault>>,
) -> impl Future<Output = Result<T, Fault>> {
    let timeout = move |_| Err(Fault::new(operation, Cause::Timeout));
    tokio::time::timeout_at(until.into(), step).map(move |done| done.unwrap_or_else(timeout))
}

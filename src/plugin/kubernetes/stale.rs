//! Answers from a snapshot: right when the process before knew them, kept by clients for a moment only, and marked.
//!
//! They are given until the first lists of this process are there, negative ones too: a snapshot is the last known view,
//! and is to a restarted server what its memory is to one that has lost the API server.

use crate::cluster;
use crate::dns::edns::{ErrorCode, Explanation, ExtendedError};
use crate::dns::{Query, Rcode, Reply};

/// Seconds that such an answer may be kept at most.
const STALE_TTL_MAX: u32 = 5;

/// The TTL of an answer from what was current at `stale`; `None`: from what is.
#[inline]
pub(super) fn ttl(ttl: u32, stale: Option<u64>) -> u32 {
    match stale {
        Some(_) => ttl.min(STALE_TTL_MAX),
        None => ttl,
    }
}

/// The reply, which says that it is stale to a client that understands it (RFC 8914 sections 4.4 and 4.20), behind what
/// it says already: a reason has a code of no meaning, and a text that is all of it.
#[inline]
pub(super) fn explained(reply: Reply, query: &Query, stale: Option<u64>) -> Reply {
    match stale {
        Some(as_of) if query.edns.is_some() && reply.rcode != Rcode::SERVFAIL => {
            explain(reply, as_of)
        }
        _ => reply,
    }
}

#[cold]
fn explain(mut reply: Reply, as_of: u64) -> Reply {
    let age = cluster::unix_seconds().saturating_sub(as_of);
    let reason = reply.error.as_deref();
    let reason = reason.map_or(String::new(), |reason| format!("{}; ", reason.text));
    reply.error = Some(Explanation::from(ExtendedError {
        code: match reply.rcode {
            Rcode::NXDOMAIN => ErrorCode::StaleNxDomain,
            _ => ErrorCode::StaleAnswer,
        },
        text: format!("{reason}from a snapshot, {age} s old").into(),
    }));
    reply
}

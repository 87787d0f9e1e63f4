//! Why a query has no better answer, and what the client is told then.

use std::fmt;
use std::sync::Arc;

use crate::dns::Rcode;
use crate::dns::edns::{ErrorCode, ExtendedError};
use crate::plugin::PluginId;

mod unanswered;

pub use unanswered::{Cause, Operation, Unanswered};

/// A query that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The plugin that failed, or the last of the chain.
    pub by: Option<PluginId>,
    /// Why.
    pub reason: Reason,
}

/// Why a plugin could not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The chain ended before anybody answered.
    NoNextPlugin,
    /// Every try to ask an upstream failed; this is the last.
    Upstream(Box<Unanswered>),
    /// No upstream is believed to be up.
    NoHealthyUpstream,
    /// No address of any upstream is known, because their names could not be resolved; in words.
    NoAddress(Arc<str>),
    /// More queries wait for upstreams than `max_concurrent` allows.
    TooManyConcurrent(usize),
    /// The same question waits for upstreams in more forms than this already.
    TooManyAlike(usize),
    /// The same query was under way before, and has come to nothing in the time of this one.
    StillAsked,
    /// The question for the target of an alias was dropped.
    TargetDropped,
    /// What is forwarded comes back, so that nothing is; in words.
    Looping(Arc<str>),
}

impl Failure {
    /// What the client is told.
    pub fn rcode(&self) -> Rcode {
        match self.reason {
            // CoreDNS's choice: stub resolvers take REFUSED for "ask the next server".
            Reason::TooManyConcurrent(_) => Rcode::REFUSED,
            Reason::NoNextPlugin
            | Reason::Upstream(_)
            | Reason::NoHealthyUpstream
            | Reason::NoAddress(_)
            | Reason::TooManyAlike(_)
            | Reason::StillAsked
            | Reason::TargetDropped
            | Reason::Looping(_) => Rcode::SERVFAIL,
        }
    }

    /// What the client is told besides, if it understands EDNS.
    pub fn extended_error(&self) -> ExtendedError {
        let (code, text) = match &self.reason {
            Reason::NoNextPlugin => {
                return ExtendedError::of(
                    ErrorCode::Other,
                    "no plugin of the server block answers this name",
                );
            }
            Reason::TargetDropped => (ErrorCode::Other, self.to_string()),
            Reason::Upstream(unanswered) => {
                let code = match unanswered.cause {
                    _ if unanswered.is_local() => ErrorCode::Other,
                    Cause::Timeout | Cause::TimeoutAmong(_) => ErrorCode::NoReachableAuthority,
                    Cause::Malformed(_) | Cause::OtherCase | Cause::OtherReply => {
                        ErrorCode::InvalidData
                    }
                    Cause::Closed
                    | Cause::System(_)
                    | Cause::Tls(_)
                    | Cause::Https(_)
                    | Cause::Quic(_) => ErrorCode::NetworkError,
                };
                (code, unanswered.of_upstream())
            }
            Reason::NoHealthyUpstream
            | Reason::NoAddress(_)
            | Reason::StillAsked
            | Reason::Looping(_) => (ErrorCode::NoReachableAuthority, self.to_string()),
            Reason::TooManyConcurrent(_) | Reason::TooManyAlike(_) => {
                (ErrorCode::Other, self.to_string())
            }
        };
        let text = text.into();
        ExtendedError { code, text }
    }
}

impl fmt::Display for Failure {
    /// CoreDNS's words: `errors { consolidate }` and the alerts of its users match them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::NoNextPlugin => {
                if let Some(by) = self.by {
                    write!(f, "plugin/{by}: ")?;
                }
                f.write_str("no next plugin found")
            }
            Reason::Upstream(unanswered) => unanswered.fmt(f),
            Reason::NoHealthyUpstream => f.write_str("no healthy proxies"),
            Reason::NoAddress(why) => write!(f, "no upstream can be asked: {why}"),
            Reason::TooManyConcurrent(max) => {
                write!(f, "concurrent queries exceeded maximum {max}")
            }
            Reason::TooManyAlike(max) => {
                write!(f, "concurrent queries for this name exceeded maximum {max}")
            }
            Reason::StillAsked => {
                f.write_str("the same query was under way before and has no answer yet")
            }
            Reason::Looping(why) => f.write_str(why),
            Reason::TargetDropped => {
                f.write_str("the query for the target of an alias was dropped")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Transport;

    #[test]
    fn a_client_is_told_which_upstream_failed_and_how() {
        let unanswered = |cause| {
            Reason::Upstream(Box::new(Unanswered {
                operation: Operation::Read,
                transport: Transport::Udp,
                from: Some("10.0.0.5:4321".parse().unwrap()),
                to: "8.8.8.8:53".parse().unwrap(),
                cause,
            }))
        };
        for (reason, expected) in [
            (
                Reason::NoNextPlugin,
                (0, "no plugin of the server block answers this name"),
            ),
            (
                Reason::TargetDropped,
                (0, "the query for the target of an alias was dropped"),
            ),
            (
                unanswered(Cause::Timeout),
                (22, "udp 8.8.8.8:53: i/o timeout"),
            ),
            (unanswered(Cause::Closed), (23, "udp 8.8.8.8:53: EOF")),
            (
                unanswered(Cause::System(libc::ECONNREFUSED)),
                (23, "udp 8.8.8.8:53: read: connection refused"),
            ),
            (
                unanswered(Cause::OtherCase),
                (24, "udp 8.8.8.8:53: name in another case"),
            ),
            (Reason::NoHealthyUpstream, (22, "no healthy proxies")),
            (
                Reason::StillAsked,
                (
                    22,
                    "the same query was under way before and has no answer yet",
                ),
            ),
            (Reason::Looping("a loop".into()), (22, "a loop")),
            (
                Reason::TooManyConcurrent(7),
                (0, "concurrent queries exceeded maximum 7"),
            ),
        ] {
            let told = Failure { by: None, reason }.extended_error();
            assert_eq!((told.code as u16, &*told.text), expected);
        }
    }
}

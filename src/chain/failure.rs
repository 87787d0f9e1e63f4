//! Why a query has no better answer, and what the client is told then.

use std::fmt;

use crate::dns::Rcode;
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
    /// More queries wait for upstreams than `max_concurrent` allows.
    TooManyConcurrent(usize),
    /// The question for the target of an alias was dropped.
    TargetDropped,
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
            | Reason::TargetDropped => Rcode::SERVFAIL,
        }
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
            Reason::TooManyConcurrent(max) => {
                write!(f, "concurrent queries exceeded maximum {max}")
            }
            Reason::TargetDropped => {
                f.write_str("the query for the target of an alias was dropped")
            }
        }
    }
}

//! Why a query has no better answer, and what the client is told then.

use std::fmt;
use std::net::SocketAddr;

use crate::dns::Rcode;
use crate::plugin::PluginId;

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
    Upstream {
        /// Whom we asked.
        to: SocketAddr,
        /// What went wrong, in a few words.
        error: String,
    },
    /// No upstream is believed to be up.
    NoHealthyUpstream,
    /// More queries wait for upstreams than `max_concurrent` allows.
    TooManyConcurrent(usize),
}

impl Failure {
    /// What the client is told.
    pub fn rcode(&self) -> Rcode {
        match self.reason {
            // CoreDNS's choice: stub resolvers take REFUSED for "ask the next server".
            Reason::TooManyConcurrent(_) => Rcode::REFUSED,
            Reason::NoNextPlugin | Reason::Upstream { .. } | Reason::NoHealthyUpstream => {
                Rcode::SERVFAIL
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(by) = self.by {
            write!(f, "plugin/{by}: ")?;
        }
        match &self.reason {
            Reason::NoNextPlugin => f.write_str("no next plugin found"),
            Reason::Upstream { to, error } => write!(f, "{to}: {error}"),
            Reason::NoHealthyUpstream => f.write_str("no healthy proxies"),
            Reason::TooManyConcurrent(max) => {
                write!(f, "concurrent queries exceeded maximum {max}")
            }
        }
    }
}

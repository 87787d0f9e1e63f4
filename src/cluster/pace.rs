//! How often a cluster is looked after, and with how much patience.

use std::time::Duration;

/// Times that suit a cluster; tests have shorter ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Quiet time on a connection with open watches after which the peer is asked whether it lives …
    pub probe_after: Duration,
    /// … and the time in which it must answer. A peer that vanished is noticed after both.
    pub probe_timeout: Duration,
    /// What a bookmark may be late, beyond a quarter of the distance between bookmarks, before its watch is taken for dead.
    pub bookmark_margin: Duration,
    /// From one audit of a resource to the next; each is a quarter sooner or later, by chance. An audit reads the names
    /// of all objects: for 50,000 that is a few megabytes of the API server's work.
    pub audit_every: Duration,
    /// How long a difference that an audit has found may be news that is under way. A watch shows with each bookmark,
    /// once a minute, how far it has come.
    pub audit_settle: Duration,
    /// How long a list that would take out most of a resource is doubted before it is asked for again, and likewise an
    /// audit that is older than what was heard.
    pub hold: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            probe_after: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
            bookmark_margin: Duration::from_secs(5),
            audit_every: Duration::from_secs(600),
            audit_settle: Duration::from_secs(150),
            hold: Duration::from_secs(30),
        }
    }
}

//! Servers that have gone back in time: what they have now is listed, and that is told.

use tokio::time::Instant;

use super::super::Owner;
use super::super::relist::Relist;
use crate::cluster::audit::Result;
use crate::cluster::freshness::Rewound;
use crate::cluster::index::Version;
use crate::cluster::object::Resource;
use crate::cluster::rewind::Reading;

impl Owner {
    /// The source has told an older version than before.
    pub(in crate::cluster::follow) fn rewound(
        &mut self,
        resource: Resource,
        Rewound { before, by_list }: Rewound,
        now: Instant,
    ) {
        // A manifest may say what it likes.
        if !self.is_api() {
            return;
        }
        let at = resource as usize;
        if !by_list {
            // One that is wanted already will say what there is.
            if self.oversight.relists[at].is_some() {
                return;
            }
            let every = self.following.pace.audit_every;
            let list_at = self.oversight.rewinds[at].list_at(now, every);
            self.oversight.relists[at] = Some(Relist::new(list_at));
        }
        let (name, after) = (&self.following.name, &self.standings[at].heard.version);
        tracing::warn!(
            target: "plugin/kubernetes", cluster = %name, %resource, %before, %after,
            "The API server has gone back in time; what it has now is listed"
        );
        self.following.observer.rewound(name, resource);
    }

    /// An audit has named all objects that exist at this version.
    pub(super) fn audit_complete(&mut self, resource: Resource, version: Box<str>, now: Instant) {
        let Some(running) = &mut self.oversight.audit else {
            return;
        };
        let at = resource as usize;
        let read = Version::of(&version);
        match self.oversight.rewinds[at].audited(read, running.audit.heard) {
            Reading::Fresh => {
                let until = now + self.following.pace.audit_settle;
                if running.audit.complete(&self.index, read, until) {
                    self.end_audit(Result::Same);
                }
            }
            Reading::Older { is_new } => {
                if is_new {
                    self.oversight.audits_due[at] = Some(now + self.following.pace.hold);
                }
                self.end_audit(Result::Older);
            }
            Reading::Rewound => {
                self.end_audit(Result::Older);
                let heard = &mut self.standings[at].heard.version;
                let before = std::mem::replace(heard, version);
                let by_list = false;
                self.rewound(resource, Rewound { before, by_list }, now);
            }
        }
    }
}

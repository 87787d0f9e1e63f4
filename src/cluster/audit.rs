//! Whether the index has what the API server has: compared object by object, beside the watch, and mended where the
//! watch has lied.
//!
//! ```text
//!     Naming ── complete ──▶ Settling ── the watch has come as far ──▶ Fetching ──▶ done
//!        └ nothing differs ▶ done   └ many differ, or it does not come ▶ list anew
//! ```
//!
//! A difference may be news that is under way, so nothing is mended that the watch can still tell: it waits until the watch
//! has passed the version that the audit was read at, and what was told meanwhile counts. What differs then was left out.
//! Plain data: times and the index are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::index::{Index, Version};
use super::object::{Named, Object, Resource};
use super::watch::ORDER_TIME_MAX;

/// Differences that are looked at one by one; what is beyond is mended with them, by a list.
const DIFFERENCES_MAX: usize = 1_000;

/// Objects that are fetched one by one; a list costs the server less than more of them.
const FETCHED_MAX: usize = 20;

/// An order that is not answered after this has been lost with the source that had it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2 * ORDER_TIME_MAX.as_secs());

/// An audit of one resource.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) resource: Resource,
    /// How far the watch had come when it was ordered. What is read is as new, or the server has gone back in time.
    pub(super) heard: Version,
    stage: Stage,
    differences: Vec<Difference>,
    /// There are more differences than are looked at.
    more: bool,
}

#[derive(Debug)]
enum Stage {
    Naming { until: Instant },
    Settling { version: Version, until: Instant },
    Fetching { until: Instant },
}

/// An object that the server and the index do not have in the same version.
#[derive(Debug)]
struct Difference {
    id: u64,
    /// As the server names it; `None`: it does not.
    named: Option<Named>,
    /// The version that the index had.
    known: Option<Version>,
}

/// In what way the index differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It lacked an object.
    Missing,
    /// It had another version of an object.
    Changed,
    /// It had an object that does not exist.
    Extra,
}

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    /// The index has what the server has.
    Same,
    /// Something was mended.
    Repaired,
    /// It could not be read to its end.
    Failed,
    /// It was read at an older version than had been heard when it was ordered.
    Older,
}

/// What to do after an audit has settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The watch may still tell.
    Wait,
    /// It has told all.
    Same,
    /// These objects do not exist, and these are to be fetched.
    Mend { extra: Vec<u64>, fetch: Vec<Named> },
    /// The resource is to be listed anew, because of so many differences of each kind.
    List(Repairs),
}

/// Differences, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// See [`Kind::Missing`].
    pub missing: u64,
    /// See [`Kind::Changed`].
    pub changed: u64,
    /// See [`Kind::Extra`].
    pub extra: u64,
}

impl Audit {
    /// An audit that has just been ordered.
    pub(super) fn new(
        resource: Resource,
        index: &mut Index,
        heard: Version,
        now: Instant,
    ) -> Audit {
        index.start_audit(resource);
        Audit {
            resource,
            heard,
            stage: Stage::Naming {
                until: now + ANSWERED_WITHIN,
            },
            differences: Vec::new(),
            more: false,
        }
    }

    /// The server has named these objects.
    pub(super) fn page(&mut self, index: &mut Index, page: Box<[Named]>) {
        for named in page {
            let (id, known) = index.see(self.resource, &named.namespace, &named.name);
            let version = Version::of(&named.version);
            if known.is_none_or(|known| self.is_wrong(known, version)) {
                self.differs(id, Some(named), known);
            }
        }
    }

    /// Whether `known` is not what the server has, if it names this version. One that is newer was told after the list was
    /// read; but one that had been told before the audit was ordered is of a past that the server does not have any more.
    fn is_wrong(&self, known: Version, named: Version) -> bool {
        let is_newer = known != named && known.has_reached(named) == Some(true);
        match is_newer {
            true => self.heard.has_reached(known) == Some(true),
            false => known != named,
        }
    }

    /// The server has named all objects that existed at `version`. Says whether nothing differs.
    pub(super) fn complete(&mut self, index: &Index, version: Version, until: Instant) -> bool {
        for (id, known) in index.unseen(self.resource) {
            // What is newer than the list was made after it.
            if version.has_reached(known) != Some(false) {
                self.differs(id, None, Some(known));
            }
        }
        self.stage = Stage::Settling { version, until };
        self.differences.is_empty()
    }

    fn differs(&mut self, id: u64, named: Option<Named>, known: Option<Version>) {
        if self.differences.len() == DIFFERENCES_MAX {
            self.more = true;
            return;
        }
        self.differences.push(Difference { id, named, known });
    }

    /// When something must be done if nothing is heard.
    pub(super) fn due(&self) -> Instant {
        match self.stage {
            Stage::Naming { until } | Stage::Settling { until, .. } | Stage::Fetching { until } => {
                until
            }
        }
    }

    /// Whether an answer that was due has not come.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        !matches!(self.stage, Stage::Settling { .. }) && now >= self.due()
    }

    /// The watch has told all up to `reached`.
    pub(super) fn settle(&mut self, index: &Index, reached: &str, now: Instant) -> Next {
        let Stage::Settling { version, until } = self.stage else {
            return Next::Wait;
        };
        let told_all = Version::of(reached).has_reached(version) == Some(true);
        if !told_all && now < until {
            return Next::Wait;
        }
        // What was told of in the meantime is the watch's own.
        let resource = self.resource;
        self.differences
            .retain(|difference| index.version(resource, difference.id) == difference.known);
        if self.differences.is_empty() && !self.more {
            return Next::Same;
        }
        if self.more || !told_all || self.differences.len() > FETCHED_MAX {
            return Next::List(self.repairs());
        }
        let mut extra = Vec::new();
        self.differences.retain(|difference| {
            let exists = difference.named.is_some();
            if !exists {
                extra.push(difference.id);
            }
            exists
        });
        let fetch = self.differences.iter();
        let fetch = fetch
            .filter_map(|difference| difference.named.clone())
            .collect();
        self.stage = Stage::Fetching {
            until: now + ANSWERED_WITHIN,
        };
        Next::Mend { extra, fetch }
    }

    /// The kind of the difference that this object mends: it is still the one that the audit met, and nothing was told of
    /// it since. `None`: the watch will tell, or has told.
    pub(super) fn mends(&self, index: &Index, named: &Named, object: &Object) -> Option<Kind> {
        let difference = self.differences.iter();
        let mut difference =
            difference.filter(|difference| difference.named.as_ref() == Some(named));
        let difference = difference.next()?;
        let is_same = object.metadata().resource_version == named.version
            && index.version(self.resource, difference.id) == difference.known;
        is_same.then_some(difference.kind())
    }

    fn repairs(&self) -> Repairs {
        let mut repairs = Repairs::default();
        for difference in &self.differences {
            repairs.add(difference.kind(), 1);
        }
        repairs
    }
}

impl Difference {
    fn kind(&self) -> Kind {
        match (&self.named, self.known) {
            (None, _) => Kind::Extra,
            (Some(_), None) => Kind::Missing,
            (Some(_), Some(_)) => Kind::Changed,
        }
    }
}

impl Repairs {
    /// So many more of a kind.
    pub(super) fn add(&mut self, kind: Kind, count: u64) {
        match kind {
            Kind::Missing => self.missing += count,
            Kind::Changed => self.changed += count,
            Kind::Extra => self.extra += count,
        }
    }

    /// Each kind with its count.
    pub fn each(self) -> [(Kind, u64); 3] {
        [
            (Kind::Missing, self.missing),
            (Kind::Changed, self.changed),
            (Kind::Extra, self.extra),
        ]
    }

    /// Whether nothing differed.
    pub fn is_none(self) -> bool {
        self == Repairs::default()
    }
}

#[cfg(test)]
mod tests;

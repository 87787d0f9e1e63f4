//! What the owner of an index does beside applying events: it orders audits and mends what they find, doubts lists that
//! would take out most of a resource, and answers questions.
//!
//! What to decide is in `audit`, `rewind`, `hold` and `relist`, without a clock; what is done about lists is in `lists`, and
//! about a server that has gone back in time in `rewinds`. Audits are of one resource at a time, and only while its watch
//! is in good health: what is wrong then is told already.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::audit::{Audit, Next, Repairs, Result};
use super::super::freshness::Heard;
use super::super::hold::Hold;
use super::super::index::{Now, Version};
use super::super::inspect::{Inspection, Question, Traced};
use super::super::object::{Audited, Event, Named, Order, Resource};
use super::super::rewind::Rewind;
use super::super::snapshot::Reached;
use super::super::sources::Feed;
use super::relist::Relist;
use super::{Owner, reached};

mod lists;
mod rewinds;

/// What is due and cannot be done is tried again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// A list that is to mend what an audit has found and has not come after this is given up by the audit; the next one will
/// find what is wrong then.
const LISTED_WITHIN: Duration = Duration::from_secs(300);

/// Names that a log line has of what was mended.
const NAMES_MAX: usize = 3;

/// What is under way beside the watches.
#[derive(Debug, Default)]
pub(super) struct Oversight {
    audit: Option<Running>,
    /// When the next audit of each resource is due; `None` before its first list.
    audits_due: [Option<Instant>; Resource::ALL.len()],
    holds: [Hold; Resource::ALL.len()],
    rewinds: [Rewind; Resource::ALL.len()],
    /// Lists that are wanted and have not come.
    relists: [Option<Relist>; Resource::ALL.len()],
    /// Of the last order.
    number: u64,
}

/// An audit, and what came of it.
#[derive(Debug)]
struct Running {
    audit: Audit,
    /// Of the order that is being answered.
    number: u64,
    repairs: Repairs,
    names: Vec<String>,
    list: Option<AwaitedList>,
}

/// A list that is to mend what an audit has found.
#[derive(Debug)]
struct AwaitedList {
    until: Instant,
    mends: Repairs,
}

impl Oversight {
    /// The resource is not followed any more.
    pub(super) fn forget(&mut self, resource: Resource) {
        self.audit
            .take_if(|running| running.audit.resource == resource);
        self.audits_due[resource as usize] = None;
        self.relists[resource as usize] = None;
        self.holds[resource as usize] = Hold::default();
        self.rewinds[resource as usize] = Rewind::default();
    }

    /// What an audit would compare is about to be told anew.
    pub(super) fn list_started(&mut self, resource: Resource) {
        self.audit
            .take_if(|running| running.audit.resource == resource && running.list.is_none());
    }

    /// A list is wanted, if it is not yet.
    fn want_list(&mut self, resource: Resource, now: Instant) {
        self.relists[resource as usize].get_or_insert_with(|| Relist::new(now));
    }
}

/// Waits until then, and in any case long enough that what cannot be done is not tried without pause.
pub(super) async fn until(due: Option<Instant>) {
    let soonest = Instant::now() + PAUSE;
    reached(due.map(|due| due.max(soonest))).await;
}

impl Owner {
    /// When `oversee` has something to do, if no event comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        let holds = self.oversight.holds.iter();
        let holds = holds.filter_map(|hold| hold.due(self.following.pace.hold));
        let relists = self.oversight.relists.iter().flatten();
        let next = match &self.oversight.audit {
            Some(running) => Some(running.due()),
            None => self.next_audit().map(|(due, _)| due),
        };
        let overdue = Resource::ALL.into_iter();
        let overdue = overdue.filter_map(|resource| self.overdue(resource));
        holds
            .chain(overdue)
            .chain(relists.filter_map(Relist::due))
            .chain(next)
            .min()
    }

    /// Does what is due.
    pub(super) fn oversee(&mut self, now: Instant) {
        for resource in Resource::ALL {
            let due = self.oversight.holds[resource as usize].due(self.following.pace.hold);
            if due.is_some_and(|due| due <= now) {
                self.oversight.holds[resource as usize].asked_again();
                self.oversight.want_list(resource, now);
            }
        }
        self.believe_overdue(now);
        self.order_lists(now);
        match &self.oversight.audit {
            Some(running) if running.is_lost(now) => self.end_audit(Result::Failed),
            Some(running) if running.list.is_some() => {}
            Some(_) => self.settle_audit(now),
            None => match self.next_audit() {
                Some((due, resource)) if due <= now => self.start_audit(resource, now),
                _ => {}
            },
        }
    }

    /// An order is being answered. Says whether the view changed.
    pub(super) fn audited(
        &mut self,
        resource: Resource,
        number: u64,
        audited: Audited,
        now: Instant,
        at: Now,
    ) -> bool {
        let audited = match audited {
            Audited::NotListed(trouble, not_before) => {
                self.not_listed(resource, number, &trouble, not_before, now);
                return false;
            }
            audited => audited,
        };
        let Some(running) = &mut self.oversight.audit else {
            return false;
        };
        // What an audit ordered that was given up does not concern the one after.
        if running.number != number {
            return false;
        }
        let audit = &mut running.audit;
        match audited {
            Audited::Page(page) => audit.page(&mut self.index, page),
            Audited::Complete(version) => self.audit_complete(resource, version, now),
            Audited::Object(named, Some(object)) => {
                if let Some(kind) = audit.mends(&self.index, &named, &object) {
                    running.mended(&named);
                    running.repairs.add(kind, 1);
                    return self.index.apply(Event::Applied(*object), at);
                }
            }
            // It has gone since: the watch will tell.
            Audited::Object(_, None) => {}
            Audited::Fetched => match running.repairs.is_none() {
                true => self.end_audit(Result::Same),
                false => self.end_audit(Result::Repaired),
            },
            Audited::Failed(trouble) => {
                let cluster = &*self.following.name;
                tracing::debug!(target: "plugin/kubernetes", cluster, %resource, reason = %trouble, "Audit failed");
                self.end_audit(Result::Failed);
            }
            Audited::NotListed(..) => {}
        }
        false
    }

    /// Answers what an answer about a Service is made of.
    pub(super) fn answer(&self, Question { key, answer }: Question) {
        let traced = |(version, told): crate::cluster::index::Note| Traced {
            version: version.number(),
            told: SystemTime::UNIX_EPOCH + Duration::from_secs(told.into()),
        };
        let (service, slices) = self.index.trace(&key);
        let heard = |resource: &Resource| match self.index.latest().is_stale(*resource) {
            true => self.heard_before(*resource),
            false => self.standings[*resource as usize].heard.clone(),
        };
        let inspection = Inspection {
            service: service.map(traced),
            slices: slices.into_iter().map(traced).collect(),
            resources: self.wanted.iter().map(|of| (*of, heard(of))).collect(),
        };
        // Whoever asked may be gone.
        let _ = answer.send(inspection);
    }

    /// How far the process had come that left the snapshot which is served, and until when it had heard.
    fn heard_before(&self, resource: Resource) -> Heard {
        let Reached { version, as_of } = self.keeper.reached(resource);
        Heard {
            contact: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(*as_of)),
            version: version.clone(),
            ..Heard::default()
        }
    }

    /// The resource that is to be audited next, and when.
    fn next_audit(&self) -> Option<(Instant, Resource)> {
        let fit = self.wanted.iter().filter(|resource| {
            let at = **resource as usize;
            let is_doubted = self.oversight.holds[at].doubted().is_some();
            self.standings[at].is_well() && !is_doubted
        });
        let due = fit.filter_map(|of| Some((self.oversight.audits_due[*of as usize]?, *of)));
        due.min().filter(|_| self.is_api())
    }

    fn start_audit(&mut self, resource: Resource, now: Instant) {
        if !self.order(resource, Order::Audit) {
            return;
        }
        let heard = Version::of(&self.standings[resource as usize].heard.version);
        self.oversight.audit = Some(Running {
            audit: Audit::new(resource, &mut self.index, heard, now),
            number: self.oversight.number,
            repairs: Repairs::default(),
            names: Vec::new(),
            list: None,
        });
        let every = self.following.pace.audit_every;
        let next = now + every.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        self.oversight.audits_due[resource as usize] = Some(next);
    }

    /// Looks whether the watch has told what an audit has found, and mends what it has not.
    fn settle_audit(&mut self, now: Instant) {
        let Some(running) = &mut self.oversight.audit else {
            return;
        };
        let resource = running.audit.resource;
        let reached = &self.standings[resource as usize].heard.version;
        match running.audit.settle(&self.index, reached, now) {
            Next::Wait => {}
            Next::Same => self.end_audit(Result::Same),
            Next::Mend { extra, fetch } => {
                running.repairs.extra += extra.len() as u64;
                let at = self.now();
                let mut changed = false;
                for id in extra {
                    changed |= self.index.remove(resource, id, at);
                }
                if changed {
                    self.keeper.changed();
                    self.publish();
                }
                match fetch.is_empty() {
                    true => self.end_audit(Result::Repaired),
                    false => self.fetch(resource, fetch),
                }
            }
            Next::List(mends) => {
                running.list = Some(AwaitedList {
                    until: now + LISTED_WITHIN,
                    mends,
                });
                self.oversight.want_list(resource, now);
                self.order_lists(now);
            }
        }
    }

    fn fetch(&mut self, resource: Resource, named: Vec<Named>) {
        let is_ordered = self.order(resource, Order::Fetch(named.into()));
        match &mut self.oversight.audit {
            Some(running) if is_ordered => running.number = self.oversight.number,
            _ => self.end_audit(Result::Failed),
        }
    }

    /// Counts and tells what came of an audit.
    fn end_audit(&mut self, result: Result) {
        let Some(running) = self.oversight.audit.take() else {
            return;
        };
        let (name, resource) = (&self.following.name, running.audit.resource);
        let repairs = running.repairs;
        if !repairs.is_none() {
            let Repairs {
                missing,
                changed,
                extra,
            } = repairs;
            let names = running.names.join(" ");
            tracing::warn!(
                target: "plugin/kubernetes", cluster = %name, %resource, missing, changed, extra, names,
                "The watch had left out what is so, and it has been mended"
            );
            self.following.observer.repaired(name, resource, repairs);
        }
        self.following.observer.audited(name, resource, result);
    }

    /// Says whether there was room for the order.
    fn order(&mut self, resource: Resource, order: Order) -> bool {
        self.oversight.number += 1;
        self.sources.order(resource, self.oversight.number, order)
    }

    fn is_api(&self) -> bool {
        matches!(self.following.feed, Feed::Api { .. })
    }
}

impl Running {
    /// When something must be done if nothing is heard.
    fn due(&self) -> Instant {
        self.list
            .as_ref()
            .map_or_else(|| self.audit.due(), |list| list.until)
    }

    /// Whether what was due has not come.
    fn is_lost(&self, now: Instant) -> bool {
        self.list
            .as_ref()
            .map_or_else(|| self.audit.is_lost(now), |list| now >= list.until)
    }

    fn mended(
        &mut self,
        Named {
            namespace, name, ..
        }: &Named,
    ) {
        if self.names.len() < NAMES_MAX {
            self.names.push(match namespace.is_empty() {
                true => name.to_string(),
                false => format!("{namespace}/{name}"),
            });
        }
    }
}

//! The lists of the sources: which are doubted, and those that are wanted beside a watch.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::Owner;
use super::super::relist::Relist;
use crate::cluster::audit::Result;
use crate::cluster::hold::{Decision, Hold};
use crate::cluster::index::{Now, Outcome};
use crate::cluster::object::{Event, Order, Resource, Trouble};

impl Owner {
    /// A list is complete. Says whether the view changed.
    pub(in crate::cluster::follow) fn listed(
        &mut self,
        resource: Resource,
        now: Instant,
        at: Now,
    ) -> bool {
        let due = &mut self.oversight.audits_due[resource as usize];
        let every = self.following.pace.audit_every;
        due.get_or_insert_with(|| now + every.mul_f64(0.5 + rand::random::<f64>()));
        let outcome = self.outcome(resource);
        let hold = &mut self.oversight.holds[resource as usize];
        let was_doubted = hold.doubted().is_some();
        let decision = match outcome {
            Some(outcome) => hold.listed(outcome, now, self.following.pace.hold),
            None => Decision::Believe,
        };
        self.standings[resource as usize].doubted = hold.doubted();
        self.oversight.relists[resource as usize] = None;
        self.end_audit_by_list(resource, decision);
        let name = &self.following.name;
        match (decision, outcome) {
            (Decision::Keep { is_new }, Some(outcome)) => {
                if is_new {
                    let (missing, before) = (outcome.missing, outcome.before);
                    tracing::warn!(
                        target: "plugin/kubernetes", cluster = %name, %resource, missing, before,
                        "A list lacks most of what is known; that is kept until the list says so again"
                    );
                    self.following.observer.doubted(name, resource);
                }
                // An index that was made anew has none of what is to be kept: it is not heard until the list is
                // believed, so that what is served stays.
                self.index.finish_list_keeping(resource, at);
                false
            }
            _ => {
                if was_doubted {
                    let missing = outcome.map_or(0, |outcome| outcome.missing);
                    tracing::warn!(
                        target: "plugin/kubernetes", cluster = %name, %resource, missing,
                        "The list was asked for again and is believed"
                    );
                }
                self.index.apply(Event::Listed(resource), at)
            }
        }
    }

    /// When an index that was made anew waits no longer for a list that says again what is doubted: whatever changes
    /// meanwhile, of any resource, is not served.
    pub(super) fn overdue(&self, resource: Resource) -> Option<Instant> {
        let hold = &self.oversight.holds[resource as usize];
        hold.overdue(self.following.pace.hold)
            .filter(|_| !self.index.latest().is_synced(resource))
    }

    /// Believes the lists that have not been told again in time.
    pub(super) fn believe_overdue(&mut self, now: Instant) {
        let resources = Resource::ALL.into_iter();
        let overdue = resources.filter(|of| self.overdue(*of).is_some_and(|due| due <= now));
        for resource in overdue.collect::<Vec<_>>() {
            let cluster = &*self.following.name;
            tracing::warn!(
                target: "plugin/kubernetes", cluster, %resource,
                "The list was asked for again and does not come; the first one is believed"
            );
            self.oversight.holds[resource as usize] = Hold::default();
            self.standings[resource as usize].doubted = None;
            self.index.believe(resource);
            self.state(&[resource]);
            self.keeper.changed();
            self.publish();
        }
    }

    /// How much the list that is complete would take out of what is served, if that may be doubted. To an index that was
    /// made anew, because the one before has panicked, the list is news as a whole; what is served is held against it.
    fn outcome(&self, resource: Resource) -> Option<Outcome> {
        let (latest, served) = (self.index.latest(), self.following.cluster.view());
        // What only a snapshot knows may well have gone since.
        if !self.is_api() || latest.is_stale(resource) {
            return None;
        }
        let outcome = self.index.outcome(resource);
        if latest.is_synced(resource) || !served.is_synced(resource) || served.is_stale(resource) {
            return outcome;
        }
        let before = self.following.served[resource as usize].load(Ordering::Relaxed);
        Some(Outcome {
            before,
            missing: before.saturating_sub(self.index.count(resource)),
        })
    }

    /// Orders the lists that are wanted, where there is room for the order.
    pub(super) fn order_lists(&mut self, now: Instant) {
        for resource in Resource::ALL {
            let relist = self.oversight.relists[resource as usize].as_ref();
            let due = relist.and_then(Relist::due);
            if due.is_some_and(|due| due <= now)
                && self.order(resource, Order::List)
                && let Some(relist) = &mut self.oversight.relists[resource as usize]
            {
                relist.ordered(self.oversight.number);
            }
        }
    }

    /// A list that was ordered has not come.
    pub(super) fn not_listed(
        &mut self,
        resource: Resource,
        number: u64,
        trouble: &Trouble,
        not_before: Duration,
        now: Instant,
    ) {
        let relist = self.oversight.relists[resource as usize].as_mut();
        if let Some(again_in) = relist.and_then(|relist| relist.failed(number, not_before, now)) {
            tracing::warn!(
                target: "plugin/kubernetes", cluster = %self.following.name, %resource, reason = %trouble, ?again_in,
                "A list that is needed beside the watch was not to be had; the watch goes on"
            );
        }
    }

    /// Ends the audit of a resource that waits for a list: one has come.
    fn end_audit_by_list(&mut self, resource: Resource, decision: Decision) {
        let running = self.oversight.audit.as_mut();
        let running = running.filter(|running| running.audit.resource == resource);
        let Some(running) = running else {
            return;
        };
        if let Some(list) = running.list.take() {
            // What a doubted list would take out is still there.
            if decision == Decision::Believe {
                running.repairs = list.mends;
                self.end_audit(Result::Repaired);
            } else {
                self.end_audit(Result::Failed);
            }
        }
    }
}

//! Endpoints that a slice no longer names, and that may be on their way to another slice of their Service.
//!
//! The controller that writes slices moves an endpoint with two writes, and nothing says that they belong together. When the
//! one that takes it out is seen first, the endpoint seems gone, and a client that asks in between would keep NXDOMAIN
//! for as long as the SOA allows. So it is answered a little longer, as a slice of its own, which all look-ups find.
//!
//! A Pod that is deleted, or fails its probe, does not come this way: it is told not ready, or terminating, before it
//! is left out, and is gone at once. What is left out without a word is on its way, or its Pod was evicted, has ended,
//! or was deleted by force; those cost [`GRACE`] of being answered in vain. The wait ends as soon as more is known: a slice
//! of the Service tells of the address or of its Pod again, or the Service goes.
//!
//! While slices are listed nothing is over: what one page leaves out the next may name. While nothing is heard of them time
//! stands still, for some seconds: the write that belongs to what was seen may have been made meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::{Index, Now};
use crate::cluster::object::Resource;
use crate::cluster::records::{EndpointRecord, IpSet, Mentions, SliceRecords};

/// How long an endpoint is held. The controller makes the writes of one round as fast as its own limit lets it, 20 a second
/// once a burst is used up; more than that between two that belong together is a controller in trouble.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How much longer an endpoint is held if nothing is heard of slices: most watches that are cut are back by then. Without an
/// end, a watch that is cut again and again would keep all that is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The most endpoints that are held at once: some 400 KB. A slice has at most 1,000.
pub(super) const HELD_MAX: usize = 4096;

/// Pods as [`EndpointRecord::pod`] has them.
type PodSet<'a> = HashSet<(bool, &'a [u8]), RandomState>;

/// The endpoints that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In the order in which their time is over; those without a time last.
    remains: Vec<Remains>,
    /// Nothing is heard of slices.
    is_paused: bool,
    ends: HeldEnds,
}

/// What is held of one slice.
#[derive(Debug)]
struct Remains {
    /// Hash of the Service's key.
    service: u64,
    slice: SliceRecords,
    /// None: slices are being listed.
    until: Option<Duration>,
    /// How long it is held once slices are watched, if nothing is heard of them or they are being listed.
    left: Duration,
    /// When it is over whatever is heard.
    end: Duration,
}

/// What became of endpoints that a slice left out without a word, by their addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldEnds {
    /// A slice told of them in time.
    pub moved: u64,
    /// They were gone indeed.
    pub gone: u64,
    /// They were not held, because as many as may be were held.
    pub no_room: u64,
}

impl Held {
    fn endpoints(&self) -> usize {
        let slices = self.remains.iter();
        slices.map(|remains| remains.slice.ips().count()).sum()
    }

    /// From now on nothing is heard of slices.
    pub(super) fn pause(&mut self, now: Now) {
        if !std::mem::replace(&mut self.is_paused, true) {
            for remains in &mut self.remains {
                if let Some(until) = &mut remains.until {
                    remains.left = until.saturating_sub(now.running);
                    *until = remains.end;
                }
            }
        }
        self.sort();
    }

    /// Slices are watched: the time goes on of what is held.
    pub(super) fn resume(&mut self, now: Now) {
        let was_paused = std::mem::take(&mut self.is_paused);
        for remains in &mut self.remains {
            if remains.until.is_none() {
                remains.end = now.running + GRACE + SILENCE_MAX;
            }
            if was_paused || remains.until.is_none() {
                remains.until = Some((now.running + remains.left).min(remains.end));
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.remains
            .sort_by_key(|remains| remains.until.unwrap_or(Duration::MAX));
    }
}

impl Index {
    /// Holds the endpoints of `old` at the addresses that have just been `lost` to its Service, but for those of which it
    /// is known that they are gone. `mentions` is what the slice in its place tells of.
    pub(super) fn hold(
        &mut self,
        old: &SliceRecords,
        mut lost: IpSet,
        mentions: &Mentions,
        now: Now,
    ) {
        lost.retain(|ip| !mentions.has(*ip) && !old.is_leaving(*ip));
        if lost.is_empty() || self.view.service(old.service()).is_none() {
            return;
        }
        let set = self.view.endpoints(old.service());
        let slices = || set.into_iter().flat_map(|set| set.slices());
        lost.retain(|ip| slices().all(|slice| !slice.is_leaving(*ip)));
        if lost.is_empty() {
            return;
        }
        // Before all Pods of the Service are looked through.
        if self.held.endpoints() + lost.len() > HELD_MAX {
            self.held.ends.no_room += lost.len() as u64;
            return;
        }
        // The same Pod at another address is a new one of that name. The others may be thousands: they are looked through,
        // and only the few that are looked for are remembered.
        let is_lost = |at: &EndpointRecord<'_>| at.ip().is_some_and(|ip| lost.contains(&ip));
        let of_lost = old.endpoints().filter(is_lost);
        let of_lost: PodSet<'_> = of_lost.filter_map(|endpoint| endpoint.pod()).collect();
        let others = slices().flat_map(|slice| slice.endpoints());
        let others = others.filter_map(|endpoint| endpoint.pod());
        let anew: PodSet<'_> = others.filter(|pod| of_lost.contains(pod)).collect();
        for endpoint in old.endpoints() {
            let is_anew = endpoint.pod().is_some_and(|pod| anew.contains(&pod));
            if is_anew || mentions.has_pod_of(&endpoint) {
                endpoint.ip().map(|ip| lost.remove(&ip));
            }
        }
        if lost.is_empty() {
            return;
        }
        let slice = old.at(&lost);
        let is_listing = self.known[Resource::EndpointSlices as usize]
            .listing()
            .is_some();
        let end = now.running + GRACE + SILENCE_MAX;
        let until = match self.held.is_paused {
            true => end,
            false => now.running + GRACE,
        };
        self.held.remains.push(Remains {
            service: self.view.hash(slice.service()),
            until: (!is_listing).then_some(until),
            left: GRACE,
            end,
            slice: slice.clone(),
        });
        self.aggregate(slice.service(), None, Some(&slice));
    }

    /// Holds no longer what a slice of this Service tells of, in one way or another. Says whether the view changed.
    pub(super) fn let_go_mentioned(
        &mut self,
        service: &[u8],
        mentions: impl FnOnce() -> Mentions,
    ) -> bool {
        let hash = self.view.hash(service);
        if self.held.remains.iter().all(|held| held.service != hash) {
            return false;
        }
        let mentions = mentions();
        let is_told = |endpoint: &EndpointRecord<'_>| {
            endpoint.ip().is_some_and(|ip| mentions.has(ip)) || mentions.has_pod_of(endpoint)
        };
        let before = self.held.ends;
        let mut at = 0;
        while let Some(remains) = self.held.remains.get_mut(at) {
            at += 1;
            if remains.service != hash || **remains.slice.service() != *service {
                continue;
            }
            let old = remains.slice.clone();
            let told = old.endpoints().filter(is_told);
            let told: IpSet = told.filter_map(|endpoint| endpoint.ip()).collect();
            if told.is_empty() {
                continue;
            }
            let rest: IpSet = old.ips().filter(|ip| !told.contains(ip)).collect();
            let rest = (!rest.is_empty()).then(|| old.at(&rest));
            match &rest {
                Some(rest) => remains.slice = rest.clone(),
                None => {
                    at -= 1;
                    self.held.remains.remove(at);
                }
            }
            self.held.ends.moved += told.len() as u64;
            self.aggregate(old.service(), Some(&old), rest.as_ref());
        }
        self.held.ends != before
    }

    /// Holds nothing more at all.
    pub(super) fn let_go_of_all(&mut self) {
        self.let_go(|_| true);
    }

    /// Holds nothing more of a Service that is gone.
    pub(super) fn let_go_of(&mut self, service: &[u8]) -> bool {
        let hash = self.view.hash(service);
        self.let_go(|held| held.service == hash && **held.slice.service() == *service)
    }

    /// Holds no longer what has been held long enough. Says whether the view changed.
    pub(crate) fn end_held(&mut self, now: Now) -> bool {
        let is_over = |held: &Remains| held.until.is_some_and(|until| until <= now.running);
        if !self.held.remains.first().is_some_and(is_over) {
            return false;
        }
        self.view.serial = now.unix;
        self.let_go(is_over)
    }

    /// When [`Index::end_held`] will have something to do.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.held.remains.first()?.until
    }

    /// What became of endpoints that were left out, since it was asked last.
    pub(crate) fn take_held_ends(&mut self) -> HeldEnds {
        std::mem::take(&mut self.held.ends)
    }

    fn let_go(&mut self, which: impl Fn(&Remains) -> bool) -> bool {
        let gone: Vec<_> = self
            .held
            .remains
            .extract_if(.., |held| which(held))
            .collect();
        for Remains { slice, .. } in &gone {
            self.held.ends.gone += slice.ips().collect::<IpSet>().len() as u64;
            self.aggregate(slice.service(), Some(slice), None);
        }
        !gone.is_empty()
    }
}

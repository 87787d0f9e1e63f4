//! What an EndpointSlice does to the endpoints of its Service, and to whose address is whose.

use std::net::IpAddr;

use super::{Index, Now};
use crate::cluster::object::EndpointSlice;
use crate::cluster::records::{
    EndpointSet, IpSet, Mentions, ServiceKey, SliceRecords, service_key,
};
use crate::cluster::view::{Entry, View};

impl Index {
    pub(super) fn apply_slice(&mut self, id: u64, slice: &EndpointSlice, now: Now) -> bool {
        let service = slice.service();
        let Some(key) = service.and_then(|name| service_key(&slice.metadata.namespace, name))
        else {
            return self.take_slice(id, now).is_some();
        };
        let key = self.known_key(&key);
        let held = self.let_go_mentioned(&key, || Mentions::of(slice));
        let records = SliceRecords::of(slice, key, |ports| self.ports.shared(ports));
        let old = self.slices.get(id);
        if old == Some(&records) && !held {
            return false;
        }
        let old = old.cloned();
        if let Some(old) = old
            .as_ref()
            .filter(|old| old.service() != records.service())
        {
            self.aggregate(old.service(), Some(old), None);
        }
        let same = old.filter(|old| old.service() == records.service());
        let lost = self.aggregate(records.service(), same.as_ref(), Some(&records));
        self.slices.insert(id, records.clone());
        if same.as_ref().is_some_and(|old| old.answers_as(&records)) && !held {
            return false;
        }
        if let Some(old) = same.filter(|_| !lost.is_empty()) {
            self.hold(&old, lost, &Mentions::of(slice), now);
        }
        self.view.serial = now.unix;
        true
    }

    pub(super) fn remove_slice(&mut self, id: u64, now: Now) -> bool {
        let Some((old, lost)) = self.take_slice(id, now) else {
            return false;
        };
        self.hold(&old, lost, &Mentions::default(), now);
        true
    }

    /// Takes a slice out, and tells which addresses its Service has no longer.
    fn take_slice(&mut self, id: u64, now: Now) -> Option<(SliceRecords, IpSet)> {
        let old = self.slices.remove(id)?;
        let lost = self.aggregate(old.service(), Some(&old), None);
        self.view.serial = now.unix;
        Some((old, lost))
    }

    /// Puts `new` in the place of `old` among the slices of a Service, and the difference of its addresses among
    /// those of endpoints. The Service's other slices are not looked at, unless an address is in two of them. Returns the
    /// addresses that the Service has no longer.
    pub(super) fn aggregate(
        &mut self,
        key: &ServiceKey,
        old: Option<&SliceRecords>,
        new: Option<&SliceRecords>,
    ) -> IpSet {
        let before = self.view.endpoints(key);
        let mut repeats = before.map_or(0, EndpointSet::repeats);
        let mut slices: Vec<_> = before.map(|set| set.slices().to_vec()).unwrap_or_default();
        let at = old.and_then(|old| slices.iter().position(|slice| slice.is(old)));
        match (at, new) {
            (Some(at), Some(new)) => slices[at] = new.clone(),
            (Some(at), None) => drop(slices.remove(at)),
            (None, Some(new)) => slices.push(new.clone()),
            (None, None) => {}
        }
        let (gone, come) = difference(old, new);
        let hash = self.view.hash(key);
        let View {
            seed,
            endpoint_ips,
            endpoints,
            ..
        } = &mut self.view;
        for ip in come {
            repeats += u32::from(endpoint_ips.add(seed, ip, key) > 1);
        }
        let mut lost = IpSet::default();
        for ip in gone {
            if endpoint_ips.remove(seed, ip, key) > 0 {
                repeats -= 1;
            } else {
                lost.insert(ip);
            }
        }
        let is = |set: &Entry<EndpointSet>| *set.of.service() == *key;
        match EndpointSet::of(slices, repeats) {
            Some(of) => drop(endpoints.replace(seed, Entry { hash, of }, is)),
            None => drop(endpoints.remove(hash, is)),
        }
        lost
    }
}

/// Addresses that only the old slice has and those that only the new one has, each as often as it has it more.
fn difference(
    old: Option<&SliceRecords>,
    new: Option<&SliceRecords>,
) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let sorted = |slice: Option<&SliceRecords>| {
        let mut ips: Vec<IpAddr> = slice.into_iter().flat_map(|slice| slice.ips()).collect();
        ips.sort_unstable();
        ips
    };
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let mut new = sorted(new).into_iter().peekable();
    for ip in sorted(old) {
        come.extend(std::iter::from_fn(|| new.next_if(|new| *new < ip)));
        if new.next_if_eq(&ip).is_none() {
            gone.push(ip);
        }
    }
    come.extend(new);
    (gone, come)
}

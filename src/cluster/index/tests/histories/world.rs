//! The objects of a history, beside the index that is told of them, and the time. After each event it is looked which
//! addresses of endpoints are answered: all that exist, and others only as long as they may be on their way.

use super::*;
use crate::cluster::object::{Address, Endpoint};

/// Objects that exist, by resource, namespace and name.
pub(in crate::cluster) type Exist = BTreeMap<(Resource, String), Object>;

/// A Service and the address of an endpoint of it.
type Known = (ServiceKey, IpAddr);

/// A list has not ended.
const NEVER: u64 = u64::MAX;
const GRACE: u64 = 1000;

pub(in crate::cluster) struct World {
    pub(in crate::cluster) index: Index,
    pub(in crate::cluster) exist: Exist,
    seed: u64,
    /// Milliseconds.
    now: u64,
    /// What the list that is under way has named.
    listing: Option<(Resource, BTreeSet<String>)>,
    /// The endpoints that are ready in some slice.
    ready: BTreeSet<Known>,
    left: BTreeMap<Known, Left>,
}

/// An endpoint that no slice has as ready any more.
struct Left {
    /// It may be answered until then.
    until: u64,
    /// Nothing is known but that it was left out: it must be answered until then.
    without_a_word: bool,
    pods: BTreeSet<String>,
}

pub(super) fn name_of(object: &Object) -> (Resource, String) {
    let metadata = object.metadata();
    let name = format!("{}/{}", metadata.namespace, metadata.name);
    (object.resource(), name)
}

impl World {
    pub(in crate::cluster) fn of(seed: u64) -> World {
        World {
            index: Index::default(),
            exist: Exist::new(),
            seed,
            now: 0,
            listing: None,
            ready: BTreeSet::new(),
            left: BTreeMap::new(),
        }
    }

    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        if self.index.end_held(at(self.now)) {
            self.check();
        }
    }

    pub(super) fn forget(&mut self, resource: Resource) {
        self.index.forget(resource, at(self.now).unix);
        self.exist.retain(|(of, _), _| *of != resource);
        if matches!(resource, Resource::Services | Resource::EndpointSlices) {
            self.left.clear();
        }
        self.ready = ready(&self.exist);
        self.check();
    }

    /// Long after the last event.
    pub(in crate::cluster) fn at_rest(mut self) -> World {
        self.wait(10 * GRACE);
        assert_eq!(self.index.next_end(), None, "seed {}", self.seed);
        self
    }

    pub(super) fn tell(&mut self, event: Event) {
        let (mut old, mut new) = (None, None);
        match &event {
            Event::ListStarted(resource) => self.listing = Some((*resource, BTreeSet::new())),
            Event::Applied(object) => {
                let (resource, name) = name_of(object);
                if let Some((listed, names)) = &mut self.listing
                    && *listed == resource
                {
                    names.insert(name.clone());
                }
                old = self.exist.insert((resource, name), object.clone());
                new = Some(object);
            }
            Event::Deleted(object) => old = self.exist.remove(&name_of(object)),
            Event::Listed(resource) => {
                let (_, names) = self.listing.take().expect("it was begun");
                self.exist
                    .retain(|(of, name), _| of != resource || names.contains(name));
            }
            Event::Away(_)
            | Event::Current(_)
            | Event::Reached(..)
            | Event::Unreadable(_)
            | Event::Audited(..)
            | Event::Trouble(..) => {}
        }
        let is_listing = |resource| matches!(&self.listing, Some((of, _)) if *of == resource);
        let until = match is_listing(Resource::EndpointSlices) {
            true => NEVER,
            false => self.now + GRACE,
        };
        if event == Event::Listed(Resource::EndpointSlices) {
            let waiting = self.left.values_mut().filter(|left| left.until == NEVER);
            waiting.for_each(|left| left.until = self.now + GRACE);
        }
        let is_news = |object: &Object| object.resource() == Resource::EndpointSlices;
        if event == Event::Listed(Resource::EndpointSlices)
            || old.as_ref().or(new).is_some_and(is_news)
        {
            let before = std::mem::replace(&mut self.ready, ready(&self.exist));
            for gone in before.difference(&self.ready) {
                let left = self.leave(gone, old.as_ref(), new, until);
                self.left.insert(gone.clone(), left);
            }
        }
        if let Some(Object::EndpointSlice(slice)) = new {
            self.mention(slice);
        }
        let exist = &self.exist;
        self.left.retain(|known, _| has_service(exist, &known.0));
        self.index.apply(event, at(self.now));
        self.check();
    }

    /// What is known of an endpoint that `old` had, which became `new`.
    fn leave(&self, gone: &Known, old: Option<&Object>, new: Option<&Object>, until: u64) -> Left {
        let of_slice = |object: Option<&Object>| match object {
            Some(Object::EndpointSlice(slice)) => Some(slice.clone()),
            _ => None,
        };
        let (old, new) = (of_slice(old), of_slice(new));
        let here = old.iter().flat_map(|slice| slice.endpoints.iter());
        let here = here.filter(|endpoint| has(endpoint, gone.1));
        let pods = here
            .clone()
            .filter_map(|endpoint| endpoint.target.as_deref());
        let pods: BTreeSet<String> = pods.map(str::to_owned).collect();
        let is_given_away = old
            .as_ref()
            .zip(new.as_ref())
            .is_some_and(|(old, new)| old.service() != new.service());
        let slices = self.exist.values().filter_map(|object| match object {
            Object::EndpointSlice(slice) if key_of(slice).as_ref() == Some(&gone.0) => Some(slice),
            _ => None,
        });
        let mut endpoints = slices.flat_map(|slice| slice.endpoints.iter());
        let is_known = endpoints.any(|endpoint| {
            let pod = endpoint.target.as_deref();
            has(endpoint, gone.1) || pod.is_some_and(|pod| pods.contains(pod))
        });
        let is_held = |left: &Left| !left.pods.is_disjoint(&pods);
        let was_leaving = here
            .clone()
            .any(|endpoint| !endpoint.ready || endpoint.terminating);
        let without_a_word = old.is_some()
            && !is_given_away
            && !is_known
            && !was_leaving
            && !self.left.values().any(is_held)
            && has_service(&self.exist, &gone.0);
        Left {
            until,
            without_a_word,
            pods,
        }
    }

    /// A slice tells of endpoints: they are there, or are gone.
    fn mention(&mut self, slice: &EndpointSlice) {
        let key = key_of(slice);
        self.left.retain(|(of, ip), left| {
            let is_told = slice.endpoints.iter().any(|endpoint| {
                let pod = endpoint.target.as_deref();
                let family = |at: &Address| match at {
                    Address::Ip(at) => at.is_ipv4() == ip.is_ipv4(),
                    Address::Name(_) => false,
                };
                let is_pod = pod.is_some_and(|pod| left.pods.contains(pod));
                has(endpoint, *ip) || is_pod && endpoint.addresses.iter().any(family)
            });
            Some(of) != key.as_ref() || !is_told
        });
    }

    fn check(&self) {
        let (exist, answered) = (&self.ready, self.answered());
        let missing: Vec<_> = exist.difference(&answered).collect();
        assert!(missing.is_empty(), "seed {}: {missing:?} exist", self.seed);
        let may = |known: &Known| {
            self.left
                .get(known)
                .is_some_and(|left| left.until > self.now)
        };
        for known in answered.difference(exist) {
            assert!(may(known), "seed {}: {known:?} is gone", self.seed);
        }
        for (known, left) in &self.left {
            let must = left.without_a_word && left.until > self.now;
            assert!(
                !must || answered.contains(known),
                "seed {}: {known:?} may be on its way",
                self.seed
            );
        }
    }

    /// The endpoints that are answered, in all ways alike.
    fn answered(&self) -> BTreeSet<Known> {
        let view = self.index.latest();
        let mut answered = BTreeSet::new();
        for (namespace, name) in NAMESPACES
            .iter()
            .flat_map(|of| NAMES.map(|name| (of, name)))
        {
            let key = key(namespace, name);
            let Some(set) = view.endpoints(&key) else {
                continue;
            };
            let at_addresses: BTreeSet<IpAddr> = addresses(set).into_iter().collect();
            let slices = set.slices().iter();
            let endpoints = slices.flat_map(|slice| slice.endpoints());
            let by_endpoint: BTreeSet<IpAddr> = endpoints.filter_map(|one| one.ip()).collect();
            assert_eq!(at_addresses, by_endpoint, "seed {}", self.seed);
            answered.extend(at_addresses.into_iter().map(|ip| (key.clone(), ip)));
        }
        let held = view.endpoint_ips.iter();
        let reverse = held.map(|(ip, key, _)| (ServiceKey::from(key), ip));
        assert_eq!(answered, reverse.collect(), "seed {}", self.seed);
        answered
    }
}

fn key_of(slice: &EndpointSlice) -> Option<ServiceKey> {
    Some(key(&slice.metadata.namespace, slice.service()?))
}

fn has(endpoint: &Endpoint, ip: IpAddr) -> bool {
    endpoint.addresses.contains(&Address::Ip(ip))
}

fn has_service(exist: &Exist, of: &ServiceKey) -> bool {
    exist.values().any(|object| match object {
        Object::Service(service) => key(&service.metadata.namespace, &service.metadata.name) == *of,
        _ => false,
    })
}

/// The endpoints that are ready in some slice.
fn ready(exist: &Exist) -> BTreeSet<Known> {
    let mut ready = BTreeSet::new();
    for object in exist.values() {
        let Object::EndpointSlice(slice) = object else {
            continue;
        };
        let Some(key) = key_of(slice) else { continue };
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            for address in &endpoint.addresses {
                if let Address::Ip(ip) = address {
                    ready.insert((key.clone(), *ip));
                }
            }
        }
    }
    ready
}

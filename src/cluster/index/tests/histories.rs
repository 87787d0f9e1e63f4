//! Random histories of events: the view must be what a plain look over the objects that exist comes to.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::audit::Audit;
use crate::cluster::object::{EndpointSlice, Named};
use crate::testing::Random;

mod world;

pub(in crate::cluster) use world::{Exist, World};

use world::name_of;

/// Histories of a test run; as many as this variable says where it is set.
const HISTORIES: u64 = 1_000;
const HISTORIES_VARIABLE: &str = "CAIRN_HISTORIES";

const NAMESPACES: [&str; 2] = ["demo", "Shop"];
const NAMES: [&str; 3] = ["web", "DB", "api"];
const SLICES: [&str; 3] = ["s1", "s2", "s3"];

fn random_object(random: &mut Random) -> Object {
    let (namespace_name, name) = (random.one(&NAMESPACES), random.one(&NAMES));
    match random.below(8) {
        0 | 1 => random_service(random, namespace_name, name),
        2..=4 => random_slice(random, namespace_name, name),
        5 | 6 => {
            let ip = random.one(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
            pod(namespace_name, name, ip)
        }
        _ => namespace(namespace_name),
    }
}

fn random_service(random: &mut Random, namespace: &str, name: &str) -> Object {
    let kinds = [
        json!({"clusterIP": "10.96.0.1"}),
        json!({"clusterIPs": ["10.96.0.2", "fd00::96"]}),
        json!({"clusterIP": "None"}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
    ];
    let mut spec = kinds[random.below(4) as usize].clone();
    spec["ports"] = json!([{"port": random.one(&[80, 443])}]);
    let value = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
    object(Resource::Services, &value)
}

/// Addresses repeat within a slice, among slices and among Services; some endpoints are not ready, some have names.
fn random_slice(random: &mut Random, namespace: &str, service: &str) -> Object {
    let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.96.0.1", "fd00::1"];
    let endpoints: Vec<Value> = (0..random.below(6))
        .map(|_| {
            let mut endpoint = json!({
                "addresses": [random.one(&ips)],
                "conditions": {"ready": random.below(5) > 0, "terminating": random.below(8) == 0},
            });
            if random.below(3) == 0 {
                endpoint["hostname"] = random.one(&["a", "B", "not..one"]).into();
            }
            if random.below(3) == 0 {
                endpoint["targetRef"] = json!({"name": random.one(&["pod-1", "pod-2"])});
            }
            endpoint
        })
        .collect();
    let labels = match random.below(10) {
        0 => json!({}),
        _ => json!({"kubernetes.io/service-name": service}),
    };
    let value = json!({
        "metadata": {"namespace": namespace, "name": random.one(&SLICES), "labels": labels},
        "endpoints": endpoints,
        "ports": [{"port": random.one(&[80, 8080])}],
    });
    object(Resource::EndpointSlices, &value)
}

/// Tells a world a random history.
pub(in crate::cluster) fn history(world: &mut World, random: &mut Random) {
    for version in 1..=random.below(60) {
        world.wait(random.below(400));
        match random.below(24) {
            0 => relist(world, random),
            1 => world.forget(random.one(&Resource::ALL)),
            2..=6 => world.tell(Event::Deleted(random_object(random))),
            7..=10 => move_endpoint(world, random, &version.to_string()),
            _ => {
                let object = versions::in_version(random_object(random), &version.to_string());
                world.tell(Event::Applied(object));
            }
        }
    }
}

/// Lists one resource anew, without some of what existed; half of the lists break off first.
fn relist(world: &mut World, random: &mut Random) {
    let resource = random.one(&Resource::ALL);
    for whole in [random.below(2) > 0, true] {
        world.tell(Event::ListStarted(resource));
        let known = world
            .exist
            .values()
            .filter(|known| known.resource() == resource);
        let mut listed: Vec<Object> = known.cloned().collect();
        listed.retain(|_| random.below(3) > 0);
        listed.truncate(if whole { usize::MAX } else { 2 });
        for object in listed {
            world.wait(random.below(400));
            world.tell(Event::Applied(object));
        }
        if whole {
            world.tell(Event::Listed(resource));
            break;
        }
    }
}

/// Moves an endpoint to another slice of its Service, as the controller does: with two writes, in either order.
fn move_endpoint(world: &mut World, random: &mut Random, version: &str) {
    let slices = world.exist.values().filter_map(|object| match object {
        Object::EndpointSlice(slice) if slice.service().is_some() => Some(slice.clone()),
        _ => None,
    });
    let slices: Vec<EndpointSlice> = slices.filter(|slice| !slice.endpoints.is_empty()).collect();
    if slices.is_empty() {
        return;
    }
    let mut from = slices[random.below(slices.len() as u64) as usize].clone();
    let mut to = from.clone();
    to.metadata.name = random.one(&SLICES).into();
    if to.metadata.name == from.metadata.name {
        return;
    }
    let known = world
        .exist
        .get(&name_of(&Object::EndpointSlice(to.clone())));
    let mut endpoints = match known {
        Some(Object::EndpointSlice(known)) if known.service() == from.service() => {
            known.endpoints.to_vec()
        }
        _ => vec![],
    };
    let mut rest = from.endpoints.to_vec();
    endpoints.push(rest.remove(random.below(rest.len() as u64) as usize));
    (from.endpoints, to.endpoints) = (rest.into(), endpoints.into());
    let mut writes = [from, to].map(|slice| {
        let object = versions::in_version(Object::EndpointSlice(slice), version);
        Event::Applied(object)
    });
    if random.below(2) == 0 {
        writes.reverse();
    }
    for write in writes {
        world.tell(write);
        world.wait(random.below(900));
    }
}

/// What queries can learn, in comparable texts.
type Learnt = BTreeSet<String>;

/// All that a view says of every name and address that a history may know.
fn learnt(view: &View) -> Learnt {
    let mut learnt = BTreeSet::new();
    let ips = [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.96.0.1",
        "10.96.0.2",
        "fd00::1",
        "fd00::96",
    ]
    .map(|ip| ip.parse::<IpAddr>().unwrap());
    for namespace in NAMESPACES {
        let wire = label(namespace).unwrap();
        if view.has_namespace(&wire) {
            learnt.insert(format!("namespace {wire:?}"));
        }
        for ip in ips.iter().filter(|ip| view.has_pod(**ip, &wire)) {
            learnt.insert(format!("pod {ip} {wire:?}"));
        }
        for name in NAMES {
            let key = key(namespace, name);
            if let Some(service) = view.service(&key) {
                learnt.insert(format!(
                    "service {key:?} {:?} {:?}",
                    service.kind(),
                    service.ports()
                ));
            }
            if let Some(set) = view.endpoints(&key) {
                learn_endpoints(&mut learnt, &key, set);
            }
        }
    }
    for ip in ips {
        learnt.extend(
            view.endpoint_owners(ip)
                .map(|key| format!("{ip} of endpoints {key:?}")),
        );
        let holders = view.cluster_ips.holders(&view.seed, ip);
        learnt.extend(holders.map(|key| format!("{ip} of {key:?}")));
        let owner = view
            .cluster_ip_owner(ip)
            .map(|key| format!("{ip} of {key:?}"));
        assert!(owner.is_none_or(|owner| learnt.contains(&owner)));
    }
    learnt
}

fn learn_endpoints(learnt: &mut Learnt, key: &ServiceKey, set: &EndpointSet) {
    let mut addresses = addresses(set);
    addresses.sort();
    learnt.insert(format!("addresses {key:?} {addresses:?}"));
    let mut endpoints: Vec<String> = Vec::new();
    for slice in set.slices() {
        for endpoint in slice.endpoints() {
            let mut own = String::new();
            for pod_names in [false, true] {
                let mut dashed = crate::cluster::records::DashedAddress::default();
                let host = endpoint.host_labels(pod_names, &mut dashed);
                own += &format!(" {:?}", String::from_utf8_lossy(host));
            }
            endpoints.push(format!("{:?} {own} {:?}", endpoint.place, slice.ports()));
        }
    }
    endpoints.sort();
    learnt.insert(format!("endpoints {key:?} {endpoints:?}"));
}

/// The same, from a look over all objects for each answer.
fn looked_up(exist: &Exist) -> Learnt {
    let mut learnt = BTreeSet::new();
    let mut endpoints: BTreeMap<ServiceKey, (BTreeSet<IpAddr>, Vec<String>)> = BTreeMap::new();
    for object in exist.values() {
        match object {
            Object::Namespace(namespace) => {
                let wire = label(&namespace.metadata.name).unwrap();
                learnt.insert(format!("namespace {wire:?}"));
            }
            Object::Pod(pod) => {
                let wire = label(&pod.metadata.namespace).unwrap();
                learnt.insert(format!("pod {} {wire:?}", pod.ips[0]));
            }
            Object::Service(service) => {
                let records = ServiceRecords::of(service, |ports| ports.into()).unwrap();
                let (key, ports) = (records.key(), &service.ports);
                learnt.insert(format!("service {key:?} {:?} {ports:?}", records.kind()));
                let ips = records.cluster_ips().iter();
                learnt.extend(ips.map(|ip| format!("{ip} of {key:?}")));
            }
            Object::EndpointSlice(slice) => {
                let Some(service) = slice.service() else {
                    continue;
                };
                let key = key(&slice.metadata.namespace, service);
                let (ips, rows) = endpoints.entry(key.clone()).or_default();
                for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                    let Some(crate::cluster::object::Address::Ip(ip)) = endpoint.addresses.first()
                    else {
                        panic!("these histories have addresses only");
                    };
                    ips.insert(*ip);
                    learnt.insert(format!("{ip} of endpoints {key:?}"));
                    let own = own_names(endpoint, *ip);
                    rows.push(format!("Ip({ip}) {own} {:?}", slice.ports));
                }
            }
        }
    }
    for (key, (ips, mut rows)) in endpoints {
        rows.sort();
        learnt.insert(format!("addresses {key:?} {:?}", Vec::from_iter(ips)));
        learnt.insert(format!("endpoints {key:?} {rows:?}"));
    }
    learnt
}

/// The names of an endpoint without and with names of Pods, as the specification has them.
fn own_names(endpoint: &crate::cluster::object::Endpoint, ip: IpAddr) -> String {
    let dashed = ip.to_string().replace(['.', ':'], "-");
    let hostname = endpoint
        .hostname
        .as_deref()
        .filter(|name| !name.contains(".."));
    let hostname = hostname.map(str::to_ascii_lowercase);
    let by_address = hostname.clone().unwrap_or(dashed.clone());
    let pod = endpoint.target.as_deref().map(str::to_owned);
    let by_pod = hostname.or(pod).unwrap_or(dashed);
    [by_address, by_pod]
        .map(|name| {
            let wire = label(&name).unwrap();
            format!(" {:?}", String::from_utf8_lossy(&wire))
        })
        .concat()
}

#[test]
fn every_history_ends_in_what_a_look_over_all_objects_finds() {
    let histories = std::env::var(HISTORIES_VARIABLE).ok();
    let histories = histories.map_or(HISTORIES, |text| text.parse().expect("a number"));
    for seed in 1..=histories {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::of(seed);
        history(&mut world, &mut random);
        let World {
            mut index, exist, ..
        } = world.at_rest();
        assert_eq!(learnt(&index.view()), looked_up(&exist), "seed {seed}");
        audits_find_what_differs_and_nothing_else(&mut index, &exist, &mut random, seed);
        let mut fresh = Index::default();
        for object in exist.into_values() {
            fresh.apply(Event::Applied(object), NOW);
        }
        assert_eq!(told(&index.view()), told(&fresh.view()), "seed {seed}");
    }
}

/// Compares the index with what exists, and then with one object less, more, or in an older or a later version.
fn audits_find_what_differs_and_nothing_else(
    index: &mut Index,
    exist: &Exist,
    random: &mut Random,
    seed: u64,
) {
    let lied = exist
        .keys()
        .nth(random.below(exist.len().max(1) as u64) as usize);
    let lie = random.below(4);
    for lies in [false, true] {
        for resource in Resource::ALL {
            let now = tokio::time::Instant::now();
            let heard = Version::of("98");
            let mut audit = Audit::new(resource, index, heard, now);
            let of_resource = exist.iter().filter(|((of, _), _)| *of == resource);
            let mut page = Vec::new();
            for (known, object) in of_resource {
                let metadata = object.metadata();
                let mut named = Named {
                    namespace: metadata.namespace.clone(),
                    name: metadata.name.clone(),
                    version: metadata.resource_version.clone(),
                };
                if lies && lied == Some(known) {
                    match lie {
                        0 => continue,
                        1 => named.name = "more".into(),
                        2 => named.version = "0".into(),
                        _ => named.version = "99".into(),
                    }
                }
                page.push(named);
            }
            audit.page(index, page.into());
            let is_lied = lies && lied.is_some_and(|(of, _)| *of == resource);
            let is_same = audit.complete(index, Version::of("100"), now);
            assert_eq!(is_same, !is_lied, "seed {seed}, {resource}, lie {lie}");
        }
    }
}

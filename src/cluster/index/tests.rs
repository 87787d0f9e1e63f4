//! What single events do to the view.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

mod figures;
pub(in crate::cluster) mod histories;
mod moves;
pub(in crate::cluster) mod versions;

pub(in crate::cluster) const NOW: Now = at(0);

/// So many milliseconds after the index was new.
const fn at(milliseconds: u64) -> Now {
    Now {
        unix: 1_800_000_000 + (milliseconds / 1000) as u32,
        running: Duration::from_millis(milliseconds),
    }
}

fn object(resource: Resource, value: &Value) -> Object {
    Object::read(resource, value).unwrap_or_else(|fault| panic!("{fault}"))
}

pub(in crate::cluster) fn service(namespace: &str, name: &str, ip: &str) -> Object {
    let value = json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    object(Resource::Services, &value)
}

pub(in crate::cluster) fn slice(
    namespace: &str,
    name: &str,
    service: &str,
    ips: &[&str],
) -> Object {
    let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
    let value = json!({
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    });
    object(Resource::EndpointSlices, &value)
}

pub(in crate::cluster) fn pod(namespace: &str, name: &str, ip: &str) -> Object {
    let value = json!({
        "metadata": {"namespace": namespace, "name": name},
        "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"},
    });
    object(Resource::Pods, &value)
}

pub(in crate::cluster) fn namespace(name: &str) -> Object {
    object(Resource::Namespaces, &json!({"metadata": {"name": name}}))
}

pub(in crate::cluster) fn key(namespace: &str, service: &str) -> ServiceKey {
    service_key(namespace, service).unwrap()
}

/// Everything that a query could learn from a view, in one comparable value.
pub(in crate::cluster) fn told(view: &View) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::new();
    for service in view.services.iter() {
        let service = &service.of;
        told.insert(
            format!("service {:?}", service.key()),
            vec![format!("{service:?}")],
        );
    }
    for set in view.endpoints.iter() {
        let set = &set.of;
        let mut slices: Vec<String> = set.slices().iter().map(|s| format!("{s:?}")).collect();
        slices.sort();
        let mut ips: Vec<String> = addresses(set).iter().map(ToString::to_string).collect();
        ips.sort();
        told.insert(
            format!("endpoints {:?}", set.service()),
            [slices, ips].concat(),
        );
    }
    let held = [
        ("cluster IP", &view.cluster_ips),
        ("endpoint", &view.endpoint_ips),
        ("pod", &view.pods),
    ];
    for (what, held) in held {
        for (ip, holder, times) in held.iter() {
            told.insert(format!("{what} {ip} {holder:?}"), vec![times.to_string()]);
        }
    }
    for label in view.namespaces.iter() {
        told.insert(format!("namespace {label:?}"), vec![]);
    }
    told
}

/// Every address that is answered for a Service.
fn addresses(set: &EndpointSet) -> Vec<IpAddr> {
    let v4 = set.v4().map(|ip| IpAddr::from(*ip));
    v4.chain(set.v6().map(|ip| IpAddr::from(*ip))).collect()
}

#[test]
fn an_object_that_did_not_change_does_not_change_the_view() {
    let mut index = Index::default();
    let objects = [
        service("demo", "web", "10.96.0.1"),
        slice("demo", "web-1", "web", &["10.0.0.1"]),
        pod("demo", "a", "10.0.0.1"),
        namespace("demo"),
    ];
    for object in objects {
        assert!(
            index.apply(Event::Applied(object.clone()), NOW),
            "{object:?}"
        );
        assert!(
            !index.apply(Event::Applied(object.clone()), at(1000)),
            "{object:?}"
        );
    }
    assert_eq!(index.view().serial(), NOW.unix);
}

#[test]
fn a_relist_takes_out_what_it_did_not_name_and_nothing_before_its_end() {
    let mut index = Index::default();
    for name in ["web", "db"] {
        index.apply(Event::Applied(service("demo", name, "10.96.0.1")), NOW);
    }
    index.apply(Event::ListStarted(Resource::Services), NOW);
    index.apply(Event::Applied(service("demo", "db", "10.96.0.2")), NOW);
    assert!(index.view().service(&key("demo", "web")).is_some());
    index.apply(Event::Listed(Resource::Services), NOW);
    let view = index.view();
    assert!(view.service(&key("demo", "web")).is_none());
    assert_eq!(
        view.cluster_ip_owner("10.96.0.2".parse().unwrap()),
        Some(&key("demo", "db"))
    );
    assert_eq!(view.cluster_ip_owner("10.96.0.1".parse().unwrap()), None);
}

/// Of all resources, the objects of a cluster in which a Service and an endpoint share an address.
fn everything() -> [Object; 4] {
    [
        service("demo", "web", "10.0.0.1"),
        slice("demo", "web-1", "web", &["10.0.0.1"]),
        pod("demo", "a", "10.0.0.1"),
        namespace("demo"),
    ]
}

fn list(index: &mut Index, object: &Object) {
    index.apply(Event::ListStarted(object.resource()), NOW);
    index.apply(Event::Applied(object.clone()), NOW);
    index.apply(Event::Listed(object.resource()), NOW);
}

#[test]
fn a_resource_that_is_forgotten_is_as_if_it_had_never_been_told() {
    for resource in Resource::ALL {
        let (mut index, mut without) = (Index::default(), Index::default());
        for object in &everything() {
            list(&mut index, object);
            if object.resource() != resource {
                list(&mut without, object);
            }
        }
        index.apply(Event::ListStarted(resource), NOW);
        assert!(index.forget(resource, NOW.unix), "{resource}");
        assert_eq!(told(&index.view()), told(&without.view()), "{resource}");
        for other in Resource::ALL {
            assert_eq!(
                (index.count(other), index.view().is_synced(other)),
                (usize::from(other != resource), other != resource),
                "{other} without {resource}"
            );
        }
        assert!(!index.forget(resource, NOW.unix), "{resource} again");
        index.apply(Event::Listed(resource), NOW);
        assert!(
            !index.view().is_synced(resource),
            "the end of a forgotten list of {resource}"
        );
        for object in &everything() {
            list(&mut without, object);
            list(&mut index, object);
        }
        assert_eq!(
            told(&index.view()),
            told(&without.view()),
            "{resource} back"
        );
    }
}

#[test]
fn a_list_that_breaks_off_and_begins_again_takes_nothing_out() {
    let mut index = Index::default();
    index.apply(Event::Applied(namespace("demo")), NOW);
    index.apply(Event::ListStarted(Resource::Namespaces), NOW);
    index.apply(Event::Applied(namespace("shop")), NOW);
    index.apply(Event::ListStarted(Resource::Namespaces), NOW);
    assert!(index.view().has_namespace(b"\x04demo"));
    assert!(!index.view().is_synced(Resource::Namespaces));
    index.apply(Event::Applied(namespace("demo")), NOW);
    index.apply(Event::Listed(Resource::Namespaces), NOW);
    assert!(index.view().has_namespace(b"\x04demo"));
    assert!(!index.view().has_namespace(b"\x04shop"));
    assert!(index.view().is_synced(Resource::Namespaces));
}

#[test]
fn an_address_that_moves_to_another_slice_is_never_missing() {
    let mut index = Index::default();
    let ip = "10.0.0.1".parse().unwrap();
    index.apply(
        Event::Applied(slice("demo", "web-1", "web", &["10.0.0.1", "10.0.0.2"])),
        NOW,
    );
    index.apply(
        Event::Applied(slice("demo", "web-2", "web", &["10.0.0.1"])),
        NOW,
    );
    index.apply(
        Event::Applied(slice("demo", "web-1", "web", &["10.0.0.2"])),
        NOW,
    );
    let view = index.view();
    assert_eq!(view.endpoint_owners(ip).count(), 1);
    let set = view.endpoints(&key("demo", "web")).unwrap();
    assert!(addresses(set).contains(&ip));
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let mut index = Index::default();
    index.apply(
        Event::Applied(slice("demo", "s", "web", &["10.0.0.1"])),
        NOW,
    );
    index.apply(Event::Applied(slice("demo", "s", "db", &["10.0.0.1"])), NOW);
    let view = index.view();
    assert!(view.endpoints(&key("demo", "web")).is_none());
    let owners: Vec<_> = view
        .endpoint_owners("10.0.0.1".parse().unwrap())
        .cloned()
        .collect();
    assert_eq!(owners, [key("demo", "db")]);
}

#[test]
fn an_address_that_two_pods_share_is_known_until_both_are_gone() {
    let mut index = Index::default();
    let ip = "192.0.2.1".parse().unwrap();
    for name in ["a", "b"] {
        index.apply(Event::Applied(pod("demo", name, "192.0.2.1")), NOW);
    }
    index.apply(Event::Deleted(pod("demo", "a", "192.0.2.1")), NOW);
    assert!(index.view().has_pod(ip, b"\x04demo"));
    index.apply(Event::Deleted(pod("demo", "b", "192.0.2.1")), NOW);
    assert!(!index.view().has_pod(ip, b"\x04demo"));
}

#[test]
fn a_pod_that_is_going_keeps_its_address_and_one_that_ended_does_not() {
    let status =
        |phase: &str| json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": phase});
    for (what, change, known) in [
        (
            "going",
            json!({"metadata": {"namespace": "demo", "name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {}}),
            true,
        ),
        (
            "ended",
            json!({"metadata": {"namespace": "demo", "name": "a"}, "status": status("Succeeded")}),
            false,
        ),
        (
            "without an address",
            json!({"metadata": {"namespace": "demo", "name": "a"}, "status": {}}),
            false,
        ),
    ] {
        let mut index = Index::default();
        index.apply(Event::Applied(pod("demo", "a", "10.0.0.1")), NOW);
        index.apply(Event::Applied(object(Resource::Pods, &change)), NOW);
        assert_eq!(
            index
                .view()
                .has_pod("10.0.0.1".parse().unwrap(), b"\x04demo"),
            known,
            "{what}"
        );
    }
}

//! What the index remembers of objects beside their records.

use super::*;
use crate::cluster::records::ServiceKind;

/// The same object in another version.
pub(in crate::cluster) fn in_version(mut object: Object, version: &str) -> Object {
    let metadata = match &mut object {
        Object::Service(service) => &mut service.metadata,
        Object::EndpointSlice(slice) => &mut slice.metadata,
        Object::Pod(pod) => &mut pod.metadata,
        Object::Namespace(namespace) => &mut namespace.metadata,
    };
    metadata.resource_version = version.into();
    object
}

/// An object of each resource, and its identity by names.
fn each() -> [(Object, &'static str, &'static str); 4] {
    [
        (service("demo", "web", "10.96.0.1"), "demo", "web"),
        (
            slice("demo", "web-1", "web", &["10.0.0.1"]),
            "demo",
            "web-1",
        ),
        (pod("demo", "a", "10.0.0.1"), "demo", "a"),
        (namespace("demo"), "", "demo"),
    ]
}

/// At this Unix time in seconds.
fn unix(unix: u32) -> Now {
    Now { unix, ..NOW }
}

fn version(index: &mut Index, resource: Resource, namespace: &str, name: &str) -> Option<u64> {
    index.see(resource, namespace, name).1?.number()
}

#[test]
fn what_a_list_has_told_is_not_taken_back_by_a_watch_that_goes_on_from_before_it() {
    let services = Resource::Services;
    let web = |ip: &str, version: &str| in_version(service("demo", "web", ip), version);
    for (fact, events, expected) in [
        (
            "a list that was given up",
            vec![
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Current(services),
                Event::Applied(web("10.96.0.2", "7")),
                Event::Deleted(web("10.96.0.2", "8")),
            ],
            Some("10.96.0.3"),
        ),
        (
            "news after it",
            vec![
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Current(services),
                Event::Applied(web("10.96.0.4", "10")),
            ],
            Some("10.96.0.4"),
        ),
        (
            "an older version once the watch has come past the list",
            vec![
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Current(services),
                Event::Applied(in_version(service("demo", "db", "10.96.0.9"), "10")),
                Event::Applied(web("10.96.0.2", "7")),
            ],
            Some("10.96.0.2"),
        ),
        (
            "an older version once a bookmark has come past the list",
            vec![
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Current(services),
                Event::Reached(services, "9".into()),
                Event::Applied(web("10.96.0.2", "7")),
            ],
            Some("10.96.0.2"),
        ),
        (
            "an older version, without a list before",
            vec![
                Event::Applied(web("10.96.0.3", "9")),
                Event::Applied(web("10.96.0.2", "7")),
            ],
            Some("10.96.0.2"),
        ),
        (
            "an older version after a list that came",
            vec![
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Listed(services),
                Event::Applied(web("10.96.0.2", "7")),
            ],
            Some("10.96.0.2"),
        ),
        (
            "the end, in an older version, of what such a list does not name",
            vec![
                Event::ListStarted(services),
                Event::Listed(services),
                Event::Applied(web("10.96.0.3", "9")),
                Event::Deleted(web("10.96.0.3", "7")),
            ],
            None,
        ),
        (
            "an end in the version that is known",
            vec![
                Event::Applied(web("10.96.0.3", "9")),
                Event::Deleted(web("10.96.0.3", "9")),
            ],
            None,
        ),
        (
            "what a list did not name that was given up",
            vec![Event::ListStarted(services), Event::Current(services)],
            Some("10.96.0.1"),
        ),
        (
            "a list of a server that was put back",
            vec![
                Event::Applied(web("10.96.0.3", "9")),
                Event::ListStarted(services),
                Event::Applied(web("10.96.0.2", "4")),
                Event::Listed(services),
            ],
            Some("10.96.0.2"),
        ),
        (
            "versions that cannot be compared",
            vec![
                Event::Applied(web("10.96.0.3", "x")),
                Event::Applied(web("10.96.0.2", "")),
            ],
            Some("10.96.0.2"),
        ),
    ] {
        let mut index = Index::default();
        index.apply(Event::Applied(web("10.96.0.1", "5")), NOW);
        for event in events {
            index.apply(event, NOW);
        }
        let ips = index.latest().service(&key("demo", "web"));
        let ips = ips.map(|service| match service.kind() {
            ServiceKind::ClusterIps(ips) => ips.iter().map(|ip| ip.to_string()).collect(),
            _ => String::new(),
        });
        assert_eq!(ips.as_deref(), expected, "{fact}");
    }
}

#[test]
fn a_version_that_changes_alone_is_remembered_and_changes_no_view() {
    for (object, namespace, name) in each() {
        let (mut index, resource) = (Index::default(), object.resource());
        assert!(index.apply(Event::Applied(in_version(object.clone(), "7")), NOW));
        assert!(!index.apply(Event::Applied(in_version(object.clone(), "8")), NOW));
        assert_eq!(
            version(&mut index, resource, namespace, name),
            Some(8),
            "{resource}"
        );
        index.apply(Event::Deleted(in_version(object, "9")), NOW);
        assert_eq!(
            version(&mut index, resource, namespace, name),
            None,
            "{resource}"
        );
    }
}

#[test]
fn an_object_that_serves_nobody_is_remembered_too() {
    let bare = object(
        Resource::EndpointSlices,
        &json!({"metadata": {"namespace": "demo", "name": "s", "resourceVersion": "7"}}),
    );
    let mut index = Index::default();
    assert!(!index.apply(Event::Applied(bare), NOW));
    assert_eq!(index.count(Resource::EndpointSlices), 0);
    assert_eq!(
        version(&mut index, Resource::EndpointSlices, "demo", "s"),
        Some(7)
    );
}

#[test]
fn an_object_is_taken_out_by_its_identity() {
    for (object, namespace, name) in each() {
        let (mut index, resource) = (Index::default(), object.resource());
        index.apply(Event::Applied(object), NOW);
        let (id, _) = index.see(resource, namespace, name);
        assert!(index.remove(resource, id, NOW), "{resource}");
        assert!(!index.remove(resource, id, NOW), "{resource}");
        assert_eq!(
            told(&index.view()),
            told(&Index::default().view()),
            "{resource}"
        );
    }
}

#[test]
fn what_cannot_be_read_any_more_stays_as_it_was_through_a_list() {
    for (object, namespace, name) in each() {
        let (mut index, resource) = (Index::default(), object.resource());
        index.apply(Event::Applied(in_version(object.clone(), "7")), NOW);
        let before = index.view();
        index.apply(Event::ListStarted(resource), NOW);
        let bare = Object::bare(resource, object.metadata().clone());
        assert!(!index.apply(Event::Unreadable(in_version(bare, "8")), NOW));
        index.apply(Event::Listed(resource), NOW);
        assert_eq!(told(&index.view()), told(&before), "{resource}");
        assert_eq!(
            version(&mut index, resource, namespace, name),
            Some(8),
            "{resource}"
        );
    }
}

#[test]
fn a_list_that_is_not_believed_puts_in_what_it_names_and_takes_nothing_out() {
    for (object, namespace, name) in each() {
        let (mut index, resource) = (Index::default(), object.resource());
        index.apply(Event::Applied(object.clone()), NOW);
        let before = index.view();
        index.apply(Event::ListStarted(resource), NOW);
        let all = Outcome {
            before: 1,
            missing: 1,
        };
        assert_eq!(index.outcome(resource), Some(all), "{resource}");
        index.finish_list_keeping(resource, NOW);
        assert!(!index.view().is_synced(resource), "{resource}");
        assert_eq!(index.outcome(resource), None, "{resource}");
        let (_, known) = index.see(resource, namespace, name);
        assert!(known.is_some(), "{resource}: what stays is remembered");
        assert_eq!(told(&index.view()), told(&before), "{resource}");
        index.apply(Event::ListStarted(resource), NOW);
        index.apply(Event::Applied(object), NOW);
        let none = Outcome {
            before: 1,
            missing: 0,
        };
        assert_eq!(index.outcome(resource), Some(none), "{resource}");
        index.apply(Event::ListStarted(resource), NOW);
        index.apply(Event::Listed(resource), NOW);
        assert_eq!(index.count(resource), 0, "{resource}");
    }
}

#[test]
fn a_service_is_traced_to_its_objects() {
    let mut index = Index::default();
    index.apply(
        Event::Applied(in_version(service("demo", "Web", "10.96.0.1"), "7")),
        unix(100),
    );
    for (name, of, version) in [("s1", "web", "8"), ("s2", "web", "9"), ("s3", "db", "10")] {
        index.apply(
            Event::Applied(in_version(slice("demo", name, of, &["10.0.0.1"]), version)),
            unix(200),
        );
    }
    let numbers = |notes: Vec<Note>| {
        let mut notes: Vec<_> = notes
            .iter()
            .map(|(version, told)| (version.number(), *told))
            .collect();
        notes.sort();
        notes
    };
    for (name, expected, slices) in [
        (
            "web",
            vec![(Some(7), 100)],
            vec![(Some(8), 200), (Some(9), 200)],
        ),
        ("db", vec![], vec![(Some(10), 200)]),
        ("nosuch", vec![], vec![]),
    ] {
        let (service, found) = index.trace(&key("demo", name));
        assert_eq!(numbers(service.into_iter().collect()), expected, "{name}");
        assert_eq!(numbers(found), slices, "{name}");
    }
}

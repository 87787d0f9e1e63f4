//! The questions to the API server, as paths with queries (Kubernetes API concepts, "Efficient detection of changes").

use std::time::Duration;

use super::follow::{Freshness, Page};
use crate::cluster::object::{Named, Resource};
use crate::cluster::selector::Target;

/// Objects in a page of a list: what client-go asks for.
const PAGE_OBJECTS: &str = "500";

/// Pods that have come to their end keep their last address, which may be another's by now.
const LIVE_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

/// A page of a list, and whether it is the first one.
pub(super) fn list(target: &Target, page: &Page) -> (bool, String) {
    let mut query = Query::new(target);
    query.add("limit", PAGE_OBJECTS);
    match page {
        Page::First(Freshness::Any) => query.add("resourceVersion", "0"),
        Page::First(Freshness::NotOlderThan(version)) => {
            query.add("resourceVersion", version);
            query.add("resourceVersionMatch", "NotOlderThan");
        }
        // Without a version the read is consistent: never older than what was seen before.
        Page::First(Freshness::Consistent) => {}
        // A continued list has its version in the token; the server refuses another.
        Page::Next(token) => query.add("continue", token),
    }
    (matches!(page, Page::First(_)), query.path)
}

/// One object as it is now, with the `list` verb: CoreDNS's role does not grant `get`.
pub(super) fn object(target: &Target, named: &Named) -> String {
    let mut query = Query::of_object(target, named);
    query.add("limit", PAGE_OBJECTS);
    query.path
}

/// A watch from a version, or, from none, with the initial events first (KEP-3157).
pub(super) fn watch(target: &Target, from: Option<&str>, open_for: Duration) -> String {
    let mut query = Query::new(target);
    query.add("watch", "true");
    query.add("allowWatchBookmarks", "true");
    query.add("timeoutSeconds", &open_for.as_secs().to_string());
    match from {
        Some(version) => query.add("resourceVersion", version),
        None => {
            query.add("sendInitialEvents", "true");
            query.add("resourceVersionMatch", "NotOlderThan");
        }
    }
    query.path
}

struct Query {
    path: String,
    separator: char,
}

impl Query {
    fn new(target: &Target) -> Query {
        let fields = match target.resource {
            Resource::Pods => LIVE_PODS,
            Resource::Services | Resource::EndpointSlices | Resource::Namespaces => "",
        };
        Query::selecting(target.resource.path().to_owned(), target, fields)
    }

    /// The one object of this name that the target wants too.
    fn of_object(target: &Target, named: &Named) -> Query {
        let mut path = target.resource.path().to_owned();
        if let (false, Some((group, resource))) =
            (named.namespace.is_empty(), path.rsplit_once('/'))
        {
            let mut within = format!("{group}/namespaces/");
            encode(&mut within, &named.namespace);
            path = format!("{within}/{resource}");
        }
        let mut fields = format!("metadata.name={}", named.name);
        if target.resource == Resource::Pods {
            fields = format!("{fields},{LIVE_PODS}");
        }
        Query::selecting(path, target, &fields)
    }

    fn selecting(path: String, target: &Target, fields: &str) -> Query {
        let mut query = Query {
            path,
            separator: '?',
        };
        if !fields.is_empty() {
            query.add("fieldSelector", fields);
        }
        if !target.labels.is_empty() {
            query.add("labelSelector", &target.labels.to_string());
        }
        query
    }

    fn add(&mut self, name: &str, value: &str) {
        self.path.push(std::mem::replace(&mut self.separator, '&'));
        self.path.push_str(name);
        self.path.push('=');
        encode(&mut self.path, value);
    }
}

/// Appends `text`; everything but RFC 3986's unreserved characters is percent-encoded.
fn encode(path: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_as_the_api_wants_them() {
        let target = |resource, labels: &str| Target {
            resource,
            labels: labels.parse().unwrap(),
        };
        let services = target(Resource::Services, "");
        let named = |namespace: &str, name: &str| Named {
            namespace: namespace.into(),
            name: name.into(),
            version: Box::default(),
        };
        let open_for = Duration::from_secs(300);
        let cases = [
            (
                "first list",
                list(&services, &Page::First(Freshness::Any)).1,
                "/api/v1/services?limit=500&resourceVersion=0",
            ),
            (
                "list again",
                list(&services, &Page::First(Freshness::Consistent)).1,
                "/api/v1/services?limit=500",
            ),
            (
                "first list of a process that goes on where another stopped",
                list(
                    &services,
                    &Page::First(Freshness::NotOlderThan("77".into())),
                )
                .1,
                "/api/v1/services?limit=500&resourceVersion=77&resourceVersionMatch=NotOlderThan",
            ),
            (
                "next page",
                list(&services, &Page::Next("a+b=".into())).1,
                "/api/v1/services?limit=500&continue=a%2Bb%3D",
            ),
            (
                "selected",
                list(
                    &target(Resource::EndpointSlices, "app in (a,b)"),
                    &Page::First(Freshness::Any),
                )
                .1,
                "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=app%20in%20%28a%2Cb%29&limit=500&resourceVersion=0",
            ),
            (
                "watch",
                watch(&services, Some("77"), open_for),
                "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=77",
            ),
            (
                "stream of live pods",
                watch(&target(Resource::Pods, ""), None, open_for),
                "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown\
                 &watch=true&allowWatchBookmarks=true&timeoutSeconds=300&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            ),
            (
                "one Service",
                object(&services, &named("demo", "web")),
                "/api/v1/namespaces/demo/services?fieldSelector=metadata.name%3Dweb&limit=500",
            ),
            (
                "one Namespace",
                object(&target(Resource::Namespaces, ""), &named("", "demo")),
                "/api/v1/namespaces?fieldSelector=metadata.name%3Ddemo&limit=500",
            ),
            (
                "one live Pod, of a namespace that nobody can have",
                object(&target(Resource::Pods, "a=b"), &named("../x", "p")),
                "/api/v1/namespaces/..%2Fx/pods?fieldSelector=metadata.name%3Dp%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed\
                 %2Cstatus.phase%21%3DUnknown&labelSelector=a%3Db&limit=500",
            ),
        ];
        for (name, path, expected) in cases {
            assert_eq!(path, expected, "{name}");
        }
    }

    #[test]
    fn only_the_first_page_begins_a_list() {
        let target = Target {
            resource: Resource::Services,
            labels: "".parse().unwrap(),
        };
        assert!(list(&target, &Page::First(Freshness::Any)).0);
        assert!(!list(&target, &Page::Next("t".into())).0);
    }
}

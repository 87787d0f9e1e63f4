//! What is answered is what the API server has: watches that fall silent are replaced, those that lie are found out, lists
//! that would take out most are doubted, and `/ready` and `/metrics` say how fresh everything is.

use std::time::Duration;

use cairn_dns::cluster::Pace;
use cairn_dns::corefile::Memory;

use crate::cluster::{DB, WEB, answer, api, namespace, pod, service, slice, wait_for, wait_until};
use crate::support::apiserver::{ApiServer, Cut, Fault, Future, Mute, Transport, Verb, WatchList};
use crate::support::server::Server;

mod audits;
mod lists;
mod rewinds;

/// Times that a test can wait for. What a test does not look at never comes.
const PACE: Pace = Pace {
    probe_after: Duration::from_millis(100),
    probe_timeout: Duration::from_millis(300),
    bookmark_margin: Duration::from_millis(300),
    audit_every: Duration::from_secs(3600),
    audit_settle: Duration::from_secs(60),
    hold: Duration::from_secs(3600),
};

/// A server that follows `api` at this pace.
fn follow(api: &ApiServer, pace: Pace, lines: &str) -> Server {
    let kubeconfig = api.kubeconfig();
    let stanza = format!("kubeconfig {} lab\n{lines}", kubeconfig.display());
    let corefile = format!(
        ".:0 {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa {{\n{stanza}\n}}\n}}\n"
    );
    Server::start_at(pace, &Memory::new().file("Corefile", corefile))
}

/// The value of the series of this metric whose labels are these, if there is one; `cluster` left out.
fn metric(server: &Server, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let metrics = server.metrics();
    let mut series = metrics.lines().filter(|line| {
        let is_label = |(name, value): &(&str, &str)| line.contains(&format!("{name}=\"{value}\""));
        line.starts_with(&format!("{name}{{")) && labels.iter().all(is_label)
    });
    let line = series.next()?;
    Some(line.rsplit_once(' ')?.1.parse().unwrap())
}

/// Audits of a resource that have ended so.
fn audits(server: &Server, resource: &str, result: &str) -> f64 {
    let labels = [("resource", resource), ("result", result)];
    metric(server, "cairn_cluster_audits_total", &labels).unwrap_or_default()
}

/// What was mended of a resource: missing, changed, extra.
fn repairs(server: &Server, resource: &str) -> [f64; 3] {
    ["missing", "changed", "extra"].map(|kind| {
        let labels = [("resource", resource), ("kind", kind)];
        metric(server, "cairn_cluster_repairs_total", &labels).unwrap_or_default()
    })
}

/// Lists that were not believed at once.
fn doubted(server: &Server) -> Option<f64> {
    let labels = [("resource", "services")];
    metric(server, "cairn_cluster_lists_doubted_total", &labels)
}

/// Requests that list a resource, in whichever way.
fn lists(api: &ApiServer, resource: &str) -> usize {
    let watches = api.requests_for(resource, Verb::Watch);
    let streams = watches
        .iter()
        .filter(|request| request.parameter("sendInitialEvents").is_some());
    api.count(resource, Verb::List) + streams.count()
}

#[test]
fn a_connection_that_leads_nowhere_is_replaced_and_nothing_is_listed_anew() {
    // Over HTTP/1.1, where nobody answers to a ping, a watch is expected to have its bookmarks.
    for (transport, mute) in [
        (Transport::Https, Mute::Both),
        (Transport::Https, Mute::Answers),
        (Transport::Http, Mute::Both),
        (Transport::Http, Mute::Answers),
    ] {
        let api = ApiServer::start_with(transport);
        api.apply(namespace("demo"));
        api.apply(service("web", "10.96.0.1"));
        if transport == Transport::Http {
            api.bookmark_every(Some(Duration::from_millis(50)));
        }
        let server = follow(&api, PACE, "");
        server.wait_until_ready();
        if transport == Transport::Http {
            // Three bookmarks show a pace.
            let known = |way| {
                metric(
                    &server,
                    "cairn_cluster_heard_timestamp_seconds",
                    &[("resource", "services"), ("way", way)],
                )
            };
            wait_until("bookmarks", || {
                known("bookmark") > known("list").map(|at| at + 0.2)
            });
        }
        let before = lists(&api, "services");
        api.mute_connections(mute);
        api.apply(service("web", "10.96.0.2"));
        wait_for(&server, WEB, "NOERROR 10.96.0.2");
        assert_eq!(lists(&api, "services"), before, "{transport:?}, {mute:?}");
    }
}

#[test]
fn a_server_that_is_stopped_is_found_out_while_its_kernel_still_acknowledges() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let before = api.connections();
    api.pause();
    api.apply(service("web", "10.96.0.2"));
    wait_until("a new connection", || api.connections() > before);
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.1");
    api.resume();
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
}

#[test]
fn what_is_wrong_with_a_resource_that_is_served_is_told_and_leaves_the_server_ready() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    wait_until("silence", || server.ready_remarks().is_empty());
    api.inject(Fault::answer(403).of("endpointslices").always());
    api.cut_watches("endpointslices", Cut::End);
    wait_until("the reason", || {
        let remarks = server.ready_remarks();
        remarks.iter().any(|remark| {
            remark.starts_with("kubernetes: endpointslices: 403 Forbidden: endpointslices is forbidden: User \"lab\"")
                && remark.ends_with(" s")
                && remark.contains(", not heard for ")
        })
    });
    assert_eq!(server.ready_report(), "Ready");
    assert_eq!(server.ready_remarks().len(), 1);
    assert_eq!(answer(&server, DB), "NOERROR 10.0.0.1");
}

#[test]
fn the_metrics_tell_when_and_how_each_resource_was_heard_and_how_far_it_has_come() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let heard = |resource, way| {
        let labels = [("resource", resource), ("way", way)];
        metric(&server, "cairn_cluster_heard_timestamp_seconds", &labels)
    };
    let version = |resource| {
        metric(
            &server,
            "cairn_cluster_resource_version",
            &[("resource", resource)],
        )
    };
    let start = heard("services", "list").expect("it was listed");
    assert!(start > 1.7e9, "{start} is no Unix time");
    assert_eq!(
        (heard("services", "event"), heard("services", "bookmark")),
        (None, None)
    );
    assert_eq!(version("services"), Some(api.version() as f64));

    let changed = api.apply(service("web", "10.96.0.2")) as f64;
    wait_until("the event", || version("services") == Some(changed));
    assert!(heard("services", "event") >= Some(start));
    assert!(version("namespaces") < Some(changed));
    api.bookmark("namespaces");
    wait_until("the bookmark", || version("namespaces") == Some(changed));
    assert!(heard("namespaces", "bookmark").is_some());
    assert_eq!(heard("namespaces", "event"), None);
    api.cut_watches("namespaces", Cut::End);
    wait_until("the next watch", || {
        heard("namespaces", "contact").is_some()
    });
}

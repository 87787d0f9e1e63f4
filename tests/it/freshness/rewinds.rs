//! API servers that are put back, as from a backup, under the watches of a server that has heard more.

use super::*;

const NEW: &str = "new.demo.svc.cluster.local.";

/// Audits come soon, and one that is older than what was heard is asked for again soon.
const AUDITED: Pace = Pace {
    audit_every: Duration::from_millis(100),
    hold: Duration::from_millis(200),
    ..PACE
};

/// A Service changes, the endpoints of another go and a third one is made, and the server has heard of it all. Returns the
/// version before.
fn change(api: &ApiServer, server: &Server) -> u64 {
    let past = api.version();
    api.apply(service("web", "10.96.0.2"));
    api.delete("endpointslices", "demo", "db-1");
    api.apply(service("new", "10.96.0.3"));
    wait_for(server, NEW, "NOERROR 10.96.0.3");
    wait_for(server, DB, "NXDOMAIN");
    past
}

/// Waits for what was true before the change.
fn wait_for_the_past(server: &Server) {
    wait_for(server, WEB, "NOERROR 10.96.0.1");
    wait_for(server, DB, "NOERROR 10.0.0.1");
    wait_for(server, NEW, "NXDOMAIN");
}

fn rewinds(server: &Server, resource: &str) -> f64 {
    let labels = [("resource", resource)];
    metric(server, "cairn_cluster_rewinds_total", &labels).unwrap_or_default()
}

#[test]
fn a_server_that_is_put_back_under_silent_watches_is_found_out_by_audits_and_listed() {
    for is_cut in [false, true] {
        let api = api();
        api.future(Future::Waits);
        let server = follow(&api, AUDITED, "");
        server.wait_until_ready();
        let past = change(&api, &server);
        api.put_back(past);
        if is_cut {
            for resource in ["services", "endpointslices", "namespaces"] {
                api.cut_watches(resource, Cut::End);
            }
        }
        wait_for_the_past(&server);
        for (resource, expected) in [
            ("services", 1.0),
            ("endpointslices", 1.0),
            ("namespaces", 0.0),
        ] {
            let found = rewinds(&server, resource);
            assert_eq!(found, expected, "{resource}, watches cut: {is_cut}");
        }
        api.apply(service("web", "10.96.0.4"));
        wait_for(&server, WEB, "NOERROR 10.96.0.4");
        assert_eq!(rewinds(&server, "services"), 1.0, "watches cut: {is_cut}");
    }
}

#[test]
fn a_server_that_was_put_back_and_has_come_further_since_is_mended_object_by_object() {
    let api = api();
    let server = follow(&api, AUDITED, "");
    server.wait_until_ready();
    let past = change(&api, &server);
    let heard = api.version();
    api.put_back(past);
    while api.version() <= heard {
        api.apply(namespace("demo"));
    }
    let deadline = std::time::Instant::now() + crate::cluster::PATIENCE;
    while repairs(&server, "services") != [0.0, 1.0, 1.0] {
        let got = repairs(&server, "services");
        assert!(std::time::Instant::now() < deadline, "{got:?}");
        for resource in ["services", "endpointslices"] {
            api.bookmark(resource);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_for_the_past(&server);
    assert_eq!(rewinds(&server, "services"), 0.0);
}

#[test]
fn a_watch_that_goes_back_in_time_is_followed_by_a_list() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let past = change(&api, &server);
    api.put_back(past);
    for resource in ["services", "endpointslices"] {
        api.rewind_watches(resource);
        api.bookmark(resource);
    }
    wait_for_the_past(&server);
    assert_eq!(rewinds(&server, "services"), 1.0);
    assert_eq!(rewinds(&server, "endpointslices"), 1.0);
    api.apply(service("web", "10.96.0.4"));
    wait_for(&server, WEB, "NOERROR 10.96.0.4");
    // At most one in the time of an audit, which does not come here.
    let before = lists(&api, "services");
    let past = change(&api, &server);
    api.put_back(past);
    api.rewind_watches("services");
    for n in 5..10 {
        api.apply(service("web", &format!("10.96.0.{n}")));
        wait_for(&server, WEB, &format!("NOERROR 10.96.0.{n}"));
    }
    assert_eq!(rewinds(&server, "services"), 2.0);
    assert_eq!(lists(&api, "services"), before);
    assert_eq!(answer(&server, NEW), "NOERROR 10.96.0.3");
}

#[test]
fn a_list_that_is_older_than_what_was_told_is_taken_and_that_is_told() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let past = change(&api, &server);
    let before = lists(&api, "services");
    api.put_back(past);
    for resource in ["services", "endpointslices"] {
        api.expire_watches(resource);
    }
    wait_for_the_past(&server);
    api.apply(service("web", "10.96.0.4"));
    wait_for(&server, WEB, "NOERROR 10.96.0.4");
    assert_eq!(rewinds(&server, "services"), 1.0);
    assert_eq!(lists(&api, "services"), before + 1);
}

#[test]
fn a_server_that_is_put_back_to_a_list_without_most_of_what_is_known_is_doubted() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let past = api.version();
    for n in 0..150 {
        api.apply(service(&format!("s{n}"), &format!("10.96.1.{n}")));
    }
    let last = "s149.demo.svc.cluster.local.";
    wait_for(&server, last, "NOERROR 10.96.1.149");
    api.put_back(past);
    api.rewind_watches("services");
    api.apply(service("web", "10.96.0.2"));
    wait_until("doubt", || doubted(&server) == Some(1.0));
    assert_eq!(answer(&server, last), "NOERROR 10.96.1.149");
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2");
    assert_eq!(rewinds(&server, "services"), 1.0);
}

#[test]
fn an_audit_of_a_server_that_lags_behind_is_not_believed() {
    let api = api();
    let pace = Pace {
        audit_every: Duration::from_millis(300),
        ..PACE
    };
    let server = follow(&api, pace, "");
    server.wait_until_ready();
    let past = change(&api, &server);
    let before = lists_of_all(&api);
    api.reads_consistently(false);
    api.time_travel(past);
    wait_until("audits", || {
        let resources = ["services", "endpointslices"];
        resources
            .iter()
            .all(|of| audits(&server, of, "older") >= 1.0)
    });
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2");
    assert_eq!(answer(&server, DB), "NXDOMAIN");
    assert_eq!(answer(&server, NEW), "NOERROR 10.96.0.3");
    assert_eq!(rewinds(&server, "services"), 0.0);
    assert_eq!(repairs(&server, "endpointslices"), [0.0; 3]);
    assert_eq!(lists_of_all(&api), before);
}

/// Streams of all objects of Services and EndpointSlices.
fn lists_of_all(api: &ApiServer) -> usize {
    let watches = ["services", "endpointslices"].map(|of| api.requests_for(of, Verb::Watch));
    let streams = watches.iter().flatten();
    let streams = streams.filter(|request| request.parameter("sendInitialEvents").is_some());
    streams.count()
}

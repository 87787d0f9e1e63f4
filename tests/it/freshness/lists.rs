//! Lists that are not what they seem: of a handful where there were many, and of a server that lags behind.

use super::*;

const MANY: usize = 150;

fn name(n: usize) -> String {
    format!("s{n}.demo.svc.cluster.local.")
}

/// An API server with many Services; it lists in pages and does not stream.
fn many() -> ApiServer {
    let api = api();
    api.watch_list(WatchList::Refused);
    for n in 0..MANY {
        api.apply(service(&format!("s{n}"), &format!("10.96.1.{n}")));
    }
    api
}

/// While nobody watches, all but the first of the many go.
fn most_go_unseen(api: &ApiServer) {
    api.stop();
    for n in 1..MANY {
        api.delete("services", "demo", &format!("s{n}"));
    }
    api.apply(service("web", "10.96.0.2"));
    api.compact();
    api.start_again();
}

#[test]
fn what_a_list_lacks_of_most_that_is_known_stays_and_what_it_names_is_taken() {
    let api = many();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    most_go_unseen(&api);
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    wait_until("doubt", || doubted(&server) == Some(1.0));
    assert_eq!(answer(&server, &name(149)), "NOERROR 10.96.1.149");
    let remark = "kubernetes: services: a list lacks 149 of 152 objects; they are kept until it says so again";
    wait_until("the remark", || server.ready_remarks() == [remark]);
    assert_eq!(server.ready_report(), "Ready");
    // A deletion that the watch tells is believed.
    api.delete("services", "demo", "s0");
    wait_for(&server, &name(0), "NXDOMAIN");
    assert_eq!(answer(&server, &name(149)), "NOERROR 10.96.1.149");

    // The backup was the wrong one: everything is back, and is listed.
    api.stop();
    for n in 0..MANY {
        api.apply(service(&format!("s{n}"), &format!("10.96.2.{n}")));
    }
    api.compact();
    api.start_again();
    wait_for(&server, &name(149), "NOERROR 10.96.2.149");
    wait_until("no remark", || server.ready_remarks().is_empty());
}

#[test]
fn a_list_without_most_of_what_is_known_is_believed_when_it_says_so_again() {
    let api = many();
    let pace = Pace {
        hold: Duration::from_millis(300),
        ..PACE
    };
    let server = follow(&api, pace, "");
    server.wait_until_ready();
    most_go_unseen(&api);
    wait_until("doubt", || doubted(&server) == Some(1.0));
    wait_for(&server, &name(149), "NXDOMAIN");
    assert!(lists(&api, "services") >= 4, "it was not asked for again");
    wait_until("no remark", || server.ready_remarks().is_empty());
    assert_eq!(doubted(&server), Some(1.0));
}

#[test]
fn a_server_that_lags_behind_is_not_taken_for_the_truth_and_is_asked_again() {
    let api = api();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    let past = api.version();
    change(&api, &server);
    // Behind the same address there is another server now, which has not heard of the changes.
    api.time_travel(past);
    let watches = api.count("services", Verb::Watch);
    api.cut_watches("services", Cut::Reset);
    // A watch that goes on where it was is refused: "Too large resource version".
    wait_until("attempts", || {
        api.count("services", Verb::Watch) > watches + 1
    });
    assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2");
    assert_eq!(answer(&server, DB), "NXDOMAIN");
    api.catch_up();
    api.apply(service("web", "10.96.0.3"));
    wait_for(&server, WEB, "NOERROR 10.96.0.3");
}

/// A Service changes and the endpoints of another go, and the server has heard of both.
fn change(api: &ApiServer, server: &Server) {
    api.apply(service("web", "10.96.0.2"));
    api.delete("endpointslices", "demo", "db-1");
    wait_for(server, WEB, "NOERROR 10.96.0.2");
    wait_for(server, DB, "NXDOMAIN");
}

#[test]
fn a_list_anew_from_a_server_that_lags_behind_takes_nobody_back_in_time() {
    for mode in [WatchList::Supported, WatchList::Refused] {
        let api = api();
        api.watch_list(mode);
        let server = follow(&api, PACE, "");
        server.wait_until_ready();
        let past = api.version();
        change(&api, &server);
        api.time_travel(past);
        let listed = |resource| {
            metric(
                &server,
                "cairn_cluster_heard_timestamp_seconds",
                &[("resource", resource), ("way", "list")],
            )
        };
        for resource in ["services", "endpointslices"] {
            let before = listed(resource);
            api.expire_watches(resource);
            wait_until("a list", || listed(resource) > before);
        }
        assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2", "{mode:?}");
        assert_eq!(answer(&server, DB), "NXDOMAIN", "{mode:?}");
        for request in api.requests_for("services", Verb::List).iter().skip(1) {
            assert_eq!(request.parameter("resourceVersion"), None, "{mode:?}");
        }
    }
}

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

fn doubted(server: &Server) -> Option<f64> {
    let labels = [("resource", "services")];
    metric(server, "cairn_cluster_lists_doubted_total", &labels)
}

#[test]
fn a_list_without_most_of_what_is_known_is_believed_when_it_says_so_again() {
    let api = many();
    let pace = Pace {
        hold: Duration::from_secs(2),
        ..PACE
    };
    let server = follow(&api, pace, "");
    server.wait_until_ready();
    most_go_unseen(&api);
    // What it names is taken at once, what it does not name stays.
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
    wait_for(&server, &name(149), "NXDOMAIN");
    wait_until("no remark", || server.ready_remarks().is_empty());
    assert_eq!(doubted(&server), Some(1.0));
}

#[test]
fn what_a_doubted_list_lacked_and_the_next_one_has_was_never_gone() {
    let api = many();
    let server = follow(&api, PACE, "");
    server.wait_until_ready();
    most_go_unseen(&api);
    wait_until("doubt", || doubted(&server) == Some(1.0));
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
fn a_server_that_lags_behind_takes_nobody_back_in_time() {
    for mode in [WatchList::Supported, WatchList::Refused] {
        let api = api();
        api.watch_list(mode);
        let server = follow(&api, PACE, "");
        server.wait_until_ready();
        let past = api.version();
        api.apply(service("web", "10.96.0.2"));
        api.delete("endpointslices", "demo", "db-1");
        wait_for(&server, WEB, "NOERROR 10.96.0.2");
        wait_for(&server, DB, "NXDOMAIN");

        // Behind the same address there is another server now, which has not heard of the changes.
        api.time_travel(past);
        for resource in ["services", "endpointslices"] {
            api.cut_watches(resource, Cut::Reset);
        }
        let refused = |resource| {
            let label = [("code", "504")];
            assert!(api.open_watches(resource) <= 1);
            metric(
                &server,
                "coredns_kubernetes_rest_client_requests_total",
                &label,
            )
        };
        // A watch that goes on where it was is refused with an ERROR event and tried again.
        let watches = api.count("services", Verb::Watch);
        wait_until("attempts", || {
            api.count("services", Verb::Watch) > watches + 1
        });
        assert_eq!(refused("services"), None);
        assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2", "{mode:?}");
        assert_eq!(answer(&server, DB), "NXDOMAIN", "{mode:?}");
        api.catch_up();
        api.apply(service("web", "10.96.0.3"));
        wait_for(&server, WEB, "NOERROR 10.96.0.3");

        // And one that must be listed anew is asked for what is newest.
        api.time_travel(past);
        api.expire_watches("services");
        let before = lists(&api, "services");
        wait_until("a list", || lists(&api, "services") > before);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.3", "{mode:?}");
        api.catch_up();
        api.apply(service("web", "10.96.0.4"));
        wait_for(&server, WEB, "NOERROR 10.96.0.4");
        for request in api.requests_for("services", Verb::List) {
            let is_first = request.parameter("resourceVersion") == Some("0");
            assert!(is_first || request.parameter("resourceVersion").is_none());
        }
    }
}

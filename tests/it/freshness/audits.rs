//! Watches that lie: an audit finds what they left out and mends it, and mends nothing that they are about to tell.

use super::*;

const AUDITED: Pace = Pace {
    audit_every: Duration::from_millis(100),
    ..PACE
};

#[test]
fn what_a_watch_left_out_is_found_and_mended() {
    for knows_metadata in [true, false] {
        let api = api();
        api.lists_metadata(knows_metadata);
        api.apply(service("old", "10.96.0.9"));
        api.apply(pod("a", "10.0.0.7"));
        let server = follow(&api, AUDITED, "pods verified");
        server.wait_until_ready();

        // Left out: a change, an object that is new, one that is gone; of every resource.
        for (resource, events) in [
            ("services", 3),
            ("endpointslices", 1),
            ("pods", 1),
            ("namespaces", 1),
        ] {
            api.skip_events(resource, events);
        }
        api.apply(service("web", "10.96.0.2"));
        api.apply(service("new", "10.96.0.3"));
        api.delete("services", "demo", "old");
        api.apply(slice("db", &[("10.0.0.1", true), ("10.0.0.2", true)]));
        api.delete("pods", "demo", "a");
        api.apply(namespace("shop"));
        // The watches claim to have told everything.
        let deadline = std::time::Instant::now() + crate::cluster::PATIENCE;
        let mended = [
            ("services", [1.0, 1.0, 1.0]),
            ("endpointslices", [0.0, 1.0, 0.0]),
            ("pods", [0.0, 0.0, 1.0]),
            ("namespaces", [1.0, 0.0, 0.0]),
        ];
        while mended
            .iter()
            .any(|(resource, kinds)| repairs(&server, resource) != *kinds)
        {
            let got = mended.map(|(resource, _)| (resource, repairs(&server, resource)));
            assert!(std::time::Instant::now() < deadline, "{got:?}");
            for (resource, _) in mended {
                api.bookmark(resource);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(answer(&server, WEB), "NOERROR 10.96.0.2");
        assert_eq!(answer(&server, DB), "NOERROR 10.0.0.1 10.0.0.2");
        for (name, expected) in [
            ("new.demo.svc.cluster.local.", "NOERROR 10.96.0.3"),
            ("old.demo.svc.cluster.local.", "NXDOMAIN"),
            ("10-0-0-7.demo.pod.cluster.local.", "NXDOMAIN"),
            ("shop.svc.cluster.local.", "NOERROR"),
        ] {
            assert_eq!(answer(&server, name), expected, "{name}");
        }
        // Nothing was listed in whole for it, and `get` is not asked for.
        assert_eq!(
            lists_of_whole_objects(&api, "services"),
            0,
            "{knows_metadata}"
        );
        assert_eq!(api.count("services", Verb::Get), 0);
    }
}

/// Lists of all objects that do not ask for metadata.
fn lists_of_whole_objects(api: &ApiServer, resource: &str) -> usize {
    let lists = api.requests_for(resource, Verb::List);
    let whole = lists.iter().filter(|request| {
        let accept = request.accept.as_deref().unwrap_or_default();
        !accept.contains("PartialObjectMetadataList")
            && request.parameter("fieldSelector").is_none()
    });
    whole.count()
}

#[test]
fn many_objects_that_were_left_out_are_listed() {
    let api = api();
    let server = follow(&api, AUDITED, "");
    server.wait_until_ready();
    let before = lists(&api, "services");
    api.skip_events("services", 30);
    for n in 0..30 {
        api.apply(service(&format!("s{n}"), &format!("10.96.1.{n}")));
    }
    wait_until("the repair", || {
        api.bookmark("services");
        std::thread::sleep(Duration::from_millis(10));
        repairs(&server, "services") == [30.0, 0.0, 0.0]
    });
    wait_for(&server, "s29.demo.svc.cluster.local.", "NOERROR 10.96.1.29");
    assert!(lists(&api, "services") > before);
}

#[test]
fn a_list_that_is_refused_costs_a_healthy_watch_nothing_and_is_asked_for_again() {
    let api = api();
    let server = follow(&api, AUDITED, "");
    server.wait_until_ready();
    let refused = Fault::answer(500).of("services").streamed_lists();
    api.inject(refused.always());
    api.skip_events("services", 30);
    for n in 0..30 {
        api.apply(service(&format!("s{n}"), &format!("10.96.1.{n}")));
    }
    let before = lists(&api, "services");
    wait_until("an ordered list", || {
        api.bookmark("services");
        std::thread::sleep(Duration::from_millis(10));
        let streams = api.requests_for("services", Verb::Watch);
        let streams = streams
            .iter()
            .filter(|request| request.parameter("sendInitialEvents").is_some());
        streams.count() > 1 && lists(&api, "services") > before
    });
    api.apply(service("web", "10.96.0.2"));
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    assert_eq!(server.ready_remarks(), [""; 0]);
    assert_eq!(repairs(&server, "services"), [0.0; 3]);

    api.clear_faults();
    wait_for(&server, "s29.demo.svc.cluster.local.", "NOERROR 10.96.1.29");
    wait_until("the repair", || {
        repairs(&server, "services") == [30.0, 0.0, 0.0]
    });
    assert_eq!(audits(&server, "services", "repaired"), 1.0);
}

#[test]
fn a_watch_that_never_claims_to_have_come_as_far_is_not_waited_for_for_ever() {
    let api = api();
    let pace = Pace {
        audit_settle: Duration::from_millis(300),
        ..AUDITED
    };
    let server = follow(&api, pace, "");
    server.wait_until_ready();
    api.hold_watches("services");
    api.apply(service("web", "10.96.0.2"));
    wait_for(&server, WEB, "NOERROR 10.96.0.2");
    assert_eq!(repairs(&server, "services"), [0.0, 1.0, 0.0]);
}

/// A small generator of numbers: what a seed gives, it gives again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn nothing_is_mended_while_honest_watches_tell_of_a_cluster_that_changes_without_pause() {
    const AUDITS: f64 = 10.0;
    let api = api();
    api.bookmark_every(Some(Duration::from_millis(20)));
    let pace = Pace {
        audit_every: Duration::from_millis(30),
        ..PACE
    };
    let server = follow(&api, pace, "");
    server.wait_until_ready();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut exist = [false; 60];
    let mut changes = 0;
    wait_until("many audits", || {
        std::thread::sleep(Duration::from_millis(8));
        for _ in 0..10 {
            let n = random.below(60) as usize;
            let name = format!("s{n}");
            match (exist[n], random.below(3)) {
                (true, 0) => {
                    api.delete("services", "demo", &name);
                    api.delete("endpointslices", "demo", &format!("{name}-1"));
                    exist[n] = false;
                }
                _ => {
                    let ip = format!("10.96.{}.{}", random.below(250), random.below(250));
                    api.apply(service(&name, &ip));
                    api.apply(slice(&name, &[(&ip.replace("10.96", "10.1"), true)]));
                    exist[n] = true;
                }
            }
            changes += 1;
        }
        ["services", "endpointslices"]
            .iter()
            .all(|of| audits(&server, of, "same") >= AUDITS)
    });
    for resource in ["services", "endpointslices", "namespaces"] {
        assert_eq!(
            repairs(&server, resource),
            [0.0; 3],
            "{resource} after {changes} changes"
        );
        assert_eq!(audits(&server, resource, "repaired"), 0.0, "{resource}");
        assert_eq!(audits(&server, resource, "failed"), 0.0, "{resource}");
    }
    assert!(changes > 100, "{changes} changes are no load");
}

#[test]
fn one_resource_is_audited_at_a_time_and_none_that_is_in_trouble() {
    let api = api();
    let server = follow(&api, AUDITED, "");
    server.wait_until_ready();
    let is_audit = |request: &&crate::support::apiserver::Request| {
        let accept = request.accept.as_deref().unwrap_or_default();
        request.verb == Verb::List && accept.contains("PartialObjectMetadataList")
    };
    wait_until("audits", || audits(&server, "services", "same") >= 2.0);
    // An audit that is held keeps the others away.
    api.inject(Fault::hold().lists());
    let under_way = || api.requests().iter().filter(is_audit).count() as f64;
    let ended = || {
        let of = |resource| audits(&server, resource, "same") + audits(&server, resource, "failed");
        ["services", "endpointslices", "namespaces"]
            .map(of)
            .iter()
            .sum::<f64>()
    };
    wait_until("one that is held", || under_way() > ended());
    std::thread::sleep(AUDITED.audit_every * 4);
    assert_eq!(under_way(), ended() + 1.0);
    api.release();

    api.inject(Fault::answer(403).of("services").watches().always());
    api.cut_watches("services", Cut::End);
    wait_until("trouble", || !server.ready_remarks().is_empty());
    let (services, others) = (audits(&server, "services", "same"), ended());
    wait_until("others", || ended() > others + 8.0);
    assert!(audits(&server, "services", "same") <= services + 1.0);
}

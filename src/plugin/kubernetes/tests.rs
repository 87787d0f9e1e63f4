//! Questions to a small cluster. What CoreDNS answers is held by the recorded conformance data; here stand the
//! rules that no recording shows: before the sync, at the edges, and where we differ on purpose.

use hickory_proto::op::Message;
use serde_json::{Value, json};

use super::*;

mod lacks;

use crate::cluster::Cluster;
use crate::cluster::object::{Event, Object};
use crate::dns::{Class, Question, encode};

/// Services `web` (ClusterIP), `db` (headless), aliases; Namespace `demo`; all of which is listed if `synced`.
fn cluster(synced: bool) -> Cluster {
    let listed = if synced { &Resource::ALL[..] } else { &[] };
    cluster_with(&Resource::ALL, listed)
}

/// The same, as far as it is of resources that are `known`; the lists of some of them are complete.
fn cluster_with(known: &[Resource], listed: &[Resource]) -> Cluster {
    let service = |namespace: &str, name: &str, spec: Value| {
        (
            Resource::Services,
            json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec}),
        )
    };
    let alias = |name: &str, target: &str| {
        service(
            "demo",
            name,
            json!({"type": "ExternalName", "externalName": target}),
        )
    };
    let slice = |namespace: &str, service: &str, kind: &str, endpoints: Value| {
        let labels = json!({"kubernetes.io/service-name": service});
        let metadata =
            json!({"namespace": namespace, "name": format!("{service}-1"), "labels": labels});
        let ports = json!([{"name": "pg", "port": 5432, "protocol": "TCP"}]);
        (
            Resource::EndpointSlices,
            json!({"metadata": metadata, "addressType": kind, "endpoints": endpoints, "ports": ports}),
        )
    };
    let mut objects = vec![
        (Resource::Namespaces, json!({"metadata": {"name": "demo"}})),
        service(
            "demo",
            "web",
            json!({"clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80}]}),
        ),
        service(
            "demo",
            "db",
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "pg", "port": 5432}]}),
        ),
        service("demo", "pending", json!({"ports": [{"port": 80}]})),
        service(
            "shop",
            "hidden",
            json!({"clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}),
        ),
        service("demo", "empty", json!({"clusterIP": "None"})),
        alias("out", "www.example.com"),
        alias("alias", "db.demo.svc.cluster.local"),
        alias("dangling", "nosuch.demo.svc.cluster.local"),
        alias("itself", "itself.demo.svc.cluster.local"),
        alias("here", "there.demo.svc.cluster.local"),
        alias("there", "here.demo.svc.cluster.local"),
        alias("address", "192.0.2.1"),
        alias("podded", "10-0-0-1.demo.pod.cluster.local"),
        slice(
            "demo",
            "db",
            "IPv4",
            json!([{"addresses": ["10.0.0.1"], "hostname": "db-0"}, {"addresses": ["10.0.0.2"]}]),
        ),
        slice(
            "demo",
            "remote",
            "FQDN",
            json!([{"addresses": ["db.example.com"]}]),
        ),
        service(
            "demo",
            "remote",
            json!({"clusterIP": "None", "clusterIPs": ["None"]}),
        ),
    ];
    for link in 0..12 {
        let next = if link == 11 {
            "web".to_owned()
        } else {
            format!("link{}", link + 1)
        };
        objects.push(alias(
            &format!("link{link}"),
            &format!("{next}.demo.svc.cluster.local"),
        ));
    }
    objects.retain(|(resource, _)| known.contains(resource));
    let objects = objects.into_iter().map(|(resource, value)| {
        Event::Applied(Object::read(resource, &value).unwrap_or_else(|fault| panic!("{fault}")))
    });
    let lists = |event: fn(Resource) -> Event| listed.iter().copied().map(event);
    Cluster::told(
        lists(Event::ListStarted)
            .chain(objects)
            .chain(lists(Event::Listed)),
    )
}

fn options() -> Options {
    Options {
        zones: Zones::new(["cluster.local.", "in-addr.arpa."].map(|zone| zone.parse().unwrap())),
        ..Options::of_zone("cluster.local.".parse().unwrap())
    }
}

/// What the plugin says: the code and the records, or where the question goes.
fn ask(options: Options, synced: bool, name: &str, rtype: Type) -> String {
    let plugin = Kubernetes::new(options, cluster(synced).into(), Duration::ZERO);
    let mut query = Query::empty();
    query.transport = crate::dns::Transport::Tcp;
    query.question = Question::new(name.parse().unwrap(), rtype, Class::IN);
    let (reply, behind) = match plugin.down(&mut query) {
        Step::Next => return "next plugin".to_owned(),
        Step::Reply(reply) => (reply, String::new()),
        Step::Follow { reply, target } => (reply, format!(" then {target}")),
        other => panic!("{other:?}"),
    };
    let mut out = Vec::new();
    encode::reply(&query, &reply, &mut out);
    let message = Message::from_vec(&out).expect("another codec reads it");
    let records = message.all_sections().map(|record| {
        format!(
            ", {} {} {} {}",
            record.name,
            record.ttl,
            record.record_type(),
            record.data
        )
    });
    format!("{}{}{behind}", reply.rcode, records.collect::<String>())
}

/// As [`ask`] of a cluster that is known from a snapshot, by a client with EDNS: with the extended error.
fn ask_stale(stale: Resource, name: &str, rtype: Type, edns: bool) -> String {
    let cluster = cluster(true).aged(stale, crate::cluster::unix_seconds() - 35);
    let options = Options {
        ttl: 30,
        ..options()
    };
    let plugin = Kubernetes::new(options, cluster.into(), Duration::ZERO);
    let mut query = Query::empty();
    query.edns = edns.then(Default::default);
    query.question = Question::new(name.parse().unwrap(), rtype, Class::IN);
    let Step::Reply(reply) = plugin.down(&mut query) else {
        panic!("{name} is answered");
    };
    let ttls = reply.records.entries().iter().map(|entry| entry.ttl);
    let ttls: std::collections::BTreeSet<u32> = ttls.collect();
    let soa = reply.records.entries().iter();
    let soa = soa.filter(|entry| entry.rtype == Type::SOA).map(|entry| {
        let [.., last] = *reply.records.rdata(entry) else {
            panic!("no SOA is empty");
        };
        format!(" minimum {last}")
    });
    let error = reply.error.as_deref().map(|error| {
        let text = error.text.replace(" 36 s", " 35 s");
        format!(", {} {text}", error.code as u16)
    });
    let soa = soa.collect::<String>();
    format!(
        "{} ttl {ttls:?}{soa}{}",
        reply.rcode,
        error.unwrap_or_default()
    )
}

#[test]
fn an_answer_is_as_old_as_what_it_depends_on_and_no_older() {
    let [services, slices, pods, namespaces] = [
        Resource::Services,
        Resource::EndpointSlices,
        Resource::Pods,
        Resource::Namespaces,
    ];
    let depends = |options: &Options, name: &str| {
        let cluster = cluster(true);
        let (view, name) = (cluster.view(), name.parse().unwrap());
        let all = [services, slices, pods, namespaces].into_iter();
        all.filter(|resource| options.depends(&view, &name, *resource))
            .collect::<Vec<_>>()
    };
    let of = |pods| Options { pods, ..options() };
    for (fact, name, pods_mode, expected) in [
        (
            "a Service",
            "web.demo.svc.cluster.local.",
            Pods::Verified,
            &[services, slices][..],
        ),
        (
            "one that is not there, in a Namespace that may be",
            "no.nowhere.svc.cluster.local.",
            Pods::Verified,
            &[services, slices],
        ),
        (
            "an alias of a Pod",
            "podded.demo.svc.cluster.local.",
            Pods::Verified,
            &[services, slices, pods],
        ),
        (
            "an alias of itself",
            "here.demo.svc.cluster.local.",
            Pods::Verified,
            &[services, slices],
        ),
        (
            "an endpoint",
            "a.db.demo.svc.cluster.local.",
            Pods::Verified,
            &[services, slices],
        ),
        (
            "an address",
            "1.0.96.10.in-addr.arpa.",
            Pods::Verified,
            &[services, slices],
        ),
        (
            "the zone, whose serial is that of Services",
            "cluster.local.",
            Pods::Verified,
            &[services, slices],
        ),
        (
            "a Namespace",
            "demo.svc.cluster.local.",
            Pods::Verified,
            &[namespaces],
        ),
        (
            "a Pod",
            "10-0-0-1.demo.pod.cluster.local.",
            Pods::Verified,
            &[pods],
        ),
        (
            "a Pod that is not looked for",
            "10-0-0-1.demo.pod.cluster.local.",
            Pods::Insecure,
            &[namespaces],
        ),
    ] {
        assert_eq!(depends(&of(pods_mode), name), expected, "{fact}");
    }
    let selected = Options {
        namespaces_selected: true,
        ..options()
    };
    assert_eq!(
        depends(&selected, "web.demo.svc.cluster.local."),
        [services, slices, namespaces],
        "the list of Namespaces says which are told of"
    );
}

#[test]
fn what_a_snapshot_tells_is_kept_for_five_seconds_and_marked_as_stale() {
    let services = Resource::Services;
    for (fact, stale, name, rtype, edns, expected) in [
        (
            "an address",
            services,
            "web.demo",
            Type::A,
            true,
            "NOERROR ttl {5}, 3 from a snapshot, 35 s old",
        ),
        (
            "without EDNS",
            services,
            "web.demo",
            Type::A,
            false,
            "NOERROR ttl {5}",
        ),
        (
            "ports",
            services,
            "db.demo",
            Type::SRV,
            true,
            "NOERROR ttl {5}, 3 from a snapshot, 35 s old",
        ),
        (
            "NODATA",
            services,
            "web.demo",
            Type::AAAA,
            true,
            "NOERROR ttl {5} minimum 5, 3 from a snapshot, 35 s old",
        ),
        (
            "NXDOMAIN",
            services,
            "no.demo",
            Type::A,
            true,
            "NXDOMAIN ttl {5} minimum 5, 19 no such Service in this Namespace; from a snapshot, 35 s old",
        ),
        (
            "Namespaces, which a Service does not need",
            Resource::Namespaces,
            "web.demo",
            Type::A,
            true,
            "NOERROR ttl {30}",
        ),
        (
            "a Namespace",
            Resource::Namespaces,
            "demo",
            Type::A,
            true,
            "NOERROR ttl {5} minimum 5, 3 from a snapshot, 35 s old",
        ),
        (
            "a resource that the zone needs not",
            Resource::Pods,
            "web.demo",
            Type::A,
            true,
            "NOERROR ttl {30}",
        ),
    ] {
        let got = ask_stale(stale, &format!("{name}.svc.cluster.local."), rtype, edns);
        assert_eq!(got, expected, "{fact}");
    }
}

const SOA: &str = ", cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1800000000 7200 1800 86400 5";

#[test]
fn until_the_cluster_is_known_a_missing_name_may_exist() {
    for (name, synced, fallthrough, expected) in [
        (
            "nosuch.demo.svc.cluster.local.",
            false,
            true,
            format!("SERVFAIL{SOA}"),
        ),
        (
            "nosuch.demo.svc.cluster.local.",
            false,
            false,
            format!("SERVFAIL{SOA}"),
        ),
        (
            "nosuch.demo.svc.cluster.local.",
            true,
            true,
            "next plugin".to_owned(),
        ),
        (
            "nosuch.demo.svc.cluster.local.",
            true,
            false,
            format!("NXDOMAIN{SOA}"),
        ),
        (
            "web.demo.svc.cluster.local.",
            false,
            true,
            "NOERROR, web.demo.svc.cluster.local. 5 A 10.96.0.1".to_owned(),
        ),
        ("www.example.com.", false, true, "next plugin".to_owned()),
    ] {
        let zones = if fallthrough {
            Zones::root()
        } else {
            Zones::default()
        };
        let got = ask(
            Options {
                fallthrough: zones,
                ..options()
            },
            synced,
            name,
            Type::A,
        );
        assert_eq!(
            got, expected,
            "{name} synced {synced} fallthrough {fallthrough}"
        );
    }
}

#[test]
fn until_the_cluster_is_known_what_is_missing_of_a_name_may_exist() {
    let servfail = format!("SERVFAIL{SOA}");
    let nodata = format!("NOERROR{SOA}");
    for (fact, name, rtype, expected) in [
        (
            "an alias to what may come",
            "dangling.demo.svc.cluster.local.",
            Type::A,
            &servfail,
        ),
        (
            "aliases that are known, in a circle",
            "here.demo.svc.cluster.local.",
            Type::A,
            &nodata,
        ),
        (
            "endpoints of another family",
            "db.demo.svc.cluster.local.",
            Type::AAAA,
            &servfail,
        ),
        (
            "a name that may come",
            "nosuch.demo.svc.cluster.local.",
            Type::MX,
            &servfail,
        ),
        (
            "an address that is known to be all",
            "web.demo.svc.cluster.local.",
            Type::AAAA,
            &nodata,
        ),
        ("the zone", "cluster.local.", Type::A, &nodata),
    ] {
        assert_eq!(&ask(options(), false, name, rtype), expected, "{fact}");
    }
}

#[test]
fn no_name_is_longer_than_names_may_be() {
    let labels = |count: usize| vec!["a".repeat(49); count].join(".");
    let zone: Name = format!("{}.cluster.local.", labels(4)).parse().unwrap();
    let at = |ip: &str| Options {
        zones: Zones::new([zone]),
        primary_zone: zone,
        local_addresses: vec![ip.parse().unwrap()],
        ..options()
    };
    let got = ask(at("10.0.0.1"), true, &zone.to_string(), Type::NS);
    assert!(got.contains(" NS db-0.db.demo.svc."), "{got}");
    let zone: Name = format!("{}.cluster-local.", labels(4) + "." + &"b".repeat(24))
        .parse()
        .unwrap();
    let options = Options {
        zones: Zones::new([zone]),
        primary_zone: zone,
        ..at("10.0.0.1")
    };
    let got = ask(options, true, &zone.to_string(), Type::NS);
    assert!(!got.contains(" NS "), "{got}");
}

#[test]
fn aliases_are_followed_as_far_as_they_lead() {
    let nodata = format!("NOERROR{SOA}");
    let nxdomain = format!("NXDOMAIN{SOA}");
    let out = "NOERROR, out.demo.svc.cluster.local. 5 CNAME www.example.com. then www.example.com.";
    let link11 = "NOERROR, link11.demo.svc.cluster.local. 5 CNAME web.demo.svc.cluster.local., \
                  web.demo.svc.cluster.local. 5 A 10.96.0.1";
    let remote =
        "NOERROR, remote.demo.svc.cluster.local. 5 CNAME db.example.com. then db.example.com.";
    for (fact, service, expected) in [
        ("out of the zone", "out", out),
        ("inside the zone", "link11", link11),
        ("to itself", "itself", &nodata),
        ("in a circle", "here", &nodata),
        ("over more than ten links", "link0", &nodata),
        ("to an address", "address", &nxdomain),
        ("in place of an address", "remote", remote),
    ] {
        let got = ask(
            options(),
            true,
            &format!("{service}.demo.svc.cluster.local."),
            Type::A,
        );
        assert_eq!(got, expected, "{fact}");
    }
}

#[test]
fn a_service_without_an_address_yet_exists() {
    assert_eq!(
        ask(options(), true, "pending.demo.svc.cluster.local.", Type::A),
        format!("NOERROR{SOA}")
    );
}

#[test]
fn the_soa_is_kept_for_five_minutes_at_most() {
    let got = ask(
        Options {
            ttl: 3600,
            ..options()
        },
        true,
        "cluster.local.",
        Type::SOA,
    );
    assert!(got.starts_with("NOERROR, cluster.local. 300 SOA "), "{got}");
    assert!(got.ends_with(" 3600"), "{got}");
}

#[test]
fn name_servers_are_the_services_that_the_server_is_an_endpoint_of() {
    let at = |ip: &str| Options {
        local_addresses: vec![ip.parse().unwrap()],
        ..options()
    };
    let itself =
        "NOERROR, Cluster.Local. 5 NS ns.dns.Cluster.Local., ns.dns.Cluster.Local. 5 A 192.0.2.7";
    let endpoint = "NOERROR, cluster.local. 5 NS db-0.db.demo.svc.cluster.local., \
                    cluster.local. 5 NS 10-0-0-2.db.demo.svc.cluster.local., \
                    db-0.db.demo.svc.cluster.local. 5 A 10.0.0.1, \
                    10-0-0-2.db.demo.svc.cluster.local. 5 A 10.0.0.2";
    for (fact, options, name, rtype, expected) in [
        (
            "no endpoint, mixed case",
            at("192.0.2.7"),
            "Cluster.Local.",
            Type::NS,
            itself,
        ),
        (
            "an endpoint",
            at("10.0.0.1"),
            "cluster.local.",
            Type::NS,
            endpoint,
        ),
        (
            "their own name",
            at("192.0.2.7"),
            "ns.dns.cluster.local.",
            Type::A,
            "NOERROR, ns.dns.cluster.local. 5 A 192.0.2.7",
        ),
    ] {
        assert_eq!(ask(options, true, name, rtype), expected, "{fact}");
    }
}

#[test]
fn reverse_names_tell_only_of_namespaces_that_may_be_told_of() {
    let hidden = "9.0.96.10.in-addr.arpa.";
    let told = "NOERROR, 9.0.96.10.in-addr.arpa. 5 PTR hidden.shop.svc.cluster.local.";
    let selected = Options {
        namespaces_selected: true,
        ..options()
    };
    let listed = Options {
        namespaces: vec![Box::from(&b"\x04demo"[..])],
        ..options()
    };
    assert_eq!(ask(options(), true, hidden, Type::PTR), told);
    for (fact, options) in [("by a selector", selected), ("by a list", listed)] {
        assert!(
            ask(options, true, hidden, Type::PTR).starts_with("NXDOMAIN"),
            "{fact}"
        );
    }
}

#[test]
fn transfers_are_refused() {
    for rtype in [Type::AXFR, Type::IXFR] {
        assert_eq!(
            ask(options(), true, "cluster.local.", rtype),
            "REFUSED",
            "{rtype}"
        );
    }
}

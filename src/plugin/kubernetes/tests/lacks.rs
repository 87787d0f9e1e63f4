//! What is said of what is not there: the code, and the words for who can read them.

use super::*;
use crate::cluster::object::Trouble;
use crate::dns::Edns;

const NAMESPACES: Resource = Resource::Namespaces;
const SERVICES: Resource = Resource::Services;
const SLICES: Resource = Resource::EndpointSlices;
const PODS: Resource = Resource::Pods;

/// The code, whether there is an answer, and the extended error. Of a question for a name in the zone, or for PTR.
fn told(options: Options, cluster: Cluster, question: &str, with_edns: bool) -> String {
    let (rtype, name) = question.split_once(' ').unwrap();
    let rtype = match rtype {
        "A" => Type::A,
        "AAAA" => Type::AAAA,
        "SRV" => Type::SRV,
        "PTR" => Type::PTR,
        "CNAME" => Type::CNAME,
        "TXT" => Type::TXT,
        "MX" => Type::MX,
        other => panic!("{other}"),
    };
    let zone = match name.ends_with("arpa.") {
        true => "",
        false => "cluster.local.",
    };
    let plugin = Kubernetes::new(options, cluster.into(), std::time::Duration::ZERO);
    let mut query = Query::empty();
    query.edns = with_edns.then(Edns::default);
    query.question = Question::new(format!("{name}{zone}").parse().unwrap(), rtype, Class::IN);
    let reply = match plugin.down(&mut query) {
        Step::Reply(reply) | Step::Follow { reply, .. } => reply,
        Step::Next => return "next plugin".to_owned(),
        other => panic!("{other:?}"),
    };
    let mut told = reply.rcode.to_string();
    if reply.records.count(Section::Answer) > 0 {
        told += " with records";
    }
    if let Some(error) = &reply.error {
        told += &format!(" {} {}", error.code as u16, error.text);
    }
    told
}

fn verified() -> Options {
    Options {
        pods: Pods::Verified,
        ..options()
    }
}

/// What is known where one resource cannot be listed.
fn without(unlisted: Resource) -> Cluster {
    let others = Resource::ALL.into_iter().filter(|known| *known != unlisted);
    let others: Vec<Resource> = others.collect();
    cluster_with(&others, &others)
}

#[test]
fn what_is_not_there_is_told_with_the_reason() {
    const NO_SERVICE: &str = "NXDOMAIN 0 no such Service in this Namespace";
    const NO_NAMESPACE: &str = "NXDOMAIN 0 no such Namespace";
    const NO_FORM: &str = "NXDOMAIN 0 not the name of a Service, Pod or Namespace";
    const NO_PODS: &str = "NXDOMAIN 0 names of Pods are not answered here";
    const NO_PORT: &str = "NXDOMAIN 0 the Service has no such port";
    const NONE_READY: &str = "NXDOMAIN 0 the Service has no ready endpoint";
    let insecure = || Options {
        pods: Pods::Insecure,
        ..options()
    };
    let restricted = || Options {
        namespaces: vec![Box::from(&b"\x04shop"[..])],
        ..options()
    };
    let without_endpoints = || Options {
        no_endpoints: true,
        ..options()
    };
    type Row = (fn() -> Options, &'static str, &'static str);
    let rows: [Row; 29] = [
        (options, "A web.demo.svc.", "NOERROR with records"),
        (options, "AAAA web.demo.svc.", "NOERROR"),
        (options, "A pending.demo.svc.", "NOERROR"),
        (options, "A nosuch.demo.svc.", NO_SERVICE),
        (options, "MX nosuch.demo.svc.", NO_SERVICE),
        (options, "TXT nosuch.demo.svc.", NO_SERVICE),
        (options, "A web.nosuch.svc.", NO_NAMESPACE),
        (options, "A nosuch.svc.", NO_NAMESPACE),
        (options, "A demo.svc.", "NOERROR"),
        (restricted, "A web.demo.svc.", NO_NAMESPACE),
        (options, "A www.example.com.", NO_FORM),
        (options, "A foo.", NO_FORM),
        (options, "A a.b.c.d.e.web.demo.svc.", NO_FORM),
        (options, "A 10-0-0-9.demo.pod.", NO_PODS),
        (options, "A demo.pod.", NO_PODS),
        (options, "A 1.2.0.192.in-addr.arpa.", "NXDOMAIN"),
        (options, "SRV _nosuch._tcp.web.demo.svc.", NO_PORT),
        (options, "SRV _http._udp.web.demo.svc.", NO_PORT),
        (options, "SRV _nosuch._tcp.db.demo.svc.", NO_PORT),
        (options, "A empty.demo.svc.", NONE_READY),
        (options, "A web-0.web.demo.svc.", NONE_READY),
        (
            options,
            "A db-7.db.demo.svc.",
            "NXDOMAIN 0 the Service has no ready endpoint of this name",
        ),
        (
            without_endpoints,
            "A db.demo.svc.",
            "NXDOMAIN 0 endpoints are not answered here",
        ),
        (
            options,
            "A here.demo.svc.",
            "NOERROR 0 the ExternalName leads to no address",
        ),
        (
            options,
            "A address.demo.svc.",
            "NXDOMAIN 0 the ExternalName leads to no address",
        ),
        (
            insecure,
            "A web.demo.pod.",
            "NXDOMAIN 0 not the name of an address",
        ),
        (insecure, "A 10-0-0-9.nosuch.pod.", NO_NAMESPACE),
        (
            verified,
            "A 10-0-0-9.demo.pod.",
            "NXDOMAIN 0 no Pod of this Namespace has this address",
        ),
        (
            options,
            "PTR 1.2.0.192.in-addr.arpa.",
            "NXDOMAIN 0 no Service or endpoint has this address",
        ),
    ];
    for (options, question, expected) in rows {
        let got = told(options(), cluster(true), question, true);
        assert_eq!(got, expected, "{question}");
        let code = expected.split(" 0 ").next().unwrap();
        let plain = told(options(), cluster(true), question, false);
        assert_eq!(plain, code, "{question} without EDNS");
    }
}

/// Of one resource nothing is known: what depends on it is SERVFAIL, everything else as ever.
#[test]
fn an_answer_needs_what_could_tell_of_it_and_nothing_else() {
    const POSITIVE: &str = "NOERROR with records";
    let of_services = &[SERVICES][..];
    let of_endpoints = &[SERVICES, SLICES][..];
    for (question, whole, needs) in [
        ("A web.demo.svc.", POSITIVE, of_services),
        ("AAAA web.demo.svc.", "NOERROR", of_services),
        ("SRV _http._tcp.web.demo.svc.", POSITIVE, of_services),
        ("SRV _nosuch._tcp.web.demo.svc.", "NXDOMAIN", of_services),
        ("A nosuch.demo.svc.", "NXDOMAIN", of_services),
        ("A web.nosuch.svc.", "NXDOMAIN", of_services),
        ("A pending.demo.svc.", "NOERROR", of_services),
        ("A out.demo.svc.", POSITIVE, of_services),
        ("CNAME here.demo.svc.", POSITIVE, of_services),
        ("A link11.demo.svc.", POSITIVE, of_services),
        ("AAAA link11.demo.svc.", "NOERROR", of_services),
        ("A here.demo.svc.", "NOERROR", of_services),
        ("A alias.demo.svc.", POSITIVE, of_endpoints),
        ("A db.demo.svc.", POSITIVE, of_endpoints),
        ("AAAA db.demo.svc.", "NOERROR", of_endpoints),
        ("A db-0.db.demo.svc.", POSITIVE, of_endpoints),
        ("A db-7.db.demo.svc.", "NXDOMAIN", of_endpoints),
        ("SRV _pg._tcp.db.demo.svc.", POSITIVE, of_endpoints),
        ("PTR 1.2.0.192.in-addr.arpa.", "NXDOMAIN", of_endpoints),
        ("PTR 1.0.96.10.in-addr.arpa.", POSITIVE, of_services),
        ("PTR 1.0.0.10.in-addr.arpa.", POSITIVE, &[SLICES]),
        ("A demo.svc.", "NOERROR", &[NAMESPACES]),
        ("A nosuch.svc.", "NXDOMAIN", &[NAMESPACES]),
        ("A 10-0-0-9.demo.pod.", "NXDOMAIN", &[PODS]),
        ("A svc.", "NOERROR", &[]),
        ("A www.example.com.", "NXDOMAIN", &[]),
        ("A a.in-addr.arpa.", "NXDOMAIN", &[]),
    ] {
        for unlisted in Resource::ALL {
            let got = told(verified(), without(unlisted), question, true);
            let expected = match needs.contains(&unlisted) {
                true => format!("SERVFAIL 14 {unlisted}: not listed yet"),
                false => whole.to_owned(),
            };
            let got = got.split(" 0 ").next().unwrap();
            assert_eq!(got, expected, "{question} without {unlisted}");
        }
    }
}

/// Some of the endpoints are no answer: a member of a cluster that finds half of its peers may found another.
#[test]
fn endpoints_are_not_told_before_all_of_them_are_known() {
    let listed = [NAMESPACES, SERVICES];
    for question in [
        "A db.demo.svc.",
        "A db-0.db.demo.svc.",
        "A remote.demo.svc.",
        "SRV db.demo.svc.",
    ] {
        let some = cluster_with(&Resource::ALL, &listed);
        let got = told(options(), some, question, true);
        assert_eq!(
            got, "SERVFAIL 14 endpointslices: not listed yet",
            "{question}"
        );
    }
}

/// Where a selector chooses Namespaces, only their list says what may be told of.
#[test]
fn a_service_shows_that_its_namespace_exists_unless_a_selector_chooses() {
    let selected = || Options {
        namespaces_selected: true,
        ..options()
    };
    let known = [SERVICES, SLICES, PODS];
    for (fact, options, listed, expected) in [
        ("not listed", options(), &known[..], "NOERROR with records"),
        (
            "later than the Service",
            options(),
            &Resource::ALL,
            "NOERROR with records",
        ),
        (
            "not listed, and a selector",
            selected(),
            &known,
            "SERVFAIL 14 namespaces: not listed yet",
        ),
        (
            "not chosen",
            selected(),
            &Resource::ALL,
            "NXDOMAIN 0 no such Namespace",
        ),
    ] {
        let cluster = cluster_with(&known, listed);
        let got = told(options, cluster, "A web.demo.svc.", true);
        assert_eq!(got, expected, "{fact}");
    }
}

#[test]
fn nothing_that_may_be_there_falls_through() {
    const MAY_BE: &str = "SERVFAIL 14 endpointslices: not listed yet";
    for (question, expected) in [
        ("A nosuch.demo.svc.", "next plugin"),
        ("A www.example.com.", "next plugin"),
        ("A db.demo.svc.", MAY_BE),
        ("PTR 9.0.0.10.in-addr.arpa.", MAY_BE),
    ] {
        let options = Options {
            fallthrough: Zones::root(),
            ..options()
        };
        let got = told(options, without(SLICES), question, true);
        assert_eq!(got, expected, "{question}");
    }
}

#[test]
fn a_resource_that_is_not_listed_is_told_with_what_keeps_it_from_being() {
    let refused = Trouble::Refused {
        status: 500,
        message: "etcd".into(),
    };
    for (trouble, expected) in [
        (None, "not listed yet"),
        (Some(Trouble::Forbidden("a: b".into())), "403 Forbidden"),
        (Some(Trouble::Unauthorized("no".into())), "401 Unauthorized"),
        (Some(refused), "refused"),
        (
            Some(Trouble::Unreachable("timed out".into())),
            "unreachable",
        ),
        (
            Some(Trouble::Missing("/cluster.yaml: No such file".into())),
            "manifests are missing or cannot be read",
        ),
        (Some(Trouble::Unreadable("html".into())), "unreadable"),
    ] {
        let cluster = cluster_with(&[], &[]);
        cluster.note(SERVICES, trouble.as_ref());
        let got = told(options(), cluster, "A web.demo.svc.", true);
        assert_eq!(got, format!("SERVFAIL 14 services: {expected}"));
    }
}

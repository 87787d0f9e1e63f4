use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn read(resource: Resource, json: &str) -> Result<Object, Fault> {
    Object::read(resource, &mut serde_json::Deserializer::from_str(json))
}

fn service(json: &str) -> Service {
    match read(Resource::Services, json) {
        Ok(Object::Service(service)) => service,
        other => panic!("{json}: {other:?}"),
    }
}

fn slice(json: &str) -> EndpointSlice {
    match read(Resource::EndpointSlices, json) {
        Ok(Object::EndpointSlice(slice)) => slice,
        other => panic!("{json}: {other:?}"),
    }
}

fn pod(json: &str) -> Pod {
    match read(Resource::Pods, json) {
        Ok(Object::Pod(pod)) => pod,
        other => panic!("{json}: {other:?}"),
    }
}

fn ips(list: &[&str]) -> Box<[IpAddr]> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn the_way_a_service_is_exposed_is_read_from_type_and_addresses() {
    let cluster = |list: &[&str]| Exposure::ClusterIps(ips(list));
    let cases = [
        (
            "both families",
            r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"]}"#,
            cluster(&["10.0.0.1", "fd00::1"]),
        ),
        (
            "clusterIP alone",
            r#"{"type":"NodePort","clusterIP":"10.0.0.1"}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            "empty list",
            r#"{"clusterIP":"10.0.0.1","clusterIPs":[]}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            "null list",
            r#"{"clusterIP":"10.0.0.1","clusterIPs":null}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            "none allocated",
            r#"{"type":"ClusterIP","clusterIP":""}"#,
            cluster(&[]),
        ),
        ("nothing at all", "{}", cluster(&[])),
        (
            "headless",
            r#"{"clusterIP":"None","clusterIPs":["None"]}"#,
            Exposure::Headless,
        ),
        (
            "headless by clusterIP alone",
            r#"{"clusterIP":"None"}"#,
            Exposure::Headless,
        ),
        (
            "mapped IPv4",
            r#"{"clusterIP":"::ffff:10.0.0.1"}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            "alias",
            r#"{"type":"ExternalName","externalName":"A.example"}"#,
            Exposure::ExternalName("A.example".into()),
        ),
        (
            "alias with an address left over",
            r#"{"type":"ExternalName","externalName":"a.example","clusterIP":"None"}"#,
            Exposure::ExternalName("a.example".into()),
        ),
        (
            "alias of nothing",
            r#"{"type":"ExternalName"}"#,
            cluster(&[]),
        ),
    ];
    for (name, spec, exposure) in cases {
        let json = format!(r#"{{"metadata":{{"name":"s","namespace":"n"}},"spec":{spec}}}"#);
        assert_eq!(service(&json).exposure, exposure, "{name}");
    }
}

#[test]
fn ports_keep_their_order_and_defaults_and_are_in_lower_case() {
    let service = service(
        r#"{"metadata":{"name":"s"},"spec":{"ports":[
            {"name":"Dns","protocol":"UDP","port":53,"targetPort":"dns","nodePort":30000},
            {"port":80},{"name":null,"protocol":null,"port":1},{"protocol":"SCTP","port":9},{"protocol":"Quic","port":65535}]}}"#,
    );
    let port = |name: &str, protocol, number| Port {
        name: name.into(),
        protocol,
        number: NonZeroU16::new(number),
    };
    let expected = [
        port("dns", Protocol::Udp, 53),
        port("", Protocol::Tcp, 80),
        port("", Protocol::Tcp, 1),
        port("", Protocol::Sctp, 9),
        port("", Protocol::Other("quic".into()), 65535),
    ];
    assert_eq!(*service.ports, expected);
}

#[test]
fn outside_addresses_are_external_ips_then_the_balancers() {
    let service = service(
        r#"{"metadata":{"name":"s"},"spec":{"externalIPs":["192.0.2.1"]},
            "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.2"},{"hostname":"lb.example"},{}]}}}"#,
    );
    let ip = |text: &str| Address::Ip(text.parse().unwrap());
    assert_eq!(
        *service.external,
        [
            ip("192.0.2.1"),
            ip("192.0.2.2"),
            Address::Name("lb.example".into())
        ]
    );
}

#[test]
fn metadata_is_cut_to_what_is_served() {
    let slice = slice(
        r#"{"metadata":{"name":"s-x","namespace":"n","resourceVersion":"7","uid":"u","deletionTimestamp":"2026-01-01T00:00:00Z",
            "labels":{"kubernetes.io/service-name":"s","a":null},"managedFields":[{"x":{}}],"generation":2,
            "annotations":{"other":"x","endpoints.kubernetes.io/last-change-trigger-time":"2026-11-20T17:43:19.5Z"}}}"#,
    );
    assert_eq!(slice.service(), Some("s"));
    assert_eq!(
        slice.metadata.labels.iter().collect::<Vec<_>>(),
        [("a", ""), ("kubernetes.io/service-name", "s")]
    );
    assert_eq!(
        (&*slice.metadata.resource_version, slice.metadata.deleting),
        ("7", true)
    );
    assert_eq!(
        slice.last_change,
        Some(UNIX_EPOCH + Duration::from_millis(1_795_196_599_500))
    );
}

#[test]
fn a_time_of_change_that_cannot_be_read_is_no_fault() {
    let slice = slice(
        r#"{"metadata":{"name":"s","annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"yesterday"}}}"#,
    );
    assert_eq!(slice.last_change, None);
}

#[test]
fn endpoints_are_ready_unless_the_slice_says_no() {
    let cases = [
        ("absent", r"{}", true),
        ("no conditions", r#"{"conditions":null}"#, true),
        (
            "unknown",
            r#"{"conditions":{"ready":null,"serving":false,"terminating":true}}"#,
            true,
        ),
        ("ready", r#"{"conditions":{"ready":true}}"#, true),
        (
            "not ready",
            r#"{"conditions":{"ready":false,"serving":true}}"#,
            false,
        ),
    ];
    for (name, endpoint, ready) in cases {
        let json = format!(r#"{{"metadata":{{"name":"s"}},"endpoints":[{endpoint}]}}"#);
        assert_eq!(slice(&json).endpoints[0].ready, ready, "{name}");
    }
}

#[test]
fn endpoints_carry_address_host_pod_and_zone() {
    let slice = slice(
        r#"{"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[
            {"addresses":["10.1.2.3","fd00::3"],"hostname":"web-0","zone":"z1","nodeName":"n1","targetRef":{"kind":"Pod","name":"web-0-x"}},
            {"addresses":null,"hostname":"","targetRef":null}],"ports":[{"name":"","port":null},{"name":"http","port":8080,"appProtocol":"h2c"}]}"#,
    );
    let full = Endpoint {
        addresses: [
            Address::Ip("10.1.2.3".parse().unwrap()),
            Address::Ip("fd00::3".parse().unwrap()),
        ]
        .into(),
        ready: true,
        terminating: false,
        hostname: Some("web-0".into()),
        target: Some("web-0-x".into()),
        zone: Some("z1".into()),
    };
    let bare = Endpoint {
        addresses: [].into(),
        ready: true,
        terminating: false,
        hostname: None,
        target: None,
        zone: None,
    };
    assert_eq!(*slice.endpoints, [full, bare]);
    assert_eq!(
        slice
            .ports
            .iter()
            .map(|port| port.number.map(u16::from))
            .collect::<Vec<_>>(),
        [None, Some(8080)]
    );
    assert_eq!(slice.service(), None);
}

#[test]
fn a_slice_of_names_holds_names() {
    let slice = slice(
        r#"{"metadata":{"name":"s"},"addressType":"FQDN","endpoints":[{"addresses":["a.example","10.0.0.1"]}]}"#,
    );
    let expected = [
        Address::Name("a.example".into()),
        Address::Ip("10.0.0.1".parse().unwrap()),
    ];
    assert_eq!(*slice.endpoints[0].addresses, expected);
}

#[test]
fn a_pods_own_address_comes_first() {
    let cases = [
        ("no status", "{}", &[][..], false),
        (
            "pending",
            r#"{"phase":"Pending","podIPs":null}"#,
            &[],
            false,
        ),
        (
            "both families",
            r#"{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}"#,
            &["10.0.0.1", "fd00::1"],
            false,
        ),
        (
            "done",
            r#"{"phase":"Succeeded","podIP":"10.0.0.1"}"#,
            &["10.0.0.1"],
            true,
        ),
        ("failed", r#"{"phase":"Failed"}"#, &[], true),
        ("lost", r#"{"phase":"Unknown"}"#, &[], true),
    ];
    for (name, status, addresses, ended) in cases {
        let pod = pod(&format!(
            r#"{{"metadata":{{"name":"p"}},"status":{status}}}"#
        ));
        assert_eq!((pod.ips, pod.ended), (ips(addresses), ended), "{name}");
    }
}

#[test]
fn an_object_without_a_namespace_is_in_the_one_kubectl_would_put_it() {
    let metadata = |resource| {
        read(resource, r#"{"metadata":{"name":"x","namespace":""}}"#)
            .unwrap()
            .metadata()
            .clone()
    };
    assert_eq!(&*metadata(Resource::Services).namespace, "default");
    assert_eq!(&*metadata(Resource::Namespaces).namespace, "");
}

#[test]
fn a_fault_names_the_object_the_field_and_the_value() {
    let cases = [
        (
            Resource::Services,
            r#"{"metadata":{"name":"s","namespace":"n"},"spec":{"clusterIP":"10.0.0.256"}}"#,
            "services n/s: spec.clusterIPs: \"10.0.0.256\" is not an IP address",
        ),
        (
            Resource::Services,
            r#"{"metadata":{"name":"s","namespace":"n"},"spec":{"ports":[{"port":65536}]}}"#,
            "services n/s: spec.ports.port: 65536 is not a port number",
        ),
        (
            Resource::EndpointSlices,
            r#"{"metadata":{"name":"s","namespace":"n"},"addressType":"IPv4","endpoints":[{"addresses":["a.example"]}]}"#,
            "endpointslices n/s: endpoints.addresses: \"a.example\" is not an IP address",
        ),
        (
            Resource::EndpointSlices,
            r#"{"metadata":{"name":"s","namespace":"n"},"ports":[{"port":0}]}"#,
            "endpointslices n/s: ports.port: 0 is not a port number",
        ),
        (
            Resource::Pods,
            r#"{"metadata":{"name":"p","namespace":"n"},"status":{"podIP":"10.0.0.1%eth0"}}"#,
            "pods n/p: status.podIP: \"10.0.0.1%eth0\" is not an IP address",
        ),
        (
            Resource::Namespaces,
            "{}",
            "namespaces /: metadata.name is missing",
        ),
        (
            Resource::Services,
            r#"{"metadata":{"name":"s"},"spec":{"ports":[{"port":"http"}]}}"#,
            "services /: invalid type: string \"http\", expected i64 at line 1 column 56",
        ),
    ];
    for (resource, json, text) in cases {
        assert_eq!(
            read(resource, json).unwrap_err().to_string(),
            text,
            "{json}"
        );
    }
}

#[test]
fn who_was_deleted_is_known_even_if_the_rest_is_at_fault() {
    let json = r#"{"metadata":{"name":"s","namespace":"n"},"spec":{"clusterIP":7}}"#;
    let deleted = Object::read_identity(
        Resource::Services,
        &mut serde_json::Deserializer::from_str(json),
    )
    .unwrap();
    assert_eq!(
        (&*deleted.metadata().namespace, &*deleted.metadata().name),
        ("n", "s")
    );
    assert_eq!(deleted.resource(), Resource::Services);
}

#[test]
fn of_two_equal_labels_the_last_one_counts() {
    let labels = Labels::new(
        [("a", "1"), ("b", "2"), ("a", "3")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    );
    assert_eq!(
        (labels.value("a"), labels.value("b"), labels.value("c")),
        (Some("3"), Some("2"), None)
    );
}

//! Figures, not facts. They say little in a debug build:
//! `cargo test --release --lib snapshot::tests::figures -- --ignored --nocapture`.

use std::time::Instant;

use super::super::file::{self, write};
use super::*;
use crate::cluster::object::Object;

/// A slice whose endpoints are Pods of a Deployment.
fn slice(service: &str, ips: &[String]) -> Object {
    let endpoint = |(nth, ip)| {
        let pod = format!("{service}-7d4b9c6f5d-abc{nth}x");
        serde_json::json!({"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod}})
    };
    let endpoints: Vec<_> = ips.iter().enumerate().map(endpoint).collect();
    let labels = serde_json::json!({"kubernetes.io/service-name": service});
    let name = format!("{service}-abcde");
    let slice = serde_json::json!({
        "metadata": {"namespace": "demo", "name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    Object::read(Resource::EndpointSlices, &slice).unwrap()
}

#[test]
#[ignore = "measures; says little in a debug build"]
fn ten_thousand_services_with_fifty_thousand_endpoints() {
    let mut index = index();
    for n in 0..10_000_u32 {
        let address = |base: u32, n: u32| std::net::Ipv4Addr::from(base + n).to_string();
        let name = format!("service-{n}");
        let ips: Vec<String> = (0..5)
            .map(|nth| address(0x0a00_0000, n * 5 + nth))
            .collect();
        for object in [
            service("demo", &name, &address(0x0a60_0000, n)),
            slice(&name, &ips),
        ] {
            let object = in_version(object, &(41_234_567 + n).to_string());
            index.apply(Event::Applied(object), SERIAL);
        }
    }
    let began = Instant::now();
    let contents = index.contents();
    let handed_over = began.elapsed();
    drop(contents);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    for _ in 0..3 {
        let began = Instant::now();
        let written = write(&path, &draft(&index, reached(60))).unwrap();
        let wrote = began.elapsed();
        let began = Instant::now();
        let (file, octets) = file::open(&path).unwrap().unwrap();
        let found = read(file, octets, wanted()).unwrap();
        let read = began.elapsed();
        assert_eq!(found.index.count(Resource::EndpointSlices), 10_001);
        println!(
            "{} octets: handed over in {handed_over:.1?}, written in {wrote:.1?}, read in {read:.1?}",
            written.octets
        );
    }
}

//! Figures, not facts. They say little in a debug build:
//! `cargo test --release --lib snapshot::tests::figures -- --ignored --nocapture`.

use std::time::Instant;

use super::super::file::{self, write};
use super::*;

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
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        for object in [
            service("demo", &name, &address(0x0a60_0000, n)),
            slice("demo", &format!("{name}-abcde"), &name, &ips),
        ] {
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

//! Figures, not facts: what an event costs in small and large clusters. They say little in a debug build:
//! `cargo test --release --lib index::tests::figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::*;

const ROUNDS: u32 = 2_000;

/// A slice of `size` addresses from number `first`, the last of which is `last`.
fn slice_of(service: &str, nth: usize, first: u32, size: u32, last: u32) -> Object {
    let ips: Vec<String> = (first..first + size - 1)
        .chain([last])
        .map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string())
        .collect();
    let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
    slice("demo", &format!("{service}-{nth}"), service, &ips)
}

/// Tells the index each slice and returns how long that took, reading the objects not counted.
fn tell(index: &mut Index, slices: impl Iterator<Item = Object>) -> Duration {
    let slices: Vec<Object> = slices.collect();
    let began = Instant::now();
    for (at, slice) in slices.into_iter().enumerate() {
        index.apply(Event::Applied(slice), NOW);
        // As the owner of the index does while a list comes.
        if at % 100 == 0 {
            std::hint::black_box(index.view());
        }
    }
    began.elapsed()
}

/// The median of changing the last address of one slice and publishing the view, while the view before is held.
fn change(index: &mut Index, service: &str, nth: usize, first: u32, size: u32) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let changed = slice_of(service, nth, first, size, 0x00ff_0000 + round);
            let published = index.view();
            let began = Instant::now();
            index.apply(Event::Applied(changed), NOW);
            let view = std::hint::black_box(index.view());
            let took = began.elapsed();
            drop((published, view));
            took
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

#[test]
#[ignore = "measures; says little in a debug build"]
fn an_event_in_clusters_of_all_sizes() {
    for endpoints in [1_000, 10_000, 100_000, 1_000_000] {
        let mut index = Index::default();
        let slices = (0..endpoints / 5).map(|n| slice_of(&format!("s{n}"), 0, n * 5, 5, n * 5 + 4));
        let listed = tell(&mut index, slices);
        let changed = change(&mut index, "s7", 0, 35, 5);
        println!(
            "{endpoints} endpoints in slices of 5: list {listed:.1?}, one slice {changed:.1?}"
        );
    }
    for slices in [1, 10, 50, 500] {
        let mut index = Index::default();
        let each = (0..slices).map(|n| slice_of("one", n as usize, n * 100, 100, n * 100 + 99));
        let listed = tell(&mut index, each);
        let changed = change(&mut index, "one", 0, 0, 100);
        let endpoints = slices * 100;
        println!(
            "one Service of {endpoints} in {slices} slices: list {listed:.1?}, one slice {changed:.1?}"
        );
    }
    for owners in [10, 1_000, 10_000] {
        let mut index = Index::default();
        let each = (0..owners).map(|n| slice_of(&format!("s{n}"), 0, 1, 1, 1));
        let listed = tell(&mut index, each);
        let changed = change(&mut index, "s7", 0, 1, 1);
        println!("one address of {owners} Services: list {listed:.1?}, one slice {changed:.1?}");
    }
}

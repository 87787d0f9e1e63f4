//! The arithmetic of the benchmark, without the benchmark.

use std::time::Duration;

#[path = "../bench/numbers.rs"]
mod numbers;

use numbers::{Histogram, POWERS, STEPS, bucket, median, paired, upper};

#[test]
fn a_latency_is_known_to_a_sixty_fourth() {
    for ns in [
        0,
        1,
        63,
        64,
        65,
        127,
        128,
        1_000,
        65_535,
        1_000_000,
        30_000_000_000,
    ] {
        let up = upper(bucket(ns));
        assert!(ns <= up && up <= ns + ns / 64, "{ns} ns is told as {up}");
    }
}

#[test]
fn buckets_follow_each_other() {
    for at in 0..STEPS * (POWERS - STEPS.ilog2() as usize) {
        assert_eq!(bucket(upper(at)), at);
        assert_eq!(bucket(upper(at) + 1), at + 1);
    }
}

#[test]
fn quantiles_are_ranks() {
    let mut histogram = Histogram::default();
    (1..=60).for_each(|ns| histogram.add(Duration::from_nanos(ns)));
    for (share, expected) in [(0.0, 1), (0.5, 30), (0.9, 54), (0.99, 60), (1.0, 60)] {
        let found = histogram.quantile(share).as_nanos();
        assert_eq!(found, expected, "{share}");
    }
    assert_eq!(histogram.max().as_nanos(), 60);
    assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
}

#[test]
fn medians() {
    for (values, expected) in [
        (vec![], None),
        (vec![3.0], Some(3.0)),
        (vec![9.0, 1.0], Some(5.0)),
        (vec![9.0, 1.0, 2.0], Some(2.0)),
    ] {
        assert_eq!(median(values.clone()), expected, "{values:?}");
    }
    let ratio = paired(&[2.0, 9.0, 4.0], &[1.0, 3.0, 0.0], |one, other| one / other);
    assert_eq!(ratio, Some(2.5), "what is divided by nothing is left out");
}

//! What an answer that is known costs, the server driven in place: no sockets, no other threads, nothing but the answer.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test shall end it, in what it calls too"
)]

mod bench;
mod figures;
mod kinds;

use std::time::Instant;

use bench::Bench;
use kinds::{Kind, PODS_INSECURE, PODS_VERIFIED};

/// Hits of each kind. What a buffer that grows now and then allocates shows in many; a build that is not optimized has
/// no time for a million.
const HITS: usize = if cfg!(debug_assertions) {
    5_000
} else {
    1_000_000
};
/// Queries that come together, as datagrams do.
const BATCH: usize = 32;

/// Asks for each kind, `HITS` times, after twice: to warm the cache, and the buffers of this thread.
fn allocations(bench: &mut Bench, kinds: &[Kind]) -> Vec<String> {
    let mut allocated = Vec::new();
    for kind in kinds {
        for with_edns in [false, true] {
            let packet = kind.packet(with_edns);
            kind.check(bench.ask(&packet), with_edns);
            kind.check(bench.ask(&packet), with_edns);
            let counted = allocation_counter::measure(|| {
                for _ in 0..HITS / BATCH {
                    let received = Instant::now();
                    let together = std::iter::repeat_n(packet.as_slice(), BATCH);
                    bench.in_place.look_ahead(together);
                    for _ in 0..BATCH {
                        assert!(bench.in_place.answer(&packet, received).is_some());
                    }
                }
            });
            if counted.count_total > 0 {
                let with = if with_edns { "with" } else { "without" };
                let (count, what) = (counted.count_total, kind.what);
                allocated.push(format!("{what}, {with} OPT: {count}"));
            }
        }
    }
    allocated
}

#[test]
fn a_known_answer_allocates_nothing() {
    for (pods, kinds) in [("insecure", PODS_INSECURE), ("verified", PODS_VERIFIED)] {
        let mut bench = Bench::new(pods, "");
        let allocated = allocations(&mut bench, kinds);
        assert!(allocated.is_empty(), "pods {pods}: {allocated:#?}");
    }
}

#[test]
fn a_known_answer_that_is_logged_allocates_nothing() {
    let mut bench = Bench::new("insecure", "log");
    let allocated = allocations(&mut bench, PODS_INSECURE);
    assert!(allocated.is_empty(), "{allocated:#?}");
}

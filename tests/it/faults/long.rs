//! The program lives through troubles for a long time, and holds no more at the end than at the beginning.

use std::time::{Duration, Instant};

use super::asker::Asker;
use super::process::{Holds, Process};
use super::trouble::{Count, Plan};
use super::{World, seed};

/// How long, in minutes; as long as this says where it is set.
const MINUTES_VARIABLE: &str = "CAIRN_LONG_RUN_MINUTES";
const MINUTES: u64 = 30;

/// What is kept of queries and requests under way, and what the allocator keeps for itself.
const SLACK: Holds = Holds {
    resident_kib: 4 * 1024,
    descriptors: 8,
    threads: 2,
};

#[test]
#[ignore = "takes half an hour"]
fn nothing_grows_in_a_long_run() {
    let minutes = std::env::var(MINUTES_VARIABLE).ok();
    let minutes = minutes.map_or(MINUTES, |text| text.parse().expect("a number"));
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut world = World::begin(seed());
    let cairn = Process::start(&world.lines, &[], &[]);
    // Each resource has a list of its own.
    cairn.wait_for("anchor.demo.svc.cluster.local.", "NOERROR 10.96.0.1");
    cairn.wait_for("10-200-0-1.demo.pod.cluster.local.", "NOERROR 10.200.0.1");
    let asker = Asker::begin(cairn.address(), world.oracle.clone());
    let mut held = Vec::new();
    for round in 0.. {
        world.live_through(
            Plan::of(Count::FEW_HONEST).troubles(world.seed + round),
            &asker,
        );
        world.recover(&asker);
        held.push(cairn.holds());
        println!("round {round}: {:?}", held.last());
        if Instant::now() > end {
            break;
        }
    }
    let asked = asker
        .end()
        .unwrap_or_else(|wrong| panic!("seed {}: {wrong}", world.seed));
    println!("{asked} questions");
    // The first rounds fill what is filled once.
    let (warm, last) = (held.len() / 4, held.len() / 4 * 3);
    let most = |of: &[Holds], what: fn(&Holds) -> u64| of.iter().map(what).max().unwrap_or(0);
    let grown = |what: fn(&Holds) -> u64| {
        most(&held[last..], what).saturating_sub(most(&held[warm..last.max(warm + 1)], what))
    };
    assert!(
        grown(|held| held.resident_kib) <= SLACK.resident_kib,
        "{held:?}"
    );
    assert!(
        grown(|held| held.descriptors) <= SLACK.descriptors,
        "{held:?}"
    );
    assert!(grown(|held| held.threads) <= SLACK.threads, "{held:?}");
}

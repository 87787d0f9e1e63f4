//! Figures, not facts. `cargo test --release --test hits figures -- --ignored --nocapture` prints nanoseconds of each
//! kind. To count instructions, run the program of this test under `valgrind --tool=callgrind
//! --toggle-collect='cairn_dns::server::in_place::InPlace::answer'` with `CAIRN_KIND` set to the name of a kind,
//! `CAIRN_MORE` to no directive and `CAIRN_EDNS` to `true` or `false`: the total, divided by the number of hits that it prints, is what a query costs.

use std::hint::black_box;
use std::time::Instant;

use super::BATCH;
use super::bench::Bench;
use super::kinds::{PODS_INSECURE, PODS_VERIFIED};

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 5;

#[test]
#[ignore = "figures"]
fn figures() {
    let variable = |name| std::env::var(name).ok();
    let (wanted, more) = (variable("CAIRN_KIND"), variable("CAIRN_MORE"));
    let logs = more.map_or(vec![String::new(), "log".to_owned()], |more| vec![more]);
    let edns = variable("CAIRN_EDNS").map(|text| text.parse().unwrap());
    let edns = edns.map_or(vec![false, true], |with_edns| vec![with_edns]);
    let hits = variable("CAIRN_HITS").map_or(200_000, |text| text.parse().unwrap());
    for (pods, kinds) in [("insecure", PODS_INSECURE), ("verified", PODS_VERIFIED)] {
        for more in &logs {
            let is_wanted = |what: &str| wanted.as_deref().is_none_or(|wanted| wanted == what);
            let kinds = kinds.iter().filter(|kind| is_wanted(kind.what));
            let mut bench = Bench::new(pods, more);
            for (kind, with_edns) in
                kinds.flat_map(|kind| edns.iter().map(move |edns| (kind, *edns)))
            {
                let packet = kind.packet(with_edns);
                kind.check(bench.ask(&packet), with_edns);
                let mut best = f64::MAX;
                for _ in 0..ROUNDS {
                    let began = Instant::now();
                    for _ in 0..hits / ROUNDS / BATCH {
                        let received = Instant::now();
                        for _ in 0..BATCH {
                            black_box(bench.in_place.answer(&packet, received));
                        }
                    }
                    let asked = hits / ROUNDS / BATCH * BATCH;
                    best = best.min(began.elapsed().as_nanos() as f64 / asked as f64);
                }
                let asked = hits / ROUNDS / BATCH * BATCH * ROUNDS;
                println!(
                    "pods {pods} {more:3} {:30} {:4} {best:6.0} ns, {asked} hits",
                    kind.what,
                    if with_edns { "EDNS" } else { "" },
                );
            }
        }
    }
}

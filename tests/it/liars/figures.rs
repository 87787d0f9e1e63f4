//! Figures, not facts: what is promised about upstreams, and what it comes to on this machine.
//! `CAIRN_BINARY=target/release/cairn cargo test --release --test it liars::figures -- --ignored --nocapture`.

use std::collections::HashSet;
use std::time::Duration;

use super::available::{self, Run};
use super::black_hole;
use super::client::percentile;
use super::{failed, spoofed};

/// Guesses of an attacker.
const GUESSES: usize = 10_000_000;

/// A row of the table.
fn row(figure: &str, wanted: &str, got: &str) -> String {
    format!("| {figure} | {wanted} | {got} |\n")
}

/// The worst of the policies for each fault.
fn availability(runs: &[Run]) -> String {
    let p99 = |run: &Run| percentile(&run.outcomes, 99);
    let calm = |policy| {
        runs.iter()
            .find(|run| run.policy == policy)
            .map_or(Duration::ZERO, p99)
    };
    let mut rows = String::new();
    for at_fault in runs.chunk_by(|one, other| one.fault == other.fault).skip(1) {
        let of_all = |share: fn(&Run) -> usize| {
            let shares = at_fault
                .iter()
                .map(|run| share(run) as f64 * 100.0 / run.outcomes.len() as f64);
            shares.fold(0.0, f64::max)
        };
        let (lost, extra) = (of_all(|run| run.lost.len()), of_all(|run| run.extra));
        let added = at_fault
            .iter()
            .map(|run| p99(run).saturating_sub(calm(run.policy)));
        let fault = format!("two of three upstreams {}", at_fault[0].fault);
        rows += &row(
            &format!("{fault}: answered"),
            ">= 99.99 %",
            &format!("{:.3} %", 100.0 - lost),
        );
        rows += &row(
            &format!("{fault}: added p99"),
            "<= 250 ms",
            &format!("{:.1?}", added.max().unwrap()),
        );
        rows += &row(
            &format!("{fault}: extra queries"),
            "<= 10 %",
            &format!("{extra:.1} %"),
        );
    }
    rows
}

#[test]
#[ignore = "figures: takes four minutes"]
fn what_is_promised_about_upstreams() {
    let [runs, lossy] = available::figures();
    let drowned = black_hole::drown(10_000, 5);
    let asked = spoofed::heard();
    let distinct = |of: fn(&super::liar::Asked) -> u16| -> usize {
        asked.iter().map(of).collect::<HashSet<u16>>().len()
    };
    let [half, most] = drowned.slower;
    let mut table = row("figure", "wanted", "got") + "|---|---|---|\n" + &availability(&runs);
    for (run, wanted) in lossy.iter().zip([">= 99.9 %", ">= 95 %"]) {
        let answered = 100.0 - run.lost.len() as f64 * 100.0 / run.outcomes.len() as f64;
        let figure = format!("{}: answered", run.fault);
        table += &row(&figure, wanted, &format!("{answered:.2} %"));
    }
    for (figure, wanted, got) in [
        (
            "black hole: answers about the cluster lost",
            "0",
            drowned.late.to_string(),
        ),
        ("black hole: cluster p50", "", format!("x {half:.1}")),
        ("black hole: cluster p99", "<= x 2", format!("x {most:.1}")),
        (
            "black hole: memory",
            "< 32 MiB",
            format!("{:.1} MiB", drowned.growth_kib as f64 / 1024.0),
        ),
        (
            "identical queries at a time: asked of the upstream",
            "1 and a hedge",
            format!("{} for {}", failed::asked_by_a_crowd(), failed::CROWD),
        ),
        (
            "2,000 queries: ids",
            "1,970 of a fair die",
            distinct(|asked| asked.id).to_string(),
        ),
        (
            "2,000 queries: ports",
            "1,931 of a fair die",
            distinct(|asked| asked.from.port()).to_string(),
        ),
    ] {
        table += &row(figure, wanted, &got);
    }
    let attacked = spoofed::attack(GUESSES);
    table += &row(
        &format!("{GUESSES} guesses at {} misses: believed", attacked.misses),
        "0",
        &format!("0 in {:.1?}", attacked.took),
    );
    println!("{table}");
    assert!(
        runs.iter()
            .all(|run| run.lost.len() * 10_000 <= run.outcomes.len())
    );
    assert_eq!(drowned.late, 0);
}

//! What Cairn costs, beside what the kernel costs and beside other servers: `cargo bench --bench dataplane`.
//! `README.md` beside this file says what is measured and how to read it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures are printed"
)]

mod batch;
mod cluster;
mod flood;
mod floor;
mod instance;
mod link;
mod load;
mod numbers;
mod peers;
mod process;
mod questions;
mod report;
mod work;
mod world;

#[path = "../it/support"]
#[expect(
    dead_code,
    reason = "it is made for the integration tests, which use all of it"
)]
mod support {
    pub(crate) mod apiserver;
}

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;

use process::Cores;
use report::Report;
use work::Work;
use world::{Effort, World};

/// Past this a quick run begins no further work.
const QUICK: Duration = Duration::from_secs(100);

/// Measures Cairn beside the floor, and beside each of knotd, nsd, unbound and coredns that is on PATH.
#[derive(Parser)]
struct Options {
    /// Ends within two minutes: fewer and shorter rounds, smaller clusters where those take long.
    #[arg(long)]
    quick: bool,
    /// Only this work; may be given several times.
    #[arg(long, value_name = "WORK")]
    only: Vec<String>,
    /// Names the works and does none.
    #[arg(long)]
    list: bool,
    /// Rounds of which the median is told.
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds that each load of each server lasts in a round.
    #[arg(long, value_name = "MS")]
    load: Option<u64>,
    /// What clusters and questions are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every figure of every round there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures this program in place of the one that was built.
    #[arg(long, value_name = "PROGRAM")]
    cairn: Option<PathBuf>,
    /// Another build of Cairn, measured beside it; may be given several times.
    #[arg(long, value_name = "PROGRAM")]
    rival: Vec<PathBuf>,
    /// Cargo says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match (
        arguments.get(1).map(String::as_str),
        arguments.get(2).and_then(|port| port.parse().ok()),
    ) {
        (Some("serve-echo"), Some(port)) => floor::echo(port),
        (Some("serve-upstream"), Some(port)) => floor::upstream(port),
        _ => {}
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    if options.list {
        work::ALL
            .iter()
            .for_each(|work| println!("{:<12} {}", work.name, work.about));
        return Ok(());
    }
    let works = chosen(&options.only)?;
    let Some(cores) = Cores::find() else {
        return Err(std::io::Error::other(
            "two cores are needed: one for the server, one for who asks it",
        ));
    };
    let effort = Effort {
        rounds: options
            .rounds
            .unwrap_or(if options.quick { 3 } else { 7 })
            .max(1),
        load: Duration::from_millis(
            options
                .load
                .unwrap_or(if options.quick { 200 } else { 1500 })
                .max(50),
        ),
        quick: options.quick,
    };
    let cairn = options
        .cairn
        .clone()
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_cairn").into());
    let contenders = peers::contenders(cairn.canonicalize()?, &options.rival);
    process::pin(&[cores.generator]);
    let machine = machine(cores);
    println!("{machine}");
    println!(
        "contenders: {}",
        contenders
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    let world = World::new(cores, effort, options.seed, contenders)?;
    let mut report = Report::default();
    for work in works {
        if options.quick && world.began.elapsed() > QUICK {
            println!("\n{}: left out, the two minutes are over", work.name);
            continue;
        }
        let began = Instant::now();
        (work.run)(&world, &mut report)?;
        println!("({}: {:.1} s)", work.name, began.elapsed().as_secs_f64());
    }
    report.verdict();
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.json(&json!(machine))))?;
    }
    Ok(())
}

fn chosen(only: &[String]) -> std::io::Result<Vec<&'static Work>> {
    let unknown = only
        .iter()
        .find(|name| !work::ALL.iter().any(|work| work.name == name.as_str()));
    if let Some(name) = unknown {
        return Err(std::io::Error::other(format!(
            "there is no work {name:?}; --list names all"
        )));
    }
    let wanted = |work: &&Work| only.is_empty() || only.iter().any(|name| name == work.name);
    Ok(work::ALL.iter().filter(wanted).collect())
}

/// The machine, in a line: figures say nothing without it.
fn machine(cores: Cores) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = text
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!(
        "{count} x {}, Linux {}, loopback; servers on core {}, generator on core {}",
        model.map_or("an unknown CPU", |(_, name)| name),
        kernel.trim(),
        cores.server,
        cores.generator
    )
}

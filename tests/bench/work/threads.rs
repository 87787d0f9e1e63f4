//! Two data threads beside one. Where the generator has no core left for itself it cannot feed two; then CPU a query
//! says what the second thread takes from the first.

use std::io;

use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load, Wait};
use crate::numbers::median;
use crate::questions::{Mix, Questions};
use crate::report::{Limit, Report};
use crate::world::World;

/// What is asked of both where the generator shares a core with the second thread.
const MODEST: f64 = 40_000.0;

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let how = How::new(world, &source);
    let both = [world.cores.server, world.cores.second];
    let instances = [
        Instance::synced(world, how)?,
        Instance::synced(
            world,
            How {
                cores: &both,
                ..how
            },
        )?,
    ];
    let (mut rates, mut costs) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..world.effort.rounds {
        for (at, instance) in instances.iter().enumerate() {
            let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
            let load = Load::new(
                instance.address,
                Transport::Udp,
                &mut questions,
                Check::Answers,
            )?;
            let before = instance.running.cpu();
            let outcome = match world.cores.generator_is_alone() {
                true => load.closed(world.effort.load)?,
                false => load.open(MODEST, world.effort.load, Wait::Sleep)?,
            };
            let cpu = instance.running.cpu() - before;
            rates[at].push(outcome.qps);
            costs[at].push(cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64);
        }
    }
    let of = |figures: &[Vec<f64>; 2], at: usize| {
        median(figures[at].iter().copied()).unwrap_or(f64::NAN)
    };
    for (at, who) in ["one thread", "two threads"].into_iter().enumerate() {
        report.fact("threads", &format!("{who}: rate"), of(&rates, at), "qps");
        report.fact(
            "threads",
            &format!("{who}: cost"),
            of(&costs, at),
            "CPU us/query",
        );
    }
    let (text, times) = match world.cores.generator_is_alone() {
        true => (
            "threads: two answer >= 1.8 times what one does",
            of(&rates, 1) / of(&rates, 0),
        ),
        false => (
            "threads: two answer >= 1.8 times what one does, by CPU a query",
            2.0 * of(&costs, 0) / of(&costs, 1),
        ),
    };
    report.goal(text, Some(times), "times", Limit::AtLeast(1.8));
    Ok(())
}

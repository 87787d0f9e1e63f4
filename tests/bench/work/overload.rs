//! Far more queries than can be answered: how many are answered all the same, how soon all is well again, and what
//! stays in memory.

use std::io;
use std::time::{Duration, Instant};

use crate::flood::{Flood, Names};
use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load, Outcome, Wait};
use crate::questions::{Mix, Questions};
use crate::report::{Limit, Report};
use crate::world::World;

/// How many times what the server can do is asked.
const TIMES: f64 = 10.0;
/// After the flood the server is looked at so often.
const SLICE: Duration = Duration::from_millis(100);
const RECOVERY: Duration = Duration::from_secs(3);
/// What a slice must be to be normal, at half load.
const NORMAL: Duration = Duration::from_millis(5);

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let instance = Instance::synced(world, How::new(world, &source))?;
    let load = |rate: Option<f64>, duration: Duration| -> io::Result<Outcome> {
        let mut questions = Questions::new(Mix::A, &world.cluster, world.seed);
        let load = Load::new(
            instance.address,
            Transport::Udp,
            &mut questions,
            Check::Answers,
        )?;
        match rate {
            None => load.closed(duration),
            Some(rate) => load.open(rate, duration, Wait::Spin),
        }
    };
    let peak = load(None, world.effort.load * 2)?.qps;
    let before = instance.running.rss();
    instance.running.forget_peak();
    let questions = Questions::new(Mix::A, &world.cluster, world.seed);
    let mut flood = Flood::new(instance.address, questions, Names::Repeated)?;
    let (asked, answered) = flood.last(peak * TIMES, world.effort.load * 2)?;
    let ended = Instant::now();
    let mut normal = None;
    while normal.is_none() && ended.elapsed() < RECOVERY {
        let began = ended.elapsed();
        let slice = load(Some(peak / 2.0), SLICE)?;
        if slice.lost() == 0 && slice.latency.quantile(0.99) <= NORMAL {
            normal = Some(began.as_secs_f64());
        }
    }
    let grown = instance
        .running
        .peak()
        .max(instance.running.rss())
        .saturating_sub(before) as f64
        / 1_048_576.0;
    report.fact("overload", "peak", peak, "qps");
    report.fact("overload", "asked", asked, "qps");
    report.fact("overload", "answered", answered, "qps");
    let text = format!(
        "overload: at {:.1} x the peak answered >= 90 % of the peak",
        asked / peak
    );
    report.goal(
        &text,
        Some(answered / peak * 100.0),
        "%",
        Limit::AtLeast(90.0),
    );
    report.goal(
        "overload: normal again within 1 s",
        normal,
        "s",
        Limit::AtMost(1.0),
    );
    report.goal(
        "overload: memory + 32 MiB at most",
        Some(grown),
        "MiB",
        Limit::AtMost(32.0),
    );
    Ok(())
}

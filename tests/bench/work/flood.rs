//! One client asks for far more new names than can be forwarded, and what another client has of the server meanwhile.

use std::io;
use std::net::Ipv4Addr;

use crate::flood::{Flood, Names};
use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load, Outcome, Wait};
use crate::questions::{Mix, Questions};
use crate::report::{Limit, Report};
use crate::world::World;

/// How many times what the server can forward is asked.
const TIMES: f64 = 5.0;
/// Who asks little, from an address of its own.
const CALM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Queries a second of the calm client: for records of the cluster, and for names nobody has asked for.
const OF_CLUSTER: f64 = 1_000.0;
const OF_OTHERS: f64 = 200.0;

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let instance = Instance::synced(world, How::new(world, &source))?;
    let questions = |mix| Questions::new(mix, &world.cluster, world.seed);
    let duration = world.effort.load * 2;
    let peak = {
        let mut questions = questions(Mix::Misses);
        let check = Check::Answers;
        let load = Load::new(instance.address, Transport::Udp, &mut questions, check)?;
        load.closed(duration)?.qps
    };
    let calm = |mix, rate| -> io::Result<Outcome> {
        let mut questions = questions(mix);
        let (to, check) = (instance.address, Check::Answers);
        let load = Load::from(CALM, to, Transport::Udp, &mut questions, check)?;
        load.open(rate, duration, Wait::Sleep)
    };
    let mut flood = Flood::new(instance.address, questions(Mix::Misses), Names::New)?;
    let (flooded, cluster, others) = std::thread::scope(|scope| {
        let cluster = scope.spawn(|| calm(Mix::Hits, OF_CLUSTER));
        let others = scope.spawn(|| calm(Mix::Misses, OF_OTHERS));
        let flooded = flood.last(peak * TIMES, duration);
        let ended = |load: std::thread::ScopedJoinHandle<'_, _>| load.join().expect("a load ends");
        (flooded, ended(cluster), ended(others))
    });
    let ((asked, answered), cluster, others) = (flooded?, cluster?, others?);
    report.fact("flood", "peak", peak, "qps");
    report.fact("flood", "asked", asked, "qps");
    report.fact(
        "flood",
        "answered",
        answered / peak * 100.0,
        "% of the peak",
    );
    for (of, outcome, least) in [
        ("cluster names", cluster, 99.9),
        ("new names", others, 99.0),
    ] {
        let share = outcome.answered as f64 / outcome.sent.max(1) as f64 * 100.0;
        let p99 = outcome.latency.quantile(0.99).as_secs_f64() * 1e3;
        report.fact("flood", &format!("another client's {of}: p99"), p99, "ms");
        let text = format!("flood: another client's {of} answered >= {least} %");
        report.goal(&text, Some(share), "%", Limit::AtLeast(least));
    }
    Ok(())
}

//! One client asks for far more than can be answered, and what another client has of the server meanwhile.

use std::io;
use std::net::Ipv4Addr;

use crate::flood::{Flood, Names};
use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load, Outcome, Wait};
use crate::numbers::median;
use crate::questions::{Mix, Questions};
use crate::report::{Limit, Report};
use crate::world::World;

/// What floods, with what, and how many times what the server can do is asked.
const FLOODS: [(&str, Mix, Names, f64); 2] = [
    ("new names", Mix::Misses, Names::New, 5.0),
    ("cluster names", Mix::A, Names::Repeated, 10.0),
];
/// Who asks little, from an address of its own.
const CALM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What it asks for, how often in a second, and how many percent of that are to be answered, from the first moment of the
/// flood on.
const CALM_ASKS: [(&str, Mix, f64, f64); 2] = [
    ("cluster names", Mix::Hits, 1_000.0, 98.0),
    ("new names", Mix::Misses, 200.0, 98.0),
];

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let source = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let instance = Instance::synced(world, How::new(world, &source))?;
    let questions = |mix| Questions::new(mix, &world.cluster, world.seed);
    let duration = world.effort.load * 2;
    let to = instance.address;
    let calm = |mix, rate| -> io::Result<Outcome> {
        let mut questions = questions(mix);
        let load = Load::from(CALM, to, Transport::Udp, &mut questions, Check::Answers)?;
        load.open(rate, duration, Wait::Sleep)
    };
    for (what, mix, names, times) in FLOODS {
        let mut rounds = Vec::new();
        for _ in 0..world.effort.rounds {
            let peak = {
                let mut questions = questions(mix);
                let load = Load::new(to, Transport::Udp, &mut questions, Check::Answers)?;
                load.closed(duration)?.qps
            };
            let mut flood = Flood::new(to, questions(mix), names)?;
            let (flooded, others) = std::thread::scope(|scope| {
                let begin = |(_, mix, rate, _)| scope.spawn(move || calm(mix, rate));
                let calm = CALM_ASKS.map(begin);
                let flooded = flood.last(peak * times, duration);
                (flooded, calm.map(|load| load.join().expect("a load ends")))
            });
            let (asked, answered) = flooded?;
            rounds.push(Round {
                peak,
                asked: asked / peak,
                answered: answered / peak,
                others: others.into_iter().collect::<io::Result<_>>()?,
            });
        }
        tell(what, &rounds, report);
    }
    Ok(())
}

/// What a round has come to.
struct Round {
    peak: f64,
    /// By the flood, in parts of the peak.
    asked: f64,
    answered: f64,
    /// What came of [`CALM_ASKS`].
    others: Vec<Outcome>,
}

fn tell(what: &str, rounds: &[Round], report: &mut Report) {
    let work = format!("flood of {what}");
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let mut fact = |title: &str, figure: &dyn Fn(&Round) -> f64, unit| {
        report.fact(&work, title, of(figure).unwrap_or(0.0), unit);
    };
    fact("peak", &|round| round.peak, "qps");
    fact("asked", &|round| round.asked, "of the peak");
    fact("answered", &|round| round.answered, "of the peak");
    for (at, (asks, _, _, least)) in CALM_ASKS.into_iter().enumerate() {
        let p99 = of(&|round| round.others[at].latency.quantile(0.99).as_secs_f64() * 1e3);
        let fact = format!("another client's {asks}: p99");
        report.fact(&work, &fact, p99.unwrap_or(0.0), "ms");
        let share = of(&|round| {
            let outcome = &round.others[at];
            outcome.answered as f64 / outcome.sent.max(1) as f64 * 100.0
        });
        let text = format!("{work}: another client's {asks} answered >= {least} %");
        report.goal(&text, share, "%", Limit::AtLeast(least));
    }
}

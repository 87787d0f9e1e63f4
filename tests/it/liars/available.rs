//! One of three upstreams is clean: every query is answered, whatever the others do.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use super::client::{self, Outcome, percentile};
use super::lie::Lie;
use super::{Liar, forward, right, server};

const POLICIES: [&str; 3] = ["random", "round_robin", "sequential"];

/// What is wrong with two upstreams, and whether it began while the server was asking them.
const FAULTS: &[(&str, Lie, bool)] = &[
    ("none", Lie::Honest, false),
    ("silent", Lie::Silent, false),
    ("silent of a sudden", Lie::Silent, true),
    ("refusing", Lie::Refusing, false),
    ("flapping at 1 Hz", Lie::Flapping, false),
    ("losing 30 %", Lie::Losing(30), false),
];

/// Queries before the fault begins, and how many a second: enough to know every upstream by.
const LESSONS: usize = 300;
const LESSONS_RATE: u32 = 400;

/// Extra queries that are allowed on top of every tenth: what the server has saved up for the moment in which an
/// upstream dies.
pub(super) const BURST: usize = 100;

/// What became of the queries to three upstreams, two of which have a fault.
pub(super) struct Run {
    pub(super) fault: &'static str,
    pub(super) policy: &'static str,
    pub(super) lost: Vec<Outcome>,
    pub(super) outcomes: Vec<Outcome>,
    /// Queries that the upstreams heard beyond one for each of the client's.
    pub(super) extra: usize,
}

/// The upstreams of a run; the faulty ones are written first, so that `sequential` meets them first.
struct Setting {
    fault: &'static str,
    policy: &'static str,
    /// The fault that is to begin.
    begins: Option<Lie>,
    liars: [Liar; 3],
}

impl Setting {
    /// All upstreams lose this share of their answers.
    fn lossy(fault: &'static str, share: u8) -> Setting {
        Setting {
            fault,
            policy: "random",
            begins: None,
            liars: [1, 2, 3].map(|octet| Liar::start(octet, Lie::Losing(share))),
        }
    }

    fn all() -> impl Iterator<Item = Setting> {
        FAULTS.iter().flat_map(|&(fault, lie, is_sudden)| {
            let first = if is_sudden { Lie::Honest } else { lie };
            POLICIES.into_iter().map(move |policy| Setting {
                fault,
                policy,
                begins: is_sudden.then_some(lie),
                liars: [(1, first), (2, first), (3, Lie::Honest)]
                    .map(|(octet, lie)| Liar::start(octet, lie)),
            })
        })
    }

    fn stanza(&self, zone: &str) -> String {
        let properties = format!("policy {}", self.policy);
        forward(zone, &self.liars.each_ref(), &properties)
    }

    /// Asks so many unique names of a zone, so many a second.
    fn run(&self, server: std::net::SocketAddr, zone: &str, count: usize, rate: u32) -> Run {
        let names = |what: &str, count: usize| -> Vec<String> {
            let name = |nth| format!("{what}{nth}.{zone}.");
            (0..count).map(name).collect()
        };
        let asked = || self.liars.iter().map(Liar::count).sum::<usize>();
        if let Some(lie) = self.begins {
            client::steadily(server, &names("lesson", LESSONS), LESSONS_RATE);
            self.liars[..2].iter().for_each(|liar| liar.now(lie));
        }
        let (before, names) = (asked(), names("n", count));
        let outcomes = client::steadily(server, &names, rate);
        let is_right = |outcome: &&Outcome| {
            let mut liars = self.liars.iter();
            !liars.any(|liar| outcome.reply == right(liar, &outcome.name))
        };
        Run {
            fault: self.fault,
            policy: self.policy,
            lost: outcomes.iter().filter(is_right).cloned().collect(),
            outcomes,
            extra: (asked() - before).saturating_sub(count),
        }
    }
}

impl Run {
    fn print(&self) {
        println!(
            "| {} | {} | {} | {} | {:.1?} | {:.1?} | {:.1?} | {:.1} % |",
            self.fault,
            self.policy,
            self.outcomes.len(),
            self.lost.len(),
            percentile(&self.outcomes, 50),
            percentile(&self.outcomes, 99),
            percentile(&self.outcomes, 100),
            self.extra as f64 * 100.0 / self.outcomes.len() as f64,
        );
    }

    fn assert_nothing_lost(&self) {
        let lost = &self.lost;
        assert!(lost.is_empty(), "{}, {}: {lost:?}", self.fault, self.policy);
    }

    /// On a machine that is busy with other things an answer may come later than the server gives an upstream, so here
    /// each may be asked for twice. How many more that is where nothing else runs is among the figures.
    fn assert_none_is_asked_for_without_end(&self) {
        let (extra, max) = (self.extra, self.outcomes.len() + BURST);
        assert!(
            extra <= max,
            "{}, {}: {extra} extra queries, not {max}",
            self.fault,
            self.policy
        );
    }
}

fn print_head() {
    println!(
        "| two of three upstreams | policy | asked | lost | p50 | p99 | max | extra queries |"
    );
    println!("|---|---|---|---|---|---|---|---|");
}

/// All settings at a time behind one server, 80 queries a second each.
#[test]
fn no_query_is_lost_while_one_upstream_is_clean_and_none_is_asked_for_without_end() {
    let settings: Vec<Setting> = Setting::all().collect();
    let stanza = |(at, setting): (usize, &Setting)| setting.stanza(&format!("r{at}.test"));
    let server = server(&settings.iter().enumerate().map(stanza).collect::<String>());
    let address = server.address();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let running: Vec<_> = settings
            .iter()
            .enumerate()
            .map(|(at, setting)| {
                scope.spawn(move || setting.run(address, &format!("r{at}.test"), 200, 40))
            })
            .collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    print_head();
    runs.iter().for_each(Run::print);
    runs.iter().for_each(Run::assert_nothing_lost);
    runs.iter()
        .for_each(Run::assert_none_is_asked_for_without_end);
}

/// 3,000 unique names in five seconds for each setting, one after the other; prints the table. The last two have no
/// clean upstream.
pub(super) fn figures() -> [Vec<Run>; 2] {
    print_head();
    let run = |setting: Setting| {
        let server = server(&setting.stanza("."));
        let run = setting.run(server.address(), "test", 3000, 600);
        run.print();
        run
    };
    let lossy = [(5, "all losing 5 %"), (30, "all losing 30 %")];
    let lossy = lossy
        .into_iter()
        .map(|(share, fault)| Setting::lossy(fault, share));
    [Setting::all().map(run).collect(), lossy.map(run).collect()]
}

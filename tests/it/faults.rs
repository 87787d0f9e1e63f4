//! The cluster changes, its API server fails in every way that it can, and all the while every name is asked for: what
//! is answered must have been true, and must not go back to what was true before.
//!
//!     life ── what becomes true, then ──▶ API server ──▶ Cairn ◀── asker
//!       └──────────── first ────────────▶ oracle ◀── each answer ───┘
//!
//! A run is made from a seed, which a failure names; `CAIRN_FAULTS_SEED` plays it again. The clock is not part of the
//! seed: which answer meets which state differs from run to run, what happens to the cluster does not.

mod asker;
mod life;
mod limits;
mod long;
mod oracle;
mod process;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_dns::cluster::Pace;
use cairn_dns::corefile::Memory;

use crate::support::apiserver::{ApiServer, Login, Transport};
use crate::support::server::Server;

use asker::Asker;
use life::Life;
use oracle::Oracle;
use trouble::{Count, Plan, Troubles};

/// Which run is played; another one where this is set.
const SEED_VARIABLE: &str = "CAIRN_FAULTS_SEED";
const SEED: u64 = 20;

/// Time in which the last state must be answered once all is well: the longest pause between requests is 5 s while an API
/// server is not to be reached, and 30 s after errors.
const RECOVERY: Duration = Duration::from_secs(90);

/// What a watch leaves out is found within seconds.
const PACE: Pace = Pace {
    probe_after: Duration::from_secs(10),
    probe_timeout: Duration::from_secs(5),
    bookmark_margin: Duration::from_secs(5),
    audit_every: Duration::from_secs(1),
    audit_settle: Duration::from_millis(500),
    hold: Duration::from_secs(30),
};

/// By which a watch says how far it has come, as API servers do each minute.
const BOOKMARK_EVERY: Duration = Duration::from_millis(100);

/// Changes between two troubles.
const CHANGES: usize = 4;

fn seed() -> u64 {
    let given = std::env::var(SEED_VARIABLE).ok();
    given.map_or(SEED, |text| text.parse().expect("a number"))
}

/// The cluster, its API server, and what is true of them.
struct World {
    api: ApiServer,
    oracle: Arc<Oracle>,
    life: Life,
    seed: u64,
    /// What a server block says to follow the cluster.
    lines: String,
}

impl World {
    fn begin(seed: u64) -> World {
        let api = ApiServer::start_with(Transport::Https);
        api.rotate_token("first");
        api.bookmark_every(Some(BOOKMARK_EVERY));
        let kubeconfig = api.kubeconfig_with(Login::TokenFile);
        let oracle = Arc::new(Oracle::default());
        let life = Life::begin(api.clone(), oracle.clone(), seed);
        let kubeconfig = kubeconfig.display();
        let lines = format!(
            "kubernetes cluster.local {{\n kubeconfig {kubeconfig} lab\n pods verified\n }}"
        );
        World {
            api,
            oracle,
            life,
            seed,
            lines,
        }
    }

    /// Lives through troubles while `asker` asks. Panics with the seed if an answer was wrong.
    fn live_through(&mut self, mut troubles: Troubles, asker: &Asker) {
        while let Some(trouble) = troubles.next(&self.api) {
            for _ in 0..CHANGES {
                self.life.change();
            }
            if let Err(wrong) = asker.so_far() {
                panic!("seed {}, after {trouble:?}: {wrong}", self.seed);
            }
        }
        troubles.mend(&self.api);
    }

    /// Returns when the last state of all is answered.
    fn recover(&self, asker: &Asker) {
        let (seed, deadline) = (self.seed, Instant::now() + RECOVERY);
        while let Some(stale) = self.oracle.stale() {
            if let Err(wrong) = asker.so_far() {
                panic!("seed {seed}: {wrong}");
            }
            let in_time = Instant::now() < deadline;
            assert!(in_time, "seed {seed}: not the last state: {stale}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Lives through a plan of troubles with the server in this process.
fn live_through(plan: Plan, seed: u64) {
    let mut world = World::begin(seed);
    let corefile = format!(".:0 {{\n bind 127.0.0.1\n {}\n}}\n", world.lines);
    let server = Server::start_at(PACE, &Memory::new().file("Corefile", corefile));
    server.wait_until_ready();
    let asker = Asker::begin(server.address(), world.oracle.clone());
    world.live_through(plan.troubles(seed), &asker);
    world.recover(&asker);
    let asked = asker
        .end()
        .unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    assert!(asked > 1_000, "seed {seed}: only {asked} questions");
    // Servers lagged behind, and none was taken for one that was put back.
    let metrics = server.metrics();
    let rewinds = metrics
        .lines()
        .find(|line| line.starts_with("cairn_cluster_rewinds_total{"));
    assert_eq!(rewinds, None, "seed {seed}");
}

#[test]
fn whatever_the_api_server_does_every_answer_was_true_and_none_goes_back_in_time() {
    live_through(Plan::of(Count::FEW), seed());
}

/// 1,000 cuts, 100 silences, 50 restarts, and all others: half an hour.
#[test]
#[ignore = "takes half an hour"]
fn whatever_the_api_server_does_a_thousand_times() {
    live_through(Plan::of(Count::MANY), seed());
}

//! Names that nobody answers, in a flood: those of the cluster are answered as ever, and memory has a bound.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{self, Outcome, percentile};
use super::lie::{Lie, WEB};
use super::{CLUSTER, Liar, forward, wire};
use crate::support::program::{Cairn, Launch, free_port};

/// Queries a second for names of the cluster.
const CLUSTER_RATE: u32 = 500;
/// Less than half of what a kernel as it is installed keeps for a socket that asks for more.
const UNREAD_MAX: u64 = 200 << 10;
/// What so many queries that wait may hold.
pub(super) const GROWTH_MAX_KIB: u64 = 32 * 1024;

/// Asks unique names at this rate until it is over; what comes back is not read. Returns how many it asked.
///
/// What the server is too slow for, on a machine that is busy, is not sent: what the kernel drops, of all who ask, the
/// server has no say in.
fn flood(server: SocketAddr, rate: u32, is_over: &AtomicBool) -> u32 {
    const ROUND: Duration = Duration::from_millis(5);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    let mut sent = 0;
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next = Instant::now() + ROUND;
        if unread(server.port()).is_none_or(|unread| unread > UNREAD_MAX) {
            continue;
        }
        for _ in 0..rate * ROUND.as_millis() as u32 / 1000 {
            let query = wire::query(sent as u16, &format!("x{sent}.flood.test."));
            let _ = socket.send(&query);
            sent += 1;
        }
    }
    sent
}

/// Octets that wait in the fullest socket of this port, the kernel's bookkeeping included. `None`: the kernel lists sockets
/// piece by piece, and may leave one out while others come and go.
fn unread(port: u16) -> Option<u64> {
    let sockets = fs::read_to_string("/proc/net/udp").unwrap();
    let of_port = format!(":{port:04X}");
    let waiting = sockets.lines().filter_map(|socket| {
        let mut fields = socket.split_whitespace();
        let is_of_port = fields.nth(1)?.ends_with(&of_port);
        let (_, received) = fields.nth(2)?.split_once(':')?;
        is_of_port.then(|| u64::from_str_radix(received, 16).expect("a number"))
    });
    waiting.max()
}

fn ask_cluster(server: SocketAddr, count: usize) -> Vec<Outcome> {
    client::steadily(server, &vec![WEB.to_owned(); count], CLUSTER_RATE)
}

/// Those that were not answered.
fn lost(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let outcomes = outcomes.iter();
    outcomes
        .filter(|outcome| outcome.reply != "NOERROR 10.96.0.1")
        .collect()
}

/// A process with these directives below the cluster, once it answers.
fn start(directives: &str) -> Cairn {
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n manifests cluster.yaml\n}}\n{directives}\n}}\n"
    );
    let launch = Launch {
        files: &[("cluster.yaml", CLUSTER)],
        ..Launch::default()
    };
    let cairn = Cairn::starting(&corefile, free_port(), &launch);
    cairn.wait_for(WEB, "NOERROR 10.96.0.1");
    cairn
}

/// What a flood did.
#[derive(Clone)]
pub(super) struct Drowned {
    /// Names that nobody answered.
    pub(super) sent: u32,
    /// How much longer half of the answers about the cluster took, and 99 of 100.
    pub(super) slower: [f64; 2],
    pub(super) growth_kib: u64,
    /// Of the questions about the cluster: how many were not answered at once, and what became of those that were not
    /// answered when they were asked again either.
    pub(super) late: usize,
    pub(super) lost: Vec<Outcome>,
}

/// Floods at this rate for so many seconds, while names of the cluster are asked steadily.
pub(super) fn drown(rate: u32, seconds: u32) -> Drowned {
    let hole = Liar::start(1, Lie::Silent);
    let program = start(&format!(" cache 30\n{}", forward(".", &[&hole], "")));
    let address = program.address();
    let calm = ask_cluster(address, CLUSTER_RATE as usize);
    assert!(lost(&calm).is_empty(), "before the flood");
    let before = program.holds().resident_kib;
    let is_over = AtomicBool::new(false);
    let (drowned, again, sent, peak) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(address, rate, &is_over));
        let watching = scope.spawn(|| {
            let mut peak = before;
            while !is_over.load(Ordering::Relaxed) {
                peak = peak.max(program.holds().resident_kib);
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        let drowned = ask_cluster(address, (CLUSTER_RATE * seconds) as usize);
        // A resolver asks twice: a machine that is busy with something else has no room for every datagram.
        let again = ask_cluster(address, lost(&drowned).len());
        is_over.store(true, Ordering::Relaxed);
        let (sent, peak) = (flooding.join().unwrap(), watching.join().unwrap());
        (drowned, again, sent, peak)
    });
    let slower = [50, 99].map(|percent| {
        let took = |outcomes| percentile(outcomes, percent).as_secs_f64();
        took(&drowned) / took(&calm)
    });
    let drowned = Drowned {
        sent,
        slower,
        growth_kib: peak - before,
        late: lost(&drowned).len(),
        lost: lost(&again).into_iter().cloned().collect(),
    };
    drowned.print();
    drowned
}

impl Drowned {
    fn print(&self) {
        let [half, most] = self.slower;
        println!(
            "{} names to a black hole: {} answers about the cluster late, {} lost, p50 x {half:.1}, p99 x {most:.1}, {} KiB",
            self.sent,
            self.late,
            self.lost.len(),
            self.growth_kib,
        );
    }
}

static SMALL: LazyLock<Drowned> = LazyLock::new(|| {
    // As much as a program that was not built to be fast can be asked on a machine that does other things too.
    let rate = if cfg!(debug_assertions) {
        4_000
    } else {
        10_000
    };
    drown(rate, 2)
});

#[test]
fn a_flood_of_names_that_nobody_answers_takes_no_answer_from_the_cluster() {
    assert!(SMALL.sent > 0);
    assert!(SMALL.lost.is_empty(), "{:?}", SMALL.lost);
}

#[test]
fn a_flood_of_names_that_nobody_answers_takes_little_memory() {
    let growth = SMALL.growth_kib;
    assert!(growth < GROWTH_MAX_KIB, "{growth} KiB");
}

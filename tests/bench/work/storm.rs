//! Services and slices that change while queries run: how long until a change is answered, and what one costs as the
//! cluster grows. Against the API server of the tests, in the benchmark's process: what that one takes is in the figures.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Endpoint, Service};
use crate::instance::{How, Instance, answers};
use crate::link::Transport;
use crate::load::{Check, Load, Wait};
use crate::numbers::Histogram;
use crate::peers::asked;
use crate::questions::{Mix, Qtype, Questions};
use crate::report::{Limit, Report};
use crate::support::apiserver::ApiServer;
use crate::world::World;

/// Queries a second beside the changes: enough to matter, too few to starve who shares the generator's core.
const QUERIES: f64 = 5_000.0;
const SIZES: &[(usize, &str)] = &[(1_000, "1,000"), (10_000, "10,000"), (100_000, "100,000")];
const CROWD: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(5);

struct Storm {
    api: ApiServer,
    cluster: Cluster,
    /// Changes so far: each gives a service an address that none had.
    made: u32,
}

/// How long changes took to be seen.
#[derive(Default)]
struct Seen {
    /// From when one was committed to when it was answered.
    answered: Histogram,
    /// What the answer took when nothing had changed: what of the tail is the machine's.
    alone: Histogram,
}

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let mut costs = Vec::new();
    for (endpoints, text) in SIZES {
        let (mut storm, instance) =
            Storm::start(world, Cluster::new(world.seed, endpoints / 10, *endpoints))?;
        let cost = storm.cost(&instance, world);
        report.fact(
            "storm",
            &format!("{text} endpoints: an update costs"),
            cost,
            "CPU us",
        );
        costs.push(cost);
        for (a_second, most) in [(20, 2.0), (1_000, 50.0)] {
            let (seen, rate) = storm.seen(world, &instance, a_second)?;
            let what = format!("{text} endpoints, {a_second} changes a second ordered: made");
            report.fact("storm", &what, rate, "a second");
            let goal = format!(
                "storm: {text} endpoints, {a_second} changes a second: answered in p99 <= {most} ms"
            );
            seen.judge(&goal, most, report);
        }
    }
    if let [least, .., most] = costs.as_slice() {
        report.fact(
            "storm",
            "an update in a cluster 100 times as large",
            most / least,
            "times the cost",
        );
    }
    crowd(world, report)
}

impl Storm {
    fn start(world: &World, cluster: Cluster) -> io::Result<(Storm, Instance)> {
        let api = ApiServer::start();
        cluster.objects(false).for_each(|object| {
            api.apply(object);
        });
        let source = format!("kubeconfig {} lab", api.kubeconfig().display());
        let instance = Instance::synced(world, How::new(world, &source))?;
        instance.settle();
        Ok((
            Storm {
                api,
                cluster,
                made: 0,
            },
            instance,
        ))
    }

    /// Gives the next service another address; every second change gives its slice another endpoint.
    fn change(&mut self) -> (String, Ipv4Addr) {
        self.made += 1;
        let with_address = self
            .cluster
            .services
            .iter_mut()
            .filter(|service| service.ip.is_some());
        let count = self.made as usize;
        let mut with_address: Vec<&mut Service> = with_address.collect();
        let at = count * 7 % with_address.len();
        let service = &mut with_address[at];
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 112, 0, 1)) + self.made);
        service.ip = Some(ip);
        if count.is_multiple_of(2) {
            service.endpoints.pop();
            service
                .endpoints
                .push(Endpoint::new(&service.name, 1_000_000 + count, self.made));
            self.api.apply(service.slice(0));
        }
        self.api.apply(service.object());
        (service.dns_name(), ip)
    }

    /// CPU microseconds of an object that changes, with no queries beside it.
    fn cost(&mut self, instance: &Instance, world: &World) -> f64 {
        let count = if world.effort.quick { 300 } else { 2_000 };
        let before = instance.running.cpu();
        let version = self.api.version();
        for _ in 0..count {
            self.change();
            std::thread::sleep(Duration::from_micros(500));
        }
        instance.settle();
        let objects = self.api.version() - version;
        (instance.running.cpu() - before).as_secs_f64() * 1e6 / objects as f64
    }

    /// How long twenty changes a second took; and how many were made.
    fn seen(
        &mut self,
        world: &World,
        instance: &Instance,
        a_second: u32,
    ) -> io::Result<(Seen, f64)> {
        let lasts = Duration::from_secs(if world.effort.quick { 1 } else { 10 });
        let mut questions = Questions::new(Mix::NoData, &self.cluster, world.seed);
        let (over, address) = (AtomicBool::new(false), instance.address);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut outcome = Ok(());
                while !over.load(Ordering::Relaxed) && outcome.is_ok() {
                    let load = Load::new(address, Transport::Udp, &mut questions, Check::Nothing);
                    outcome = load
                        .and_then(|load| {
                            load.open(QUERIES, Duration::from_millis(500), Wait::Sleep)
                        })
                        .map(drop);
                }
                outcome
            });
            let mut seen = Seen::default();
            let (began, mut n) = (Instant::now(), 0);
            while began.elapsed() < lasts {
                let due = began + Duration::from_secs(1) / a_second * n;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (name, ip) = self.change();
                n += 1;
                if n % (a_second / 20) == 0 {
                    seen.wait(|| has(address, &name, ip));
                }
            }
            let rate = f64::from(n) / began.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            load.join()
                .expect("the load does not panic")
                .map(|()| (seen, rate))
        })
    }
}

impl Seen {
    /// Waits until a change that was just committed is answered, and asks once more.
    fn wait(&mut self, mut is_answered: impl FnMut() -> bool) {
        self.answered.add(until(&mut is_answered));
        let again = Instant::now();
        is_answered();
        self.alone.add(again.elapsed());
    }

    fn judge(&self, goal: &str, most: f64, report: &mut Report) {
        let p99 = |of: &Histogram| of.quantile(0.99).as_secs_f64() * 1e3;
        let text = format!("{goal} (asking alone: {:.2})", p99(&self.alone));
        report.goal(&text, Some(p99(&self.answered)), "ms", Limit::AtMost(most));
    }
}

/// How long until it holds, asked again and again.
fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
    began.elapsed()
}

fn has(server: std::net::SocketAddr, name: &str, ip: Ipv4Addr) -> bool {
    let reply = asked(server, name, Qtype::A, Duration::from_millis(100));
    reply.is_some_and(|reply| reply.windows(4).any(|octets| octets == ip.octets()))
}

/// One endpoint of five thousand is another one.
fn crowd(world: &World, report: &mut Report) -> io::Result<()> {
    let mut cluster = Cluster::new(world.seed, 10, 10);
    // The first one is headless.
    let name = cluster.services[0].name.clone();
    cluster.services[0].endpoints = (0..CROWD)
        .map(|at| Endpoint::new(&name, 1_000 + at, at as u32))
        .collect();
    let (mut storm, instance) = Storm::start(world, cluster)?;
    let mut seen = Seen::default();
    let before = instance.running.cpu();
    let count = if world.effort.quick { 20 } else { 200 };
    for n in 0..count {
        let service = &mut storm.cluster.services[0];
        let changed = Endpoint::new(&name, 100_000 + n, n as u32);
        let own = format!(
            "{}.{}",
            changed.ip.to_string().replace('.', "-"),
            service.dns_name()
        );
        let at = n * 137 % CROWD;
        service.endpoints[at] = changed;
        let slice: Value = service.slice(at / 100);
        storm.api.apply(slice);
        seen.wait(|| answers(instance.address, &own));
        std::thread::sleep(Duration::from_millis(5));
    }
    let cost = (instance.running.cpu() - before).as_secs_f64() * 1e6 / count as f64;
    report.fact(
        "storm",
        "5,000 endpoints in one headless service: an update costs",
        cost,
        "CPU us",
    );
    let goal = "storm: a headless service of 5,000 endpoints is updated in <= 5 ms (p99)";
    seen.judge(goal, 5.0, report);
    Ok(())
}

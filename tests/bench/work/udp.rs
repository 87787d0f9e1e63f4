//! Queries to everybody who can answer them, in alternating rounds: first as fast as they come, then at half
//! of that rate.

use std::io;
use std::time::Duration;

use crate::link::Transport;
use crate::load::{Load, Outcome, Wait};
use crate::peers::{Kind, Server};
use crate::questions::{Mix, Questions};
use crate::report::{Column, Figures, Limit, Report};
use crate::world::World;

/// Who has the records of the cluster as a zone.
const ZONES: &[Kind] = &[
    Kind::Floor,
    Kind::Cairn,
    Kind::Knot,
    Kind::Nsd,
    Kind::CoreDns,
];
/// Who also asks others.
const RESOLVERS: &[Kind] = &[Kind::Floor, Kind::Cairn, Kind::Unbound, Kind::CoreDns];

const HITS: &[(Mix, &str)] = &[
    (Mix::A, "hits: A of a service"),
    (Mix::NoData, "hits: AAAA it does not have"),
    (Mix::Srv, "hits: SRV of a port"),
    (Mix::Ptr, "hits: PTR of a cluster address"),
    (Mix::Headless, "hits: A of a headless service"),
];

pub(crate) fn hits(world: &World, report: &mut Report) -> io::Result<()> {
    let servers = world.start(ZONES);
    let (mut asked, mut failed, mut failed_of_floor) = (0.0, 0.0, 0.0);
    for (mix, title) in HITS {
        let figures = rounds(world, &servers, Transport::Udp, *mix, Wait::Spin)?;
        report.table(title, &figures);
        asked += figures.sum("cairn", Column::Qps).unwrap_or(0.0)
            * world.effort.load.as_secs_f64()
            * 1.5;
        let lost = |server| figures.sum(server, Column::Lost).unwrap_or(0.0);
        failed += lost("cairn") + figures.sum("cairn", Column::Wrong).unwrap_or(0.0);
        failed_of_floor += lost("floor");
        floor_goal(report, title, &figures, 0.4);
        for peer in ["knot", "nsd"] {
            peer_goal(report, title, &figures, peer);
        }
        // The floor's own tail is the machine's: nobody who answers by it can have a shorter one.
        for (column, name, most) in [(Column::P99Us, "p99", 1.0), (Column::P999Us, "p99.9", 5.0)] {
            let half = |server| figures.median(server, column).map(|us| us / 1000.0);
            let floor = half("floor").unwrap_or(0.0);
            let text =
                format!("{title}: {name} at half load <= {most} ms (the floor's: {floor:.2})");
            report.goal(&text, half("cairn"), "ms", Limit::AtMost(most));
        }
    }
    let text = format!(
        "hits: no error in {:.1} million (the floor's: {failed_of_floor:.0})",
        asked / 1e6
    );
    report.goal(&text, Some(failed), "lost or wrong", Limit::AtMost(0.0));
    Ok(())
}

pub(crate) fn walk(world: &World, report: &mut Report) -> io::Result<()> {
    resolved(world, report, Mix::PodWalk, "walk: what a pod sends")
}

pub(crate) fn external(world: &World, report: &mut Report) -> io::Result<()> {
    resolved(world, report, Mix::External, "external: cached")
}

fn resolved(world: &World, report: &mut Report, mix: Mix, title: &str) -> io::Result<()> {
    let servers = world.start(RESOLVERS);
    // The caches are filled before anything counts.
    for server in &servers {
        let mut questions = Questions::new(mix, &world.cluster, world.seed);
        Load::new(
            server.address,
            Transport::Udp,
            &mut questions,
            server.check(),
        )?
        .closed(world.effort.load)?;
    }
    let figures = rounds(world, &servers, Transport::Udp, mix, Wait::Spin)?;
    report.table(title, &figures);
    floor_goal(report, title, &figures, 0.5);
    peer_goal(report, title, &figures, "unbound");
    Ok(())
}

pub(crate) fn misses(world: &World, report: &mut Report) -> io::Result<()> {
    let servers = world.start(&RESOLVERS[1..]);
    let title = "miss: names never asked before";
    let figures = rounds(world, &servers, Transport::Udp, Mix::Misses, Wait::Sleep)?;
    report.table(title, &figures);
    let ratio = figures.against("cairn", "unbound", Column::CpuUs, |one, other| one / other);
    report.goal(
        "miss: CPU <= 0.5 of Unbound's",
        ratio,
        "of it",
        Limit::AtMost(0.5),
    );
    Ok(())
}

/// One core, connections that are kept: beside what the same server does over UDP.
pub(crate) fn tcp(world: &World, report: &mut Report) -> io::Result<()> {
    let servers = world.start(ZONES);
    let datagrams = rounds(world, &servers, Transport::Udp, Mix::A, Wait::Spin)?;
    let figures = rounds(world, &servers, Transport::Tcp, Mix::A, Wait::Spin)?;
    report.table("tcp: kept connections, A of a service", &figures);
    for server in servers.iter().map(|server| server.name.as_str()) {
        let share = figures
            .median(server, Column::Qps)
            .zip(datagrams.median(server, Column::Qps));
        let share = share.map(|(tcp, udp)| tcp / udp);
        match server {
            "cairn" => report.goal(
                "tcp: kept connections >= 0.6 of UDP's qps",
                share,
                "of it",
                Limit::AtLeast(0.6),
            ),
            other => report.fact(
                "tcp",
                &format!("{other}: kept connections"),
                share.unwrap_or(0.0),
                "of UDP's qps",
            ),
        }
    }
    Ok(())
}

fn floor_goal(report: &mut Report, title: &str, figures: &Figures, most: f64) {
    let above = figures.against("cairn", "floor", Column::CpuUs, |one, other| one - other);
    report.goal(
        &format!("{title}: CPU <= floor + {most} us"),
        above,
        "us above",
        Limit::AtMost(most),
    );
}

fn peer_goal(report: &mut Report, title: &str, figures: &Figures, peer: &str) {
    let ratio = figures.against("cairn", peer, Column::Qps, |one, other| one / other);
    report.goal(
        &format!("{title}: qps >= {peer}"),
        ratio,
        "of its",
        Limit::AtLeast(1.0),
    );
}

/// Each server in turn, round after round, so that what else the machine does falls on all of them.
fn rounds(
    world: &World,
    servers: &[Server],
    transport: Transport,
    mix: Mix,
    wait: Wait,
) -> io::Result<Figures> {
    let mut figures = Figures::default();
    for round in 0..world.effort.rounds {
        for turn in 0..servers.len() {
            let server = &servers[(turn + round) % servers.len()];
            // A loop of its own for each load: what one left under way is not the next one's.
            let mut questions = Questions::new(mix, &world.cluster, world.seed + round as u64);
            let before = (server.running.cpu(), server.running.user());
            let most = Load::new(server.address, transport, &mut questions, server.check())?
                .closed(world.effort.load)?;
            let took = (
                server.running.cpu() - before.0,
                server.running.user() - before.1,
            );
            let half = Load::new(server.address, transport, &mut questions, server.check())?.open(
                most.qps / 2.0,
                world.effort.load,
                wait,
            )?;
            add(&mut figures, server, &most, took, &half);
        }
    }
    figures.order(servers.iter().map(|server| server.name.as_str()));
    Ok(figures)
}

fn add(
    figures: &mut Figures,
    server: &Server,
    most: &Outcome,
    (cpu, user): (Duration, Duration),
    half: &Outcome,
) {
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    let a_query = |duration| us(duration) / most.answered.max(1) as f64;
    for (column, value) in [
        (Column::Qps, most.qps),
        (Column::CpuUs, a_query(cpu)),
        (Column::UserUs, a_query(user)),
        (Column::P50Us, us(half.latency.quantile(0.5))),
        (Column::P99Us, us(half.latency.quantile(0.99))),
        (Column::P999Us, us(half.latency.quantile(0.999))),
        (Column::MaxUs, us(half.latency.max())),
        (Column::Lost, (most.lost() + half.lost()) as f64),
        (Column::Wrong, (most.wrong + half.wrong) as f64),
        (Column::RssMb, server.running.rss() as f64 / 1e6),
        (Column::Busy, most.busy),
        (Column::Asked, (most.sent + half.sent) as f64),
    ] {
        figures.add(&server.name, column, value);
    }
}

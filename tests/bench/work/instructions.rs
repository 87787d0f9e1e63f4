//! Instructions a query, counted by callgrind: what the program itself does, the kernel left out. They are the same on
//! every machine and in every run, so a change of one in a hundred shows.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::instance::{How, Instance, write_manifest};
use crate::process::{loopback, on_path};
use crate::questions::{Mix, Questions};
use crate::report::Report;
use crate::world::World;

/// A simulated processor takes its time to read a cluster; in a smaller one no query is looked ahead for.
const SERVICES: usize = 600;
const QUERIES: usize = 20_000;
/// Queries that are under way together.
const BURST: usize = 16;

const MIXES: &[(Mix, &str)] = &[
    (Mix::A, "A of a service"),
    (Mix::NoData, "AAAA it does not have"),
    (Mix::Srv, "SRV of a port"),
    (Mix::Ptr, "PTR of a cluster address"),
    (Mix::Headless, "A of a headless service"),
    (Mix::External, "external, cached"),
];

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let Some(valgrind) = on_path("valgrind") else {
        println!("instructions: left out, there is no valgrind on PATH");
        return Ok(());
    };
    let cluster = Cluster::new(world.seed, SERVICES, SERVICES * 5);
    let manifest = world.folder.path().join("small.json");
    write_manifest(&manifest, cluster.objects(false))?;
    let counted =
        |mix: Mix, queries: usize| count(world, &valgrind, &manifest, &cluster, mix, queries);
    // What a start and the first queries take is taken off: a cache is as full in both.
    let warm = QUERIES / 10;
    for (mix, title) in MIXES
        .iter()
        .take(if world.effort.quick { 1 } else { MIXES.len() })
    {
        let (few, many) = (counted(*mix, warm)?, counted(*mix, warm + QUERIES)?);
        report.fact(
            "instructions",
            title,
            many.saturating_sub(few) as f64 / QUERIES as f64,
            "a query",
        );
    }
    Ok(())
}

fn count(
    world: &World,
    valgrind: &Path,
    manifest: &Path,
    cluster: &Cluster,
    mix: Mix,
    queries: usize,
) -> io::Result<u64> {
    let out = world.folder.path().join("callgrind.out");
    let under = [
        valgrind.display().to_string(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", out.display()),
    ];
    let source = format!("manifests {}", manifest.display());
    let instance = Instance::synced(
        world,
        How {
            under: &under,
            ..How::new(world, &source)
        },
    )?;
    let socket = UdpSocket::bind(loopback(0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(instance.address)?;
    let mut questions = Questions::new(mix, cluster, world.seed);
    let (mut packet, mut reply) = (Vec::new(), [0; 2048]);
    for _ in 0..queries / BURST {
        for id in 0..BURST {
            questions.next(id as u16, &mut packet);
            socket.send(&packet)?;
        }
        for _ in 0..BURST {
            socket.recv(&mut reply)?;
        }
    }
    instance.running.end();
    let text = fs::read_to_string(&out)?;
    let totals = text.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or(line.strip_prefix("summary: "))
    });
    let count = totals.and_then(|totals| totals.split_whitespace().next()?.parse().ok());
    count.ok_or_else(|| io::Error::other("callgrind has written no total"))
}

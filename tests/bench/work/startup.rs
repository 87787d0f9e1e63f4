//! From exec to the first answer, and to all being known.

use std::io;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::instance::{How, Instance, write_manifest};
use crate::numbers::median;
use crate::report::{Limit, Report};
use crate::support::apiserver::ApiServer;
use crate::world::World;

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let known = world.known();
    let manifest = world.folder.path().join("cluster.json");
    write_manifest(&manifest, world.cluster.objects(false))?;
    let manifests = format!("manifests {}", manifest.display());
    let first = each(world, || {
        Instance::exec(world, How::new(world, &manifests))?.until_answered(&known)
    })?;
    let text = "start: first answer from manifests of 10,000 services <= 0.4 s";
    report.goal(text, first, "s", Limit::AtMost(0.4));
    let api = format!("kubeconfig {} lab", world.api.kubeconfig().display());
    let answered = each(world, || {
        Instance::exec(world, How::new(world, &api))?.until_answered(&known)
    })?;
    report.fact(
        "start",
        "API server: exec to first answer for the cluster",
        answered.unwrap_or(0.0),
        "s",
    );
    let synced = each(world, || {
        Instance::exec(world, How::new(world, &api))?.until_ready()
    })?;
    report.fact(
        "start",
        "API server: exec to synced",
        synced.unwrap_or(0.0),
        "s",
    );
    // An API server that accepts and says nothing.
    let slow = ApiServer::start();
    Cluster::new(world.seed, 100, 100)
        .objects(false)
        .for_each(|object| {
            slow.apply(object);
        });
    slow.pause();
    let source = format!("kubeconfig {} lab", slow.kubeconfig().display());
    let outside = each(world, || {
        Instance::exec(world, How::new(world, &source))?.until_answered("www.example.com")
    })?;
    let text = "start: external names <= 50 ms after exec while the API server is silent";
    report.goal(text, outside.map(|s| s * 1000.0), "ms", Limit::AtMost(50.0));
    Ok(())
}

/// The median of a few starts, in seconds.
fn each(world: &World, mut start: impl FnMut() -> io::Result<Duration>) -> io::Result<Option<f64>> {
    let times = if world.effort.quick { 3 } else { 9 };
    let took = (0..times).map(|_| start().map(|took| took.as_secs_f64()));
    Ok(median(took.collect::<io::Result<Vec<f64>>>()?))
}

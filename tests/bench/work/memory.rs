//! What the process holds: at rest, at its peak under load, and at its peak while everything is listed anew.

use std::io;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::instance::{How, Instance};
use crate::link::Transport;
use crate::load::{Check, Load};
use crate::questions::{Mix, Questions};
use crate::report::{Column, Figures, Limit, Report};
use crate::support::apiserver::ApiServer;
use crate::world::World;

struct Size {
    title: &'static str,
    services: usize,
    endpoints: usize,
    pods: &'static str,
    /// In MB, at rest.
    most: Option<f64>,
    /// Whether a quick run does it.
    quick: bool,
}

const SIZES: &[Size] = &[
    Size {
        title: "10,000 + 50,000",
        services: 10_000,
        endpoints: 50_000,
        pods: "insecure",
        most: Some(22.0),
        quick: true,
    },
    Size {
        title: "10,000 + 50,000 + 50,000 pods verified",
        services: 10_000,
        endpoints: 50_000,
        pods: "verified",
        most: Some(40.0),
        quick: true,
    },
    Size {
        title: "20,000 + 250,000",
        services: 20_000,
        endpoints: 250_000,
        pods: "insecure",
        most: None,
        quick: false,
    },
    Size {
        title: "10,000 + 150,000",
        services: 10_000,
        endpoints: 150_000,
        pods: "insecure",
        most: Some(64.0),
        quick: false,
    },
];

const RESOURCES: &[&str] = &["namespaces", "services", "endpointslices", "pods"];

pub(crate) fn run(world: &World, report: &mut Report) -> io::Result<()> {
    let mut figures = Figures::default();
    for size in SIZES
        .iter()
        .filter(|size| size.quick || !world.effort.quick)
    {
        let steady = measure(world, size, &mut figures)?;
        if let Some(most) = size.most {
            report.goal(
                &format!("memory: {}: at rest <= {most} MB", size.title),
                Some(steady),
                "MB",
                Limit::AtMost(most),
            );
        }
        let peak = figures
            .median(size.title, Column::RelistMb)
            .map(|peak| peak / steady);
        let text = format!("memory: {}: peak of a relist <= 1.25 of rest", size.title);
        report.goal(&text, peak, "of it", Limit::AtMost(1.25));
    }
    report.table("memory: services + endpoints", &figures);
    Ok(())
}

/// Returns what it holds at rest, in MB.
fn measure(world: &World, size: &Size, figures: &mut Figures) -> io::Result<f64> {
    let cluster = Cluster::new(world.seed, size.services, size.endpoints);
    let api = ApiServer::start();
    cluster.objects(size.pods == "verified").for_each(|object| {
        api.apply(object);
    });
    let source = format!("kubeconfig {} lab", api.kubeconfig().display());
    let instance = Instance::synced(
        world,
        How {
            pods: size.pods,
            ..How::new(world, &source)
        },
    )?;
    let mb = |octets: u64| octets as f64 / 1e6;
    instance.settle();
    let (first, steady) = (mb(instance.running.peak()), mb(instance.running.rss()));
    instance.running.forget_peak();
    let mut questions = Questions::new(Mix::Hits, &cluster, world.seed);
    Load::new(
        instance.address,
        Transport::Udp,
        &mut questions,
        Check::Answers,
    )?
    .closed(world.effort.load * 2)?;
    let loaded = mb(instance.running.peak());
    instance.settle();
    instance.running.forget_peak();
    api.compact();
    api.clear_requests();
    RESOURCES
        .iter()
        .for_each(|resource| api.expire_watches(resource));
    // It lists anew at once, or after the first delay of its retries.
    std::thread::sleep(Duration::from_secs(2));
    instance.settle();
    let listed = api.requests().len();
    if listed == 0 {
        return Err(io::Error::other("nothing was listed anew"));
    }
    for (column, value) in [
        (Column::RssMb, steady),
        (Column::StartMb, first),
        (Column::LoadMb, loaded),
        (Column::RelistMb, mb(instance.running.peak())),
    ] {
        figures.add(size.title, column, value);
    }
    Ok(steady)
}

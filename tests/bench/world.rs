//! What all works of a run share: the cores, the seed, how long, the contenders, the API server with the cluster in
//! it, and the upstream. It is made once, and what it started ends with it.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::peers::{Contender, Data, Kind, Server};
use crate::process::{Cores, Running, free_port, loopback};
use crate::support::apiserver::ApiServer;

/// The cluster that most works ask about.
pub(crate) const SERVICES: usize = 10_000;
pub(crate) const ENDPOINTS: usize = 50_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// One load of one server.
    pub(crate) load: Duration,
    pub(crate) quick: bool,
}

pub(crate) struct World {
    pub(crate) cores: Cores,
    pub(crate) effort: Effort,
    pub(crate) seed: u64,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) cluster: Cluster,
    pub(crate) api: ApiServer,
    pub(crate) folder: TempDir,
    pub(crate) began: Instant,
    records: Vec<String>,
    kubeconfig: PathBuf,
    upstream: (std::net::SocketAddr, Running),
}

impl World {
    /// The calling thread, and so the API server, is on the generator's core.
    pub(crate) fn new(
        cores: Cores,
        effort: Effort,
        seed: u64,
        contenders: Vec<Contender>,
    ) -> io::Result<World> {
        let began = Instant::now();
        let cluster = Cluster::new(seed, SERVICES, ENDPOINTS);
        let api = ApiServer::start();
        cluster.objects(false).for_each(|object| {
            api.apply(object);
        });
        let folder = TempDir::new()?;
        let port = free_port();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-upstream", &port.to_string()]);
        let log = folder.path().join("upstream.log");
        let upstream = Running::start(&mut command, &[cores.generator], cores.generator, &log)?;
        Ok(World {
            cores,
            effort,
            seed,
            contenders,
            records: cluster.records(),
            cluster,
            kubeconfig: api.kubeconfig(),
            api,
            folder,
            began,
            upstream: (loopback(port), upstream),
        })
    }

    /// Starts those of these kinds; who cannot be started is left out, and it is said why.
    pub(crate) fn start(&self, kinds: &[Kind]) -> Vec<Server> {
        let data = Data {
            folder: self.folder.path(),
            cores: self.cores,
            kubeconfig: &self.kubeconfig,
            records: &self.records,
            upstream: self.upstream(),
        };
        let known = self.known();
        let wanted = self
            .contenders
            .iter()
            .filter(|contender| kinds.contains(&contender.kind));
        let started = wanted.filter_map(|contender| match contender.start(&data, &known) {
            Ok(server) => Some(server),
            Err(fault) => {
                println!("left out: {fault}");
                None
            }
        });
        started.collect()
    }

    /// A name of the cluster, of the last service that is read.
    pub(crate) fn known(&self) -> String {
        self.cluster
            .services
            .last()
            .map_or_else(String::new, |service| service.dns_name())
    }

    pub(crate) fn upstream(&self) -> std::net::SocketAddr {
        self.upstream.0
    }

    /// The program that is judged.
    pub(crate) fn cairn(&self) -> &Contender {
        let mut cairn = self
            .contenders
            .iter()
            .filter(|contender| contender.kind == Kind::Cairn);
        cairn.next().expect("Cairn is always there")
    }
}

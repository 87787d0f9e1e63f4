//! Cairn alone, with a cluster of the work's own, for what is no comparison: what updates cost, starting, memory.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::peers::{asked, corefile_with};
use crate::process::{Running, free_port, loopback};
use crate::questions::{Expect, Qtype};
use crate::world::World;

/// How long a start may take before the work is given up.
const START: Duration = Duration::from_secs(120);
/// A process that used no more than this share of its core is at rest.
const AT_REST: f64 = 0.02;
/// What a process is watched for.
const WATCHED: Duration = Duration::from_millis(200);
const NOT_SETTLED_AFTER: Duration = Duration::from_secs(30);

pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) running: Running,
    ready: SocketAddr,
}

/// How an instance is started.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// The directive that names where the cluster is: `kubeconfig …` or `manifests …`.
    pub(crate) source: &'a str,
    /// The mode of `pods`.
    pub(crate) pods: &'a str,
    pub(crate) cores: &'a [usize],
    /// What runs the program, if something does: a program and its arguments.
    pub(crate) under: &'a [String],
}

impl<'a> How<'a> {
    pub(crate) fn new(world: &'a World, source: &'a str) -> How<'a> {
        How {
            source,
            pods: "insecure",
            cores: std::slice::from_ref(&world.cores.server),
            under: &[],
        }
    }
}

impl Instance {
    /// Starts the program, and waits for nothing.
    pub(crate) fn exec(world: &World, how: How<'_>) -> io::Result<Instance> {
        let port = free_port();
        let folder = world.folder.path().join(format!("alone-{port}"));
        fs::create_dir_all(&folder)?;
        let (text, ready) = corefile_with(port, how.source, how.pods, world.upstream());
        let conf = folder.join("conf");
        fs::write(&conf, text)?;
        let program = world.cairn().program.as_os_str();
        let mut command = match how.under {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.arg("-conf").arg(&conf).current_dir(&folder);
        let log = folder.join("log");
        let running = Running::start(&mut command, how.cores, world.cores.generator, &log)?;
        Ok(Instance {
            address: loopback(port),
            running,
            ready,
        })
    }

    /// Starts it, and waits until it knows its cluster.
    pub(crate) fn synced(world: &World, how: How<'_>) -> io::Result<Instance> {
        let mut instance = Instance::exec(world, how)?;
        instance.until_ready()?;
        Ok(instance)
    }

    /// How long after its start it was ready.
    pub(crate) fn until_ready(&mut self) -> io::Result<Duration> {
        let ready = self.ready;
        self.until("ready", || {
            http(ready, "/ready").is_some_and(|response| response.ends_with("\r\n\r\nOK"))
        })
    }

    /// How long after its start a name was answered with records.
    pub(crate) fn until_answered(&mut self, name: &str) -> io::Result<Duration> {
        let address = self.address;
        self.until(name, || answers(address, name))
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> io::Result<Duration> {
        while !holds() {
            if self.running.has_ended() || self.running.started.elapsed() > START {
                return Err(io::Error::other(format!("cairn has not come to: {what}")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self.running.started.elapsed())
    }

    /// Waits until it does nothing more.
    pub(crate) fn settle(&self) {
        let began = Instant::now();
        while began.elapsed() < NOT_SETTLED_AFTER {
            let before = self.running.cpu();
            std::thread::sleep(WATCHED);
            if (self.running.cpu() - before).as_secs_f64() < WATCHED.as_secs_f64() * AT_REST {
                return;
            }
        }
    }
}

/// Whether the name is answered with records now.
pub(crate) fn answers(server: SocketAddr, name: &str) -> bool {
    let reply = asked(server, name, Qtype::A, Duration::from_millis(100));
    reply.is_some_and(|reply| Expect::Records.is_met(&reply))
}

fn http(server: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

/// The objects as one `List`, as `kubectl get -o json` prints it.
pub(crate) fn write_manifest(
    file: &Path,
    objects: impl Iterator<Item = serde_json::Value>,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(file)?);
    out.write_all(br#"{"apiVersion":"v1","kind":"List","items":["#)?;
    for (at, object) in objects.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut out, &object)?;
    }
    out.write_all(b"]}")?;
    out.flush()
}

//! The servers that are compared: who is there, and how each is started on its core.

mod conf;

pub(crate) use conf::corefile_with;

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::zone_file;
use crate::load::Check;
use crate::process::{Cores, Running, free_port, loopback, on_path};
use crate::questions::{Expect, Qtype, Question};

/// How long a server may take until it knows its data.
const START: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Floor,
    /// Cairn as it was built, or another build of it.
    Cairn,
    CoreDns,
    Knot,
    Nsd,
    Unbound,
}

/// A server that is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

/// What a server is to serve.
pub(crate) struct Data<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) cores: Cores,
    /// Of the API server.
    pub(crate) kubeconfig: &'a Path,
    /// The same as the API server has, as records.
    pub(crate) records: &'a [String],
    /// Knows the names outside of the cluster.
    pub(crate) upstream: SocketAddr,
}

pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) running: Running,
}

/// Everybody who is there, the floor and Cairn first.
pub(crate) fn contenders(cairn: PathBuf, rivals: &[PathBuf]) -> Vec<Contender> {
    let own = std::env::current_exe().expect("a process knows its program");
    let mut all = vec![
        Contender {
            name: "floor".into(),
            kind: Kind::Floor,
            program: own,
        },
        Contender {
            name: "cairn".into(),
            kind: Kind::Cairn,
            program: cairn,
        },
    ];
    for (n, program) in rivals.iter().enumerate() {
        let name = format!("rival{}", n + 1);
        all.push(Contender {
            name,
            kind: Kind::Cairn,
            program: program.clone(),
        });
    }
    for (name, program, kind) in [
        ("knot", "knotd", Kind::Knot),
        ("nsd", "nsd", Kind::Nsd),
        ("unbound", "unbound", Kind::Unbound),
        ("coredns", "coredns", Kind::CoreDns),
    ] {
        let found = on_path(program);
        all.extend(found.map(|program| Contender {
            name: name.into(),
            kind,
            program,
        }));
    }
    all
}

impl Contender {
    /// Starts it on the server's core and waits until it answers for the cluster.
    pub(crate) fn start(&self, data: &Data<'_>, known: &str) -> io::Result<Server> {
        let folder = data.folder.join(&self.name);
        fs::create_dir_all(&folder)?;
        let port = free_port();
        let mut command = self.command(&folder, port, data)?;
        command.current_dir(&folder);
        let log = folder.join("log");
        let running = Running::start(
            &mut command,
            &[data.cores.server],
            data.cores.generator,
            &log,
        )?;
        let mut server = Server {
            name: self.name.clone(),
            kind: self.kind,
            address: loopback(port),
            running,
        };
        if server.answers(known) {
            return Ok(server);
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(io::Error::other(format!(
            "{} did not start: {}",
            self.name,
            said.lines().last().unwrap_or("it said nothing")
        )))
    }

    fn command(&self, folder: &Path, port: u16, data: &Data<'_>) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        let conf = folder.join("conf");
        let text = match self.kind {
            Kind::Floor => {
                command.args(["serve-echo", &port.to_string()]);
                return Ok(command);
            }
            Kind::Cairn | Kind::CoreDns => {
                command.arg("-conf").arg(&conf);
                conf::corefile(port, data.kubeconfig, data.upstream)
            }
            Kind::Knot => {
                command.arg("-c").arg(&conf);
                conf::knot(folder, port)
            }
            Kind::Nsd => {
                command.arg("-d").arg("-c").arg(&conf);
                conf::nsd(folder, port)
            }
            Kind::Unbound => {
                command.arg("-d").arg("-c").arg(&conf);
                conf::unbound(folder, port, data)
            }
        };
        if matches!(self.kind, Kind::Knot | Kind::Nsd) {
            for zone in ["cluster.local", "in-addr.arpa"] {
                fs::write(
                    folder.join(format!("{zone}.zone")),
                    zone_file(zone, data.records),
                )?;
            }
        }
        fs::write(conf, text)?;
        Ok(command)
    }
}

impl Server {
    pub(crate) fn check(&self) -> Check {
        match self.kind {
            Kind::Floor => Check::Nothing,
            _ => Check::Answers,
        }
    }

    /// Asks until the name is answered with records.
    fn answers(&mut self, known: &str) -> bool {
        let began = Instant::now();
        while began.elapsed() < START && !self.running.has_ended() {
            match asked(self.address, known, Qtype::A, Duration::from_millis(100)) {
                Some(reply) if self.kind == Kind::Floor || Expect::Records.is_met(&reply) => {
                    return true;
                }
                Some(_) => std::thread::sleep(Duration::from_millis(20)),
                None => {}
            }
        }
        false
    }
}

/// The reply to one question, if it comes in time.
pub(crate) fn asked(
    server: SocketAddr,
    name: &str,
    qtype: Qtype,
    wait: Duration,
) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(loopback(0)).ok()?;
    socket.set_read_timeout(Some(wait)).ok()?;
    socket.connect(server).ok()?;
    socket.send(&Question::once(name, qtype, 1)).ok()?;
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply);
    if length.is_err() {
        // A port that nobody listens on refuses at once.
        std::thread::sleep(Duration::from_millis(1));
    }
    reply.truncate(length.ok()?);
    Some(reply)
}

//! Cairn as an operator meets it: `cairn` as a process of its own, in a folder of its own.
//!
//! `CAIRN_BINARY` names another build of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::dns;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether that has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that runs; it is killed with the handle.
pub(crate) struct Cairn {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

/// What is said to the process beside its Corefile; nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Launch<'a> {
    pub(crate) flags: &'a [&'a str],
    /// Names and texts, written into its folder.
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// The words of a command that runs what follows it.
    pub(crate) behind: &'a [&'a str],
    /// Its standard output, if not the file that its log is read from.
    pub(crate) output: Option<&'a UnixStream>,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holds {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

/// A port that is free for UDP and TCP. It is none of those that the kernel gives away, of which other tests take
/// thousands at a time.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free {
            return port;
        }
    }
}

impl Cairn {
    /// Starts with this Corefile, in which `PORT` stands for the port, and waits until it answers, clients and operators.
    pub(crate) fn serving(corefile: &str, flags: &[&str]) -> Cairn {
        let launch = Launch {
            flags,
            ..Launch::default()
        };
        let cairn = Cairn::starting(corefile, free_port(), &launch);
        cairn.wait_until(|cairn| cairn.ask("example.org.").is_some());
        // It opens the socket for operators after those of clients.
        let operators = format!(" @cairn.{}", cairn.id());
        cairn.wait_until(|_| {
            let sockets = fs::read_to_string("/proc/net/unix").unwrap();
            sockets.lines().any(|socket| socket.ends_with(&operators))
        });
        cairn
    }

    /// Starts likewise on this port, and waits for nothing.
    pub(crate) fn starting(corefile: &str, port: u16, launch: &Launch) -> Cairn {
        let folder = tempfile::tempdir().unwrap();
        let corefile = corefile.replace("PORT", &port.to_string());
        fs::write(folder.path().join("Corefile"), corefile).unwrap();
        Cairn::starting_in(folder, port, launch)
    }

    /// Starts in a folder in which there is a Corefile for this port.
    pub(crate) fn starting_in(folder: tempfile::TempDir, port: u16, launch: &Launch) -> Cairn {
        Cairn {
            child: spawn(folder.path(), launch),
            folder,
            port,
        }
    }

    /// Kills it, if it still runs, and starts another in its folder.
    pub(crate) fn restart(&mut self, launch: &Launch) {
        self.kill();
        self.child = spawn(self.folder.path(), launch);
    }

    /// Ends it as nothing can prepare for.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The text of the reply's code and records, if one comes.
    pub(crate) fn ask(&self, name: &str) -> Option<String> {
        dns::ask(self.address(), name, "A")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write_corefile(&self, corefile: &str) {
        let corefile = corefile.replace("PORT", &self.port.to_string());
        fs::write(self.path("Corefile"), corefile).unwrap();
    }

    /// Sends a signal, by its name: `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -s {signal}");
    }

    /// Both of its outputs so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, is: impl Fn(&Cairn) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(
                Instant::now() < deadline,
                "it did not come; the log says:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Returns when this is answered for the name.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let got = self.ask(name);
            if got.as_deref() == Some(expected) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {got:?}, not {expected}; the log says:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        end_of(&mut self.child)
            .unwrap_or_else(|| panic!("it goes on; the log says:\n{}", self.log()))
    }

    /// What it holds at this moment.
    pub(crate) fn holds(&self) -> Holds {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        Holds {
            resident_kib: figure("VmRSS:"),
            descriptors: descriptors.count() as u64,
            threads: figure("Threads:"),
        }
    }
}

impl Drop for Cairn {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program itself, for commands that end by themselves.
pub(crate) fn command() -> Command {
    Command::new(binary())
}

/// Runs the program in `folder` to its end: exit code and both outputs.
pub(crate) fn run(folder: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let launch = Launch {
        flags,
        ..Launch::default()
    };
    let mut child = spawn(folder, &launch);
    let status = end_of(&mut child).unwrap_or_else(|| {
        let _ = child.kill();
        child.wait().unwrap()
    });
    let text = fs::read_to_string(folder.join("log")).unwrap();
    (status.code(), text)
}

fn binary() -> PathBuf {
    let named = std::env::var_os("CAIRN_BINARY").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_cairn").into());
    fs::canonicalize(binary).expect("the program has been built")
}

/// Both outputs go to the file `log` in the folder.
fn spawn(folder: &Path, launch: &Launch) -> Child {
    for (name, text) in launch.files {
        fs::write(folder.join(name), text).unwrap();
    }
    let log = fs::File::create(folder.join("log")).unwrap();
    let output: OwnedFd = match launch.output {
        Some(output) => output.try_clone().unwrap().into(),
        None => log.try_clone().unwrap().into(),
    };
    let mut command = match launch.behind {
        [first, others @ ..] => {
            let mut command = Command::new(first);
            command.args(others).arg(binary());
            command
        }
        [] => command(),
    };
    command
        .args(launch.flags)
        .envs(launch.environment.iter().copied())
        .env_remove("KUBERNETES_SERVICE_HOST")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .spawn()
        .unwrap()
}

/// How it ended; none if it goes on for too long.
fn end_of(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}

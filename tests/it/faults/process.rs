//! The program as a process, of which the kernel tells what it holds. `CAIRN_BINARY` names another build of it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::dns;

/// What a busy machine may take to start it.
const PATIENCE: Duration = Duration::from_secs(30);

/// `cairn`; it ends with the handle.
pub(super) struct Process {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holds {
    pub(super) resident_kib: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

impl Process {
    /// Starts with these lines in the one server block, behind the words of a command that runs what follows it, in this
    /// environment.
    pub(super) fn start(lines: &str, behind: &[&str], environment: &[(&str, &str)]) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::program::free_port();
        let corefile = format!(".:{port} {{\n bind 127.0.0.1\n {lines}\n}}\n");
        fs::write(folder.path().join("Corefile"), corefile).unwrap();
        let named = std::env::var_os("CAIRN_BINARY").map(PathBuf::from);
        let binary = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_cairn").into());
        let binary = fs::canonicalize(binary).expect("the program has been built");
        let mut command = match behind {
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(binary);
                command
            }
            [] => Command::new(binary),
        };
        let child = command
            .current_dir(folder.path())
            .envs(environment.iter().copied())
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.path().join("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Process {
            child,
            port,
            _folder: folder,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns when this is answered for the name.
    #[track_caller]
    pub(super) fn wait_for(&self, name: &str, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let got = dns::ask(self.address(), name, "A");
            if got.as_deref() == Some(expected) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name}: {got:?}, not {expected}; the log says:\n{}",
                fs::read_to_string(self._folder.path().join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal, by its name.
    pub(super) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -s {signal}");
    }

    /// What it holds at this moment.
    pub(super) fn holds(&self) -> Holds {
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

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Processes of their own: where they run, how they end, and what the kernel says that they took.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// How long a process may take to end by itself.
const ENDING: Duration = Duration::from_secs(5);

/// Which cores whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    /// A second one for the server, where it is to have two: with two cores it is the generator's.
    pub(crate) second: usize,
    pub(crate) generator: usize,
}

impl Cores {
    /// The first core for the server and the last for the generator. `None` where there is only one.
    pub(crate) fn find() -> Option<Cores> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let cores: Vec<usize> = (0..CpuSet::count())
            .filter(|core| allowed.is_set(*core).unwrap_or(false))
            .collect();
        match cores.as_slice() {
            [] | [_] => None,
            [server, second, rest @ ..] => Some(Cores {
                server: *server,
                second: *second,
                generator: *rest.last().unwrap_or(second),
            }),
        }
    }

    pub(crate) fn generator_is_alone(self) -> bool {
        self.second != self.generator
    }
}

/// Moves the calling thread, and with it what it starts.
pub(crate) fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).expect("it is a core of this machine");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("a thread may choose among its own cores");
}

/// A process that ends with this value.
pub(crate) struct Running {
    child: Child,
    pub(crate) started: Instant,
}

impl Running {
    /// Starts the command on these cores; its output goes to `log`.
    pub(crate) fn start(
        command: &mut Command,
        on: &[usize],
        back_to: usize,
        log: &Path,
    ) -> io::Result<Running> {
        let log = fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        pin(on);
        let started = Instant::now();
        let child = command.spawn();
        pin(&[back_to]);
        Ok(Running {
            child: child?,
            started,
        })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time of it and of its children.
    pub(crate) fn cpu(&self) -> Duration {
        family(self.child.id()).into_iter().map(cpu).sum()
    }

    /// CPU time of it and of its children outside of the kernel, as near as `stat` has it: counted by where the ticks of
    /// the clock fall, in steps of 10 ms.
    pub(crate) fn user(&self) -> Duration {
        family(self.child.id()).into_iter().map(user).sum()
    }

    /// `VmRSS` of it and of its children, in octets: what they share is counted for each.
    pub(crate) fn rss(&self) -> u64 {
        let each = family(self.child.id()).into_iter();
        each.map(|id| status(id, "VmRSS:")).sum()
    }

    /// `VmHWM`, in octets, since the start or since it was forgotten.
    pub(crate) fn peak(&self) -> u64 {
        status(self.child.id(), "VmHWM:")
    }

    /// `VmHWM` begins anew from what is held.
    pub(crate) fn forget_peak(&self) {
        // Where the kernel does not let us, the peak since the start is told, which is no less.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(mut self) {
        let pid =
            Pid::from_raw(i32::try_from(self.child.id()).expect("ids of processes are small"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < ENDING && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Children of a server end with it when it is asked to, and NSD's do not when it is killed.
        if !self.has_ended() {
            for id in family(self.child.id()) {
                let pid = Pid::from_raw(i32::try_from(id).expect("ids of processes are small"));
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// A process and those that it started.
fn family(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut at = 0;
    while at < all.len() {
        for task in tasks(all[at]) {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    all
}

fn tasks(id: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{id}/task"))
        .into_iter()
        .flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// The scheduler's own account, in nanoseconds: `stat` counts in steps of 10 ms.
fn cpu(id: u32) -> Duration {
    tasks(id)
        .iter()
        .map(|task| schedstat(&task.join("schedstat")))
        .sum()
}

fn user(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name of the program may contain whatever separates the fields.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields
        .split_whitespace()
        .nth(11)
        .and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(ticks.unwrap_or(0) * 10)
}

fn schedstat(file: &Path) -> Duration {
    let text = fs::read_to_string(file).unwrap_or_default();
    let on_cpu = text
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    Duration::from_nanos(on_cpu.unwrap_or(0))
}

/// CPU time of the calling thread.
pub(crate) fn own_cpu() -> Duration {
    schedstat(Path::new("/proc/thread-self/schedstat"))
}

fn status(id: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// A port that is free for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let port = tcp.local_addr().expect("it is bound").port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Where a program is, if it is on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps servers where only root looks.
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

//! The `process_*` families that dashboards of any program read: CPU time, memory, files, start time.
//!
//! The collector of the `prometheus` crate has CPU time in whole seconds, too coarse for a server that uses hundredths
//! of a core; this one has microseconds, from `getrusage`.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::family::{Schema, counter_of, gauge};

/// Reads the process's own state at each scrape. What the system does not tell is left out.
pub(super) struct Process {
    started_seconds: f64,
    page_bytes: f64,
    schemas: [Schema; 6],
}

impl Process {
    pub(super) fn new(started: SystemTime) -> Self {
        let started_seconds = started
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let page = sysconf(SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .unwrap_or(4096);
        let schema = |kind, name, help| Schema::new(kind, name, help, &[]);
        let cpu = "Total user and system CPU time spent in seconds.";
        let schemas = [
            schema(MetricType::COUNTER, "process_cpu_seconds_total", cpu),
            schema(
                MetricType::GAUGE,
                "process_open_fds",
                "Number of open file descriptors.",
            ),
            schema(
                MetricType::GAUGE,
                "process_max_fds",
                "Maximum number of open file descriptors.",
            ),
            schema(
                MetricType::GAUGE,
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
            ),
            schema(
                MetricType::GAUGE,
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            ),
            schema(
                MetricType::GAUGE,
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            ),
        ];
        Self {
            started_seconds,
            page_bytes: page as f64,
            schemas,
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.schemas.iter().map(Schema::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let pages = memory_pages();
        let values = [
            cpu_seconds(),
            open_files(),
            getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft as f64),
            pages.map(|(size, _)| size * self.page_bytes),
            pages.map(|(_, resident)| resident * self.page_bytes),
            Some(self.started_seconds),
        ];
        let sampled = self.schemas.iter().zip(values);
        sampled
            .filter_map(|(schema, value)| {
                let sample = if schema.is_counter() {
                    counter_of
                } else {
                    gauge
                };
                value.map(|value| schema.family(vec![sample(Vec::new(), value)]))
            })
            .collect()
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

fn open_files() -> Option<f64> {
    // The directory is itself open while it is read.
    std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|files| files.count().saturating_sub(1) as f64)
}

/// Pages of address space and of resident memory: the first two numbers of `/proc/self/statm`.
fn memory_pages() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut numbers = text
        .split_ascii_whitespace()
        .map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

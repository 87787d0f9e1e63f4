//! `cairn`: serves until a signal ends it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::begin::{self, begin, failed, fatal, tell_lines};
use super::descriptors::Descriptors;
use super::{COREDNS_VERSION, Format, Serve, platform, version};
use crate::admin::socket;
use crate::app::App;
use crate::config::{self, Config, Loaded};
use crate::corefile::{Filesystem, Location};
use crate::generation::Process;
use crate::reload::{self, By, GLANCE_EVERY, Keeper, Outcome, Reload};
use crate::telemetry::lines::Lines;
use crate::telemetry::log::LogControl;

/// Exit code after a second SIGINT, as in CoreDNS.
const IMPATIENT: u8 = 2;

/// Serves with these flags.
pub(super) fn run(flags: &Serve) -> ExitCode {
    let descriptors = Descriptors::claim();
    let started = Lines::start(flags.log_format.into(), std::io::stdout());
    let (lines, written) = match started {
        Ok(started) => started,
        Err(fault) => return failed(&format!("the log could not be started: {fault}")),
    };
    let code = match LogControl::install(lines.clone()) {
        Ok(log) => start(flags, descriptors, lines, &log),
        Err(fault) => failed(&fault.to_string()),
    };
    drop(written);
    code
}

fn start(flags: &Serve, descriptors: Descriptors, lines: Lines, log: &LogControl) -> ExitCode {
    let location = Location::from_flag(flags.conf.as_deref());
    let loaded = config::load(&Filesystem, &location, flags.dns_port);
    let format = flags.log_format;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => {
            return fatal(
                format,
                &format!("the runtime could not be started: {fault}"),
            );
        }
    };
    let (looping, loops) = mpsc::channel(1);
    let process = || {
        let mut process = Process::new(runtime.handle().clone(), lines.clone());
        let connections_max = process.listener.connections_max;
        process.listener.connections_max = descriptors.connections_max(connections_max);
        let looping = looping.clone();
        // One is enough to end the process.
        process.on_loop = Arc::new(move |found| drop(looping.try_send(found.to_string())));
        process
    };
    let code = runtime.block_on(serve(flags, &location, loaded, process, log, loops));
    // What still waits for the network has lost its client.
    runtime.shutdown_background();
    code
}

async fn serve(
    flags: &Serve,
    location: &Location,
    loaded: Loaded,
    process: impl Fn() -> Process,
    log: &LogControl,
    mut loops: mpsc::Receiver<String>,
) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(fault) => {
            let reason = format!("signals cannot be caught: {fault}");
            return fatal(flags.log_format, &reason);
        }
    };
    let last_good = begin::last_good(flags);
    if let Some(path) = &last_good
        && *location != Location::Stdin
        && reload::is_corefile(path.clone(), location.path().to_owned()).await
    {
        let path = path.display();
        let reason = format!(
            "the last good Corefile cannot be kept in {path}: that is the Corefile itself, and would be overwritten"
        );
        return fatal(flags.log_format, &reason);
    }
    let keeper = last_good.map(|path| Keeper::start(path, &Handle::current()));
    let (mut app, reload) = match begin(flags, loaded, keeper, process).await {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let _operators = open_for_operators(&app);
    if let Some(path) = &flags.pidfile
        && let Err(fault) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        // Nobody can be helped by a cluster without DNS.
        tracing::error!("Could not write pidfile: {}: {fault}", path.display());
    }
    if !flags.quiet {
        match flags.log_format {
            Format::Text => {
                let banner = banner(app.config()) + "\n";
                app.process().lines.push(banner.as_bytes());
            }
            Format::Json => tell_served(app.config()),
        }
    }
    tell_running(app.config(), log);
    tokio::select! {
        () = until_stopped(&mut app, reload, &mut signals, location, flags, log) => {}
        Some(found) = loops.recv() => {
            // Answering on would only feed the loop.
            tracing::error!(target: "plugin/loop", fatal = true, "{found}");
            remove(flags.pidfile.as_deref());
            return ExitCode::FAILURE;
        }
    }
    let stopped = stop(app, &mut signals).await;
    remove(flags.pidfile.as_deref());
    stopped.unwrap_or(ExitCode::SUCCESS)
}

/// Lets `cairn explain` and the like in, if that can be.
fn open_for_operators(app: &App) -> Option<socket::Opened> {
    let opened = socket::open(app.admin().clone());
    opened
        .inspect_err(|fault| tracing::warn!("`cairn explain` cannot ask this server: {fault}"))
        .ok()
}

/// Follows signals and the Corefile until a signal says stop.
async fn until_stopped(
    app: &mut App,
    mut reload: Reload,
    signals: &mut Signals,
    location: &Location,
    flags: &Serve,
    log: &LogControl,
) {
    let is_file = *location != Location::Stdin;
    let setting = |reload: &Reload, app: &App| reload.setting(app.config()).filter(|_| is_file);
    let mut next = next_look(setting(&reload, app));
    loop {
        let follows = setting(&reload, app).is_some();
        let by = tokio::select! {
            () = at(next) => By::Interval,
            () = sleep(GLANCE_EVERY), if reload.is_failing() && is_file => By::Glance { follows },
            asked = signals.next() => match asked {
                Asked::Reload => By::Signal,
                Asked::Stop(signal) => return tell_stop(signal),
            },
        };
        if by == By::Signal {
            tracing::info!("SIGUSR1: Reloading");
        }
        let outcome = tokio::select! {
            outcome = reload.look(app, location, flags.dns_port, by) => outcome,
            signal = signals.stop() => return tell_stop(signal),
        };
        match outcome {
            Outcome::Reloaded(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("Reloading complete");
                tell_running(app.config(), log);
            }
            Outcome::Mended => {
                tracing::info!(target: "plugin/reload", "The Corefile is again what is served");
            }
            Outcome::Failed(reason) => {
                app.process().metrics.reload().failed();
                let told = format!("Corefile changed but reload failed: {reason}");
                tell_lines(flags.log_format, &told);
            }
            Outcome::Unchanged | Outcome::StillFailing => {}
        }
        if let Some(reminder) = reload.reminder(Instant::now()) {
            tell_lines(flags.log_format, &reminder);
        }
        if !matches!(by, By::Glance { .. }) || !reload.is_failing() {
            next = next_look(setting(&reload, app));
        }
    }
}

fn tell_stop(signal: &str) {
    tracing::info!("{signal}: Shutting down servers then terminating");
}

fn next_look(setting: Option<(Duration, Duration)>) -> Option<Instant> {
    let (interval, jitter) = setting?;
    Some(Instant::now() + reload::next_look(interval, jitter, rand::random()))
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn tell_running(config: &Config, log: &LogControl) {
    log.set_debug(config.has("debug"));
    if reload::setting(config).is_some() {
        tracing::info!(target: "plugin/reload", "Running configuration SHA512 = {}", config.sha512);
    }
}

/// Stops; SIGINT again, or SIGQUIT, ends it at once.
async fn stop(app: App, signals: &mut Signals) -> Option<ExitCode> {
    tokio::select! {
        () = app.stop() => None,
        _ = signals.interrupt.recv() => Some(ExitCode::from(IMPATIENT)),
        _ = signals.quit.recv() => Some(ExitCode::SUCCESS),
    }
}

fn remove(pidfile: Option<&Path>) {
    if let Some(path) = pidfile
        && let Err(fault) = std::fs::remove_file(path)
    {
        tracing::warn!("Could not remove pidfile: {}: {fault}", path.display());
    }
}

/// What is served, a line a zone and address, and by whom.
fn banner(config: &Config) -> String {
    let blocks = config.blocks.iter();
    let mut lines: Vec<String> = blocks
        .flat_map(|block| block.addresses())
        .map(|(key, address)| match address.ip {
            None => format!("{}:{}", key.zone, address.port),
            Some(ip) => format!("{}:{} on {ip}", key.zone, address.port),
        })
        .collect();
    lines.sort();
    lines.push(version());
    lines.join("\n")
}

/// The same as objects of the log.
fn tell_served(config: &Config) {
    let blocks = config.blocks.iter();
    for (key, address) in blocks.flat_map(|block| block.addresses()) {
        let address_of = address.ip.map(|ip| ip.to_string());
        tracing::info!(zone = %key.zone, port = address.port, address = address_of, "Serving");
    }
    let (os, arch) = platform();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        os,
        arch,
        answers_as = format!("CoreDNS-{COREDNS_VERSION}"),
        "Started"
    );
}

/// What a signal asks for.
enum Asked {
    Reload,
    /// With the name of the signal.
    Stop(&'static str),
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    reload: Signal,
    /// Ignored, like CoreDNS ignores them; without a handler they would end the process.
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            reload: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                // At once: no lameduck, no last answers.
                _ = self.quit.recv() => std::process::exit(0),
                _ = self.reload.recv() => return Asked::Reload,
                _ = self.hangup.recv() => {}
                _ = self.upgrade.recv() => tracing::warn!("SIGUSR2: an upgrade in place is not supported; ignored"),
            }
        }
    }

    /// The name of the next signal that says stop, while others wait.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.quit.recv() => std::process::exit(0),
        }
    }
}

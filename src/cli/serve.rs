//! `cairn`: serves until a signal ends it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::descriptors::Descriptors;
use super::{Format, Serve, print, version};
use crate::admin::socket;
use crate::app::App;
use crate::config::{self, Config, Loaded};
use crate::corefile::{Diagnostic, Filesystem, Location};
use crate::generation::Process;
use crate::reload::{self, By, Outcome, Reload};
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

/// Prints why there is no server; the log may not be there to tell.
pub(super) fn failed(reason: &str) -> ExitCode {
    use std::io::Write;
    let _ = write!(
        std::io::stderr(),
        "{}{}",
        reason,
        if reason.ends_with('\n') { "" } else { "\n" }
    );
    ExitCode::FAILURE
}

/// Says why there is no server, where whoever reads the log looks for it: among other objects, if lines are objects.
fn fatal(format: Format, reason: &str) -> ExitCode {
    match format {
        Format::Text => failed(reason),
        Format::Json => {
            tracing::error!(fatal = true, "{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the Corefile: for people with carets, else an object for each fault.
fn refuse(format: Format, loaded: &Loaded) -> ExitCode {
    let faults = &loaded.diagnostics;
    match format {
        Format::Text => {
            let faults = faults.iter().map(|fault| fault.render(&loaded.sources));
            failed(&faults.collect::<String>())
        }
        Format::Json => {
            faults.iter().for_each(|fault| tell_fault(fault, loaded));
            ExitCode::FAILURE
        }
    }
}

fn tell_fault(fault: &Diagnostic, loaded: &Loaded) {
    let at = fault.span.map(|span| loaded.sources.position(span));
    let file = at.as_ref().map(|at| at.path.display().to_string());
    let (line, column) = (
        at.as_ref().map(|at| at.line),
        at.as_ref().map(|at| at.column),
    );
    let hint = fault.hint.as_deref();
    let plugin = fault.plugin.iter().map(|name| format!("plugin/{name}: "));
    let message = plugin.collect::<String>() + &fault.message;
    if fault.is_error() {
        tracing::error!(fatal = true, file, line, column, hint, "{message}");
    } else {
        tracing::warn!(file, line, column, hint, "{message}");
    }
}

fn start(flags: &Serve, descriptors: Descriptors, lines: Lines, log: &LogControl) -> ExitCode {
    let location = Location::from_flag(flags.conf.as_deref());
    let loaded = config::load(&Filesystem, &location, flags.dns_port);
    let format = flags.log_format;
    let Some(config) = loaded.config.clone() else {
        return refuse(format, &loaded);
    };
    for fault in &loaded.diagnostics {
        match format {
            Format::Text => tracing::warn!("{}", fault.one_line(&loaded.sources)),
            Format::Json => tell_fault(fault, &loaded),
        }
    }
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
    let mut process = Process::new(runtime.handle().clone(), lines);
    process.listener.connections_max =
        descriptors.connections_max(process.listener.connections_max);
    let (looping, loops) = mpsc::channel(1);
    // One is enough to end the process.
    process.on_loop = Arc::new(move |found| drop(looping.try_send(found.to_string())));
    let code = runtime.block_on(serve(flags, &location, config, process, log, loops));
    // What still waits for the network has lost its client.
    runtime.shutdown_background();
    code
}

async fn serve(
    flags: &Serve,
    location: &Location,
    config: Config,
    process: Process,
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
    let mut app = match App::start(config, process).await {
        Ok(app) => app,
        Err(fault) => return fatal(flags.log_format, &fault.to_string()),
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
            Format::Text => drop(print(&banner(app.config()))),
            Format::Json => tell_served(app.config()),
        }
    }
    tell_running(app.config(), log);
    tokio::select! {
        () = until_stopped(&mut app, &mut signals, location, flags, log) => {}
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
    signals: &mut Signals,
    location: &Location,
    flags: &Serve,
    log: &LogControl,
) {
    let mut reload = Reload::default();
    loop {
        let setting = reload::setting(app.config()).filter(|_| *location != Location::Stdin);
        let by = tokio::select! {
            () = next_look(setting) => By::Interval,
            asked = signals.next() => match asked {
                Asked::Reload => By::Signal,
                Asked::Stop(signal) => {
                    tracing::info!("{signal}: Shutting down servers then terminating");
                    return;
                }
            },
        };
        if by == By::Signal {
            tracing::info!("SIGUSR1: Reloading");
        }
        match reload.look(app, location, flags.dns_port, by).await {
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
                tell_failed(flags.log_format, &reason);
            }
            Outcome::Unchanged | Outcome::StillFailing => {}
        }
    }
}

/// A reason may have several lines, with carets under words: each is a line of the log, so that they stay there. An
/// object holds them all.
fn tell_failed(format: Format, reason: &str) {
    let mut lines = match format {
        Format::Text => reason.lines().collect(),
        Format::Json => vec![reason.trim_end()],
    }
    .into_iter();
    let first = lines.next().unwrap_or_default();
    tracing::error!(target: "plugin/reload", "Corefile changed but reload failed: {first}");
    for line in lines {
        tracing::error!(target: "plugin/reload", "{line}");
    }
}

async fn next_look(setting: Option<(Duration, Duration)>) {
    match setting {
        Some((interval, jitter)) => {
            tokio::time::sleep(reload::next_look(interval, jitter, rand::random())).await
        }
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
        tracing::warn!("{}: {fault}", path.display());
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
    tracing::info!(version = version(), "Started");
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
}

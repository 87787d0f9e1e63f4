//! What is served first: the Corefile; or the last good one, if there is one and the Corefile is at fault; or nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Format, Serve};
use crate::app::{App, AppError};
use crate::config::{self, Loaded};
use crate::corefile::{Diagnostic, Filesystem, Location};
use crate::generation::Process;
use crate::reload::{self, Keeper, NoCopy, Reload};

/// Names the file where the last good Corefile is kept, if no flag does: unlike a flag, it does not keep a CoreDNS that
/// is put in our place from starting.
const LAST_GOOD: &str = "CAIRN_LAST_GOOD";

/// Why the Corefile is not served.
enum Refusal {
    /// There is none, or nothing in it, though there was one before.
    Missing,
    /// It has faults.
    Faulty,
    /// It can be read, and yet not be served.
    Unservable(AppError),
}

/// Where the last good Corefile is kept, if it is.
pub(super) fn last_good(flags: &Serve) -> Option<PathBuf> {
    let named = || std::env::var_os(LAST_GOOD).filter(|path| !path.is_empty());
    flags
        .last_good
        .clone()
        .or_else(|| named().map(PathBuf::from))
}

/// Serves what was read, or what was kept. `process` makes one for each try. The exit code says that there is no
/// server, and why has been told.
pub(super) async fn begin(
    flags: &Serve,
    loaded: Loaded,
    keeper: Option<Keeper>,
    process: impl Fn() -> Process,
) -> Result<(App, Reload), ExitCode> {
    // Looked for only where it matters: the disk may hang.
    let has_copy = || keeper.as_ref().is_some_and(has_copy);
    let refusal = match loaded.config.clone() {
        None => Refusal::Faulty,
        Some(_) if loaded.built_in && has_copy() => Refusal::Missing,
        Some(config) => {
            tell_warnings(flags.log_format, &loaded);
            match App::start(config, process()).await {
                Ok(app) => {
                    if let Some(keeper) = keeper.as_ref().filter(|_| !loaded.built_in) {
                        reload::keep(keeper, &loaded, &app);
                    }
                    return Ok((app, Reload::new(keeper)));
                }
                Err(fault) => Refusal::Unservable(fault),
            }
        }
    };
    let may_serve_copy = refusal.is_of_the_configuration() && has_copy();
    if let Some(keeper) = keeper.filter(|_| may_serve_copy) {
        let location = Location::Path(keeper.path().to_owned());
        let copy = config::load(&Filesystem, &location, flags.dns_port);
        match start_copy(copy, &process).await {
            Ok(app) => {
                let reason = refusal.reason(&loaded);
                let path = keeper.path().display();
                let facts = format!(
                    "The Corefile cannot be served. Serving the last good one, {path}: {reason}"
                );
                tell_lines(flags.log_format, &facts);
                let reload = Reload::on_last_good(&app, keeper, reason);
                return Ok((app, reload));
            }
            Err(why) => {
                let facts = format!("The last good Corefile cannot be served either: {why}");
                tell_lines(flags.log_format, &facts);
            }
        }
    }
    Err(match refusal {
        Refusal::Faulty => refuse(flags.log_format, &loaded),
        refusal => fatal(flags.log_format, &refusal.reason(&loaded)),
    })
}

/// Whether there is a copy. What is in its place and is none is told.
fn has_copy(keeper: &Keeper) -> bool {
    let found = keeper.find();
    if let Err(why @ (NoCopy::Unreadable(_) | NoCopy::Foreign | NoCopy::Changed)) = &found {
        let path = keeper.path().display();
        tracing::error!(target: "plugin/reload", "There is no last good Corefile in {path}: {why}");
    }
    found.is_ok()
}

async fn start_copy(copy: Loaded, process: impl Fn() -> Process) -> Result<App, String> {
    match copy.config {
        Some(_) if copy.built_in => Err("it is empty".to_owned()),
        Some(config) => {
            let started = App::start(config, process()).await;
            started.map_err(|fault| fault.to_string())
        }
        None => Err(reload::reasons(&copy.diagnostics, &copy.sources)),
    }
}

impl Refusal {
    /// Whether another configuration may be served where this one is not.
    fn is_of_the_configuration(&self) -> bool {
        match self {
            Refusal::Missing | Refusal::Faulty => true,
            Refusal::Unservable(fault) => fault.is_of_the_configuration(),
        }
    }

    fn reason(&self, loaded: &Loaded) -> String {
        match self {
            Refusal::Missing => reload::MISSING.to_owned(),
            Refusal::Faulty => reload::reasons(&loaded.diagnostics, &loaded.sources),
            Refusal::Unservable(fault) => fault.to_string(),
        }
    }
}

/// An error of several lines, with carets under words: each is a line of the log, so that they stay there. An object
/// holds them all.
pub(super) fn tell_lines(format: Format, text: &str) {
    let lines = match format {
        Format::Text => text.lines().collect(),
        Format::Json => vec![text.trim_end()],
    };
    for line in lines {
        tracing::error!(target: "plugin/reload", "{line}");
    }
}

fn tell_warnings(format: Format, loaded: &Loaded) {
    for fault in &loaded.diagnostics {
        match format {
            Format::Text => tracing::warn!("{}", fault.one_line(&loaded.sources)),
            Format::Json => tell_fault(fault, loaded),
        }
    }
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
pub(super) fn fatal(format: Format, reason: &str) -> ExitCode {
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

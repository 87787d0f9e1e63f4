//! `tracing` events to log lines, in CoreDNS's form or as JSON.
//!
//! The subscriber keeps no spans: a line says what happened, its fields say to what. Our own events are those with a
//! target `plugin/…` (what an operator knows a part by) or of this crate; other crates speak only to warn. `debug` is
//! switched at run time, and while it is off a debug event costs one load.

mod json;
mod text;
mod time;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, SetGlobalDefaultError, Subscriber};
use tracing::{Event, Level, Metadata, callsite};

use super::lines::Lines;

pub use json::JsonFields;
pub(super) use json::record;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `[INFO] plugin/reload: message key=value`, as CoreDNS's: no time, because the container runtime adds it.
    #[default]
    Text,
    /// One JSON object a line: `time`, `level`, `msg`, `plugin`, then the fields.
    Json,
}

/// Switches what the installed log says.
#[derive(Clone, Debug)]
pub struct LogControl {
    debug: Arc<AtomicBool>,
}

impl LogControl {
    /// Makes `lines` the log of the process, at level info.
    ///
    /// # Errors
    /// The process has a log already.
    pub fn install(lines: Lines) -> Result<Self, SetGlobalDefaultError> {
        let (subscriber, control) = LineSubscriber::new(lines);
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(control)
    }

    /// Shows or hides debug events: on while the running configuration has the `debug` plugin.
    pub fn set_debug(&self, on: bool) {
        if self.debug.swap(on, Ordering::Relaxed) != on {
            callsite::rebuild_interest_cache();
        }
    }

    /// Whether debug events are shown.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }
}

/// Turns events into lines.
struct LineSubscriber {
    lines: Lines,
    debug: Arc<AtomicBool>,
}

impl LineSubscriber {
    fn new(lines: Lines) -> (Self, LogControl) {
        let debug = Arc::new(AtomicBool::new(false));
        let control = LogControl {
            debug: Arc::clone(&debug),
        };
        (Self { lines, debug }, control)
    }

    fn level(&self) -> Level {
        if self.debug.load(Ordering::Relaxed) {
            Level::DEBUG
        } else {
            Level::INFO
        }
    }
}

impl Subscriber for LineSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The answer changes with `debug` alone, and then all call sites are asked again.
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let max = if is_ours(metadata.target()) {
            self.level()
        } else {
            Level::WARN
        };
        metadata.is_event() && *metadata.level() <= max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level().into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut content = Content {
            fields: Fields::new(self.lines.format()),
            ..Content::default()
        };
        event.record(&mut content);
        let level = *event.metadata().level();
        let target = Target::of(event.metadata().target());
        self.lines.push_with(|line| match &content.fields {
            Fields::Text(fields) => text::line(
                line,
                content.severity(level),
                target,
                &content.message,
                fields,
            ),
            Fields::Json(fields) => {
                json::line(
                    line,
                    SystemTime::now(),
                    content.severity(level),
                    target,
                    &content.message,
                    fields,
                );
            }
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Never reached with an enabled span; all share one number, which is never looked up.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What a line says of an event's level; CoreDNS's `[FATAL]` is an error event with the field `fatal = true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
}

/// Which part of the program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    /// `plugin/NAME`
    Plugin(&'a str),
    /// This crate elsewhere: not told.
    Cairn,
    /// Another crate, by its module.
    Other(&'a str),
}

impl<'a> Target<'a> {
    fn of(target: &'a str) -> Self {
        match target.strip_prefix("plugin/") {
            Some(plugin) => Self::Plugin(plugin),
            None if is_ours(target) => Self::Cairn,
            None => Self::Other(target),
        }
    }
}

fn is_ours(target: &str) -> bool {
    let module = target.split("::").next().unwrap_or(target);
    target.starts_with("plugin/") || module == "cairn" || module == "cairn_dns"
}

/// The message of an event, and its fields already in the form of the line.
#[derive(Default)]
struct Content {
    message: String,
    fields: Fields,
    fatal: bool,
}

enum Fields {
    Text(String),
    Json(Vec<u8>),
}

impl Default for Fields {
    fn default() -> Self {
        Self::new(LogFormat::Text)
    }
}

impl Fields {
    fn new(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text(String::new()),
            LogFormat::Json => Self::Json(Vec::new()),
        }
    }
}

impl Content {
    fn severity(&self, level: Level) -> Severity {
        match level {
            Level::ERROR if self.fatal => Severity::Fatal,
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            Level::INFO => Severity::Info,
            Level::DEBUG | Level::TRACE => Severity::Debug,
        }
    }

    fn text(&mut self, field: &Field, value: &str) {
        match &mut self.fields {
            _ if field.name() == "message" => self.message.push_str(value),
            Fields::Text(fields) => text::field(fields, field.name(), value),
            Fields::Json(fields) => JsonFields::new(fields).text(field.name(), value),
        }
    }

    /// A number or a boolean, which JSON has without quotes.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        match &mut self.fields {
            Fields::Text(fields) => text::field(fields, field.name(), &value.to_string()),
            Fields::Json(fields) => JsonFields::new(fields).bare(field.name(), value),
        }
    }
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a `String` fails only if the value's own `Debug` does; then what it wrote stands.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.text(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut chain = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(chain, ": {cause}");
            source = cause.source();
        }
        self.text(field, &chain);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "fatal" {
            self.fatal = value;
        } else {
            self.bare(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests;

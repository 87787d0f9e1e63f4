//! `errors`: a log line for each query that could not be answered, or one line now and then for many alike.
//!
//! The path of a query only counts ([`consolidate`]); a task of the runtime, [`Errors::report`], writes what was
//! counted when a period is over.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::chain::Answer;
use crate::dns::Query;

mod config;
mod consolidate;

pub use config::{Config, Level, Pattern, parse};

use consolidate::{Consolidator, Counted, Report};

/// The plugin.
#[derive(Debug)]
pub struct Errors {
    consolidator: Consolidator,
    /// A period has begun.
    begun: Notify,
}

impl Errors {
    /// A plugin that consolidates by these patterns.
    pub fn new(config: Config) -> Errors {
        Errors {
            consolidator: Consolidator::new(config.patterns),
            begun: Notify::new(),
        }
    }

    /// Tells the log why there is no better answer.
    #[inline]
    pub(crate) fn up(&self, query: &Query, answer: &Answer) {
        if answer.failure.is_some() {
            self.tell(query, answer, Instant::now());
        }
    }

    #[cold]
    fn tell(&self, query: &Query, answer: &Answer, now: Instant) {
        let Some(failure) = &answer.failure else {
            return;
        };
        let error = failure.to_string();
        let counted = self.consolidator.count(&error, now);
        if let Counted::First(_) = counted {
            self.begun.notify_one();
        }
        let level = match counted {
            Counted::Unlike => Level::Error,
            Counted::First(pattern) if pattern.show_first => pattern.level,
            Counted::First(_) | Counted::Again => return,
        };
        let question = &query.question;
        let rcode = answer.reply.rcode.0;
        write(
            level,
            &format!("{rcode} {} {}: {error}", question.name, question.rtype),
        );
    }

    /// Writes what was counted when its period is over, for ever. The future holds the plugin; once both are
    /// dropped, what was left is written.
    pub async fn report(self: Arc<Errors>) {
        loop {
            match self.consolidator.next_due() {
                None => self.begun.notified().await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        // It may be one with a shorter period.
                        () = self.begun.notified() => {}
                    }
                }
            }
            self.consolidator
                .due(Instant::now())
                .for_each(|report| write_report(&report));
        }
    }

    /// Whether there is anything to report: without patterns no task is needed.
    pub fn consolidates(&self) -> bool {
        !self.consolidator.is_empty()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.consolidator
            .all()
            .for_each(|report| write_report(&report));
    }
}

fn write_report(report: &Report<'_>) {
    write(report.pattern.level, &report.to_string());
}

fn write(level: Level, message: &str) {
    match level {
        Level::Error => tracing::error!(target: "plugin/errors", "{message}"),
        Level::Warning => tracing::warn!(target: "plugin/errors", "{message}"),
        Level::Info => tracing::info!(target: "plugin/errors", "{message}"),
        Level::Debug => tracing::debug!(target: "plugin/errors", "{message}"),
    }
}

#[cfg(test)]
mod tests;

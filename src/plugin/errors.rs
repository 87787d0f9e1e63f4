//! `errors`: a log line for each query that could not be answered, or one line now and then for many alike. Clients are told
//! too (RFC 8914), by whoever made the reply, unless `no_extended_errors` stops it here.
//!
//! The path of a query only counts ([`consolidate`]) and writes no more than some lines a second ([`throttle`]); a task
//! of the runtime, [`Errors::report`], writes what was counted when a period, or the second, is over.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::chain::Answer;
use crate::dns::Query;

mod config;
mod consolidate;
mod throttle;

pub use config::{Config, Level, Pattern, parse};

use consolidate::{Consolidator, Counted, Report};
use throttle::{Line, Throttle};

/// The plugin.
#[derive(Debug)]
pub struct Errors {
    consolidator: Consolidator,
    throttle: Throttle,
    /// Clients are told nothing.
    no_extended_errors: bool,
    /// The last line that was left out.
    left_out: ArcSwapOption<String>,
    /// A period has begun, or a line was left out.
    begun: Notify,
}

impl Errors {
    /// A plugin that consolidates by these patterns.
    pub fn new(config: Config) -> Errors {
        Errors {
            consolidator: Consolidator::new(config.patterns),
            throttle: Throttle::new(Instant::now()),
            no_extended_errors: config.no_extended_errors,
            left_out: ArcSwapOption::empty(),
            begun: Notify::new(),
        }
    }

    /// Tells the log why there is no better answer, and keeps it from the client if that is wanted.
    #[inline]
    pub(crate) fn up(&self, query: &Query, answer: &mut Answer) {
        self.shape(answer);
        if answer.failure.is_some() {
            self.tell(query, answer, Instant::now());
        }
    }

    /// Keeps from the client why there is no better answer, if that is wanted.
    #[inline]
    pub(crate) fn shape(&self, answer: &mut Answer) {
        if self.no_extended_errors {
            answer.reply.error = None;
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
        let message = format!("{rcode} {} {}: {error}", question.name, question.rtype);
        if counted != Counted::Unlike {
            // At most one a period.
            return write(level, &message);
        }
        match self.throttle.count(now) {
            Line::Written => write(level, &message),
            line => {
                self.left_out.store(Some(Arc::new(message)));
                if line == Line::FirstLeftOut {
                    self.begun.notify_one();
                }
            }
        }
    }

    /// Writes what was counted when its period is over, for ever. The future holds the plugin; once both are
    /// dropped, what was left is written.
    pub async fn report(self: Arc<Errors>) {
        loop {
            let due = [self.consolidator.next_due(), self.throttle.next_due()];
            match due.into_iter().flatten().min() {
                None => self.begun.notified().await,
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        // It may be one with a shorter period.
                        () = self.begun.notified() => {}
                    }
                }
            }
            let now = Instant::now();
            self.consolidator
                .due(now)
                .for_each(|report| write_report(&report));
            self.tell_left_out(self.throttle.due(now));
        }
    }

    fn tell_left_out(&self, count: Option<u64>) {
        if let (Some(count), Some(last)) = (count, self.left_out.load_full()) {
            write(
                Level::Error,
                &format!("{count} more errors in the last second were left out; the last: {last}"),
            );
        }
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.consolidator
            .all()
            .for_each(|report| write_report(&report));
        self.tell_left_out(self.throttle.all());
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

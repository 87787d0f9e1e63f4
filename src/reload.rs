//! `reload`: follows the Corefile and everything that it imports, and swaps the configuration when it changes.
//!
//! The files are read at an interval, because a ConfigMap mount changes by symbolic links and not by writes. What
//! is compared is the SHA-512 of the words: blanks and comments do not count, the environment and imported files
//! do. A change that cannot be served changes nothing; it is logged and counted once, tried again at each
//! interval (a port that was taken may be free by then), and told of again when it changes.

use std::time::Duration;

use crate::app::App;
use crate::config::{self, Config, Loaded};
use crate::corefile::{Diagnostic, Filesystem, Location, Sources};

/// Who wants the Corefile to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The interval: what is served already, or is still wrong, is passed over.
    Interval,
    /// An operator: it is served anew even if its words are the same, because files that it names may have changed,
    /// and what is wrong is told again.
    Signal,
}

/// What became of looking at the Corefile.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It says what is served already.
    Unchanged,
    /// What was wrong with it has been put back.
    Mended,
    /// It is served now; these are its warnings, a line each.
    Reloaded(Vec<String>),
    /// It cannot be read or served, and this is to be told.
    Failed(String),
    /// It still cannot, for the same reason.
    StillFailing,
}

/// Remembers what was last wrong, so that it is told once.
#[derive(Debug, Default)]
pub struct Reload {
    failed: Option<String>,
}

impl Reload {
    /// Looks at the Corefile and serves it if it has changed.
    pub async fn look(
        &mut self,
        app: &mut App,
        location: &Location,
        dns_port: u16,
        by: By,
    ) -> Outcome {
        if *location == Location::Stdin {
            return self.failed("standard input can be read once only".to_owned(), by);
        }
        let location = location.clone();
        // Files may lie on a slow disk; the runtime's threads answer queries over TCP.
        let read = move || config::load(&Filesystem, &location, dns_port);
        match tokio::task::spawn_blocking(read).await {
            Ok(loaded) => self.serve(app, loaded, by).await,
            Err(fault) => self.failed(format!("the Corefile could not be read: {fault}"), by),
        }
    }

    async fn serve(&mut self, app: &mut App, loaded: Loaded, by: By) -> Outcome {
        // Also where a file that it names, as one of upstreams, cannot be read now: what is served has read it.
        let is_same = loaded.sha512.as_ref() == Some(&app.config().sha512);
        if is_same && by == By::Interval && !loaded.built_in {
            return match self.failed.take() {
                Some(_) => Outcome::Mended,
                None => Outcome::Unchanged,
            };
        }
        let Some(config) = loaded.config else {
            return self.failed(reasons(&loaded.diagnostics, &loaded.sources), by);
        };
        // A file that is being written is empty for a moment; to serve what is served without one would take
        // everything from the cluster.
        if loaded.built_in {
            return self.failed("the Corefile is missing or empty".to_owned(), by);
        }
        match app.reload(config).await {
            Ok(()) => {
                self.failed = None;
                let warnings = loaded.diagnostics.iter();
                Outcome::Reloaded(
                    warnings
                        .map(|fault| fault.one_line(&loaded.sources))
                        .collect(),
                )
            }
            Err(fault) => self.failed(fault.to_string(), by),
        }
    }

    fn failed(&mut self, reason: String, by: By) -> Outcome {
        if self.failed.as_ref() == Some(&reason) && by == By::Interval {
            return Outcome::StillFailing;
        }
        self.failed = Some(reason.clone());
        Outcome::Failed(reason)
    }
}

/// The faults of a Corefile, with their places and carets.
fn reasons(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let errors = diagnostics.iter().filter(|fault| fault.is_error());
    errors.map(|fault| fault.render(sources)).collect()
}

/// When to look next: the interval, give or take half the jitter, so that the replicas of a Deployment do not all
/// change at once. `random` is in 0..1.
pub fn next_look(interval: Duration, jitter: Duration, random: f64) -> Duration {
    (interval + jitter.mul_f64(random)).saturating_sub(jitter / 2)
}

/// What `reload` says, if some block has it: the last one counts.
pub fn setting(config: &Config) -> Option<(Duration, Duration)> {
    let settings = config.blocks.iter().flat_map(|block| &block.settings);
    settings.filter_map(config::Setting::reload).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_an_interval_away_give_or_take_half_the_jitter() {
        let seconds = Duration::from_secs;
        for (interval, jitter, random, expected) in [
            (30, 15, 0.0, Duration::from_millis(22_500)),
            (30, 15, 0.5, seconds(30)),
            (30, 0, 0.9, seconds(30)),
            (2, 2, 0.0, seconds(1)),
        ] {
            let got = next_look(seconds(interval), seconds(jitter), random);
            assert_eq!(got, expected, "{interval}s {jitter}s {random}");
        }
    }
}

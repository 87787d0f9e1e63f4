//! `reload`: follows the Corefile and everything that it imports, and swaps the configuration when it changes.
//!
//! The files are read at an interval, because a ConfigMap mount changes by symbolic links and not by writes. What
//! is compared is the SHA-512 of the words: blanks and comments do not count, the environment and imported files
//! do. A change that cannot be served changes nothing; it is logged and counted once, and tried again at each interval
//! (a port that was taken may be free by then). Until it is mended it is told again and again, and the files are looked
//! at every two seconds. What is served may be a copy that was kept (`last_good`); then the Corefile is followed in
//! any case.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::blocking;
use crate::config::{self, Config, Loaded};
use crate::corefile::{Diagnostic, Filesystem, Location, Sources};

mod last_good;

pub use last_good::{Keeper, NoCopy, is_corefile};

/// Why what is served without a Corefile is not.
pub const MISSING: &str = "the Corefile is missing or empty";

/// How often the files are looked at while they cannot be served.
pub const GLANCE_EVERY: Duration = Duration::from_secs(2);
/// How often the Corefile is looked at in whose place the last good one is served, and how much that may be moved:
/// what `reload` means without arguments.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
/// How often it is told that the Corefile cannot be served.
const TELL_EVERY: Duration = Duration::from_secs(300);
/// Likewise where the next start would fail if a copy were lost.
const TELL_LAST_GOOD_EVERY: Duration = Duration::from_secs(60);

/// Who wants the Corefile to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The interval: what is served already, or is still wrong, is passed over.
    Interval,
    /// Ourselves, because it could not be served: what is still the same is not tried again.
    Glance {
        /// Whether a change is to be served. Without `reload` it is for the operator to say when.
        follows: bool,
    },
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

/// Follows the Corefile.
#[derive(Debug)]
pub struct Reload {
    keeper: Option<Keeper>,
    failing: Option<Failing>,
}

/// What is wrong with the Corefile.
#[derive(Debug)]
struct Failing {
    reason: String,
    /// Of the words that cannot be served; `None` if they cannot be read.
    sha512: Option<String>,
    told: Instant,
    is_last_good: bool,
}

impl Reload {
    /// The Corefile is served. What is served from now on is kept by `keeper`.
    pub fn new(keeper: Option<Keeper>) -> Reload {
        Reload {
            keeper,
            failing: None,
        }
    }

    /// The last good one is, because the Corefile cannot be: this is why, and has been told.
    pub fn on_last_good(app: &App, keeper: Keeper, reason: String) -> Reload {
        let failing = Failing {
            reason,
            sha512: None,
            told: Instant::now(),
            is_last_good: true,
        };
        let reload = Reload {
            keeper: Some(keeper),
            failing: Some(failing),
        };
        reload.state(app);
        reload
    }

    /// Whether the Corefile is known to be one that cannot be served.
    pub fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// How often to look at the Corefile, and how much that may be moved; `None` for never.
    pub fn setting(&self, served: &Config) -> Option<(Duration, Duration)> {
        let is_last_good = self.failing.iter().any(|failing| failing.is_last_good);
        let setting = setting(served);
        match is_last_good {
            // What kept the Corefile from being served may be mended elsewhere than in the file.
            true => Some(setting.map_or(INTERVAL, |setting| setting.min(INTERVAL))),
            false => setting,
        }
    }

    /// What is still wrong, if it is time to tell again.
    pub fn reminder(&mut self, now: Instant) -> Option<String> {
        let failing = self.failing.as_mut()?;
        let every = match failing.is_last_good {
            true => TELL_LAST_GOOD_EVERY,
            false => TELL_EVERY,
        };
        if now < failing.told + every {
            return None;
        }
        failing.told = now;
        Some(format!("{}: {}", failing.fact(), failing.reason))
    }

    /// Looks at the Corefile and serves it if it has changed. Dropped before it is done, it may have.
    pub async fn look(
        &mut self,
        app: &mut App,
        location: &Location,
        dns_port: u16,
        by: By,
    ) -> Outcome {
        let outcome = if *location == Location::Stdin {
            self.failed("standard input can be read once only".to_owned(), None, by)
        } else {
            let location = location.clone();
            // Files may lie on a slow disk; the runtime's threads answer queries over TCP.
            let read = move || config::load(&Filesystem, &location, dns_port);
            match blocking::run("reload", read).await {
                Ok(loaded) => self.serve(app, loaded, by).await,
                Err(fault) => {
                    let reason = format!("the Corefile could not be read: {fault}");
                    self.failed(reason, None, by)
                }
            }
        };
        self.state(app);
        outcome
    }

    async fn serve(&mut self, app: &mut App, loaded: Loaded, by: By) -> Outcome {
        // Also where a file that it names, as one of upstreams, cannot be read now: what is served has read it.
        let is_same = loaded.sha512.as_ref() == Some(&app.config().sha512);
        if is_same && by != By::Signal && !loaded.built_in {
            return match self.failing.take() {
                Some(_) => Outcome::Mended,
                None => Outcome::Unchanged,
            };
        }
        let sha512 = loaded.sha512.clone();
        let Some(config) = loaded.config.clone() else {
            return self.failed(reasons(&loaded.diagnostics, &loaded.sources), sha512, by);
        };
        // A file that is being written is empty for a moment; to serve what is served without one would take
        // everything from the cluster.
        if loaded.built_in {
            return self.failed(MISSING.to_owned(), sha512, by);
        }
        if let By::Glance { follows } = by {
            let mut failing = self.failing.iter();
            if !follows || failing.any(|failing| failing.sha512 == sha512) {
                return Outcome::StillFailing;
            }
        }
        match app.reload(config).await {
            Ok(()) => {
                self.failing = None;
                if let Some(keeper) = &self.keeper {
                    keep(keeper, &loaded, app);
                }
                let warnings = loaded.diagnostics.iter();
                Outcome::Reloaded(
                    warnings
                        .map(|fault| fault.one_line(&loaded.sources))
                        .collect(),
                )
            }
            Err(fault) => self.failed(fault.to_string(), sha512, by),
        }
    }

    fn failed(&mut self, reason: String, sha512: Option<String>, by: By) -> Outcome {
        let is_last_good = self.failing.iter().any(|failing| failing.is_last_good);
        if let Some(failing) = &mut self.failing
            && failing.reason == reason
            && by != By::Signal
        {
            failing.sha512 = sha512;
            return Outcome::StillFailing;
        }
        self.failing = Some(Failing {
            reason: reason.clone(),
            sha512,
            told: Instant::now(),
            is_last_good,
        });
        Outcome::Failed(reason)
    }

    /// Has `/metrics` and `/ready` say it.
    fn state(&self, app: &App) {
        let failing = self.failing.as_ref();
        let is_last_good = failing.is_some_and(|failing| failing.is_last_good);
        let metrics = app.process().metrics.reload();
        metrics.failing(failing.is_some(), is_last_good);
        app.readiness()
            .remark("reload", failing.map(Failing::one_line));
    }
}

impl Failing {
    fn fact(&self) -> &'static str {
        match self.is_last_good {
            true => "The Corefile cannot be served, and the last good one is served in its place",
            false => "The Corefile cannot be served, and what was served before still is",
        }
    }

    fn one_line(&self) -> String {
        let first = self.reason.lines().next().unwrap_or_default();
        format!("{}: {first}", self.fact())
    }
}

/// Has `keeper` keep what `app` serves.
pub fn keep(keeper: &Keeper, loaded: &Loaded, app: &App) {
    let metrics = app.process().metrics.clone();
    keeper.keep(loaded, move || metrics.reload().last_good_write_failed());
}

/// The faults of a Corefile, with their places and carets.
pub fn reasons(diagnostics: &[Diagnostic], sources: &Sources) -> String {
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
    fn what_is_wrong_is_told_again_and_more_often_where_a_copy_is_served() {
        for (is_last_good, seconds, expected) in [
            (false, 299, None),
            (false, 300, Some("what was served before still is: no\n^^")),
            (true, 59, None),
            (
                true,
                60,
                Some("the last good one is served in its place: no\n^^"),
            ),
        ] {
            let told = Instant::now();
            let mut reload = Reload::new(None);
            assert_eq!(reload.reminder(told + TELL_EVERY), None, "nothing is");
            reload.failing = Some(Failing {
                reason: "no\n^^".to_owned(),
                sha512: None,
                told,
                is_last_good,
            });
            let now = told + Duration::from_secs(seconds);
            let reminder = reload.reminder(now);
            let told_again = reminder
                .as_deref()
                .and_then(|text| text.split_once(", and "));
            assert_eq!(told_again.map(|(_, text)| text), expected, "{seconds}");
            assert_eq!(reload.reminder(now), None, "once");
        }
    }

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

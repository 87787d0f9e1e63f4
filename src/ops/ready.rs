//! `/ready`: whether queries may be sent here, and if not, why.
//!
//! Plugins that must wait for something are watched, the set anew with each generation. Under `until-ready` a plugin
//! that was ready once is not asked again, also after a reload that keeps it: all replicas see a changed ConfigMap at
//! the same time, and must not leave the Service together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;

use super::page::Page;

/// Says whether a plugin is ready, or the reasons why it is not, one a line.
pub type Check = Arc<dyn Fn() -> Result<(), Vec<String>> + Send + Sync>;

/// Says what is not as it should be and does not keep a plugin from being ready, one a line.
pub type Note = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// How long readiness is asked for: the option `monitor` of `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitor {
    /// A plugin is asked until it was ready once.
    #[default]
    UntilReady,
    /// A plugin is asked each time.
    Continuously,
}

/// The plugins of one generation that may not be ready.
#[derive(Clone, Default)]
pub struct ReadyWatches {
    checks: Vec<(&'static str, Check)>,
    notes: Vec<(&'static str, Note)>,
}

impl ReadyWatches {
    /// Watches `plugin`; a name may be watched several times, and each is reported.
    pub fn watch(&mut self, plugin: &'static str, check: Check) {
        self.checks.push((plugin, check));
    }

    /// Has `plugin` say more where it is ready.
    pub fn note(&mut self, plugin: &'static str, note: Note) {
        self.notes.push((plugin, note));
    }
}

/// The readiness of the process; clones share it.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    watches: ReadyWatches,
    /// Plugins that were ready once, all watches of the name together.
    once: BTreeSet<&'static str>,
    draining: bool,
    /// The plugins that the log last called not ready.
    told: Vec<&'static str>,
}

/// What `/ready` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Queries are welcome.
    Ready,
    /// The process is going down.
    Draining,
    /// Plugins that are not ready, in the order in which they were watched, with their reasons.
    NotReady(Vec<(&'static str, Vec<String>)>),
}

impl Readiness {
    /// Watches the plugins of a new generation instead of those of the last.
    pub fn replace(&self, watches: ReadyWatches) {
        let mut state = self.lock();
        state
            .once
            .retain(|name| watches.checks.iter().any(|(plugin, _)| plugin == name));
        state.watches = watches;
    }

    /// From now on the process is going down.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Asks the plugins.
    #[must_use]
    pub fn report(&self, monitor: Monitor) -> Report {
        let (watches, once) = {
            let state = self.lock();
            if state.draining {
                return Report::Draining;
            }
            (state.watches.clone(), state.once.clone())
        };
        // Asked without the lock: a check belongs to another room.
        let mut asked = BTreeSet::new();
        let mut failed: Vec<(&'static str, Vec<String>)> = Vec::new();
        for (plugin, check) in &watches.checks {
            if monitor == Monitor::UntilReady && once.contains(plugin) {
                continue;
            }
            asked.insert(*plugin);
            if let Err(reasons) = check() {
                failed.push((plugin, reasons));
            }
        }
        asked.retain(|plugin| failed.iter().all(|(name, _)| name != plugin));
        self.note(asked, &failed);
        if failed.is_empty() {
            Report::Ready
        } else {
            Report::NotReady(failed)
        }
    }

    /// What plugins have to say although they are ready, each line once.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = self.lock().watches.notes.clone();
        let mut lines: Vec<String> = Vec::new();
        for (plugin, note) in notes {
            for line in note() {
                let line = format!("{plugin}: {line}");
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Remembers who was ready, and logs who is not when that changes: probes come every few seconds.
    fn note(&self, ready: BTreeSet<&'static str>, failed: &[(&'static str, Vec<String>)]) {
        let names = names(failed);
        let mut state = self.lock();
        state.once.extend(ready);
        if state.told != names {
            if !names.is_empty() {
                tracing::info!(target: "plugin/ready", "Plugins not ready: {:?}", names.join(","));
            }
            state.told = names;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `OK`, and a line for each note; or the plugins that are not ready as CoreDNS lists them, and a line for each reason.
pub(super) fn page(readiness: &Readiness, monitor: Monitor) -> Page {
    match readiness.report(monitor) {
        Report::Ready => {
            let mut lines = readiness.notes();
            lines.insert(0, "OK".to_owned());
            Page::text(StatusCode::OK, lines.join("\n"))
        }
        Report::Draining => Page::text(StatusCode::SERVICE_UNAVAILABLE, "Shutting down"),
        Report::NotReady(failed) => {
            let mut body = names(&failed).join(",");
            for (plugin, reasons) in &failed {
                for reason in reasons {
                    body.push_str(&format!("\n{plugin}: {reason}"));
                }
            }
            Page::text(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

fn names(failed: &[(&'static str, Vec<String>)]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for (plugin, _) in failed {
        if !names.contains(plugin) {
            names.push(plugin);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn flag(ready: bool) -> (Arc<AtomicBool>, Check) {
        let flag = Arc::new(AtomicBool::new(ready));
        let read = Arc::clone(&flag);
        let check = move || {
            read.load(Ordering::Relaxed)
                .then_some(())
                .ok_or(vec!["not synced".to_owned()])
        };
        (flag, Arc::new(check))
    }

    fn watching(watched: &[(&'static str, &Check)]) -> ReadyWatches {
        let mut watches = ReadyWatches::default();
        for (plugin, check) in watched {
            watches.watch(plugin, Arc::clone(check));
        }
        watches
    }

    fn not_ready(plugins: &[&'static str]) -> Report {
        Report::NotReady(
            plugins
                .iter()
                .map(|plugin| (*plugin, vec!["not synced".to_owned()]))
                .collect(),
        )
    }

    #[test]
    fn nothing_watched_is_ready() {
        assert_eq!(
            Readiness::default().report(Monitor::UntilReady),
            Report::Ready
        );
    }

    #[test]
    fn each_plugin_that_is_not_ready_is_reported() {
        let readiness = Readiness::default();
        let ((_, one), (_, two), (_, good)) = (flag(false), flag(false), flag(true));
        readiness.replace(watching(&[
            ("kubernetes", &one),
            ("external", &good),
            ("kubernetes", &two),
        ]));
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            not_ready(&["kubernetes", "kubernetes"])
        );
    }

    #[test]
    fn once_ready_is_ready_under_until_ready_alone_and_over_a_reload() {
        let readiness = Readiness::default();
        let (ready, check) = flag(true);
        readiness.replace(watching(&[("kubernetes", &check)]));
        assert_eq!(readiness.report(Monitor::UntilReady), Report::Ready);
        ready.store(false, Ordering::Relaxed);
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            Report::Ready,
            "asked once"
        );
        assert_eq!(
            readiness.report(Monitor::Continuously),
            not_ready(&["kubernetes"]),
            "asked again"
        );
        readiness.replace(watching(&[("kubernetes", &check)]));
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            Report::Ready,
            "kept by a reload"
        );
        readiness.replace(ReadyWatches::default());
        readiness.replace(watching(&[("kubernetes", &check)]));
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            not_ready(&["kubernetes"]),
            "a new plugin"
        );
    }

    #[test]
    fn one_of_two_of_a_name_does_not_make_the_name_ready() {
        let readiness = Readiness::default();
        let ((_, bad), (ready, good)) = (flag(false), flag(true));
        readiness.replace(watching(&[("kubernetes", &good), ("kubernetes", &bad)]));
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            not_ready(&["kubernetes"])
        );
        ready.store(false, Ordering::Relaxed);
        assert_eq!(
            readiness.report(Monitor::UntilReady),
            not_ready(&["kubernetes", "kubernetes"])
        );
    }

    #[test]
    fn what_several_stanzas_note_is_told_once() {
        let (readiness, mut watches) = (Readiness::default(), ReadyWatches::default());
        for age in [3, 3, 4] {
            watches.note(
                "kubernetes",
                Arc::new(move || vec![format!("pods: {age} s old")]),
            );
        }
        readiness.replace(watches);
        let told = ["kubernetes: pods: 3 s old", "kubernetes: pods: 4 s old"];
        assert_eq!(readiness.notes(), told);
    }

    #[test]
    fn draining_outranks_everything() {
        let readiness = Readiness::default();
        readiness.drain();
        assert_eq!(readiness.report(Monitor::Continuously), Report::Draining);
    }
}

//! `/ready`: whether queries may be sent here, and if not, why.
//!
//! Plugins that must wait for something are watched, the set anew with each generation. Under `until-ready` a plugin
//! that was ready once is not asked again, also after a reload that keeps it: all replicas see a changed ConfigMap at
//! the same time, and must not leave the Service together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;

use super::page::Page;

/// Says whether a plugin is ready, or the reasons why it is not, one a line.
pub type Check = Arc<dyn Fn() -> Result<(), Vec<String>> + Send + Sync>;

/// How long readiness is asked for: the option `monitor` of `ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitor {
    /// A plugin is asked until it was ready once.
    #[default]
    UntilReady,
    /// A plugin is asked each time.
    Continuously,
}

/// Says what is wrong with a plugin though it answers, one a line; it never makes a plugin unready.
pub type Remarks = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The plugins of one generation that may not be ready, or not in good health.
#[derive(Clone, Default)]
pub struct ReadyWatches {
    checks: Vec<(&'static str, Check)>,
    remarks: Vec<(&'static str, Remarks)>,
}

impl ReadyWatches {
    /// Watches `plugin`; a name may be watched several times, and each is reported.
    pub fn watch(&mut self, plugin: &'static str, check: Check) {
        self.checks.push((plugin, check));
    }

    /// Tells what `plugin` remarks, whether or not it is ready.
    pub fn remark(&mut self, plugin: &'static str, remarks: Remarks) {
        self.remarks.push((plugin, remarks));
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
    /// What operators shall know, by what it is about.
    remarks: BTreeMap<&'static str, String>,
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

    /// What operators shall read behind the verdict, which it does not change, from now on; `None` takes back what was
    /// said about this. One line.
    pub fn remark(&self, about: &'static str, remark: Option<String>) {
        let mut state = self.lock();
        match remark {
            Some(remark) => state.remarks.insert(about, remark),
            None => state.remarks.remove(about),
        };
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

    /// What is wrong though queries are answered: a line for each thing, the plugin first.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let watches = self.lock().watches.clone();
        let mut lines = Vec::new();
        for (plugin, remarks) in &watches.remarks {
            for remark in remarks() {
                let line = format!("{plugin}: {remark}");
                // Stanzas of one cluster say the same.
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

/// `OK`; or the plugins that are not ready as CoreDNS lists them, and a line for each reason. Remarks follow.
pub(super) fn page(readiness: &Readiness, monitor: Monitor) -> Page {
    let (status, mut body) = match readiness.report(monitor) {
        Report::Ready => (StatusCode::OK, "OK".to_owned()),
        Report::Draining => (StatusCode::SERVICE_UNAVAILABLE, "Shutting down".to_owned()),
        Report::NotReady(failed) => {
            let mut body = names(&failed).join(",");
            for (plugin, reasons) in &failed {
                for reason in reasons {
                    body.push_str(&format!("\n{plugin}: {reason}"));
                }
            }
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    };
    for remark in readiness.remarks() {
        body.push_str(&format!("\n{remark}"));
    }
    for (about, remark) in &readiness.lock().remarks {
        body.push_str(&format!("\n{about}: {remark}"));
    }
    Page::text(status, body)
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
    fn remarks_are_told_once_and_change_nothing() {
        let readiness = Readiness::default();
        let (_, good) = flag(true);
        let mut watches = watching(&[("kubernetes", &good), ("kubernetes", &good)]);
        for _ in 0..2 {
            watches.remark("kubernetes", Arc::new(|| vec!["services: old".to_owned()]));
        }
        readiness.replace(watches);
        assert_eq!(readiness.report(Monitor::Continuously), Report::Ready);
        assert_eq!(readiness.remarks(), ["kubernetes: services: old"]);
    }

    #[test]
    fn remarks_follow_the_verdict_and_do_not_change_it() {
        let readiness = Readiness::default();
        for (about, remark, expected) in [
            ("reload", Some("no"), "OK\nreload: no"),
            ("cluster", Some("old"), "OK\ncluster: old\nreload: no"),
            (
                "reload",
                Some("not yet"),
                "OK\ncluster: old\nreload: not yet",
            ),
            ("cluster", None, "OK\nreload: not yet"),
            ("reload", None, "OK"),
        ] {
            readiness.remark(about, remark.map(str::to_owned));
            let page = page(&readiness, Monitor::UntilReady);
            assert_eq!(page, Page::text(StatusCode::OK, expected));
        }
    }

    #[test]
    fn draining_outranks_everything() {
        let readiness = Readiness::default();
        readiness.drain();
        assert_eq!(readiness.report(Monitor::Continuously), Report::Draining);
    }
}

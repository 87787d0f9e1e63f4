//! Which file has which objects: turns the content of files into events that say what is different.
//!
//! Of an object only its name is kept. An object that two files have is that of the file whose path comes last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::files::{self, Found, Stamp};
use super::names::{Gathered, Names, name_of, object_of};
use super::read::{self, Damage, ManifestFault};
use super::{DOUBTED_FOR, Loaded, SETTLED_AFTER};
use crate::cluster::hold::is_most;
use crate::cluster::object::Event;
use crate::cluster::selector::Target;

/// All files and the names of their objects.
#[derive(Debug)]
pub(super) struct Ledger {
    paths: Vec<PathBuf>,
    targets: Vec<Target>,
    files: BTreeMap<PathBuf, Page>,
    /// Files that have an object which another file had too, and has no longer.
    uncovered: BTreeSet<PathBuf>,
    stage: Stage,
}

/// The two clocks: one for waiting, one for the times of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) clock: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// The list has begun, but not all paths have been there yet.
    Started,
    Listed,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct Page {
    /// `None`: to be read.
    stamp: Option<Stamp>,
    names: Names,
    /// The file is gone, or lacks most of what was known.
    gone_since: Option<Instant>,
}

/// What a look at the files has shown.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) loaded: Loaded,
    /// Why the source is not whole.
    pub(super) absent: Option<Box<str>>,
    /// Something will be known soon.
    pub(super) unsettled: bool,
}

impl Look {
    /// Says why the source is not whole.
    fn lacks(&mut self, fault: ManifestFault) {
        self.absent.get_or_insert_with(|| fault.to_string().into());
        self.loaded.faults.push(fault);
    }
}

impl Ledger {
    pub(super) fn new(paths: Vec<PathBuf>, targets: Vec<Target>) -> Ledger {
        Ledger {
            paths,
            targets,
            files: BTreeMap::new(),
            uncovered: BTreeSet::new(),
            stage: Stage::New,
        }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Reads the files that are new or changed and says what is different.
    pub(super) fn look(&mut self, now: Now, say: &mut dyn FnMut(Event)) -> Look {
        let mut look = Look::default();
        if self.stage == Stage::New {
            self.targets
                .iter()
                .for_each(|target| say(Event::ListStarted(target.resource)));
            self.stage = Stage::Started;
        }
        let found = files::find(&self.paths);
        for (path, stamp) in &found.files {
            let page = self.files.entry(path.clone()).or_default();
            if page.stamp == Some(*stamp) {
                page.gone_since = None;
            } else {
                self.read(path, *stamp, now, say, &mut look);
            }
        }
        self.drop_gone(&found, now.instant, say, &mut look);
        self.read_uncovered(&found, now, say, &mut look);
        for (path, error) in found.absent {
            look.lacks(ManifestFault {
                path,
                line: None,
                damage: Damage::Unreadable(error),
            });
        }
        if self.stage == Stage::Started && look.absent.is_none() {
            self.targets
                .iter()
                .for_each(|target| say(Event::Listed(target.resource)));
            self.stage = Stage::Listed;
        }
        look
    }

    fn read(
        &mut self,
        path: &Path,
        stamp: Stamp,
        now: Now,
        say: &mut dyn FnMut(Event),
        look: &mut Look,
    ) {
        let settled = stamp.settled(now.clock, SETTLED_AFTER);
        let wanted = |resource| {
            self.targets
                .iter()
                .any(|target| target.resource == resource)
        };
        let mut names = Gathered::default();
        let contents = match File::open(path) {
            Err(error) => read::Contents::unreadable(error),
            Ok(file) => read::read(file, settled, &wanted, &mut |object| {
                if !self.targets.iter().any(|target| target.wants(&object)) {
                    return;
                }
                let name = name_of(&object);
                if !self.is_covered(path, &name) {
                    say(Event::Applied(object));
                }
                names.push(&name);
            }),
        };
        let names = names.sorted();
        look.unsettled |= contents.held;
        let unreadable = |(_, damage): &(_, Damage)| matches!(damage, Damage::Unreadable(_));
        let unread = contents.faults.iter().any(unreadable);
        let held = contents.held;
        let whole = !held && contents.faults.is_empty();
        look.loaded
            .faults
            .extend(
                contents
                    .faults
                    .into_iter()
                    .map(|(line, damage)| ManifestFault {
                        path: path.to_owned(),
                        line,
                        damage,
                    }),
            );
        let page = self.files.entry(path.to_owned()).or_default();
        let (before, since) = (std::mem::take(&mut page.names), page.gone_since.take());
        let missing = before.iter().filter(|name| !names.has(name));
        // What a damaged file had before may be what is damaged; what another file has is not lost.
        let (mut gone, lost): (Vec<&str>, Vec<&str>) =
            missing.partition(|name| whole && self.owner(name).is_some());
        let since = since.unwrap_or(now.instant);
        let is_young = now.instant.duration_since(since) < DOUBTED_FOR;
        let doubt = match lost.len() {
            0 => None,
            _ if !whole => None,
            _ if !contents.has_objects => Some(Damage::Emptied),
            missing => {
                // Only here, because all files are gone through for it.
                let before = self.known() + before.len();
                let is_doubted = is_young && is_most(before, missing);
                is_doubted.then_some(Damage::MostGone { before, missing })
            }
        };
        let kept = if whole && doubt.is_none() {
            gone.extend(lost);
            Vec::new()
        } else {
            lost
        };
        let gone = gone.into_iter().map(str::to_owned).collect();
        if doubt.is_none() && !unread {
            look.loaded.files += 1;
            look.loaded.objects += names.len();
        }
        let page = self.files.entry(path.to_owned()).or_default();
        page.gone_since = matches!(doubt, Some(Damage::MostGone { .. })).then_some(since);
        // What is doubted is read by every look, and told.
        page.stamp = (!held && !unread && doubt.is_none()).then_some(stamp);
        page.names = if kept.is_empty() {
            names
        } else {
            let mut both = Gathered::default();
            names.iter().chain(kept).for_each(|name| both.push(name));
            both.sorted()
        };
        if let Some(damage) = doubt {
            look.lacks(ManifestFault {
                path: path.to_owned(),
                line: None,
                damage,
            });
        }
        self.delete(gone, say);
    }

    /// How many objects the files have, those counted twice that two have.
    fn known(&self) -> usize {
        self.files.values().map(|page| page.names.len()).sum()
    }

    /// Files that are gone for good.
    fn drop_gone(
        &mut self,
        found: &Found,
        now: Instant,
        say: &mut dyn FnMut(Event),
        look: &mut Look,
    ) {
        let (mut gone, mut missing) = (Vec::new(), 0);
        for (path, page) in &mut self.files {
            if found.files.contains_key(path) {
                continue;
            }
            if found.is_hidden(path) {
                page.gone_since = None;
                continue;
            }
            let since = *page.gone_since.get_or_insert(now);
            if now.duration_since(since) >= SETTLED_AFTER {
                missing += page.names.len();
                gone.push((path.clone(), since));
            } else {
                look.unsettled = true;
            }
        }
        let before = self.known();
        let is_most = is_most(before, missing);
        let mut doubted = None;
        for (path, since) in gone {
            if is_most && now.duration_since(since) < DOUBTED_FOR {
                doubted.get_or_insert(path);
                continue;
            }
            let names = self.files.remove(&path).unwrap_or_default().names;
            self.delete(names.iter().map(str::to_owned).collect(), say);
        }
        if let Some(path) = doubted {
            look.lacks(ManifestFault {
                path,
                line: None,
                damage: Damage::MostGone { before, missing },
            });
        }
    }

    /// Says that objects are gone, unless another file has them too: that one is read again.
    fn delete(&mut self, names: Vec<String>, say: &mut dyn FnMut(Event)) {
        for name in names {
            match self.owner(&name) {
                Some(path) => {
                    let path = path.to_owned();
                    self.uncovered.insert(path);
                }
                None => say(Event::Deleted(object_of(&name))),
            }
        }
    }

    /// Files whose objects were hidden behind those of a file that no longer has them.
    fn read_uncovered(
        &mut self,
        found: &Found,
        now: Now,
        say: &mut dyn FnMut(Event),
        look: &mut Look,
    ) {
        for path in std::mem::take(&mut self.uncovered) {
            if let Some(stamp) = found.files.get(&path) {
                self.read(&path, *stamp, now, say, look);
            }
        }
    }

    /// The file whose object of this name counts.
    fn owner(&self, name: &str) -> Option<&Path> {
        let mut files = self.files.iter();
        let (path, _) = files.rfind(|(_, page)| page.names.has(name))?;
        Some(path)
    }

    fn is_covered(&self, path: &Path, name: &str) -> bool {
        let later = (Bound::Excluded(path), Bound::Unbounded);
        self.files
            .range::<Path, _>(later)
            .any(|(_, page)| page.names.has(name))
    }
}

#[cfg(test)]
mod tests;

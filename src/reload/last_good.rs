//! The last good Corefile: a copy of what was served last, for a start at which the Corefile is at fault.
//!
//! The copy is one text that needs nothing around it but the files that plugins read themselves. It is written when a
//! configuration is served that says something else, by a temporary file beside it and a rename, so that at any time
//! one copy is there and whole; while it cannot be, it is tried again. Only its owner may read it: the environment may
//! have held what is secret. What somebody else has put in its place is neither served nor overwritten.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::blocking;
use crate::complaint::Complaint;
use crate::config::{self, Loaded};
use crate::corefile::{Filesystem, Outside, Unreadable};

/// The first line of a copy.
const HEADER: &str = "# The last Corefile that was served, with all that it imported. Written by Cairn, and written anew.\n";
/// What its second line says before the hash.
const SEAL: &str = "# SHA-256 of what follows: ";
/// A copy that could not be written is tried again after this, as long as none is.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// A disk that hangs must not keep the server from starting.
const COMPARE_TIME_MAX: Duration = Duration::from_secs(1);
/// Who may read the copy.
const MODE: u32 = 0o600;

/// Keeps copies. A disk that hangs holds up nobody: of several copies that wait for it the newest is written.
#[derive(Debug, Clone)]
pub struct Keeper {
    wanted: watch::Sender<Option<Wanted>>,
    path: Arc<Path>,
}

/// A copy that is to be written.
#[derive(Clone)]
struct Wanted {
    text: Arc<str>,
    /// Told of each time that it could not be.
    failed: Arc<dyn Fn() + Send + Sync>,
}

/// Why no copy is served.
#[derive(Debug, thiserror::Error)]
pub enum NoCopy {
    /// Nothing is there.
    #[error("there is none")]
    Missing,
    /// What is there cannot be read.
    #[error(transparent)]
    Unreadable(Unreadable),
    /// It does not begin as a copy does.
    #[error("it was not written by Cairn")]
    Foreign,
    /// Its hash is of something else.
    #[error("it is not as Cairn has written it")]
    Changed,
}

impl Keeper {
    /// Keeps copies at `path`. The writing runs on `runtime` until the last clone is gone.
    pub fn start(path: PathBuf, runtime: &Handle) -> Keeper {
        let (wanted, waiting) = watch::channel(None);
        let path: Arc<Path> = path.into();
        runtime.spawn(write_all(path.clone(), waiting));
        Keeper { wanted, path }
    }

    /// Where copies are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a copy that was kept.
    ///
    /// # Errors
    /// There is none that may be served.
    pub fn find(&self) -> Result<(), NoCopy> {
        match Filesystem.read(&self.path) {
            Ok(octets) => check(&octets),
            Err(Unreadable::Missing) => Err(NoCopy::Missing),
            Err(fault) => Err(NoCopy::Unreadable(fault)),
        }
    }

    /// Has a copy of a configuration written, which is served. Each time that it could not be, `failed` is told.
    pub fn keep(&self, loaded: &Loaded, failed: impl Fn() + Send + Sync + 'static) {
        match loaded.corefile.copy() {
            Some(text) => {
                let (text, failed) = (sealed(&text).into(), Arc::new(failed));
                drop(self.wanted.send(Some(Wanted { text, failed })));
            }
            None => {
                failed();
                tracing::error!(
                    target: "plugin/reload",
                    "The last good Corefile cannot be kept: a word of the environment cannot be written in one"
                );
            }
        }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a copy that is kept at `path` would take the place of the Corefile, whatever their names.
pub async fn is_corefile(path: PathBuf, corefile: PathBuf) -> bool {
    let compared = blocking::run("last-good", move || is_same(&path, &corefile));
    matches!(timeout(COMPARE_TIME_MAX, compared).await, Ok(Ok(true)))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| {
        let there = fs::metadata(path).ok()?;
        Some((there.dev(), there.ino()))
    };
    let place = |path: &Path| {
        Some((
            fs::canonicalize(folder(path)).ok()?,
            path.file_name()?.to_owned(),
        ))
    };
    match (file(one), file(other)) {
        (None, None) => place(one).is_some_and(|one| place(other) == Some(one)),
        (one, other) => one == other,
    }
}

/// The text of a copy.
fn sealed(text: &str) -> String {
    format!("{HEADER}{SEAL}{}\n{text}", seal(text.as_bytes()))
}

fn seal(text: &[u8]) -> String {
    config::hex(&Sha256::digest(text))
}

/// Whether this is a copy as it was written.
fn check(octets: &[u8]) -> Result<(), NoCopy> {
    let rest = octets.strip_prefix(HEADER.as_bytes());
    let rest = rest.ok_or(NoCopy::Foreign)?;
    let is_whole = || {
        let rest = rest.strip_prefix(SEAL.as_bytes())?;
        let end = rest.iter().position(|octet| *octet == b'\n')?;
        Some(rest[..end] == *seal(&rest[end + 1..]).as_bytes())
    };
    match is_whole() {
        Some(true) => Ok(()),
        Some(false) | None => Err(NoCopy::Changed),
    }
}

async fn write_all(path: Arc<Path>, mut waiting: watch::Receiver<Option<Wanted>>) {
    let mut complaint = Complaint::default();
    let mut again = None;
    loop {
        let another = waiting.changed();
        let is_wanted = match again.take() {
            Some(time) => timeout_at(time, another).await.unwrap_or(Ok(())),
            None => another.await,
        };
        if is_wanted.is_err() {
            return;
        }
        let Some(Wanted { text, failed }) = waiting.borrow_and_update().clone() else {
            continue;
        };
        let to = path.clone();
        let written = blocking::run("last-good", move || write(&to, &text)).await;
        match written.and_then(|written| written) {
            Ok(()) if complaint.succeeded() => {
                tracing::info!(target: "plugin/reload", "The last good Corefile can be kept again");
            }
            Ok(()) => {}
            Err(fault) => {
                failed();
                let now = Instant::now();
                again = Some(now + RETRY_AFTER);
                if complaint.failed(now) {
                    let path = path.display();
                    tracing::error!(target: "plugin/reload", "The last good Corefile cannot be kept in {path}: {fault}");
                }
            }
        }
    }
}

/// Writes the copy, unless it is there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => return Ok(()),
        // The flag may name a file that something else needs, as one that is imported.
        Ok(there) if !there.is_empty() && !there.starts_with(HEADER.as_bytes()) => {
            let why = "what is there was not written by Cairn";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(_) | Err(_) => {}
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // Another process may keep its copies in the same place: each writes a file of its own.
    let mut temporary = name.to_owned();
    temporary.push(format!(".{:08x}", rand::random::<u32>()));
    let temporary = path.with_file_name(temporary);
    let written = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing is lost if it stays.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // That the name lasts is for the folder to say. Some file systems do not let it, and then do it anyway.
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;

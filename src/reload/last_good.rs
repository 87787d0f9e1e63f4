//! The last good Corefile: a copy of what was served last, for a start at which the Corefile is at fault.
//!
//! The copy is one text that needs nothing around it but the files that plugins read themselves. It is written when a
//! configuration is served that says something else, by a temporary file beside it and a rename, so that at any time
//! one copy is there and whole. Only its owner may read it: the environment may have held what is secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::blocking;
use crate::config::Loaded;

/// The first line of a copy.
const HEADER: &str = "# The last Corefile that was served, with all that it imported. Written by Cairn, and written anew.\n";
/// Who may read the copy.
const MODE: u32 = 0o600;

/// Keeps copies. A disk that hangs holds up nobody: of several copies that wait for it the newest is written.
#[derive(Debug, Clone)]
pub struct Keeper {
    wanted: watch::Sender<Option<Arc<str>>>,
    path: Arc<Path>,
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

    /// Has a copy of a configuration written, which is served.
    pub fn keep(&self, loaded: &Loaded) {
        match loaded.corefile.copy() {
            Some(text) => drop(self.wanted.send(Some(format!("{HEADER}{text}").into()))),
            None => tracing::error!(
                target: "plugin/reload",
                "The last good Corefile cannot be kept: a word of the environment cannot be written in one"
            ),
        }
    }
}

async fn write_all(path: Arc<Path>, mut waiting: watch::Receiver<Option<Arc<str>>>) {
    while waiting.changed().await.is_ok() {
        let Some(text) = waiting.borrow_and_update().clone() else {
            continue;
        };
        let to = path.clone();
        let written = blocking::run("last-good", move || write(&to, &text)).await;
        if let Err(fault) = written.and_then(|written| written) {
            let path = path.display();
            tracing::error!(target: "plugin/reload", "The last good Corefile cannot be kept in {path}: {fault}");
        }
    }
}

/// Writes the copy, unless it is there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
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
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // That the name lasts is for the folder to say. Some file systems do not let it, and then do it anyway.
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    Ok(())
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_copy_is_replaced_whole_and_for_its_owner_alone_and_only_if_it_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Corefile");
        write(&path, "one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let files = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files(), 1, "nothing is left beside it");
        let file = || fs::metadata(&path).unwrap().ino();
        let before = file();
        write(&path, "one").unwrap();
        assert_eq!(file(), before, "it is there already");
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn where_nothing_can_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["missing/Corefile", "..", ""] {
            assert!(write(&folder.path().join(path), "one").is_err(), "{path}");
        }
    }
}

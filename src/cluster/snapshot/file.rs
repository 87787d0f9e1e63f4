//! The file on disk: opened with care, written beside and renamed, marked in place.
//!
//! Whoever is killed at any point leaves the old file or the new one, whole. Only the half of a `PATH.new` may be left
//! over, which the next write begins anew. Two processes with the same path take turns by a lock on it.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::format::{self, Seal, Times};
use super::write::Draft;
use super::{OCTETS_MAX, Refused};

/// Names and addresses of a whole cluster are nobody else's business.
const MODE: u32 = 0o600;

/// A file that was written whole.
#[derive(Debug)]
pub(super) struct Written {
    file: File,
    seal: Seal,
    /// How often it was marked.
    turn: usize,
    pub(super) octets: u64,
    pub(super) times: Times,
}

/// Opens a file to be read; `None` if there is none. It is a regular file of at most [`OCTETS_MAX`], whose size is
/// returned.
pub(super) fn open(path: &Path) -> Result<Option<(File, u64)>, Refused> {
    // A pipe would be waited for, for ever.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refused::NoFile);
    }
    match metadata.len() {
        octets if octets > OCTETS_MAX => Err(Refused::TooLarge(octets)),
        octets => Ok(Some((file, octets))),
    }
}

/// Puts a new file in the place of what is at `path`.
///
/// # Errors
/// The system says why; what was at `path` is there still.
pub(super) fn write(path: &Path, draft: &Draft) -> io::Result<Written> {
    let beside = beside(path);
    let file = claim(&beside)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.set_len(0)?;
    let written = draft.write(&file);
    if written.is_err() {
        // What a full disk has no room for shall not take the room of others.
        let _ = file.set_len(0);
    }
    let (seal, octets) = written?;
    let times = draft.times();
    // Without it a file could have its name before it has its content, as far as a disk that loses power knows.
    file.sync_all()?;
    fs::rename(&beside, path)?;
    file.unlock()?;
    Ok(Written {
        file,
        seal,
        turn: 0,
        octets,
        times,
    })
}

impl Written {
    /// Says in the file that it was still current at these times. `false`: it is not at `path` any more.
    ///
    /// # Errors
    /// The system says why; the file is whole all the same.
    pub(super) fn mark(&mut self, path: &Path, times: Times) -> io::Result<bool> {
        let (own, there) = (self.file.metadata()?, fs::metadata(path));
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(false);
        }
        let mark = format::mark(&self.seal, &times);
        self.file.write_all_at(&mark, format::mark_at(self.turn))?;
        self.turn += 1;
        self.times = times;
        Ok(true)
    }
}

/// The file that is written, opened and locked, so that it is ours alone.
fn claim(beside: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(beside)?;
    let busy = || io::Error::new(io::ErrorKind::WouldBlock, "another process is writing it");
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(fault)) => return Err(fault),
    }
    // Between the opening and the lock another process may have given it its name: then it is good, and not ours.
    let (own, there) = (file.metadata()?, fs::symlink_metadata(beside));
    match there {
        Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) && own.is_file() => {
            Ok(file)
        }
        _ => Err(busy()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}

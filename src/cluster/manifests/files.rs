//! Which files there are, and whether one is still the same.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Folders within folders: far more than anybody has, and an end for links that go round in a circle.
const DEPTH_MAX: usize = 16;

/// Files altogether; those beyond are reported and left out.
const FILES_MAX: usize = 65_536;

/// What tells one content of a file from the next without reading it. A link that is turned leads to another file (ConfigMap volumes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

/// What was found under the paths of a stanza.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files by path: the order in which they are read.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// Paths that are not there or cannot be looked at.
    pub(super) absent: Vec<(PathBuf, io::Error)>,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }

    /// Whether the file has not been written to for a time. A file from the future has.
    pub(super) fn settled(&self, now: SystemTime, after: Duration) -> bool {
        let age = self
            .modified
            .and_then(|modified| now.duration_since(modified).ok());
        age.is_none_or(|age| age >= after)
    }
}

impl Found {
    /// Whether a file may be missing only because the path that it was found under is, or cannot be looked at.
    pub(super) fn is_hidden(&self, file: &Path) -> bool {
        self.absent.iter().any(|(path, _)| file.starts_with(path))
    }
}

/// Looks under all paths. A path that names a file is taken whatever its name; in folders, `.yaml`, `.yml` and `.json` are.
pub(super) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => look_into(path, 0, &mut found),
            Ok(metadata) => file(path, &metadata, &mut found),
            Err(error) => found.absent.push((path.clone(), error)),
        }
    }
    found
}

fn look_into(folder: &Path, depth: usize, found: &mut Found) {
    let entries = match fs::read_dir(folder) {
        Ok(_) if depth >= DEPTH_MAX => return,
        Ok(entries) => entries,
        Err(error) => return found.absent.push((folder.to_owned(), error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return found.absent.push((folder.to_owned(), error)),
        };
        // Hidden files are an editor's, hidden folders are where a ConfigMap volume keeps its versions.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let metadata = match (fs::metadata(&path), path.symlink_metadata()) {
            (Ok(metadata), _) => metadata,
            // A folder that may be listed, and nothing in it looked at.
            (_, Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                return found.absent.push((folder.to_owned(), error));
            }
            // A link that leads nowhere is no file that was taken away.
            (Err(error), Ok(_)) if is_manifest(&path) => {
                found.absent.push((path, error));
                continue;
            }
            // A file that goes away between two calls is as good as never seen.
            (Err(_), _) => continue,
        };
        if metadata.is_dir() {
            look_into(&path, depth + 1, found);
        } else if is_manifest(&path) {
            file(&path, &metadata, found);
        }
    }
}

fn file(path: &Path, metadata: &Metadata, found: &mut Found) {
    if found.files.len() < FILES_MAX {
        found.files.insert(path.to_owned(), Stamp::new(metadata));
    } else {
        let error = io::Error::other(format!("more than {FILES_MAX} files"));
        found.absent.push((path.to_owned(), error));
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["yaml", "yml", "json"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

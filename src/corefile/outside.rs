//! What a configuration reaches outside its own text: files, globs, the environment, standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::FILE_BYTES_MAX;
use super::pattern;

/// The world around a configuration. The parser decides which paths to ask for; this only answers.
pub trait Outside {
    /// The content of a file, symbolic links followed.
    ///
    /// # Errors
    /// Why it cannot be had; a directory is refused, and so is a file of more than [`FILE_BYTES_MAX`] bytes.
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable>;

    /// The content of standard input.
    ///
    /// # Errors
    /// As [`Outside::read`].
    fn stdin(&self) -> Result<Vec<u8>, Unreadable>;

    /// The paths that match a pattern, sorted by name, directories among them. `*` and `?` stand for characters of
    /// one path component, a leading dot included; a path without them matches itself if it exists.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;

    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Nothing is there.
    #[error("no such file")]
    Missing,
    /// A directory is there.
    #[error("is a directory")]
    Directory,
    /// More than [`FILE_BYTES_MAX`] bytes.
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// The system says no.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::IsADirectory => Self::Directory,
            _ => Self::Io(error),
        }
    }
}

impl From<Unreadable> for io::Error {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Missing => io::Error::new(io::ErrorKind::NotFound, why),
            Unreadable::Directory => io::Error::new(io::ErrorKind::IsADirectory, why),
            Unreadable::TooLarge => io::Error::new(io::ErrorKind::FileTooLarge, why),
            Unreadable::Io(error) => error,
        }
    }
}

/// The real thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filesystem;

impl Outside for Filesystem {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        bounded(File::open(path)?)
    }

    fn stdin(&self) -> Result<Vec<u8>, Unreadable> {
        bounded(io::stdin().lock())
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let start = if pattern.starts_with('/') { "/" } else { "" };
        let mut found = vec![PathBuf::from(start)];
        for component in pattern.split('/').filter(|part| !part.is_empty()) {
            found = if pattern::is_glob(component) {
                found
                    .iter()
                    .flat_map(|parent| children(parent, component))
                    .collect()
            } else {
                found.iter().map(|parent| parent.join(component)).collect()
            };
        }
        // A link that leads nowhere matches, and then cannot be read: a missing file must not pass as no match.
        found.retain(|path| path.symlink_metadata().is_ok());
        found
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

fn bounded(source: impl Read) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    source
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    Ok(bytes)
}

/// The entries of a directory whose name matches; none where it cannot be listed, as a missing one.
fn children(parent: &Path, component: &str) -> Vec<PathBuf> {
    let listed = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let Ok(entries) = listed.read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| pattern::matches(component, &name.to_string_lossy()));
    names.sort();
    names.into_iter().map(|name| parent.join(name)).collect()
}

/// Files and variables in memory: for tests and fuzzing, and for a configuration that is no file.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

impl Memory {
    /// Nothing at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; the directories above it exist with it. The file `stdin` is standard input.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn directories(&self) -> BTreeSet<&Path> {
        let parents = self.files.keys().flat_map(|path| path.ancestors().skip(1));
        parents
            .filter(|path| !path.as_os_str().is_empty())
            .collect()
    }
}

impl Outside for Memory {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        match self.files.get(path) {
            Some(content) => bounded(content.as_slice()),
            None if self.directories().contains(path) => Err(Unreadable::Directory),
            None => Err(Unreadable::Missing),
        }
    }

    fn stdin(&self) -> Result<Vec<u8>, Unreadable> {
        self.read(Path::new("stdin"))
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let mut all = self.directories();
        all.extend(self.files.keys().map(PathBuf::as_path));
        all.into_iter()
            .filter(|path| {
                let path = path.to_string_lossy();
                pattern.split('/').count() == path.split('/').count()
                    && pattern
                        .split('/')
                        .zip(path.split('/'))
                        .all(|(pattern, name)| pattern::matches(pattern, name))
            })
            .map(Path::to_path_buf)
            .collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

#[cfg(test)]
mod tests;

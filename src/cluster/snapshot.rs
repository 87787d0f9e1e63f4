//! What is known of a cluster, on disk: a server that restarts while the API server is away answers from what the
//! process before it knew.
//!
//! ```text
//!     index ── contents ──▶ keeper ── write ──▶ PATH.new ── fsync, rename ──▶ PATH
//!                                                                              │ at the start
//!     index ◀── read ──────────────────────────────────────────────────────────┘
//! ```
//!
//! What is kept is the index's own content, not API objects. `format` says how it lies in the file;
//! `write` and `read` go through it in one pass and hold one record at a time. The checksum is over all of it: a file
//! that was cut, or changed by a bit, is refused whole. What is served from a file is marked as stale in the view until
//! the first list of this process has been applied. `keeper` decides when to write, and knows no disk; `file` knows the
//! disk, and not when.

use std::path::PathBuf;
use std::time::Duration;

use super::object::Resource;

mod file;
mod format;
mod heard;
mod keeper;
mod pace;
mod read;
mod start;
#[cfg(test)]
mod tests;
mod write;

pub(super) use keeper::{Keeper, Worth};
pub(super) use start::{Restored, restore};

/// `snapshot PATH [max_age DURATION]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it is written, and read at the start. While it is written there is a second file beside it, `PATH.new`.
    pub path: PathBuf,
    /// What was current longer ago is not served.
    pub max_age: Duration,
}

/// The most octets of a file: 25 times what a cluster of 50,000 endpoints takes. Larger ones are neither written nor read.
pub const OCTETS_MAX: u64 = 64 << 20;

/// What becomes of a snapshot, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotEvent {
    /// It has been written whole: its size, and when, in seconds since 1970.
    Written {
        /// Octets of the file.
        octets: u64,
        /// Seconds since 1970.
        at: u64,
    },
    /// The file on disk was current at this time, in seconds since 1970.
    CurrentAsOf(u64),
    /// There is no file any more that is kept.
    NotKept,
    /// It could not be written.
    WriteFailed,
    /// A file was there and was not read; see [`Refused::reason`].
    ReadFailed(&'static str),
    /// A resource is served from it, and was current at this time, in seconds since 1970; `None`: it has been listed.
    Serves(Resource, Option<u64>),
}

/// How far a resource has been followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// The `resourceVersion` of the list or the watch. Empty: it is not known, and only the newest list is new enough.
    pub(super) version: Box<str>,
    /// When nothing was missing, in seconds since 1970; 0: never.
    pub(super) as_of: u64,
}

/// Of every resource.
pub(super) type ReachedAll = [Reached; Resource::ALL.len()];

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The system does not give it.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// It is a folder, a device or a pipe.
    #[error("it is no regular file")]
    NoFile,
    /// It is larger than any that we write.
    #[error("it has {0} octets, and {OCTETS_MAX} is the most")]
    TooLarge(u64),
    /// It does not begin as a snapshot does.
    #[error("it is no snapshot of a cluster")]
    NoSnapshot,
    /// Another release has written it.
    #[error("it has the format {0}, and this is {expected}", expected = format::VERSION)]
    Version(u32),
    /// It is cut off, or something in it has changed.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is of another cluster, or of other selectors.
    #[error("it is of another cluster: {0}")]
    Foreign(String),
    /// All of it was current too long ago.
    #[error("it was current {age:?} ago, and max_age is {max:?}")]
    TooOld {
        /// How long ago.
        age: Duration,
        /// `max_age`.
        max: Duration,
    },
    /// A clock is wrong, now or when it was written.
    #[error("it is from the future: it will be current in {0:?}")]
    Future(Duration),
    /// It was written before anything was known.
    #[error("there is nothing in it")]
    Empty,
    /// Reading took longer than a start may wait.
    #[error("it took too long to read")]
    TooSlow,
}

impl Refused {
    /// The kind of reason, as a label of a metric.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Refused::Unreadable(_) | Refused::NoFile => "unreadable",
            Refused::TooLarge(_) => "too_large",
            Refused::NoSnapshot | Refused::Damaged(_) | Refused::Empty => "corrupt",
            Refused::Version(_) => "version",
            Refused::Foreign(_) => "foreign",
            Refused::TooOld { .. } => "too_old",
            Refused::Future(_) => "future",
            Refused::TooSlow => "too_slow",
        }
    }
}

//! The start of a cluster that has a snapshot: what there is to serve before anybody has been asked.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::read::{self, Found, READ_TIME_MAX, Wanted};
use super::{ReachedAll, Refused, SnapshotEvent, SnapshotFile, file};
use crate::cluster::index::Index;
use crate::cluster::object::Resource;
use crate::cluster::{Observer, unix_seconds};

/// What the process before knew.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Restored {
    /// Every resource in it is stale.
    pub(in crate::cluster) index: Index,
    /// How far the process before had come.
    pub(in crate::cluster) reached: ReachedAll,
}

/// Reads the snapshot of the cluster of this identity, and tells of it under its name. A file that is refused is told in
/// the log and counted, and is as good as none.
pub(in crate::cluster) fn restore(
    snapshot: &SnapshotFile,
    cluster: &str,
    identity: &str,
    observer: &dyn Observer,
) -> Option<Restored> {
    let (path, now) = (snapshot.path.display(), unix_seconds());
    match in_time(snapshot, identity, now) {
        Ok(Some(Found { index, reached })) => {
            let known = Resource::ALL.into_iter().filter_map(|resource| {
                let as_of = reached[resource as usize].as_of;
                let age = Duration::from_secs(now.saturating_sub(as_of));
                (as_of > 0).then(|| format!("{resource} {age:?} old"))
            });
            let known = known.collect::<Vec<_>>().join(", ");
            tracing::info!(target: "plugin/kubernetes", cluster, %path, known, "Serving a snapshot until the API server has been heard");
            Some(Restored { index, reached })
        }
        Ok(None) => {
            tracing::info!(target: "plugin/kubernetes", cluster, %path, "There is no snapshot yet");
            None
        }
        Err(refused) => {
            tracing::warn!(target: "plugin/kubernetes", cluster, %path, reason = %refused, "The snapshot is not served");
            observer.snapshot(cluster, SnapshotEvent::ReadFailed(refused.reason()));
            None
        }
    }
}

/// Reads on a thread of its own: a disk that hangs must not keep DNS from being served.
fn in_time(snapshot: &SnapshotFile, identity: &str, now: u64) -> Result<Option<Found>, Refused> {
    let (snapshot, identity) = (snapshot.clone(), identity.to_owned());
    let (send, read) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(move || {
            let wanted = Wanted {
                cluster: &identity,
                now,
                max_age: snapshot.max_age,
            };
            // Whoever waited may have given up.
            let _ = send.send(open_and_read(&snapshot, wanted));
        })?;
    match read.recv_timeout(READ_TIME_MAX) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => Err(Refused::TooSlow),
        Err(RecvTimeoutError::Disconnected) => Err(Refused::Damaged("reading it has panicked")),
    }
}

fn open_and_read(snapshot: &SnapshotFile, wanted: Wanted<'_>) -> Result<Option<Found>, Refused> {
    match file::open(&snapshot.path)? {
        Some((file, octets)) => read::read(file, octets, wanted).map(Some),
        None => Ok(None),
    }
}

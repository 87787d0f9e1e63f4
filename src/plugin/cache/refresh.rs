//! What is asked in the background: successors of entries that are given meanwhile.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::entry::Entry;

/// Refreshes of the whole process that may be under way. Each waits as a query of a client does, and so takes from what
/// `forward` can do at a time; a thousand a second is more than popular names need.
const UNDER_WAY_MAX: usize = 1000;

/// Where refreshes run, and how many. It lives as long as the process.
#[derive(Debug)]
pub struct Refreshes {
    runtime: Handle,
    room: Arc<Semaphore>,
}

/// The right to ask for the successor of an entry, which nobody else has meanwhile.
pub(super) struct Refreshing {
    entry: Arc<Entry>,
    _room: OwnedSemaphorePermit,
}

/// Why there is no such right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// Somebody has it.
    UnderWay,
    /// Too many refreshes are under way.
    NoRoom,
}

impl Refreshes {
    /// Refreshes that run on `runtime`.
    pub fn on(runtime: Handle) -> Refreshes {
        Refreshes {
            runtime,
            room: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }

    /// The right to refresh this entry, if nobody has it and there is room.
    pub(super) fn begin(&self, entry: Arc<Entry>) -> Result<Refreshing, NotBegun> {
        if !entry.begin_refresh() {
            return Err(NotBegun::UnderWay);
        }
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            return Ok(Refreshing { entry, _room: room });
        }
        entry.end_refresh();
        Err(NotBegun::NoRoom)
    }

    pub(super) fn spawn(&self, refresh: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(refresh);
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.entry.end_refresh();
    }
}

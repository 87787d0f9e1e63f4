//! File descriptors of the process: how many there may be, and room for them.
//!
//! Every connection and every query to an upstream takes one.

use std::os::fd::RawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for which there is room from the start: the queries that may wait for upstreams, the sockets kept for
/// further ones, and what a server has open otherwise. The table takes 8 octets for each.
const ROOM: u64 = 8192;

/// How many descriptors the process may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors(u64);

impl Descriptors {
    /// Raises the soft limit to the hard one, because the soft one is for programs that use `select`, and makes room.
    /// To be called while the process has one thread.
    pub(super) fn claim() -> Descriptors {
        let max = match getrlimit(Resource::RLIMIT_NOFILE) {
            Ok((soft, hard)) => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                Ok(()) => hard,
                Err(_) => soft,
            },
            Err(_) => u64::MAX,
        };
        make_room(max);
        Descriptors(max)
    }

    /// How many TCP connections may be open, so that half of the descriptors are left for upstreams, watches and
    /// operators.
    pub(super) fn connections_max(self, most: usize) -> usize {
        usize::try_from(self.0 / 2)
            .unwrap_or(usize::MAX)
            .clamp(1, most)
    }
}

/// Has the kernel make its table large enough now. Later, with many threads, whoever opens a socket for which there is no
/// room waits until all processors have let go of the old table, and the names of the cluster wait with it: 5 to 16 ms at
/// each doubling, where the slowest answer otherwise takes 1.4 ms (10,000 queries a second to an upstream that is silent).
fn make_room(max: u64) {
    let last = max.clamp(1, ROOM) - 1;
    let last = RawFd::try_from(last).expect("a few thousand");
    // Without it everything works as well, but not as soon.
    drop(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), last));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_takes_half_of_the_descriptors_at_most() {
        for (what, descriptors, most, expected) in [
            ("plenty", 1 << 20, 20_000, 20_000),
            ("few", 1024, 20_000, 512),
            ("none to speak of", 1, 20_000, 1),
            ("no limit", u64::MAX, 20_000, 20_000),
        ] {
            let connections = Descriptors(descriptors).connections_max(most);
            assert_eq!(connections, expected, "{what}");
        }
    }
}

//! UDP sockets for queries to upstreams, each connected to one upstream for one query.
//!
//! A connected socket takes datagrams from its peer's address and port alone, and a port that the kernel drew at
//! random for one query is what someone who cannot see the traffic has to guess besides the id (RFC 5452 section
//! 9.2). The price is what decides how to get there. Measured on one core, 200,000 queries to a loopback echo:
//!
//! | system calls for the port | µs of CPU a query |
//! |---|---|
//! | a new socket: socket, connect, register, close | 8.3 |
//! | the old socket, disconnected and connected anew | 2.0 |
//! | the old socket with its old port | 0 |
//!
//! Connecting to nothing (AF_UNSPEC) takes peer and port from a socket but leaves it registered with the runtime,
//! and the next connect draws a new port. So sockets are kept without a port: nothing can be sent to them. With its port, an
//! unused socket would take in forged answers before the question is asked.
//!
//! They lie with the thread that used them last: they are registered with the runtime that this thread turns, and nobody
//! has to be asked for them.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::{Handle, Id};

/// Sockets that lie unused with one thread. As many as queries wait at one time on a busy server; a burst beyond that
/// pays for new ones.
const IDLE_MAX: usize = 256;
/// And with all threads together, if there are descriptors enough.
const IDLE_IN_ALL_MAX: u64 = 4096;

/// The part of the descriptors that may lie unused: what is left is for queries and connections.
static ROOM: LazyLock<usize> = LazyLock::new(|| {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from((descriptors / 8).min(IDLE_IN_ALL_MAX)).expect("a few thousand")
});
/// The sockets that lie unused with all threads.
static IDLE_IN_ALL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IDLE: RefCell<Idle> = RefCell::default();
}

/// The unused sockets of a thread.
#[derive(Debug, Default)]
struct Idle {
    /// Where they are registered. A thread that turns one runtime after the other, as those of tests do, cannot use for
    /// one what is registered with another.
    runtime: Option<Id>,
    v4: Vec<UdpSocket>,
    v6: Vec<UdpSocket>,
}

/// A socket that is connected to this upstream, from a port that no query had a claim to before.
pub(super) fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match IDLE.with_borrow_mut(|idle| idle.take(to)) {
        Some(socket) => socket,
        None => new(to)?,
    };
    rustix::net::connect(&socket, &to)?;
    Ok(socket)
}

/// A socket that is connected to this upstream from this address, and from a port that no query had a claim to before. It
/// is not to be kept: others may send from anywhere.
pub(super) fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new(to)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket)
}

/// Keeps a socket whose query was answered; one whose query was not is better closed, with all that may still come for
/// it.
pub(super) fn keep(socket: UdpSocket, to: SocketAddr) {
    // What cannot be disconnected would keep its port.
    if rustix::net::connect_unspec(&socket).is_ok() && is_empty(&socket) {
        IDLE.with_borrow_mut(|idle| idle.put(socket, to));
    }
}

impl Idle {
    fn take(&mut self, to: SocketAddr) -> Option<UdpSocket> {
        self.begin();
        let socket = self.of(to).pop()?;
        IDLE_IN_ALL.fetch_sub(1, Ordering::Relaxed);
        Some(socket)
    }

    fn put(&mut self, socket: UdpSocket, to: SocketAddr) {
        self.begin();
        if self.v4.len() + self.v6.len() >= IDLE_MAX {
            return;
        }
        if IDLE_IN_ALL.fetch_add(1, Ordering::Relaxed) >= *ROOM {
            IDLE_IN_ALL.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.of(to).push(socket);
    }

    fn of(&mut self, to: SocketAddr) -> &mut Vec<UdpSocket> {
        match to {
            SocketAddr::V4(_) => &mut self.v4,
            SocketAddr::V6(_) => &mut self.v6,
        }
    }

    /// Closes what belongs to another runtime than the one that this thread turns now.
    fn begin(&mut self) {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        if self.runtime != runtime {
            self.clear();
            self.runtime = runtime;
        }
    }

    fn clear(&mut self) {
        let count = self.v4.len() + self.v6.len();
        self.v4.clear();
        self.v6.clear();
        IDLE_IN_ALL.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether nothing is queued. What came from the last peer before the socket was disconnected would be taken for a
/// word of the next one; after that nothing can come.
fn is_empty(socket: &UdpSocket) -> bool {
    let mut octet = [0];
    // Through the runtime, which so learns that the socket is no longer readable: the next query need not find out.
    let received = socket.try_io(Interest::READABLE, || {
        Ok(rustix::net::recv(socket, &mut octet, RecvFlags::DONTWAIT)?)
    });
    received.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn new(to: SocketAddr) -> io::Result<UdpSocket> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn peer() -> (std::net::UdpSocket, SocketAddr) {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        (peer, to)
    }

    #[tokio::test]
    async fn every_connection_has_a_port_of_its_own_and_kept_sockets_have_none() {
        let (_peer, to) = peer();
        let mut ports = Vec::new();
        for _ in 0..1000 {
            let socket = connect(to).unwrap();
            assert_eq!(socket.peer_addr().unwrap(), to);
            ports.push(socket.local_addr().unwrap().port());
            keep(socket, to);
        }
        IDLE.with_borrow(|idle| {
            assert_eq!(idle.v4.len(), 1, "one socket served them all");
            assert_eq!(idle.v4[0].local_addr().unwrap().port(), 0);
        });
        assert!(!ports.is_sorted(), "not one after the other");
        // Of 28,000 ports, 1000 draws hit some 982; a counter or a fixed port would show.
        let distinct: HashSet<u16> = ports.into_iter().collect();
        assert!(distinct.len() > 900, "{} ports", distinct.len());
    }

    #[tokio::test]
    async fn what_one_upstream_left_in_a_socket_is_not_heard_by_the_next() {
        let (peer, to) = peer();
        let socket = connect(to).unwrap();
        peer.send_to(b"planted", socket.local_addr().unwrap())
            .unwrap();
        socket.readable().await.unwrap();
        keep(socket, to);
        IDLE.with_borrow(|idle| assert!(idle.v4.is_empty()));
    }

    #[tokio::test]
    async fn no_more_sockets_are_kept_than_allowed() {
        let (_peer, to) = peer();
        let open: Vec<UdpSocket> = (0..IDLE_MAX + 10).map(|_| connect(to).unwrap()).collect();
        open.into_iter().for_each(|socket| keep(socket, to));
        let kept = IDLE.with_borrow(|idle| idle.v4.len());
        assert!(kept > 0 && kept <= IDLE_MAX.min(*ROOM), "{kept}");
    }

    #[test]
    fn sockets_of_a_runtime_that_is_gone_are_not_used() {
        let (_peer, to) = peer();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for _ in 0..2 {
                    let socket = connect(to).unwrap();
                    socket.writable().await.unwrap();
                    keep(socket, to);
                }
            });
        }
    }
}

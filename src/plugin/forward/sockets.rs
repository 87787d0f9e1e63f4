//! UDP sockets for queries to upstreams, each connected to one upstream and used by one query at a time.
//!
//! A connected socket takes datagrams from its peer's address and port alone, and its own port, which the kernel draws
//! at random, is what someone who cannot see the traffic has to guess besides the id (RFC 5452 section 9.2). So a port is
//! not predictable from those before, and it does not last: each serves a few queries within a short time, never two in
//! a row of [`RESTING`], and then another is drawn. The price is what decides that it serves more than one. Measured on one
//! core, 200,000 queries to a loopback echo:
//!
//! | system calls for the port | µs of CPU a query |
//! |---|---|
//! | a new socket: socket, connect, register, close | 8.3 |
//! | the old socket, disconnected and connected anew | 2.0 |
//! | the old socket with its old port | 0 |
//!
//! Sockets lie with the thread that used them last: they are registered with the runtime that this thread turns, and so
//! nobody has to be asked for them. The ports of all threads are drawn from the same range.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::time::{Duration, Instant};

use rand::RngExt;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::{Handle, Id};

/// So many queries to an upstream go out by other ports before one is used again.
const RESTING: usize = 100;
/// A port that is used again is drawn from as many that have rested, at least.
const CHOICES_MIN: usize = 16;
/// Sockets that lie unused, for each upstream and thread: all those of the queries that a busy client has under way come
/// back together. With 256, opening and closing those beyond took 10 % of a query, 200 being under way.
const IDLE_MAX: usize = 512;
/// What has lain unused for so long is not needed.
const UNUSED_MAX: Duration = Duration::from_secs(10);
/// Queries that one port serves.
const USES_MAX: u16 = 4;
/// How long a port serves. Finding out which are open takes longer: a kernel answers some 1,000 probes a second.
const PORT_AGE_MAX: Duration = Duration::from_secs(1);
/// Upstreams for which a thread keeps sockets: those of a large Corefile.
const UPSTREAMS_MAX: usize = 32;

thread_local! {
    static IDLE: RefCell<Idle> = RefCell::default();
}

/// A socket that is connected to an upstream.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    to: SocketAddr,
    port: Port,
}

/// What its port has served.
#[derive(Debug, Clone, Copy)]
struct Port {
    drawn: Instant,
    uses: u16,
}

/// The unused sockets of a thread.
#[derive(Debug, Default)]
struct Idle {
    /// Where they are registered. A thread that turns one runtime after the other, as those of tests do, cannot use for
    /// one what is registered with another.
    runtime: Option<Id>,
    /// For each upstream, those used last at the end; the upstream asked last is the first.
    upstreams: Vec<(SocketAddr, VecDeque<Socket>)>,
}

/// What is done for the next query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The socket at this place is used as it is.
    Again(usize),
    /// It is given another port.
    Anew(usize),
    /// A new one is made.
    New,
}

/// A socket that is connected to this upstream.
pub(super) fn connect(to: SocketAddr, now: Instant) -> io::Result<Socket> {
    let (choice, kept) = IDLE.with_borrow_mut(|idle| idle.take(to, now));
    match (choice, kept) {
        (Choice::Again(_), Some(mut kept)) => {
            kept.port.uses += 1;
            Ok(kept)
        }
        (Choice::Anew(_), Some(kept)) if disconnect(&kept) => connected(kept.socket, to, now),
        _ => connected(new(to)?, to, now),
    }
}

/// A socket that is connected to this upstream from this address, and from a port of its own. It is not to be kept:
/// others may send from anywhere.
pub(super) fn connect_from(source: IpAddr, to: SocketAddr, now: Instant) -> io::Result<Socket> {
    let socket = new(to)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    connected(socket, to, now)
}

/// Keeps a socket whose query was answered; one whose query was not is better closed, with all that may still come for
/// it.
pub(super) fn keep(socket: Socket) {
    // It is no longer known to be readable, so that the next query need not find out by a system call. What is queued all
    // the same is not the answer to that one.
    let _: io::Result<()> =
        socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    IDLE.with_borrow_mut(|idle| idle.put(socket));
}

impl Idle {
    fn take(&mut self, to: SocketAddr, now: Instant) -> (Choice, Option<Socket>) {
        self.begin();
        let upstream = self.upstreams.iter().position(|(other, _)| *other == to);
        let Some(upstream) = upstream else {
            return (Choice::New, None);
        };
        self.upstreams[..=upstream].rotate_right(1);
        let sockets = &mut self.upstreams[0].1;
        let choice = choose(sockets, now, |count| rand::rng().random_range(0..count));
        let kept = match choice {
            Choice::Again(at) | Choice::Anew(at) => sockets.remove(at),
            Choice::New => None,
        };
        (choice, kept)
    }

    fn put(&mut self, socket: Socket) {
        self.begin();
        let to = socket.to;
        let upstream = match self.upstreams.iter().position(|(other, _)| *other == to) {
            Some(upstream) => upstream,
            None => {
                self.upstreams.truncate(UPSTREAMS_MAX - 1);
                self.upstreams.insert(0, (to, VecDeque::new()));
                0
            }
        };
        let sockets = &mut self.upstreams[upstream].1;
        let now = socket.port.drawn;
        if sockets.len() >= IDLE_MAX
            || sockets
                .front()
                .is_some_and(|oldest| oldest.port.age(now) >= UNUSED_MAX)
        {
            sockets.pop_front();
        }
        sockets.push_back(socket);
    }

    /// Closes what belongs to another runtime than the one that this thread turns now.
    fn begin(&mut self) {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        if self.runtime != runtime {
            self.runtime = runtime;
            self.upstreams.clear();
        }
    }
}

/// Of sockets that lie unused, those used last at the end, the one for the next query. `random` picks one of so many.
fn choose(sockets: &VecDeque<Socket>, now: Instant, random: impl FnOnce(usize) -> usize) -> Choice {
    let rested = sockets.len().saturating_sub(RESTING);
    if rested < CHOICES_MIN {
        return match sockets.front() {
            // Little is asked, and more sockets would be more that lie about.
            Some(oldest) if oldest.port.is_old(now) => Choice::Anew(0),
            _ => Choice::New,
        };
    }
    let at = random(rested);
    let port = &sockets[at].port;
    if port.is_old(now) || port.uses >= USES_MAX {
        Choice::Anew(at)
    } else {
        Choice::Again(at)
    }
}

impl Port {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.drawn)
    }

    fn is_old(&self, now: Instant) -> bool {
        self.age(now) >= PORT_AGE_MAX
    }
}

impl Deref for Socket {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.socket
    }
}

fn connected(socket: UdpSocket, to: SocketAddr, now: Instant) -> io::Result<Socket> {
    rustix::net::connect(&socket, &to)?;
    Ok(Socket {
        socket,
        to,
        port: Port {
            drawn: now,
            uses: 1,
        },
    })
}

/// Takes peer and port from a socket, but leaves it registered with the runtime: the next connect draws a new port. Says
/// whether nothing is queued, as what came for the old port would be taken for something that came for the new one.
fn disconnect(socket: &UdpSocket) -> bool {
    let mut octet = [0];
    let mut is_empty = || {
        matches!(
            rustix::net::recv(socket, &mut octet, RecvFlags::DONTWAIT),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    };
    rustix::net::connect_unspec(socket).is_ok() && is_empty()
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
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn peer() -> (std::net::UdpSocket, SocketAddr) {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        (peer, to)
    }

    fn port(socket: &Socket) -> u16 {
        socket.local_addr().unwrap().port()
    }

    /// The ports of so many queries, one behind the other, with a pause between them.
    fn ports(queries: u32, pause: Duration) -> Vec<u16> {
        let (_peer, to) = peer();
        let mut now = Instant::now();
        let mut ports = Vec::new();
        for _ in 0..queries {
            let socket = connect(to, now).unwrap();
            assert_eq!(socket.peer_addr().unwrap(), to);
            ports.push(port(&socket));
            keep(socket);
            now += pause;
        }
        ports
    }

    #[tokio::test]
    async fn a_port_rests_before_it_is_used_again_and_serves_a_few_queries_only() {
        for (what, pause, queries_a_port) in [
            ("many a second", Duration::ZERO, USES_MAX),
            ("some a second", Duration::from_millis(5), 2),
            ("few a second", Duration::from_millis(300), 1),
        ] {
            let ports = ports(5000, pause);
            for near in ports.windows(RESTING) {
                let distinct: HashSet<_> = near.iter().collect();
                // A port that is drawn anew may be one that another socket has given back.
                assert!(
                    distinct.len() + 3 >= near.len(),
                    "{what}: {}",
                    distinct.len()
                );
            }
            let mut uses = HashMap::new();
            for port in &ports {
                *uses.entry(port).or_insert(0) += 1;
            }
            let mean = ports.len() / uses.len();
            assert!(mean <= queries_a_port.into(), "{what}: {mean} of one port");
        }
    }

    #[tokio::test]
    async fn the_next_port_does_not_follow_from_those_before() {
        let ports = ports(5000, Duration::ZERO);
        let mut followers: HashMap<u16, HashSet<u16>> = HashMap::new();
        for pair in ports.windows(2) {
            followers.entry(pair[0]).or_default().insert(pair[1]);
        }
        let known = followers.values().filter(|next| next.len() == 1).count();
        assert!(
            known * 2 < followers.len(),
            "{known} of {}",
            followers.len()
        );
        assert!(!ports.is_sorted(), "not one after the other");
    }

    #[tokio::test]
    async fn no_two_queries_at_a_time_share_a_socket_and_no_more_are_kept_than_allowed() {
        let (_peer, to) = peer();
        let now = Instant::now();
        let open: Vec<Socket> = (0..IDLE_MAX + 10)
            .map(|_| connect(to, now).unwrap())
            .collect();
        let ports: HashSet<u16> = open.iter().map(port).collect();
        assert_eq!(ports.len(), open.len());
        open.into_iter().for_each(keep);
        IDLE.with_borrow(|idle| assert_eq!(idle.upstreams[0].1.len(), IDLE_MAX));
    }

    #[tokio::test]
    async fn sockets_that_a_burst_needed_are_closed_in_time() {
        let (_peer, to) = peer();
        let mut now = Instant::now();
        let open: Vec<Socket> = (0..300).map(|_| connect(to, now).unwrap()).collect();
        open.into_iter().for_each(keep);
        for _ in 0..1000 {
            now += Duration::from_millis(100);
            keep(connect(to, now).unwrap());
        }
        IDLE.with_borrow(|idle| {
            let left = idle.upstreams[0].1.len();
            assert!(left <= RESTING + CHOICES_MIN, "{left}");
        });
    }

    #[tokio::test]
    async fn what_came_for_one_port_is_not_heard_on_the_next() {
        let (peer, to) = peer();
        let now = Instant::now();
        let socket = connect(to, now).unwrap();
        peer.send_to(b"planted", socket.local_addr().unwrap())
            .unwrap();
        socket.readable().await.unwrap();
        keep(socket);
        let socket = connect(to, now + PORT_AGE_MAX).unwrap();
        let heard = rustix::net::recv(&*socket, &mut [0; 16], RecvFlags::DONTWAIT);
        assert_eq!(heard, Err(rustix::io::Errno::WOULDBLOCK));
    }

    #[tokio::test]
    async fn a_socket_that_was_kept_hears_the_next_answer() {
        let (peer, to) = peer();
        let now = Instant::now();
        let mut heard = HashSet::new();
        for _ in 0..3 * RESTING {
            let socket = connect(to, now).unwrap();
            peer.send_to(b"answer", socket.local_addr().unwrap())
                .unwrap();
            socket.readable().await.unwrap();
            assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 6);
            heard.insert(port(&socket));
            keep(socket);
        }
        assert!(heard.len() < 2 * RESTING, "some ports served twice");
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
                let now = Instant::now();
                let socket = connect(to, now).unwrap();
                socket.writable().await.unwrap();
                keep(socket);
                let socket = connect(to, now + PORT_AGE_MAX).unwrap();
                socket.writable().await.unwrap();
                keep(socket);
            });
        }
    }

    #[tokio::test]
    async fn a_thread_keeps_sockets_for_no_more_upstreams_than_allowed() {
        let peers: Vec<_> = (0..UPSTREAMS_MAX + 3).map(|_| peer()).collect();
        for (_, to) in &peers {
            keep(connect(*to, Instant::now()).unwrap());
        }
        IDLE.with_borrow(|idle| assert_eq!(idle.upstreams.len(), UPSTREAMS_MAX));
    }
}

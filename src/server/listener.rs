//! One address of the server: its sockets from `bind` to the last reply.
//!
//! A [`Listener`] is bound and silent: what arrives waits in the kernel, so that a generation is put together
//! with all its ports, or not at all. [`Serving`] answers with whatever router was set last, and ends in steps, so
//! that nothing that was sent to an open socket is left without an answer: nothing new may wait, what waits ends,
//! connections are parted from, and datagrams are read until the moment in which their sockets close.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::handle::Service;
use super::router::Router;
use super::tcp::{Door, Phase, Places, Timeouts};
use super::{Hooks, udp};
use crate::admission::Admission;
use crate::dns::Transport;

/// Queries of a listener that may wait at once. Each takes some 4 KB, so that upstreams which do not answer cost
/// 32 MB at most; 8,192 waiting for 50 ms each are 160,000 queries a second.
const WAITING_MAX: usize = 8192;
/// TCP connections that may be open at once; an idle one takes 1.5 KiB.
const CONNECTIONS_MAX: usize = 20_000;
/// Connections that the kernel completes before they are accepted. It takes no more than `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Octets of datagrams that the kernel keeps for a thread that is busy, its bookkeeping included: some 1,300
/// queries, about 10 ms of work; what waits longer is not worth an answer. It grants `net.core.rmem_max` at most.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Octets that the kernel keeps of queries that we have not read and of replies that a client has not taken, for each
/// connection, before its bookkeeping, which is as much again. Left to itself it goes up to 10 MB, which counts
/// against the memory of the Pod.
const TCP_RECEIVE_BUFFER: usize = 64 << 10;
const TCP_SEND_BUFFER: usize = 128 << 10;
/// Ports tried for one that is free for TCP as well as UDP, where the port is ours to choose.
const PORTS_TRIED: usize = 16;
/// The part of its time for which a listener that ends goes on as before while queries wait. The rest is for those
/// that wait then, and must be longer than `forward` takes for any (4.5 s of 5).
const QUIET_SHARE: u32 = 16;
/// How often a listener that ends looks whether what it waits for has come.
const POLL: Duration = Duration::from_millis(2);
/// What a connection that is being made is given to be one, and what the first query behind it is given to come. Beyond
/// a cluster's round trip, and not so long that an end takes long.
const SETTLE: Duration = Duration::from_millis(50);
/// For telling those that wait in vain, and for the last look at the sockets: neither waits for anything, however late it
/// is.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What a listener may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Threads, and sockets, for UDP; at least 1 is used.
    pub udp_threads: usize,
    /// How long clients may take over TCP.
    pub timeouts: Timeouts,
    /// Queries that may wait at once; of further ones SERVFAIL is told to a client that has far more waiting than others,
    /// or else to who asks.
    pub waiting_max: usize,
    /// TCP connections that may be open at once; for a further one the idlest makes room. One client address may have
    /// a quarter of them.
    pub connections_max: usize,
}

impl Default for Config {
    /// A thread for each core that the process may use.
    fn default() -> Config {
        Config {
            udp_threads: std::thread::available_parallelism().map_or(1, usize::from),
            timeouts: Timeouts::default(),
            waiting_max: WAITING_MAX,
            connections_max: CONNECTIONS_MAX,
        }
    }
}

/// An address that is bound and not read from yet.
#[derive(Debug)]
pub struct Listener {
    config: Config,
    local_address: SocketAddr,
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{} {address}: {source}", transport.as_str())]
pub struct BindError {
    /// For what.
    pub transport: Transport,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// An address that is served. Dropped, it ends at once.
pub struct Serving {
    local_address: SocketAddr,
    service: Arc<Service>,
    readers: Vec<udp::Reader>,
    places: Arc<Places>,
    accepting: JoinHandle<()>,
    /// Gone, it ends `accepting` in good order.
    door: Option<oneshot::Sender<()>>,
    timeouts: watch::Sender<Timeouts>,
}

impl BindError {
    /// The address as it is written in a Corefile: `:53` for all addresses.
    pub fn place(&self) -> String {
        match self.address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!(":{}", self.address.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => self.address.to_string(),
        }
    }
}

impl Listener {
    /// Binds the address for UDP and TCP. Port 0 becomes one that is free for both. `[::]` takes IPv4 too, and is
    /// `0.0.0.0` on a host without IPv6.
    ///
    /// # Errors
    /// One of the sockets cannot be had.
    pub fn bind(address: SocketAddr, config: Config) -> Result<Listener, BindError> {
        match Listener::bind_any_port(address, config) {
            Err(error)
                if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error.source) =>
            {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
                Listener::bind_any_port(address, config)
            }
            bound => bound,
        }
    }

    fn bind_any_port(address: SocketAddr, config: Config) -> Result<Listener, BindError> {
        let mut tries = if address.port() == 0 { PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            match Listener::bind_both(address, config) {
                Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                bound => return bound,
            }
        }
    }

    fn bind_both(address: SocketAddr, config: Config) -> Result<Listener, BindError> {
        let failed = |transport| {
            move |source| BindError {
                transport,
                address,
                source,
            }
        };
        let first = bind_udp(address).map_err(failed(Transport::Udp))?;
        let local_address = first.local_addr().map_err(failed(Transport::Udp))?;
        let mut udp = vec![first];
        for _ in 1..config.udp_threads {
            udp.push(bind_udp(local_address).map_err(failed(Transport::Udp))?);
        }
        let tcp = bind_tcp(local_address).map_err(failed(Transport::Tcp))?;
        Ok(Listener {
            config,
            local_address,
            udp,
            tcp,
        })
    }

    /// The address with its port.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Starts to answer by this router; TCP runs on the runtime.
    ///
    /// # Errors
    /// When a thread cannot be started or the runtime does not take the socket.
    pub fn serve(
        self,
        router: Arc<Router>,
        hooks: Arc<dyn Hooks>,
        runtime: &Handle,
    ) -> io::Result<Serving> {
        let config = self.config;
        let service = Arc::new(Service {
            router: ArcSwap::new(router),
            hooks,
            waiting: Admission::new(config.waiting_max),
        });
        let tcp = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(self.tcp)?
        };
        let timeouts = watch::Sender::new(config.timeouts);
        let places = Arc::new(Places::new(config.connections_max));
        let (open, closing) = oneshot::channel();
        let door = Door {
            service: service.clone(),
            timeouts: timeouts.subscribe(),
            places: places.clone(),
        };
        let mut serving = Serving {
            local_address: self.local_address,
            service: service.clone(),
            readers: Vec::new(),
            accepting: runtime.spawn(door.accept(tcp, closing)),
            door: Some(open),
            places,
            timeouts,
        };
        for socket in self.udp {
            let reader = udp::Reader::start(socket, service.clone())?;
            serving.readers.push(reader);
        }
        Ok(serving)
    }
}

impl Serving {
    /// The address with its port.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// From now on queries are answered by this router; those being answered keep theirs.
    pub fn set_router(&self, router: Arc<Router>) {
        self.service.router.store(router);
    }

    /// From now on clients that connect have these times.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.timeouts.send_replace(timeouts);
    }

    /// From now on clients over TCP that ask nothing are parted from, and the others are asked to go (RFC 7828).
    pub fn leave(&self) {
        self.places.enter(Phase::Leaving);
    }

    /// Answers what has been asked, and closes; what still waits after `grace` is told SERVFAIL. Returns how many queries
    /// that are.
    ///
    /// On a busy server something always waits, and as long as a socket is open it is given datagrams: so from some
    /// time on a query that would have to wait is told SERVFAIL, and those that are known are answered to the end.
    pub async fn drain(mut self, grace: Duration) -> usize {
        let end = Instant::now() + grace;
        self.leave();
        let quiet = async {
            sleep(SETTLE).await;
            self.nothing_waits().await;
        };
        let _ = timeout(grace / QUIET_SHARE, quiet).await;
        self.service.waiting.close();
        let _ = timeout_at(end, self.nothing_waits()).await;
        let given_up = self.service.waiting.displace_all();
        let _ = timeout(LAST_LOOK, self.nothing_waits()).await;
        let parted = async {
            drop(self.door.take());
            // A task that panicked has dropped its socket, too.
            let _ = (&mut self.accepting).await;
            sleep(SETTLE).await;
            self.places.enter(Phase::Draining);
            self.places.all_free().await;
        };
        let _ = timeout_at(end, parted).await;
        // Last, because parting takes as long as clients take.
        self.stop_readers();
        let _ = timeout(LAST_LOOK, self.readers_have_ended()).await;
        given_up
    }

    async fn nothing_waits(&self) {
        while self.waiting_count() > 0 {
            sleep(POLL).await;
        }
    }

    async fn readers_have_ended(&self) {
        while !self.readers.iter().all(udp::Reader::is_finished) {
            sleep(POLL).await;
        }
    }

    fn waiting_count(&self) -> usize {
        self.service.waiting.present()
    }

    fn stop_readers(&self) {
        self.readers.iter().for_each(udp::Reader::stop);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
        self.places.enter(Phase::Closed);
        self.stop_readers();
    }
}

/// The kernel knows no IPv6 at all, or has no address of it, not even the unspecified one.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Best effort: a smaller buffer loses datagrams in a burst, no buffer at all is not on offer.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if address.port() != 0 {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    // A socket that shares ports may be given one that another shares already; so the first that wants any port
    // is ready to share it only when it has it.
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // As CoreDNS does, so that a successor can take the port over before we leave it.
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    // Replies are written whole; there is nothing to wait for (RFC 7766 section 8). Connections have it from here.
    socket.set_tcp_nodelay(true)?;
    // Best effort, and before `listen`, which settles how wide windows can be.
    let _ = socket.set_recv_buffer_size(TCP_RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(TCP_SEND_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;

//! One address of the server: its sockets from `bind` to the last reply.
//!
//! A [`Listener`] is bound and silent: what arrives waits in the kernel, so that a generation is put together
//! with all its ports, or not at all. Its threads are there before its sockets, and its descriptors before the first
//! socket is bound: an address for which there are none was never open. [`Serving`] answers with whatever router was set last, and ends in steps, so
//! that nothing that was sent to an open socket is left without an answer: nothing new may wait, what waits ends,
//! connections are parted from, and datagrams are read until the moment in which their sockets close.

mod sockets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use self::sockets::BindError;
use self::sockets::Sockets;
use super::handle::Service;
use super::router::Router;
use super::tcp::{Door, Phase, Places, Timeouts};
use super::{Hooks, udp};
use crate::admission::Admission;

/// Queries of a listener that may wait at once. Each takes some 4 KB, so that upstreams which do not answer cost
/// 32 MB at most; 8,192 waiting for 50 ms each are 160,000 queries a second.
const WAITING_MAX: usize = 8192;
/// TCP connections that may be open at once; an idle one takes 1.5 KiB.
const CONNECTIONS_MAX: usize = 20_000;
/// Stack of a thread for UDP. Following an alias takes the most: ten chains inside each other at a query each.
const UDP_STACK: usize = 1 << 20;
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
    /// Octets of the stack of each.
    pub udp_stack: usize,
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
            udp_stack: UDP_STACK,
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
    /// One for each UDP socket.
    threads: Vec<udp::Thread>,
    sockets: Sockets,
}

/// Why an address cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no thread for it.
    #[error("no thread could be started for it: {0}")]
    Thread(io::Error),
    /// One of its sockets cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
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

impl Listener {
    /// Binds the address for UDP and TCP. Port 0 becomes one that is free for both. `[::]` takes IPv4 too, and is
    /// `0.0.0.0` on a host without IPv6.
    ///
    /// # Errors
    /// A thread or a socket cannot be had.
    pub fn bind(address: SocketAddr, config: Config) -> Result<Listener, ListenError> {
        let threads = (0..config.udp_threads.max(1))
            .map(|_| udp::Thread::start(address.port(), config.udp_stack))
            .collect::<io::Result<Vec<_>>>()
            .map_err(ListenError::Thread)?;
        let sockets = Sockets::bind(address, threads.len())?;
        Ok(Listener {
            config,
            threads,
            sockets,
        })
    }

    /// The address with its port.
    pub fn local_address(&self) -> SocketAddr {
        self.sockets.address
    }

    /// Starts to answer by this router; TCP runs on the runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket for TCP. What came over UDP has been answered then, if that could be done at once.
    pub fn serve(
        self,
        router: Arc<Router>,
        hooks: Arc<dyn Hooks>,
        runtime: &Handle,
    ) -> io::Result<Serving> {
        let Listener {
            config,
            threads,
            sockets,
        } = self;
        let service = Arc::new(Service {
            router: ArcSwap::new(router),
            hooks,
            waiting: Admission::new(config.waiting_max),
        });
        let readers: Vec<udp::Reader> = threads
            .into_iter()
            .zip(sockets.udp)
            .map(|(thread, socket)| thread.read(socket, sockets.address, service.clone()))
            .collect();
        let tcp = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(sockets.tcp)
                .inspect_err(|_| readers.iter().for_each(udp::Reader::stop))?
        };
        let timeouts = watch::Sender::new(config.timeouts);
        let places = Arc::new(Places::new(config.connections_max));
        let (open, closing) = oneshot::channel();
        let door = Door {
            service: service.clone(),
            timeouts: timeouts.subscribe(),
            places: places.clone(),
        };
        Ok(Serving {
            local_address: sockets.address,
            service,
            readers,
            accepting: runtime.spawn(door.accept(tcp, closing)),
            door: Some(open),
            places,
            timeouts,
        })
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

#[cfg(test)]
mod tests;

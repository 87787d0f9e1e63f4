//! UDP: a thread with a socket of its own, which answers in place whatever need not wait.
//!
//! The sockets of a listener share its address (`SO_REUSEPORT`), and the kernel spreads the clients over them. A
//! thread takes the datagrams that are there, handles them one after the other with one reused [`Query`], and
//! sends the replies together. Nothing on that way allocates, locks or waits; a query that must wait becomes a task of
//! the thread's own runtime, which turns as long as one does (`waiting`). When there is more than a thread can do, what
//! is known goes first, clients take turns with the rest (`backlog`), and what is not even read is that of those who
//! send the most (`shares`, `filter`).

mod backlog;
mod batch;
mod filter;
mod outbox;
mod shares;
mod waiting;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use self::backlog::Backlog;
pub(super) use self::batch::tell_addresses;
use self::batch::{Batch, Peer};
use self::outbox::{Ended, Outbox};
use self::shares::{Look, Order, Shares};
use super::Overload;
use super::handle::{Handled, Packet, Pending, Service};
use crate::dns::{Query, Transport};

/// Datagrams taken by one system call. From 16 to 128 the cost of a query is the same within what can be measured
/// (1.07 of a bare echo's, loopback, one core); so the packets may as well fit the first-level cache.
const BATCH: usize = 32;
/// Octets kept of a buffer for replies. A reply over UDP is seldom larger than 1,232 octets; the memory of those
/// few that are is given back.
const REPLY_KEPT_MAX: usize = 4096;
/// Queries that have waited and whose memory is kept for others that will: as many as wait on a busy server, at some 2 KB
/// each.
const SPARE_MAX: usize = 256;
/// After an error that says nothing about a datagram: the least that keeps a broken socket from taking a core.
const BACK_OFF: Duration = Duration::from_millis(10);
/// Batches that a thread which stops still takes off its socket: more than a receive buffer holds.
const LAST_BATCHES: usize = 128;

/// A thread that has all that it needs of the system, but for a socket: one that is open is given datagrams, which would
/// be lost if nobody could be found to read them.
#[derive(Debug)]
pub(super) struct Thread {
    begin: mpsc::Sender<Arc<Worker>>,
    thread: JoinHandle<()>,
}

/// A socket and the thread that reads it.
pub(super) struct Reader {
    /// The thread's own, which closes it as soon as it has read it for the last time: what comes in between is lost.
    socket: Weak<UdpSocket>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What a thread works with.
struct Worker {
    service: Arc<Service>,
    socket: Arc<UdpSocket>,
    outbox: Arc<Outbox>,
    stopping: Arc<AtomicBool>,
    /// The address asked, where the socket has one.
    bound: SocketAddr,
}

/// Reusable memory of a thread.
struct Buffers {
    batch: Batch,
    query: Box<Query>,
    replies: Vec<Vec<u8>>,
    backlog: Backlog<Leaving>,
    spare: Vec<Spare>,
    shares: Shares,
}

/// A query that must wait.
struct Leaving {
    pending: Box<Pending>,
    query: Box<Query>,
    /// Where the reply goes; empty.
    reply: Vec<u8>,
    peer: Peer,
}

/// Memory of a query that has waited.
struct Spare {
    query: Box<Query>,
    reply: Vec<u8>,
}

impl Thread {
    /// Starts one for a socket of this port. Dropped, it ends.
    pub(super) fn start(port: u16, stack: usize) -> io::Result<Thread> {
        let (begin, beginning) = mpsc::channel::<Arc<Worker>>();
        let (started, starting) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(format!("udp:{port}"))
            .stack_size(stack)
            // A runtime may not be dropped where another runs, as here it does: so it is the thread's from the begin.
            .spawn(move || match runtime() {
                Ok(runtime) => {
                    drop(started.send(Ok(())));
                    if let Ok(worker) = beginning.recv() {
                        worker.run(&runtime);
                    }
                }
                Err(fault) => drop(started.send(Err(fault))),
            })?;
        starting.recv().map_err(io::Error::other)??;
        Ok(Thread { begin, thread })
    }

    /// Has it read a socket, which is bound to this address.
    pub(super) fn read(
        self,
        socket: UdpSocket,
        bound: SocketAddr,
        service: Arc<Service>,
    ) -> Reader {
        let (socket, stopping) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let alarm = Arc::downgrade(&socket);
        let worker = Worker {
            service,
            outbox: Arc::default(),
            socket,
            stopping: stopping.clone(),
            bound,
        };
        let begun = self.begin.send(Arc::new(worker));
        begun.expect("it waits for nothing else");
        Reader {
            socket: alarm,
            stopping,
            thread: self.thread,
        }
    }
}

impl Reader {
    /// Tells the thread to end once it has handled what is queued. What waits then is given up.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(socket) = self.socket.upgrade() {
            batch::wake(&socket);
        }
    }

    /// Whether the thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Worker {
    fn run(self: Arc<Self>, runtime: &Runtime) {
        let mut buffers = None;
        // Chains are contained where they run. Should anything else panic, one batch goes unanswered rather than
        // every client whose datagrams the kernel gives to this socket.
        while catch_unwind(AssertUnwindSafe(|| self.read(runtime, &mut buffers))).is_err() {
            self.service.hooks.panicked();
            // Who is limited was known in the buffers, which are gone.
            self.lift();
        }
    }

    /// Reads until the thread is to end. Waits for datagrams in the kernel while nothing else is waited for, which is a
    /// system call less for each batch than asking the poller first.
    fn read(self: &Arc<Self>, runtime: &Runtime, buffers: &mut Option<Buffers>) {
        let new = || {
            let shares = Shares::new(Instant::now(), batch::lost(&self.socket));
            Buffers::new(self.bound.ip().is_unspecified(), shares)
        };
        while !self.is_stopping() {
            let mut held = buffers.take().unwrap_or_else(new);
            if !held.backlog.is_empty() || !self.outbox.is_empty() {
                held = turn(runtime, self.clone().read_on(held));
            } else {
                match held.batch.receive(&self.socket, true) {
                    Ok(received) => self.answer(&mut held, received),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.rest(&mut held),
                    Err(_) => thread::sleep(BACK_OFF),
                }
            }
            *buffers = Some(held);
        }
        let mut last = buffers.take().unwrap_or_else(new);
        for _ in 0..LAST_BATCHES {
            match last.batch.receive(&self.socket, false) {
                Ok(received) => self.answer(&mut last, received),
                Err(_) => break,
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn answer(&self, buffers: &mut Buffers, received: usize) {
        let Buffers {
            batch,
            query,
            replies,
            backlog,
            spare,
            shares,
        } = buffers;
        let router = self.service.router.load();
        let now = Instant::now();
        let is_full = received == BATCH;
        let look = shares.read(now, received, is_full, || batch::lost(&self.socket));
        self.share(look, shares);
        if received > 1 {
            router.look_ahead((0..received).map(|at| batch.packet(at)));
        }
        let are_counted = shares.are_counted();
        for (at, reply) in replies[..received].iter_mut().enumerate() {
            let peer = batch.peer(at);
            let Some(client) = peer.client() else {
                reply.clear();
                continue;
            };
            if are_counted {
                shares.count(client.ip());
            }
            let packet = Packet {
                octets: batch.packet(at),
                transport: Transport::Udp,
                client,
                server: self.asked(peer),
                received: now,
            };
            match self.service.handle(&router, &packet, query, reply) {
                Handled::Reply | Handled::Silence => {}
                Handled::Waiting(pending) => {
                    reply.clear();
                    let next = spare.pop().unwrap_or_else(Spare::new);
                    let leaving = Leaving {
                        pending,
                        query: std::mem::replace(query, next.query),
                        reply: next.reply,
                        peer: *peer,
                    };
                    if let Some(dropped) = backlog.push(client.ip(), leaving) {
                        self.drop_unbegun(dropped, spare);
                    }
                }
            }
        }
        let unsent = batch.send(&self.socket, replies);
        if unsent > 0 {
            self.service.hooks.unsent(unsent);
        }
        replies[..received].iter_mut().for_each(give_back_if_large);
    }

    /// Ends a query for which there is no time: with what can be said at once, or without a word.
    fn drop_unbegun(&self, dropped: Leaving, spare: &mut Vec<Spare>) {
        let Leaving {
            pending,
            mut query,
            mut reply,
            peer,
        } = dropped;
        match self.service.instead(*pending, &mut query, &mut reply) {
            Some(waited_in) => self.outbox.enter().leave(Ended {
                peer,
                query,
                reply,
                _waited_in: waited_in,
            }),
            None => {
                self.service.hooks.overloaded(Overload::NotBegun);
                spare.push(Spare::of(query, reply));
            }
        }
    }

    /// Does what a look at who sends how much has come to.
    fn share(&self, look: Look, shares: &mut Shares) {
        if look.lost > 0 {
            self.service.hooks.unread(look.lost as usize);
        }
        match look.order {
            Some(Order::Limit(limited)) => {
                if filter::limit(&self.socket, &limited).is_err() {
                    shares.cannot_limit();
                    return self.lift();
                }
                // So that a limit is looked at again when nothing comes. It fails for no duration but zero.
                let _ = self.socket.set_read_timeout(Some(shares::WINDOW));
                if look.begins {
                    let clients = limited.iter().map(|limited| limited.client);
                    self.service
                        .hooks
                        .limited(&clients.collect::<Vec<IpAddr>>());
                }
            }
            Some(Order::Lift) => self.lift(),
            None => {}
        }
    }

    fn lift(&self) {
        filter::lift(&self.socket);
        let _ = self.socket.set_read_timeout(None);
    }

    /// Looks whether a limit is still needed when there is nothing to read.
    fn rest(&self, buffers: &mut Buffers) {
        let lost = || batch::lost(&self.socket);
        let look = buffers.shares.rest(Instant::now(), lost);
        self.share(look, &mut buffers.shares);
    }

    fn asked(&self, peer: &Peer) -> SocketAddr {
        match peer.asked() {
            Some(ip) => SocketAddr::new(ip, self.bound.port()),
            None => self.bound,
        }
    }
}

impl Buffers {
    fn new(with_control: bool, shares: Shares) -> Buffers {
        Buffers {
            batch: Batch::new(BATCH, with_control),
            query: Box::new(Query::empty()),
            replies: vec![Vec::new(); BATCH],
            backlog: Backlog::default(),
            spare: Vec::new(),
            shares,
        }
    }
}

impl Spare {
    fn new() -> Spare {
        Spare {
            query: Box::new(Query::empty()),
            reply: Vec::new(),
        }
    }

    /// What a query leaves, but for the memory of a large reply.
    fn of(query: Box<Query>, mut reply: Vec<u8>) -> Spare {
        give_back_if_large(&mut reply);
        Spare { query, reply }
    }
}

/// Gives the memory of a large reply back.
fn give_back_if_large(reply: &mut Vec<u8>) {
    if reply.capacity() > REPLY_KEPT_MAX {
        *reply = Vec::new();
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Runs a task and all that wait until the task has ended. A task it is, because one wakes another with no more than a
/// place in a queue, while waking who blocks on a runtime is a system call.
fn turn(runtime: &Runtime, task: impl Future<Output = Buffers> + Send + 'static) -> Buffers {
    match runtime.block_on(async { tokio::spawn(task).await }) {
        Ok(buffers) => buffers,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

#[cfg(test)]
mod tests;

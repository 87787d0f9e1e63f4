//! UDP: a thread with a socket of its own, which answers in place whatever need not wait.
//!
//! The sockets of a listener share its address (`SO_REUSEPORT`), and the kernel spreads the clients over them. A
//! thread takes the datagrams that are there, handles them one after the other with one reused [`Query`], and
//! sends the replies together. Nothing on that way allocates, locks or waits; a query that must wait leaves as a
//! task, whose reply is sent through the same socket.

mod batch;
mod outbox;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use self::batch::{Batch, Peer};
use self::outbox::Outbox;
use super::handle::{Handled, Packet, Pending, Service};
use crate::dns::{Query, Transport};

/// Datagrams taken by one system call. From 16 to 128 the cost of a query is the same within what can be measured
/// (1.07 of a bare echo's, loopback, one core); so the packets may as well fit the first-level cache.
const BATCH: usize = 32;
/// Octets kept of a buffer for replies. A reply over UDP is seldom larger than 1,232 octets; the memory of those
/// few that are is given back.
const REPLY_KEPT_MAX: usize = 4096;
/// Stack of a thread. Following an alias takes the most: ten chains inside each other at a query each.
const STACK: usize = 512 * 1024;
/// After an error that says nothing about a datagram: the least that keeps a broken socket from taking a core.
const BACK_OFF: Duration = Duration::from_millis(10);
/// Batches that a thread which stops still takes off its socket: more than a receive buffer holds.
const LAST_BATCHES: usize = 128;

/// A socket and the thread that reads it.
pub(super) struct Reader {
    socket: Arc<UdpSocket>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What a thread owns.
struct Worker {
    service: Arc<Service>,
    socket: Arc<UdpSocket>,
    outbox: Arc<Outbox>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
    /// The address asked, where the socket has one.
    bound: SocketAddr,
}

/// Reusable memory of a thread.
struct Buffers {
    batch: Batch,
    query: Query,
    replies: Vec<Vec<u8>>,
    leaving: Vec<Leaving>,
}

/// A query that leaves its thread because it must wait.
struct Leaving {
    pending: Box<Pending>,
    query: Box<Query>,
    peer: Peer,
}

impl Reader {
    /// Starts a thread that reads the socket; what must wait is spawned on `runtime`.
    pub(super) fn start(
        socket: UdpSocket,
        service: Arc<Service>,
        runtime: Handle,
    ) -> io::Result<Reader> {
        let bound = socket.local_addr()?;
        if bound.ip().is_unspecified() {
            batch::tell_addresses(&socket, bound.is_ipv6())?;
        }
        let (socket, stopping) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let outbox = Outbox::new(socket.clone(), service.hooks.clone());
        let worker = Worker {
            service,
            outbox: Arc::new(outbox),
            socket: socket.clone(),
            stopping: stopping.clone(),
            runtime,
            bound,
        };
        let thread = thread::Builder::new()
            .name(format!("udp:{}", bound.port()))
            .stack_size(STACK)
            .spawn(move || worker.run())?;
        Ok(Reader {
            socket,
            stopping,
            thread,
        })
    }

    /// Tells the thread to end once it has handled what is queued.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        batch::wake(&self.socket);
    }

    /// Whether the thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Worker {
    fn run(self) {
        let mut buffers = Buffers {
            batch: Batch::new(BATCH, self.bound.ip().is_unspecified()),
            query: Query::empty(),
            replies: vec![Vec::new(); BATCH],
            leaving: Vec::new(),
        };
        // Chains are contained where they run. Should anything else panic, one batch goes unanswered rather than
        // every client whose datagrams the kernel gives to this socket.
        while catch_unwind(AssertUnwindSafe(|| self.read(&mut buffers))).is_err() {
            self.service.hooks.panicked();
        }
    }

    fn read(&self, buffers: &mut Buffers) {
        while !self.stopping.load(Ordering::Acquire) {
            match buffers.batch.receive(&self.socket, true) {
                Ok(received) => self.answer(buffers, received),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => thread::sleep(BACK_OFF),
            }
        }
        for _ in 0..LAST_BATCHES {
            match buffers.batch.receive(&self.socket, false) {
                Ok(received) => self.answer(buffers, received),
                Err(_) => break,
            }
        }
    }

    fn answer(&self, buffers: &mut Buffers, received: usize) {
        let Buffers {
            batch,
            query,
            replies,
            leaving,
        } = buffers;
        let router = self.service.router.load();
        let now = Instant::now();
        for (at, reply) in replies[..received].iter_mut().enumerate() {
            let peer = batch.peer(at);
            let Some(client) = peer.client() else {
                reply.clear();
                continue;
            };
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
                    leaving.push(Leaving {
                        pending,
                        query: Box::new(std::mem::replace(query, Query::empty())),
                        peer: *peer,
                    });
                }
            }
        }
        let unsent = batch.send(&self.socket, replies);
        if unsent > 0 {
            self.service.hooks.unsent(unsent);
        }
        self.spawn(leaving);
        for reply in &mut replies[..received] {
            if reply.capacity() > REPLY_KEPT_MAX {
                *reply = Vec::new();
            }
        }
    }

    fn asked(&self, peer: &Peer) -> SocketAddr {
        match peer.asked() {
            Some(ip) => SocketAddr::new(ip, self.bound.port()),
            None => self.bound,
        }
    }

    /// Has the runtime take these to their ends. They go there as one task, which makes tasks of them: the runtime
    /// is woken up once for all.
    fn spawn(&self, leaving: &mut Vec<Leaving>) {
        if leaving.is_empty() {
            return;
        }
        let (service, outbox) = (self.service.clone(), self.outbox.clone());
        let leaving = std::mem::take(leaving);
        self.runtime.spawn(async move {
            for left in leaving {
                tokio::spawn(finish(service.clone(), outbox.clone(), left));
            }
        });
    }
}

async fn finish(service: Arc<Service>, outbox: Arc<Outbox>, left: Leaving) {
    let Leaving {
        pending,
        mut query,
        peer,
    } = left;
    let mut reply = Vec::new();
    let permit = service.finish(pending, &mut query, &mut reply).await;
    if !reply.is_empty() {
        outbox.put(peer, reply, permit);
    }
}

#[cfg(test)]
mod tests;

//! Replies of queries that had to wait, on their way out.
//!
//! Those that are ready in one turn of the runtime leave by one system call, as those of queries that had not to wait
//! do; together with waking up the runtime once a batch it spares 9 % of the CPU of a query that is forwarded (20.4 µs for
//! 22.4 where Unbound took 32.5; one core, 200 queries under way).

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::batch::{self, Peer};
use crate::server::Hooks;

/// Replies of one socket.
pub(super) struct Outbox {
    socket: Arc<UdpSocket>,
    hooks: Arc<dyn Hooks>,
    ready: Mutex<Vec<Ready>>,
}

struct Ready {
    peer: Peer,
    reply: Vec<u8>,
    /// What the query waited by: so these are no more than may wait, and a listener that ends waits for them.
    _permit: OwnedSemaphorePermit,
}

impl Outbox {
    /// Nothing in it yet.
    pub(super) fn new(socket: Arc<UdpSocket>, hooks: Arc<dyn Hooks>) -> Outbox {
        Outbox {
            socket,
            hooks,
            ready: Mutex::default(),
        }
    }

    /// Sends a reply soon. Must be called on a runtime.
    pub(super) fn put(self: &Arc<Self>, peer: Peer, reply: Vec<u8>, permit: OwnedSemaphorePermit) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(Ready {
            peer,
            reply,
            _permit: permit,
        });
        if ready.len() == 1 {
            tokio::spawn(self.clone().send());
        }
    }

    async fn send(self: Arc<Self>) {
        // Behind the tasks that can go on now.
        tokio::task::yield_now().await;
        let mut ready = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *ready)
        };
        let replies = ready
            .iter_mut()
            .map(|ready| (&mut ready.peer, ready.reply.as_slice()));
        let unsent = batch::send(&self.socket, replies);
        if unsent > 0 {
            self.hooks.unsent(unsent);
        }
    }
}

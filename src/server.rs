//! The sockets of the server, and what happens between them and the chains.
//!
//! ```text
//! datagram ─▶ udp ──┐                             ┌─▶ reply, sent with those of its batch
//!                   ├─▶ handle ─▶ router ─▶ chain ┤
//! stream   ─▶ tcp ──┘                             └─▶ must wait: a task, and a reply when it ends
//! ```
//!
//! A [`Listener`] is one address, UDP and TCP; serving, it outlives generations, which are swapped in as a whole
//! [`router::Router`]. UDP has threads of its own, as many as cores may be busy with it, which answer in place
//! and take what waits to its end; TCP runs on the tokio runtime. This room knows chains but no plugin, and no Corefile; what is worth
//! counting about queries that no chain saw is told to [`Hooks`].

mod explain;
mod handle;
#[doc(hidden)]
pub mod in_place;
mod listener;
pub mod router;
mod sampling;
mod tcp;
mod udp;

use std::net::IpAddr;

use crate::dns::{Query, Rcode};

pub use explain::{Explained, explain};
pub use listener::{BindError, Config, ListenError, Listener, Serving};
pub use sampling::SAMPLED_EVERY;
pub use tcp::Timeouts;

/// Why a connection over TCP has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The client has ended it, or the network.
    Client,
    /// The client said nothing for as long as it may.
    Idle,
    /// The server ends.
    Shutdown,
    /// All places were taken, and of those that could go this one had not asked for the longest time.
    Room,
    /// The client had as many connections as one address may have; it was turned away.
    ClientLimit,
    /// A message that was begun did not become whole in time.
    SlowQuery,
    /// The client did not take its replies in time.
    SlowReader,
    /// What the connections of this client, or of all, hold was more than they may.
    Memory,
}

/// Why a query that had to wait came to nothing, though those whom it waited for may be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overload {
    /// As many waited as may: it was told SERVFAIL.
    Full,
    /// As many waited as may, and its client had far more of them than another that asked: it was told SERVFAIL.
    Displaced,
    /// The thread had no time to begin it, and its client had the most of those that stood before it: it got no reply.
    NotBegun,
}

/// What the server tells about itself while it serves; every method is called on the path of a query and must
/// not wait.
pub trait Hooks: Send + Sync {
    /// A query's handling panicked; its client is told SERVFAIL. It is called on the thread that panicked: where a
    /// panic shall end the process (`debug`), it does not return.
    fn panicked(&self) {}

    /// A well-formed query was answered without a chain: of a class that is not served, in no zone, or after a
    /// panic. `size` is the reply's, in octets.
    fn answered_outside(&self, query: &Query, rcode: Rcode, size: usize) {
        let _ = (query, rcode, size);
    }

    /// A query that had to wait came to nothing.
    fn overloaded(&self, why: Overload) {
        let _ = why;
    }

    /// A client has connected over TCP. It is told once how that ends.
    fn connection_opened(&self) {}

    /// A connection over TCP has ended.
    fn connection_closed(&self, why: Closing) {
        let _ = why;
    }

    /// A connection could not be accepted, because the system lacked something, such as a descriptor.
    fn accept_failed(&self) {}

    /// One of about [`SAMPLED_EVERY`] queries that were answered, drawn by lot.
    fn sampled(&self, query: &Query, rcode: Rcode) {
        let _ = (query, rcode);
    }

    /// This many datagrams were lost before they were read: there was no time for them, or their client sent more than
    /// its share.
    fn unread(&self, count: usize) {
        let _ = count;
    }

    /// These clients send more than the others leave them of what a thread can read: from now on a part of it is lost
    /// unread.
    fn limited(&self, clients: &[IpAddr]) {
        let _ = clients;
    }

    /// This many replies were not taken by the kernel and are lost to their clients.
    fn unsent(&self, count: usize) {
        let _ = count;
    }
}

/// Nobody listens.
impl Hooks for () {}

#[cfg(test)]
mod tests;

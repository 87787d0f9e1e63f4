//! What an operator on this machine may ask a running server, and do to it.
//!
//! ```text
//! cairn explain ─▶ @cairn.PID ─▶ socket (who is it?) ─▶ page ─▶ explain, top, cache ─▶ JSON
//! ```
//!
//! The way in is an abstract Unix socket: it needs no port, no file and no configuration, and is reached from within the
//! Pod alone. Only processes of the same user and of root are served ([`socket`]). A request is a POST with a JSON
//! object, and so is a response; their forms are in [`words`]. [`Admin`] answers from what the app last told it is
//! served; it changes nothing but what a cache keeps.
//!
//! Nobody can hold the server up with it: connections, their time, the size of requests and of responses are bounded
//! here and in [`crate::ops`], and what goes through a whole cache lets others have their turn.

mod cache;
mod explain;
pub mod page;
pub mod socket;
mod top;
pub mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::listen::ListenAddress;
use crate::plugin::cache::Keeping;
use crate::server::router::Router;
use crate::top::Top;

/// What answers an operator. It lives as long as the process.
pub struct Admin {
    served: ArcSwap<Served>,
    top: Arc<Top>,
}

/// What is served at the time.
#[derive(Default)]
pub struct Served {
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// The caches of all server blocks.
    pub caches: Vec<Keeping>,
}

/// One listener, and what it answers by.
pub struct Listener {
    /// As the Corefile has it.
    pub address: ListenAddress,
    /// Where its sockets are.
    pub bound: SocketAddr,
    /// Its zones.
    pub router: Arc<Router>,
}

impl Admin {
    /// Nothing is served yet.
    pub fn new(top: Arc<Top>) -> Admin {
        Admin {
            served: ArcSwap::default(),
            top,
        }
    }

    /// From now on this is served.
    pub fn replace(&self, served: Served) {
        self.served.store(Arc::new(served));
    }
}

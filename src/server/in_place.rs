//! A listener without sockets: queries are answered on the thread that brings them, as on a thread of `udp`.
//!
//! For tests and measurements of what an answer costs, which must see nothing but the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::Hooks;
use super::handle::{Handled, Packet, Service};
use super::router::Router;
use crate::admission::Admission;
use crate::dns::{Query, Transport};

/// Where every query comes from.
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1053);

/// What a thread that answers owns.
pub struct InPlace {
    service: Service,
    router: Arc<Router>,
    query: Query,
    reply: Vec<u8>,
}

impl InPlace {
    /// Answers by this router.
    pub fn new(router: Arc<Router>, hooks: Arc<dyn Hooks>) -> InPlace {
        let service = Service {
            router: ArcSwap::new(router.clone()),
            hooks,
            waiting: Admission::new(1),
        };
        InPlace {
            service,
            router,
            query: Query::empty(),
            reply: Vec::new(),
        }
    }

    /// Prepares for datagrams that have come together.
    pub fn look_ahead<'a>(&self, packets: impl Iterator<Item = &'a [u8]> + Clone) {
        self.router.look_ahead(packets);
    }

    /// The reply to a datagram that came at this time, unless it has none or must wait for one.
    // In one piece, so that a profiler can tell what is in it.
    #[inline(never)]
    pub fn answer(&mut self, octets: &[u8], received: Instant) -> Option<&[u8]> {
        match self.handle(octets, received) {
            Handled::Reply => Some(&self.reply),
            Handled::Silence | Handled::Waiting(_) => None,
        }
    }

    /// Likewise, and waits if it must.
    pub async fn answer_at_last(&mut self, octets: &[u8]) -> &[u8] {
        if let Handled::Waiting(pending) = self.handle(octets, Instant::now()) {
            let (query, reply) = (&mut self.query, &mut self.reply);
            drop(self.service.finish(pending, query, reply).await);
        }
        &self.reply
    }

    #[inline]
    fn handle(&mut self, octets: &[u8], received: Instant) -> Handled {
        let packet = Packet {
            octets,
            transport: Transport::Udp,
            client: CLIENT,
            server: CLIENT,
            received,
        };
        let (query, reply) = (&mut self.query, &mut self.reply);
        self.service.handle(&self.router, &packet, query, reply)
    }
}

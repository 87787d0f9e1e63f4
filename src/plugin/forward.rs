//! `forward`: asks upstream servers for the names of a zone.
//!
//! ```text
//! query ─▶ stanza (whose zone?) ─▶ flights (is it being asked?) ─▶ race (whom next, and when?) ─▶ upstream ─▶ exchange
//! reply ◀─ `next`: the stanzas below ◀─────────────────── `failover`: another upstream ◀─────────────────────┘
//! ```
//!
//! All stanzas of a server block are one plugin, tried in written order. Decisions ([`policy`], the race, conduct,
//! health, which connection may be used again, when a name is resolved anew) are plain functions of the time they are
//! given; sockets are opened in `sockets` and `exchange` alone. What is under way, and with it sockets and memory, is
//! bounded for the process by [`Outbound`] and for a stanza by `max_concurrent`.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::admission::{Admission, Displaced};
use crate::chain::{Failure, Reason, Step};
use crate::dns::query::opcode;
use crate::dns::{Name, Query, Rcode, Reply, Section, Type};

mod budget;
mod case;
mod channel;
mod conduct;
mod config;
mod connections;
mod dial;
mod endpoint;
mod exchange;
mod flights;
mod forwarding;
mod health;
mod limit;
mod observer;
mod outbound;
mod policy;
mod race;
mod road;
mod roster;
mod runners;
mod sockets;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;

use super::PluginId;
pub use config::{
    AllDown, AttemptsMax, Carriage, Config, DohMethod, HealthCheck, Idle, Next, Resolvers, Stanza,
    Target, UPSTREAMS_MAX, parse,
};
pub use endpoint::{Endpoint, Host, Over, Secure, Speaks};
use forwarding::Forwarding;
pub use observer::{Observer, Unobserved, UpstreamObserver};
pub use outbound::Outbound;
pub use policy::Policy;
use roster::Pace;
pub use tls::Tls;

/// How long a query may take in all. The resolver of the C library waits for five seconds before it asks again:
/// what comes later comes to nobody, and so the client hears of a failure while it listens. (CoreDNS takes the whole
/// five.)
const ANSWER_WITHIN: Duration = Duration::from_millis(4500);

const FORWARD: PluginId = PluginId::of("forward");

/// The plugin.
#[derive(Debug)]
pub struct Forward {
    stanzas: Vec<Forwarding>,
    outbound: Arc<Outbound>,
}

impl Forward {
    /// A plugin that forwards as configured.
    pub fn new(config: Config, outbound: Arc<Outbound>) -> Forward {
        let stanzas = config.stanzas.into_iter();
        Forward {
            stanzas: stanzas
                .map(|stanza| Forwarding::new(stanza, &outbound))
                .collect(),
            outbound,
        }
    }

    /// Whether some upstreams are listed in files or have names, and [`Forward::follow`] is to be called.
    pub fn changes(&self) -> bool {
        let mut stanzas = self.stanzas.iter();
        stanzas.any(|stanza| stanza.upstreams.changes())
    }

    /// Follows files of upstreams and the addresses of their names, for ever.
    pub async fn follow(self: Arc<Forward>) {
        let stanzas = self.stanzas.iter();
        join_all(stanzas.map(|stanza| stanza.upstreams.follow(Pace::default()))).await;
    }

    /// Whether the name goes to an upstream at all. What can be refused without one is refused here, where it costs
    /// no task.
    pub(crate) fn down(&self, query: &mut Query) -> Step {
        let Some(stanza) = self.stanza_for(query, 0).map(|at| &self.stanzas[at]) else {
            return Step::Next;
        };
        // A notification is for this server and no other (RFC 1996 section 3).
        if query.opcode() != opcode::QUERY {
            return Step::Reply(Reply::new(query, Rcode::NOTIMP));
        }
        // Transfers are many messages, of which CoreDNS passes on one and leaves the others to the next query.
        if matches!(query.question.rtype, Type::AXFR | Type::IXFR) {
            return Step::Reply(Reply::new(query, Rcode::REFUSED));
        }
        let client = query.client.ip();
        match [&stanza.waiting, &self.outbound.waiting]
            .into_iter()
            .find(|room| room.refuses(client))
        {
            Some(room) => self.too_many(room),
            None => Step::Ask,
        }
    }

    /// Asks. The runtime must be tokio's.
    pub(crate) async fn ask(&self, query: &Query) -> Step {
        let room = &self.outbound.waiting;
        let Ok(place) = room.enter(query.client.ip()) else {
            return self.too_many(room);
        };
        let asked = pin!(self.ask_stanzas(query));
        let asked = place.unless_displaced(asked).await;
        asked.unwrap_or_else(|Displaced| self.too_many(room))
    }

    async fn ask_stanzas(&self, query: &Query) -> Step {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut from = 0;
        while let Some(at) = self.stanza_for(query, from) {
            let stanza = &self.stanzas[at];
            let room = &stanza.waiting;
            let Ok(place) = room.enter(query.client.ip()) else {
                return self.too_many(room);
            };
            let ask = pin!(stanza.ask(query, &self.outbound, deadline));
            let Ok(outcome) = place.unless_displaced(ask).await else {
                return self.too_many(room);
            };
            match outcome {
                Ok(reply) => {
                    let is_last = at + 1 == self.stanzas.len();
                    if is_last || !stanza.config.next.wants(&reply) {
                        return Step::Reply(reply);
                    }
                }
                Err(reason) => return fail(reason),
            }
            from = at + 1;
        }
        Step::Next
    }

    /// The first stanza from this one on that the name goes to.
    fn stanza_for(&self, query: &Query, from: usize) -> Option<usize> {
        let stanzas = self.stanzas[from..].iter();
        stanzas
            .map(|stanza| &stanza.config)
            .position(|config| config.takes(&query.question.name))
            .map(|at| from + at)
    }

    /// Whether `name` goes to upstreams that `other` may go to as well.
    pub(crate) fn goes_with(&self, other: &Name, name: &Name) -> bool {
        let stanzas = || self.stanzas.iter().map(|stanza| &stanza.config);
        let first = |of: &Name| stanzas().position(|stanza| stanza.takes(of));
        let (Some(first_of_name), Some(first_of_other)) = (first(name), first(other)) else {
            return false;
        };
        let is_last = |stanza: &Stanza| stanza.next == Next::default();
        let goes_on = || {
            let before = stanzas().take(first_of_name).skip(first_of_other);
            let mut before = before.filter(|stanza| stanza.takes(other));
            !before.any(is_last) && self.stanzas[first_of_name].config.takes(other)
        };
        first_of_name == first_of_other || first_of_name > first_of_other && goes_on()
    }

    fn too_many(&self, room: &Admission) -> Step {
        self.outbound.observer.rejected();
        fail(Reason::TooManyConcurrent(room.max()))
    }
}

impl Stanza {
    /// Whether the name goes to these upstreams. Nothing is excepted of the zone's own name.
    fn takes(&self, name: &Name) -> bool {
        name.is_within(&self.from) && (*name == self.from || !self.except.contains(name))
    }
}

impl Next {
    fn wants(&self, reply: &Reply) -> bool {
        let is_nodata = || {
            reply.rcode == Rcode::NOERROR
                && reply.records.count(Section::Answer) == 0
                && reply.flags & crate::dns::query::flag::TC == 0
        };
        self.rcodes.contains(&reply.rcode) || (self.on_nodata && is_nodata())
    }
}

fn fail(reason: Reason) -> Step {
    Step::Fail(Failure {
        by: Some(FORWARD),
        reason,
    })
}

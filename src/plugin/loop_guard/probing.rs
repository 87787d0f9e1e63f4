//! The probe: a query to ourselves, and what its fate says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use super::{LoopGuard, State};
use crate::dns::message::Received;
use crate::dns::query::flag;
use crate::dns::{Class, Name, Query, Question, Rcode, Type, encode};

/// How long an answer is waited for: longer than any upstream is, so that what comes late is not taken for news.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long stragglers are waited for after an answer.
const PAUSE: Duration = Duration::from_secs(2);
/// For so long a probe without a verdict is followed by the next at once: upstreams may come up later than we do.
const PROBE_TIME: Duration = Duration::from_secs(30);
/// And then after this time, for ever: an upstream that was away may lead here when it comes back.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// While there is a loop, how soon to look whether it is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often it is told that it is still there.
const TELL_EVERY: Duration = Duration::from_secs(300);
/// Octets of a reply that are read; of the reply to a probe only the head matters.
const REPLY_MAX: usize = 512;

impl LoopGuard {
    /// Asks the server at `server` for a name, again and again, until somebody else has answered; then the guard
    /// steps aside. An unspecified address stands for this host. No answer is no verdict: nothing listens yet, or no
    /// upstream does. Whoever answers SERVFAIL has asked nobody, and whoever answers REFUSED may be ourselves: so many
    /// queries wait that no more is forwarded.
    pub async fn probe(&self, server: SocketAddr) {
        let server = SocketAddr::new(own(server.ip()), server.port());
        let mut watching_since = Instant::now();
        let mut told = Instant::now();
        while self.state() != State::Aside {
            let reply = timeout(ANSWER_WAIT, self.ask(server)).await;
            sleep(PAUSE).await;
            // A query that goes in circles has been seen often by then. One that was only tried again has not.
            let came_back = self.seen.swap(0, Ordering::Relaxed) > 1;
            let now = Instant::now();
            match (reply, self.state()) {
                (_, State::Looping) if came_back => {
                    if now >= told + TELL_EVERY {
                        told = now;
                        self.tell_again();
                    }
                    sleep(LOOK_AGAIN).await;
                }
                (Ok(Ok(rcode)), _) if !came_back && is_verdict(rcode) => {
                    self.gone();
                    self.enter(State::Aside);
                }
                (_, State::Looping) => {
                    self.gone();
                    self.enter(State::Watching);
                    watching_since = now;
                }
                _ if now < watching_since + PROBE_TIME => {}
                _ => sleep(PROBE_EVERY).await,
            }
            // What others keep of the last one says nothing of the next.
            self.round().probe = name(&self.zone);
        }
    }

    fn tell_again(&self) {
        if let Some(found) = &self.round().found {
            tracing::error!(target: "plugin/loop", "{found}. It is still there, and names that are forwarded are told SERVFAIL");
        }
    }

    /// Asks once, and waits for the reply whatever it says.
    pub(super) async fn ask(&self, server: SocketAddr) -> io::Result<Rcode> {
        let probe = self.round().probe;
        let probe = probe.ok_or(io::ErrorKind::Unsupported)?;
        let mut query = Query::empty();
        query.question = Question::new(probe, Type::HINFO, Class::IN);
        query.flags = flag::RD;
        let id = rand::random();
        let mut message = Vec::new();
        encode::query(&query, &query.question.asked, id, &mut message);
        let socket = UdpSocket::bind((unspecified(server.ip()), 0)).await?;
        socket.connect(server).await?;
        socket.send(&message).await?;
        let mut reply = [0; REPLY_MAX];
        loop {
            let length = socket.recv(&mut reply).await?;
            if let Ok(head) = Received::parse(&reply[..length])
                && head.id == id
                && head.answers(&query.question)
            {
                return Ok(head.rcode());
            }
        }
    }
}

/// Two labels of random digits, as CoreDNS makes them, in front of the zone.
pub(super) fn name(zone: &Name) -> Option<Name> {
    let label = || rand::random::<u64>() >> 1;
    let name: Name = format!("{}.{}.", label(), label()).parse().ok()?;
    Name::join(name.labels_wire(), zone).ok()
}

/// An address by which this host reaches a socket. One on all addresses takes both families, and of the two only IPv4 is
/// there on every host.
pub(super) fn own(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        ip
    }
}

fn unspecified(of_family: IpAddr) -> IpAddr {
    match of_family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Whether such an answer says that an upstream has answered.
fn is_verdict(rcode: Rcode) -> bool {
    !matches!(rcode, Rcode::SERVFAIL | Rcode::REFUSED)
}

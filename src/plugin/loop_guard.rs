//! `loop`: finds out at the start whether queries that are forwarded come back.
//!
//! A query for a name that nobody else can know is sent to the server itself ([`LoopGuard::probe`]). If it is seen
//! more than twice it goes in circles, and would until the process has no memory left: the process is told, and
//! ends. When the probe is answered the guard steps aside for ever.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::config::Scope;
use crate::corefile::reader;
use crate::corefile::{Directive, Faults};
use crate::dns::message::Received;
use crate::dns::query::flag;
use crate::dns::{Class, Name, Query, Question, Type, encode};

/// The probe and one that was asked again are no loop yet.
const SEEN_MAX: u32 = 2;
/// How long the probe is tried: upstreams may come up later than we do.
const PROBE_TIME: Duration = Duration::from_secs(30);
/// How long an answer is waited for: longer than any upstream is, so that what comes late is not taken for news.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the next try waits, and how long stragglers are waited for after an answer.
const PAUSE: Duration = Duration::from_secs(2);
/// Octets of a reply that are read; of the reply to a probe only the head matters.
const REPLY_MAX: usize = 512;

/// What the Corefile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The zone that is probed: the first of the server block.
    pub zone: Name,
}

/// Reads `loop`.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    reader.none().and(reader.no_block())?;
    let zone = scope.zones.first().copied().unwrap_or_default();
    Some(Config { zone })
}

/// A loop was found. Displayed in CoreDNS's words, which operators look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// Who sent the query that came too often: the last server of the circle.
    pub from: SocketAddr,
    /// The address that this server is known by.
    pub to: String,
    /// The zone.
    pub zone: Name,
    /// The name that went in circles.
    pub probe: Name,
}

/// What is done about a loop, once.
pub type OnLoop = dyn Fn(&Loop) + Send + Sync;

/// The plugin.
pub struct LoopGuard {
    zone: Name,
    /// The name that is asked for; `None` where the zone has no room for one.
    probe: Option<Name>,
    address: String,
    seen: AtomicU32,
    off: AtomicBool,
    on_loop: Box<OnLoop>,
}

impl LoopGuard {
    /// A guard that makes up a name of its own. `address` is where the server listens, as the log shall have it.
    pub fn new(config: Config, address: String, on_loop: Box<OnLoop>) -> LoopGuard {
        let probe = probe(&config.zone);
        LoopGuard {
            zone: config.zone,
            off: AtomicBool::new(probe.is_none()),
            probe,
            address,
            seen: AtomicU32::new(0),
            on_loop,
        }
    }

    /// Counts the probe; the chain goes on in any case.
    #[inline]
    pub(crate) fn down(&self, query: &Query) {
        if query.question.rtype == Type::HINFO && !self.off.load(Ordering::Relaxed) {
            self.count(query);
        }
    }

    #[cold]
    fn count(&self, query: &Query) {
        let Some(probe) = self.probe.filter(|probe| *probe == query.question.name) else {
            return;
        };
        if self.seen.fetch_add(1, Ordering::Relaxed) == SEEN_MAX {
            (self.on_loop)(&Loop {
                from: query.client,
                to: self.address.clone(),
                zone: self.zone,
                probe,
            });
        }
    }

    /// Asks the server at `server` for the name, until it answers or for 30 seconds; then the guard steps aside. An
    /// unspecified address stands for this host. Errors are tried again: nothing listens yet, or no upstream does.
    pub async fn probe(&self, server: SocketAddr) {
        let server = SocketAddr::new(own(server.ip()), server.port());
        let end = Instant::now() + PROBE_TIME;
        while Instant::now() < end && !self.off.load(Ordering::Relaxed) {
            let answered = matches!(timeout(ANSWER_WAIT, self.ask(server)).await, Ok(Ok(())));
            sleep(PAUSE).await;
            // A query that goes in circles has been seen often by then. One that was only tried again has not.
            self.seen.store(0, Ordering::Relaxed);
            if answered {
                break;
            }
        }
        self.off.store(true, Ordering::Relaxed);
    }

    /// Asks once, and waits for the reply whatever it says.
    async fn ask(&self, server: SocketAddr) -> io::Result<()> {
        let Some(probe) = self.probe else {
            return Ok(());
        };
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
            let head = Received::parse(&reply[..length]);
            if head.is_ok_and(|head| head.id == id && head.answers(&query.question)) {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for LoopGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopGuard")
            .field("zone", &self.zone)
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loop {
            from,
            to,
            zone,
            probe,
        } = self;
        write!(f, "Loop ({from} -> {to}) detected for zone \"{zone}\", ")?;
        f.write_str("see https://coredns.io/plugins/loop#troubleshooting. ")?;
        write!(f, "Query: \"HINFO {probe}\"")
    }
}

/// Two labels of random digits, as CoreDNS makes them, in front of the zone.
fn probe(zone: &Name) -> Option<Name> {
    let label = || rand::random::<u64>() >> 1;
    let name: Name = format!("{}.{}.", label(), label()).parse().ok()?;
    Name::join(name.labels_wire(), zone).ok()
}

/// An address by which this host reaches a socket. One on all addresses takes both families, and of the two only IPv4 is
/// there on every host.
fn own(ip: IpAddr) -> IpAddr {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::dns::{Rcode, Reply, Transport};
    use crate::plugin::case;

    fn guard(zone: &str) -> (LoopGuard, Arc<Mutex<Vec<Loop>>>) {
        let found = Arc::new(Mutex::new(Vec::new()));
        let config = Config {
            zone: zone.parse().unwrap(),
        };
        let on_loop = {
            let found = found.clone();
            move |it: &Loop| found.lock().unwrap().push(it.clone())
        };
        let guard = LoopGuard::new(config, ":1053".to_owned(), Box::new(on_loop));
        (guard, found)
    }

    fn query(name: Name, rtype: Type) -> Query {
        let mut query = Query::empty();
        query.client = "127.0.0.1:55953".parse().unwrap();
        query.question = Question::new(name, rtype, Class::IN);
        query
    }

    #[test]
    fn the_third_probe_that_comes_in_is_a_loop_and_told_once() {
        let (guard, found) = guard("example.org.");
        let probe = query(guard.probe.unwrap(), Type::HINFO);
        for (time, expected) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
            guard.down(&probe);
            assert_eq!(found.lock().unwrap().len(), expected, "time {time}");
        }
    }

    /// The clock stands still but for what waits on it, so that 30 seconds of tries take no time.
    #[tokio::test(start_paused = true)]
    async fn probes_that_nobody_answers_are_no_loop() {
        let (guard, found) = guard(".");
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let probing = guard.probe(silent.local_addr().unwrap());
        let mut came = 0;
        let seen = async {
            let mut octets = [0; REPLY_MAX];
            loop {
                while silent.recv(&mut octets).is_ok() {
                    came += 1;
                    guard.down(&query(guard.probe.unwrap(), Type::HINFO));
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = probing => {}
            () = seen => {}
        }
        assert!(came > 2, "{came} probes came");
        assert_eq!(*found.lock().unwrap(), []);
    }

    #[test]
    fn other_queries_are_not_counted() {
        let (guard, found) = guard(".");
        let probe = guard.probe.unwrap();
        for _ in 0..5 {
            guard.down(&query(probe, Type::A));
            guard.down(&query(Name::root(), Type::HINFO));
        }
        assert!(found.lock().unwrap().is_empty());
    }

    #[test]
    fn a_loop_is_told_in_coredns_s_words() {
        let told = Loop {
            from: "127.0.0.1:55953".parse().unwrap(),
            to: ":1053".to_owned(),
            zone: Name::root(),
            probe: "4547991504243258144.3688648895315093531.".parse().unwrap(),
        };
        let expected = "Loop (127.0.0.1:55953 -> :1053) detected for zone \".\", see \
            https://coredns.io/plugins/loop#troubleshooting. \
            Query: \"HINFO 4547991504243258144.3688648895315093531.\"";
        assert_eq!(told.to_string(), expected);
    }

    #[test]
    fn a_zone_without_room_for_a_probe_is_not_guarded() {
        let zone = vec!["a".repeat(49); 5].join(".");
        let (guard, found) = guard(&zone);
        assert_eq!(guard.probe, None);
        for _ in 0..5 {
            guard.down(&query(zone.parse().unwrap(), Type::HINFO));
        }
        assert!(found.lock().unwrap().is_empty());
    }

    #[test]
    fn it_takes_no_argument_and_stands_once() {
        let zone = "example.org.".parse().unwrap();
        for (text, expected) in [
            ("loop", Ok(Config { zone })),
            (
                "loop x",
                Err("Wrong argument count or unexpected line ending after 'x'"),
            ),
            (
                "loop\nloop",
                Err("this plugin can only be used once per Server Block"),
            ),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(case::read("loop", text, parse), expected, "{text}");
        }
    }

    /// A server that counts in `guard` what it reads, and replies to one query.
    async fn serve(socket: UdpSocket, guard: &LoopGuard) {
        let mut packet = [0; REPLY_MAX];
        let (length, client) = socket.recv_from(&mut packet).await.unwrap();
        let mut query = Query::empty();
        query.parse(&packet[..length], Transport::Udp).unwrap();
        query.client = client;
        guard.down(&query);
        let reply = Reply::new(&mut query, Rcode::NXDOMAIN);
        let mut out = Vec::new();
        encode::reply(&query, &reply, &mut out);
        // What answers something else is not taken for the answer.
        socket.send_to(&packet[..length], client).await.unwrap();
        socket.send_to(&out, client).await.unwrap();
    }

    #[tokio::test]
    async fn the_probe_is_sent_to_this_host_and_its_reply_awaited() {
        let (guard, found) = guard("example.org.");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let (asked, ()) = tokio::join!(guard.ask(server), serve(socket, &guard));
        asked.unwrap();
        assert_eq!(guard.seen.load(Ordering::Relaxed), 1);
        assert!(found.lock().unwrap().is_empty());
        for (asked, expected) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "127.0.0.1"),
            ("::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            let own = own(asked.parse().unwrap()).to_string();
            assert_eq!(own, expected, "{asked}");
        }
    }
}

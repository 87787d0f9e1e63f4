//! What the tests of this room share: packets, a router, counters, and a listener on a port of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::runtime::Handle;

use super::router::Router;
use super::{Closing, Config, Hooks, Listener, Overload, Serving};
use crate::chain::Chain;
use crate::dns::{Name, Query, Rcode};
use crate::plugin::Plugin;
use crate::plugin::scripted::Scripted;

/// How long a test waits for what must come; nothing is concluded from how long it took.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What the server told.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) panics: AtomicUsize,
    pub(super) outside: AtomicUsize,
    pub(super) overloads: Mutex<Vec<Overload>>,
    pub(super) closings: Mutex<Vec<Closing>>,
}

impl Hooks for Counts {
    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::SeqCst);
    }

    fn answered_outside(&self, _: &Query, _: Rcode, _: usize) {
        self.outside.fetch_add(1, Ordering::SeqCst);
    }

    fn connection_closed(&self, why: Closing) {
        self.closings.lock().unwrap().push(why);
    }

    fn overloaded(&self, why: Overload) {
        self.overloads.lock().unwrap().push(why);
    }
}

/// A server with its script and its counters.
pub(super) struct Fixture {
    pub(super) serving: Serving,
    pub(super) script: Arc<Scripted>,
    pub(super) counts: Arc<Counts>,
}

impl Fixture {
    pub(super) fn start(config: Config) -> Fixture {
        Fixture::start_at((Ipv4Addr::LOCALHOST, 0).into(), config)
    }

    pub(super) fn start_at(address: SocketAddr, config: Config) -> Fixture {
        let (router, script) = router();
        let counts = Arc::new(Counts::default());
        let listener = Listener::bind(address, config).unwrap();
        let serving = listener
            .serve(router, counts.clone(), &Handle::current())
            .unwrap();
        Fixture {
            serving,
            script,
            counts,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.serving.local_address().port()
    }

    /// A socket that talks to the server alone.
    pub(super) fn client(&self) -> UdpSocket {
        self.client_at(Ipv4Addr::LOCALHOST)
    }

    /// Likewise, from this address.
    pub(super) fn client_at(&self, ip: Ipv4Addr) -> UdpSocket {
        let client = UdpSocket::bind((ip, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect((Ipv4Addr::LOCALHOST, self.port())).unwrap();
        client
    }
}

pub(super) fn two_threads() -> Config {
    Config {
        udp_threads: 2,
        ..Config::default()
    }
}

/// `example.` is whoami behind a script, `nothing.example.` has no plugins, and there is no other zone.
pub(super) fn router() -> (Arc<Router>, Arc<Scripted>) {
    let script = Arc::new(Scripted::new());
    let zone = |name: &str, plugins| (name.parse::<Name>().unwrap(), Arc::new(Chain::new(plugins)));
    let plugins = vec![Plugin::Scripted(script.clone()), Plugin::Whoami];
    let zones = [zone("example.", plugins), zone("nothing.example.", vec![])];
    (Arc::new(Router::new(zones, false)), script)
}

/// A query for the A records of a name.
pub(super) fn query(id: u16, name: &str) -> Vec<u8> {
    query_with(id, 0x0100, [1, 0, 0, 0], name, &[])
}

/// A query with these flags and counts, and `tail` behind the question.
pub(super) fn query_with(
    id: u16,
    flags: u16,
    counts: [u16; 4],
    name: &str,
    tail: &[u8],
) -> Vec<u8> {
    let head = [id, flags].into_iter().chain(counts);
    let mut packet: Vec<u8> = head.flat_map(u16::to_be_bytes).collect();
    packet.extend_from_slice(name.parse::<Name>().unwrap().wire());
    packet.extend_from_slice(&[0, 1, 0, 1]);
    packet.extend_from_slice(tail);
    packet
}

/// Reads a reply with a codec that is not ours.
pub(super) fn read(reply: &[u8]) -> Message {
    Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?}"))
}

/// Asks over UDP and returns the reply.
pub(super) fn ask(client: &UdpSocket, packet: &[u8]) -> Vec<u8> {
    client.send(packet).unwrap();
    let mut reply = vec![0; 65535];
    let len = client.recv(&mut reply).unwrap();
    reply.truncate(len);
    reply
}

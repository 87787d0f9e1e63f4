//! An upstream that lies as the test orders, over UDP and TCP on one port of 127.0.0.1, and remembers what it was asked.
//!
//!     test → Liar (switches, reads) → state ← sockets ← query → Scene → acts → sockets
//!
//! All liars of the test process share one small runtime, so a test may block; each ends with its handle.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use super::Transport;
use super::lie::{Act, Lie, Scene, Stranger};
use super::wire::{self, Question};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// As many datagrams as fit into a socket's buffer at one time.
const BURST: u16 = 128;
/// Where a socket is connected that shall hear nobody.
const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_name("liars").enable_all();
    runtime.build().expect("threads can be started")
});

/// The handle of an upstream.
pub(super) struct Liar {
    shared: Arc<Shared>,
    /// Bound, never listening: keeps the port ours while nobody listens.
    reserved: Socket,
    udp_task: AbortHandle,
    tcp_task: Mutex<Option<AbortHandle>>,
}

/// A query as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// In the case in which it came.
    pub(super) name: String,
    pub(super) id: u16,
    pub(super) from: SocketAddr,
    pub(super) transport: Transport,
    pub(super) at: Instant,
}

struct Shared {
    octet: u8,
    address: SocketAddr,
    udp: UdpSocket,
    strangers: [UdpSocket; 2],
    began: Instant,
    state: Mutex<State>,
}

struct State {
    lie: Lie,
    asked: Vec<Asked>,
    /// How often each name was asked, in lower case.
    names: HashMap<String, usize>,
    random: SmallRng,
}

impl Liar {
    /// An upstream that begins with this behavior; `octet` is what tells its answers from those of others.
    pub(super) fn start(octet: u8, lie: Lie) -> Liar {
        let _runtime = RUNTIME.enter();
        let (reserved, sockets) = bind();
        let [udp, strangers @ ..] = sockets.map(|socket| {
            socket.set_nonblocking(true).unwrap();
            UdpSocket::from_std(socket).expect("the runtime was entered")
        });
        let shared = Arc::new(Shared {
            octet,
            address: udp.local_addr().expect("it is bound"),
            udp,
            strangers,
            began: Instant::now(),
            state: Mutex::new(State {
                lie: Lie::Honest,
                asked: Vec::new(),
                names: HashMap::new(),
                random: SmallRng::seed_from_u64(octet.into()),
            }),
        });
        let liar = Liar {
            udp_task: RUNTIME.spawn(serve_udp(shared.clone())).abort_handle(),
            tcp_task: Mutex::default(),
            shared,
            reserved,
        };
        liar.listen();
        liar.now(lie);
        liar
    }

    /// Behaves so from now on.
    pub(super) fn now(&self, lie: Lie) {
        let before = std::mem::replace(&mut self.state().lie, lie);
        match (before == Lie::Refusing, lie == Lie::Refusing) {
            (false, true) => {
                let task = self.tcp_task.lock().unwrap().take();
                task.expect("it listens").abort();
                // A connected socket hears its peer alone; for all others the port is closed.
                rustix::net::connect(&self.shared.udp, &ELSEWHERE).unwrap();
            }
            (true, false) => {
                rustix::net::connect_unspec(&self.shared.udp).unwrap();
                self.listen();
            }
            _ => {}
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The address in its honest answer for a name.
    pub(super) fn genuine(&self, name: &str) -> Ipv4Addr {
        wire::genuine(self.shared.octet, name)
    }

    /// What it was asked so far; health checks are left out.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// How much that is.
    pub(super) fn count(&self) -> usize {
        self.state().asked.len()
    }

    /// A second handle of the socket that it answers from.
    pub(super) fn socket(&self) -> StdUdpSocket {
        let owned = rustix::io::dup(&self.shared.udp).unwrap();
        owned.into()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state()
    }

    fn listen(&self) {
        let _runtime = RUNTIME.enter();
        let socket = reusable(self.shared.address);
        socket.listen(BACKLOG).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).expect("it is a listening socket");
        let task = RUNTIME.spawn(serve_tcp(self.shared.clone(), listener));
        *self.tcp_task.lock().unwrap() = Some(task.abort_handle());
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.udp_task.abort();
        if let Some(task) = self.tcp_task.lock().unwrap().take() {
            task.abort();
        }
        let _ = self.reserved.local_addr();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, message: &[u8], from: SocketAddr, transport: Transport) -> Vec<Act> {
        let Some(question) = Question::read(message) else {
            return vec![];
        };
        let mut state = self.state();
        let draw = state.random.random_range(0..100);
        let mut before = 0;
        if question.rtype != wire::NS {
            let count = state.names.entry(question.name.to_ascii_lowercase());
            let count = count.or_default();
            before = *count;
            *count += 1;
            state.asked.push(Asked {
                name: question.name.clone(),
                id: question.id,
                from,
                transport,
                at: Instant::now(),
            });
        }
        let lie = state.lie;
        drop(state);
        let scene = Scene {
            question: &question,
            transport,
            octet: self.octet,
            elapsed: self.began.elapsed(),
            before,
            draw,
        };
        scene.acts(lie)
    }

    async fn act_udp(&self, acts: Vec<Act>, to: SocketAddr) {
        for act in acts {
            // What cannot be sent is lost, as datagrams are.
            let _ = match act {
                Act::Say(message) | Act::Raw(message) => self.udp.send_to(&message, to).await,
                Act::SayUnderOtherIds(message, within) => {
                    self.say_under_other_ids(message, within, to).await
                }
                Act::SayFrom(Stranger::Port, message) => {
                    self.strangers[0].send_to(&message, to).await
                }
                Act::SayFrom(Stranger::Address, message) => {
                    self.strangers[1].send_to(&message, to).await
                }
                Act::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    Ok(0)
                }
                Act::Close => return,
            };
        }
    }

    async fn say_under_other_ids(
        &self,
        mut message: Vec<u8>,
        within: Duration,
        to: SocketAddr,
    ) -> io::Result<usize> {
        let began = Instant::now();
        let id = u16::from_be_bytes([message[0], message[1]]);
        let mut said = 0;
        for offset in 1..=u16::MAX {
            message[..2].copy_from_slice(&id.wrapping_add(offset).to_be_bytes());
            said += self.udp.send_to(&message, to).await?;
            if offset.is_multiple_of(BURST) {
                if began.elapsed() > within {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(said)
    }
}

async fn serve_udp(shared: Arc<Shared>) {
    let mut buffer = vec![0; 65_535];
    loop {
        // An error tells of a datagram of ours that nobody took.
        let Ok((length, from)) = shared.udp.recv_from(&mut buffer).await else {
            continue;
        };
        let acts = shared.hear(&buffer[..length], from, Transport::Udp);
        let takes_time = |act: &Act| matches!(act, Act::Pause(_) | Act::SayUnderOtherIds(..));
        if acts.iter().any(takes_time) {
            let shared = shared.clone();
            tokio::spawn(async move { shared.act_udp(acts, from).await });
        } else {
            shared.act_udp(acts, from).await;
        }
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, from)) = listener.accept().await {
        tokio::spawn(serve_connection(shared.clone(), stream, from));
    }
}

/// Answers one query after the other, until somebody closes.
async fn serve_connection(shared: Arc<Shared>, mut stream: TcpStream, from: SocketAddr) {
    // A reply that drips is to leave octet by octet.
    stream.set_nodelay(true).unwrap();
    while let Ok(length) = stream.read_u16().await {
        let mut message = vec![0; length.into()];
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        for act in shared.hear(&message, from, Transport::Tcp) {
            let octets = match act {
                Act::Say(message) | Act::SayFrom(_, message) => {
                    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
                }
                Act::Raw(octets) => octets,
                Act::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Act::SayUnderOtherIds(..) => continue,
                Act::Close => return,
            };
            if stream.write_all(&octets).await.is_err() {
                return;
            }
        }
    }
}

/// One free port for both transports, with the sockets of the upstream, of another port and of another address.
fn bind() -> (Socket, [StdUdpSocket; 3]) {
    loop {
        let tcp = reusable((Ipv4Addr::LOCALHOST, 0).into());
        let address = tcp.local_addr().unwrap().as_socket().unwrap();
        // Bound by number, so that it keeps its port when it is disconnected.
        let udp = StdUdpSocket::bind(address);
        let other_port = StdUdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let other_address = StdUdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), address.port()));
        if let (Ok(udp), Ok(other_port), Ok(other_address)) = (udp, other_port, other_address) {
            return (tcp, [udp, other_port, other_address]);
        }
    }
}

/// A TCP socket that shares its port with the one that reserves it.
fn reusable(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

//! An authoritative DNS server for tests: one zone, UDP and TCP on a port of 127.0.0.1, answers that are minimal.
//!
//!     zone file → zone ← reply ← sockets ← client
//!
//! Names outside the zone are refused, except the two of the class CH by which servers tell their identity. It runs on
//! a thread of its own, so a test may block or use any runtime, and ends with its handle.

mod reply;
mod zone;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Runtime,
};

use reply::Transport;
use zone::Zone;

/// Ports tried until one is free for both transports.
const PORTS_TRIED: usize = 16;

/// The handle of a running server.
pub(crate) struct Upstream {
    runtime: Option<Runtime>,
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    /// Serves the zone of a zone file, which has `$ORIGIN` and its SOA. Panics on a text that is none.
    pub(crate) fn start(zone_file: &str) -> Upstream {
        let asked = Arc::<AtomicUsize>::default();
        let served = Arc::new(Served {
            zone: Zone::parse(zone_file),
            asked: asked.clone(),
        });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("upstream")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let (udp, tcp) = runtime.block_on(bind()).expect("loopback has a free port");
        let address = udp.local_addr().expect("it is bound");
        runtime.spawn(serve_udp(udp, served.clone()));
        runtime.spawn(serve_tcp(tcp, served));
        Upstream {
            runtime: Some(runtime),
            address,
            asked,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages it was sent.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// What is served over either transport.
struct Served {
    zone: Zone,
    asked: Arc<AtomicUsize>,
}

impl Served {
    fn reply(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        reply::reply(&self.zone, query, transport)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test drops its handle inside its own runtime, where waiting for another one is forbidden.
            runtime.shutdown_background();
        }
    }
}

/// The same free port for both transports.
async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut tried = 1;
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(_) if tried < PORTS_TRIED => tried += 1,
            Err(fault) => return Err(fault),
        }
    }
}

async fn serve_udp(socket: UdpSocket, served: Arc<Served>) {
    let mut query = vec![0; 65535];
    loop {
        // A client that has closed its socket makes an error of the next read.
        let Ok((length, client)) = socket.recv_from(&mut query).await else {
            continue;
        };
        if let Some(reply) = served.reply(&query[..length], Transport::Udp) {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, served: Arc<Served>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, served.clone()));
    }
}

/// Answers until the client closes the connection, or sends what is no query.
async fn serve_connection(mut stream: TcpStream, served: Arc<Served>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(reply) = served.reply(&query, Transport::Tcp) else {
            return;
        };
        let length = u16::try_from(reply.len()).expect("a reply is cut to fit");
        let framed = [length.to_be_bytes().as_slice(), &reply].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

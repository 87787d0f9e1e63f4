//! An upstream in this process that does as the test says, over UDP and TCP on one port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::dns::reply::Owner;
use crate::dns::{Query, Rcode, Reply, Section, Transport, Type, encode};

/// A query as the upstream got it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) transport: Transport,
    pub(super) from: SocketAddr,
    pub(super) message: Vec<u8>,
    /// How many came before.
    pub(super) nth: usize,
}

/// What the upstream does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Sends to whom it got the query from.
    Say(Vec<u8>),
    /// Sends a datagram to somebody else.
    SayTo(SocketAddr, Vec<u8>),
    /// Waits before what comes next.
    Wait(Duration),
    /// Closes the connection.
    Close,
}

type Script = Arc<dyn Fn(&Seen) -> Vec<Act> + Send + Sync>;

#[derive(Clone)]
pub(super) struct FakeUpstream {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Script,
}

impl FakeUpstream {
    /// An upstream that does to each query what `script` says.
    pub(super) async fn start(
        script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static,
    ) -> FakeUpstream {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            // Another test may have the port of the same number over UDP.
            if let Ok(udp) = UdpSocket::bind(address).await {
                return FakeUpstream::run(tcp, udp, Arc::new(script));
            }
        }
    }

    /// An upstream that answers every query for an address with the one given.
    pub(super) async fn answering(last: u8) -> FakeUpstream {
        FakeUpstream::start(move |seen| vec![Act::Say(seen.answer(last))]).await
    }

    /// An upstream that gives every query this code.
    pub(super) async fn refusing(rcode: Rcode) -> FakeUpstream {
        FakeUpstream::start(move |seen| vec![Act::Say(seen.reply(rcode, &[]))]).await
    }

    /// An upstream that answers so much later.
    pub(super) async fn late(last: u8, delay: Duration) -> FakeUpstream {
        FakeUpstream::start(move |seen| vec![Act::Wait(delay), Act::Say(seen.answer(last))]).await
    }

    /// An upstream that never answers.
    pub(super) async fn silent() -> FakeUpstream {
        FakeUpstream::start(|_| vec![]).await
    }

    fn run(tcp: TcpListener, udp: UdpSocket, script: Script) -> FakeUpstream {
        let upstream = FakeUpstream {
            address: tcp.local_addr().unwrap(),
            seen: Arc::default(),
            script,
        };
        tokio::spawn(upstream.clone().serve_udp(udp));
        tokio::spawn(upstream.clone().serve_tcp(tcp));
        upstream
    }

    /// The queries so far, health checks left out.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap().clone();
        let is_query = |seen: &Seen| seen.query().question.rtype != Type::NS;
        seen.into_iter().filter(is_query).collect()
    }

    fn see(&self, transport: Transport, from: SocketAddr, message: &[u8]) -> Vec<Act> {
        let mut all = self.seen.lock().unwrap();
        let seen = Seen {
            transport,
            from,
            message: message.to_vec(),
            nth: all.len(),
        };
        all.push(seen.clone());
        drop(all);
        (self.script)(&seen)
    }

    async fn serve_udp(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = [0; 4096];
        // An ICMP error for an earlier datagram is no reason to stop.
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            // The port may have been that of a socket to which another test's upstream still answers.
            if Query::empty()
                .parse(&buffer[..length], Transport::Udp)
                .is_err()
            {
                continue;
            }
            let acts = self.see(Transport::Udp, from, &buffer[..length]);
            let (socket, waits) = (socket.clone(), matches!(acts[..], [Act::Wait(_), ..]));
            let act = async move {
                for act in acts {
                    match act {
                        Act::Say(message) => drop(socket.send_to(&message, from).await),
                        Act::SayTo(to, message) => drop(socket.send_to(&message, to).await),
                        Act::Wait(time) => tokio::time::sleep(time).await,
                        Act::Close => {}
                    }
                }
            };
            // Others are served meanwhile.
            if waits {
                tokio::spawn(act);
            } else {
                act.await;
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(self.clone().serve_connection(stream, from));
        }
    }

    async fn serve_connection(self, mut stream: TcpStream, from: SocketAddr) {
        while let Ok(length) = stream.read_u16().await {
            let mut message = vec![0; length.into()];
            if stream.read_exact(&mut message).await.is_err() {
                return;
            }
            for act in self.see(Transport::Tcp, from, &message) {
                match act {
                    Act::Say(message) | Act::SayTo(_, message) => {
                        let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
                        drop(stream.write_all(&framed).await);
                    }
                    Act::Wait(time) => tokio::time::sleep(time).await,
                    Act::Close => return,
                }
            }
        }
    }
}

impl Seen {
    pub(super) fn id(&self) -> u16 {
        u16::from_be_bytes([self.message[0], self.message[1]])
    }

    /// The query read as a server reads it.
    pub(super) fn query(&self) -> Query {
        let mut query = Query::empty();
        query.parse(&self.message, self.transport).unwrap();
        query
    }

    /// A reply with this code and these addresses in 192.0.2.0/24.
    pub(super) fn reply(&self, rcode: Rcode, addresses: &[u8]) -> Vec<u8> {
        let mut query = self.query();
        // The fake says what the test wants said, whatever the size of a datagram.
        query.transport = Transport::Tcp;
        let mut reply = Reply::new(&mut query, rcode);
        for last in addresses {
            let data = [192, 0, 2, *last];
            let records = &mut reply.records;
            records.push(Section::Answer, Owner::Asked(0), Type::A, 60, &[&data]);
        }
        let mut out = Vec::new();
        encode::reply(&query, &reply, &mut out);
        out
    }

    /// A good reply.
    pub(super) fn answer(&self, last: u8) -> Vec<u8> {
        self.reply(Rcode::NOERROR, &[last])
    }
}

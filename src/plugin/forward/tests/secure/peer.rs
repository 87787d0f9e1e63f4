//! An upstream in this process that is asked over TLS, HTTPS or QUIC.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::certificates::{Authority, Issued};
use super::{Secure, Seen, Transport};

/// What the upstream demands of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demands {
    Nothing,
    Certificate,
    /// That who names protocols within TLS names another.
    OtherProtocol,
}

/// What the answers over HTTP are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    Answers,
    Fails,
    Chats,
    /// As caches say the age of what they have.
    Aged(&'static str),
    /// Answers the first request of a connection and refuses the second.
    Refuses,
    /// Goes away at the first request, which it leaves alone, and lets the connection be.
    GoesAway,
    /// Ends the connection at the first request, as TLS has it ended, and says nothing else.
    HangsUp,
}

#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    secure: Secure,
    http: Http,
    seen: Mutex<Vec<Seen>>,
    methods: Mutex<Vec<Method>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    resumed: AtomicUsize,
    running: Mutex<JoinSet<()>>,
}

impl Peer {
    pub(super) async fn start(
        secure: Secure,
        issued: &Issued,
        authority: &Authority,
        demands: Demands,
    ) -> Peer {
        let nowhere = "127.0.0.1:0".parse().unwrap();
        Peer::start_at(nowhere, secure, issued, authority, demands, Http::Answers).await
    }

    pub(super) async fn start_at(
        address: SocketAddr,
        secure: Secure,
        issued: &Issued,
        authority: &Authority,
        demands: Demands,
        http: Http,
    ) -> Peer {
        let state = Arc::new(State {
            secure,
            http,
            seen: Mutex::default(),
            methods: Mutex::default(),
            connections: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            running: Mutex::default(),
        });
        let tls = server_config(secure, issued, authority, demands);
        let address = match secure {
            Secure::Tls | Secure::Https => {
                let listener = TcpListener::bind(address).await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(
                    state
                        .clone()
                        .accept(listener, TlsAcceptor::from(Arc::new(tls))),
                );
                address
            }
            Secure::Quic => {
                let crypto = QuicServerConfig::try_from(tls).unwrap();
                let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                let endpoint = quinn::Endpoint::server(config, address).unwrap();
                let address = endpoint.local_addr().unwrap();
                tokio::spawn(state.clone().accept_quic(endpoint));
                address
            }
        };
        Peer { address, state }
    }

    /// The queries so far, health checks left out.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) fn methods(&self) -> Vec<Method> {
        self.state.methods.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections that the client has ended.
    pub(super) fn ended(&self) -> usize {
        self.state.ended.load(Ordering::SeqCst)
    }

    /// Connections whose TLS resumed a session.
    pub(super) fn resumed(&self) -> usize {
        self.state.resumed.load(Ordering::SeqCst)
    }

    /// Closes all connections.
    pub(super) async fn close_connections(&self) {
        let mut running = std::mem::take(&mut *self.state.running.lock().unwrap());
        running.shutdown().await;
    }
}

impl State {
    fn answer(&self, message: &[u8], from: SocketAddr) -> Vec<u8> {
        let mut all = self.seen.lock().unwrap();
        let seen = Seen {
            transport: Transport::Tcp,
            from,
            message: message.to_vec(),
            nth: all.len(),
        };
        if seen.query().question.rtype != super::Type::NS {
            all.push(seen.clone());
        }
        seen.answer(1)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, acceptor: TlsAcceptor) {
        while let Ok((stream, from)) = listener.accept().await {
            let (state, acceptor) = (self.clone(), acceptor.clone());
            let serving = async move {
                let stream = match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => stream,
                    Err((_, mut refused)) => {
                        // Closed with octets unread, the connection would be reset, and the alert lost.
                        let _ = refused.read_to_end(&mut Vec::new()).await;
                        return;
                    }
                };
                state.connections.fetch_add(1, Ordering::SeqCst);
                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                    state.resumed.fetch_add(1, Ordering::SeqCst);
                }
                match state.secure {
                    Secure::Https => match state.http {
                        Http::Refuses => state.serve_one(stream, from).await,
                        Http::GoesAway => serve_none(stream, &GOAWAY).await.unwrap(),
                        Http::HangsUp => serve_none(stream, &[]).await.unwrap(),
                        _ => state.clone().serve_https(stream, from).await,
                    },
                    _ => state.serve_tls(stream, from).await,
                }
                state.ended.fetch_add(1, Ordering::SeqCst);
            };
            self.running.lock().unwrap().spawn(serving);
        }
    }

    async fn serve_tls(&self, mut stream: TlsStream<TcpStream>, from: SocketAddr) {
        while let Ok(length) = stream.read_u16().await {
            let mut message = vec![0; length.into()];
            stream.read_exact(&mut message).await.unwrap();
            let answer = self.answer(&message, from);
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }

    async fn serve_https(self: Arc<Self>, stream: TlsStream<TcpStream>, from: SocketAddr) {
        let service = service_fn(move |request: Request<Incoming>| {
            let state = self.clone();
            async move { Ok::<_, Infallible>(state.respond(request, from).await) }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = connection
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Serves one request, which is a GET, on a connection.
    async fn serve_one(&self, stream: TlsStream<TcpStream>, from: SocketAddr) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut is_first = true;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if std::mem::take(&mut is_first) {
                let query = request.uri().query().unwrap().strip_prefix("dns=").unwrap();
                let answer = self.answer(&URL_SAFE_NO_PAD.decode(query).unwrap(), from);
                let response =
                    Response::builder().header("content-type", "application/dns-message");
                let mut body = respond
                    .send_response(response.body(()).unwrap(), false)
                    .unwrap();
                body.send_data(answer.into(), true).unwrap();
                continue;
            }
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    }

    async fn respond(&self, request: Request<Incoming>, from: SocketAddr) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        assert_eq!(head.uri.path(), "/dns-query");
        assert_eq!(head.headers["accept"], "application/dns-message");
        let message = match head.method {
            Method::GET => {
                let query = head.uri.query().unwrap().strip_prefix("dns=").unwrap();
                URL_SAFE_NO_PAD.decode(query).unwrap()
            }
            _ => {
                assert_eq!(head.headers["content-type"], "application/dns-message");
                body.collect().await.unwrap().to_bytes().to_vec()
            }
        };
        self.methods.lock().unwrap().push(head.method);
        let answer = Full::from(self.answer(&message, from));
        let response = Response::builder();
        match self.http {
            Http::Answers => response
                .header("content-type", "application/dns-message")
                .body(answer),
            Http::Fails => response.status(503).body(answer),
            Http::Chats => response.header("content-type", "text/html").body(answer),
            Http::Aged(age) => response
                .header("content-type", "application/dns-message")
                .header("age", age)
                .body(answer),
            Http::Refuses | Http::GoesAway | Http::HangsUp => {
                unreachable!("they are served elsewhere")
            }
        }
        .unwrap()
    }

    async fn accept_quic(self: Arc<Self>, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let state = self.clone();
            let serving = async move {
                let Ok(connection) = incoming.await else {
                    return;
                };
                state.connections.fetch_add(1, Ordering::SeqCst);
                let from = connection.remote_address();
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    let framed = receive.read_to_end(65_537).await.unwrap();
                    let length = u16::from_be_bytes([framed[0], framed[1]]);
                    assert_eq!(framed.len(), usize::from(length) + 2);
                    let answer = state.answer(&framed[2..], from);
                    let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                    send.write_all(&framed).await.unwrap();
                    send.finish().unwrap();
                }
                state.ended.fetch_add(1, Ordering::SeqCst);
            };
            self.running.lock().unwrap().spawn(serving);
        }
    }
}

/// A frame of HTTP/2 that says that no stream was processed, and gives no other reason.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads frames of HTTP/2 up to the first HEADERS, and says this, or ends the connection.
async fn serve_none(mut stream: TlsStream<TcpStream>, farewell: &[u8]) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&EMPTY_SETTINGS).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; 24]).await?;
    let mut head = [0; 9];
    while head[3] != HEADERS {
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
    }
    if farewell.is_empty() {
        return stream.shutdown().await;
    }
    stream.write_all(farewell).await?;
    stream.flush().await?;
    // How the client ends it is its own affair.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    Ok(())
}

fn server_config(
    secure: Secure,
    issued: &Issued,
    authority: &Authority,
    demands: Demands,
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let roots = Arc::new(authority.roots());
    let builder = match demands {
        Demands::Nothing | Demands::OtherProtocol => builder.with_no_client_auth(),
        Demands::Certificate => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder
        .with_single_cert(issued.chain(), issued.key())
        .unwrap();
    config.alpn_protocols = match (demands, secure.alpn()) {
        (Demands::OtherProtocol, _) => vec![b"http/1.1".to_vec()],
        (_, Some(alpn)) => vec![alpn.to_vec()],
        (_, None) => vec![b"dot".to_vec()],
    };
    config
}

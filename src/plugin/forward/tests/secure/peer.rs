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
}

/// What the answers over HTTP are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    Answers,
    Fails,
    Chats,
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
                    Secure::Https => state.serve_https(stream, from).await,
                    _ => state.serve_tls(stream, from).await,
                }
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
            };
            self.running.lock().unwrap().spawn(serving);
        }
    }
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
        Demands::Nothing => builder.with_no_client_auth(),
        Demands::Certificate => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder
        .with_single_cert(issued.chain(), issued.key())
        .unwrap();
    config.alpn_protocols = vec![secure.alpn().to_vec()];
    config
}

//! Queries as requests of HTTP/2 (RFC 8484), all of them on one connection.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, AGE, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::chain::{Cause, Operation};
use crate::dns::Reply;
use crate::plugin::forward::config::DohMethod;
use crate::plugin::forward::tls;

use super::{Asked, Connection, Fault, within_fault};

/// The type of a message of DNS (RFC 8484 section 6).
const DNS_MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// The path that resolvers serve, by which those without a template of their own are found (RFC 8484 section 4.1.1).
const PATH: &str = "/dns-query";

/// The most octets of a message of DNS.
const MESSAGE_MAX: usize = 65_535;

/// The longest age that there is. Nothing of DNS lives longer (RFC 2181 section 8), and more is to be taken for this
/// much (RFC 9111 section 1.2.2).
const AGE_MAX: u32 = 1 << 31;

/// Octets that an upstream may send on all streams before they are read.
const CONNECTION_MAX: u32 = 16 * MESSAGE_MAX as u32;

/// A connection to an upstream that is asked over HTTPS; its clones are the same connection, which is closed when the
/// last is dropped.
#[derive(Debug, Clone)]
pub(in crate::plugin::forward) struct Https {
    requests: SendRequest<Full<Bytes>>,
    local: Option<SocketAddr>,
    method: DohMethod,
    /// `https://authority/dns-query`.
    url: String,
}

impl Https {
    /// Speaks HTTP/2 on a connection that is within TLS. `name` and `port` are those of the upstream.
    pub(in crate::plugin::forward) async fn open(
        connection: Connection,
        method: DohMethod,
        (name, port): (&ServerName<'static>, u16),
        until: Instant,
    ) -> Result<Https, Fault> {
        let local = connection.local();
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(MESSAGE_MAX as u32)
            .initial_connection_window_size(CONNECTION_MAX);
        let handshake = http.handshake(TokioIo::new(connection.into_stream()));
        let (requests, connection) = within_fault(until, Operation::Dial, async {
            let opened = handshake.await;
            opened.map_err(|error| fault(Operation::Dial, &error))
        })
        .await?;
        // Ends with the last request and the last clone. What ends it early is told by the requests that it fails.
        tokio::spawn(connection);
        Ok(Https {
            requests,
            local,
            method,
            url: url(name, port),
        })
    }

    pub(in crate::plugin::forward) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    pub(in crate::plugin::forward) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Sends a query and waits for its reply until then.
    pub(in crate::plugin::forward) async fn exchange(
        &self,
        asked: Asked<'_>,
        until: Instant,
    ) -> Result<Reply, Fault> {
        // The same query is the same request, which caches of HTTP may know (RFC 8484 section 4.1).
        let asked = asked.without_id();
        let mut message = Vec::new();
        asked.encode(&mut message);
        let request = self.request(message)?;
        let mut requests = self.requests.clone();
        let read = within_fault(until, Operation::Read, async {
            let response = requests.send_request(request).await;
            let response = response.map_err(|error| fault(Operation::Read, &error))?;
            read(response).await
        });
        let (message, age) = read.await?;
        let mut reply = asked.reply_in(&mut Vec::from(message))?;
        for entry in reply.records.entries_mut() {
            entry.ttl = entry.ttl.saturating_sub(age);
        }
        Ok(reply)
    }

    fn request(&self, message: Vec<u8>) -> Result<Request<Full<Bytes>>, Fault> {
        let request = Request::builder().header(ACCEPT, DNS_MESSAGE);
        let request = match self.method {
            DohMethod::Post => request
                .method(Method::POST)
                .uri(&self.url)
                .header(CONTENT_TYPE, DNS_MESSAGE)
                .body(Full::from(message)),
            DohMethod::Get => {
                let query = URL_SAFE_NO_PAD.encode(message);
                request
                    .method(Method::GET)
                    .uri(format!("{}?dns={query}", self.url))
                    .body(Full::default())
            }
        };
        request.map_err(|error| said(error.to_string()))
    }
}

/// The address of the resource. The authority is whom the certificate is for, so that the server finds one resource
/// under both.
fn url(name: &ServerName<'static>, port: u16) -> String {
    let host = match name {
        ServerName::IpAddress(ip) => match std::net::IpAddr::from(*ip) {
            std::net::IpAddr::V6(v6) => format!("[{v6}]"),
            v4 => v4.to_string(),
        },
        name => name.to_str().into_owned(),
    };
    match port {
        443 => format!("https://{host}{PATH}"),
        _ => format!("https://{host}:{port}{PATH}"),
    }
}

/// The message in a response, and for how many seconds it lay in caches of HTTP: they are to be taken off its TTLs
/// (RFC 8484 section 5.1).
async fn read(response: Response<Incoming>) -> Result<(Bytes, u32), Fault> {
    // A code of DNS comes with 200 whatever it is; other statuses carry no answer (RFC 8484 section 4.2.1).
    if response.status() != StatusCode::OK {
        return Err(said(format!("status {}", response.status())));
    }
    let of_type = response.headers().get(CONTENT_TYPE);
    // Parameters say nothing here.
    let essence =
        of_type.and_then(|of_type| of_type.as_bytes().split(|octet| *octet == b';').next());
    if essence != Some(DNS_MESSAGE.as_bytes()) {
        let of_type = of_type.map_or("no type".to_owned(), |of_type| format!("{of_type:?}"));
        return Err(said(format!(
            "the body is no message of DNS, but {of_type}"
        )));
    }
    let age = age(response.headers());
    match Limited::new(response.into_body(), MESSAGE_MAX)
        .collect()
        .await
    {
        Ok(body) => Ok((body.to_bytes(), age)),
        Err(error) => match error.downcast_ref::<hyper::Error>() {
            Some(error) => Err(fault(Operation::Read, error)),
            None => Err(said(format!("the body has more than {MESSAGE_MAX} octets"))),
        },
    }
}

/// The age that a response says it has. Of several the first counts, and one that is no number does not (RFC 9111
/// section 5.1).
fn age(headers: &HeaderMap) -> u32 {
    let said = headers.get(AGE).and_then(|age| age.to_str().ok());
    let first = said.and_then(|said| said.split(',').next());
    match first.map(str::trim) {
        Some(age) if !age.is_empty() && age.bytes().all(|octet| octet.is_ascii_digit()) => {
            age.parse().map_or(AGE_MAX, |age: u32| age.min(AGE_MAX))
        }
        _ => 0,
    }
}

fn said(words: String) -> Fault {
    Fault::new(Operation::Read, Cause::Https(words.into()))
}

/// What hyper's fault is to us: the fault of the stream under it, or its own.
fn fault(operation: Operation, error: &hyper::Error) -> Fault {
    let mut source = error.source();
    while let Some(under) = source {
        if under.downcast_ref().is_some_and(is_farewell) {
            return Fault::new(operation, Cause::Closed);
        }
        match under.downcast_ref::<io::Error>() {
            // What TLS says after the handshake, as that a client certificate is missing, comes through as its words.
            Some(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Fault::new(operation, tls::cause_in_words(&error.to_string()));
            }
            // What HTTP/2 calls an end without farewell.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Fault::new(operation, Cause::Closed);
            }
            Some(error) => return Fault::io(operation, error),
            None => {}
        }
        source = under.source();
    }
    if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
        return Fault::new(operation, Cause::Closed);
    }
    let words = match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    Fault::new(operation, Cause::Https(words.into()))
}

/// Whether the upstream lets go of the connection, or of a request before it did anything with it: that may be sent
/// again at once, elsewhere (RFC 9113 section 8.7).
fn is_farewell(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || is_refused)
}

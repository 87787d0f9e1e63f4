//! TCP, TLS and HTTP towards an API server: what each may take, and how a peer is found out that is gone.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use kube::config::Config;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceBuilder, service_fn};

use super::ConnectionError;
use crate::blocking;
use crate::cluster::pace::Pace;

/// A connection attempt that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Likewise with TLS: the kernel of a server that is stopped accepts connections which nobody speaks on.
const SECURE_TIMEOUT: Duration = Duration::from_secs(10);

/// What may have come of an answer over HTTP/1.1 and not been read. hyper takes a buffer of that size for each connection
/// and keeps it: its own limit, 400 KiB, is more than the objects of a small cluster take. A head must fit in.
pub(super) const UNREAD_MAX: usize = 32 << 10;

/// Likewise of one answer over HTTP/2. So much comes in a round trip: 256 MB/s within a cluster, 5 MB/s over 50 ms.
pub(super) const UNREAD_OF_STREAM_MAX: u32 = 256 << 10;

/// Likewise of all answers that share a connection: lists of all resources at once, with an audit beside.
pub(super) const UNREAD_OF_CONNECTION_MAX: u32 = 1 << 20;

pub(super) type Https = HttpClient<Connector, Body>;
pub(super) type Connector = BoxCloneSyncService<Uri, Stream, BoxError>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// How a server is reached, whoever we are to it.
pub(super) struct Way {
    /// What its certificate names, where that is not the host of the URL.
    name: Option<ServerName<'static>>,
    pace: Pace,
}

impl Way {
    pub(super) fn new(config: &Config, pace: Pace) -> Result<Way, ConnectionError> {
        let name = config.tls_server_name.clone().map(|text| {
            let name = ServerName::try_from(text.clone());
            name.map_err(|_| ConnectionError::Url { text })
        });
        Ok(Way {
            name: name.transpose()?,
            pace,
        })
    }

    /// Connections of its own, which are opened when they are needed.
    pub(super) fn https(&self, tls: ClientConfig) -> Https {
        let pace = self.pace;
        let mut tcp = HttpConnector::new_with_resolver(service_fn(look_up));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // HTTP/1.1 has no ping: the kernel probes instead, and gives up on bytes that nobody acknowledges. A peer whose kernel
        // lives and who does not is found by what a watch expects of it.
        tcp.set_keepalive(Some(pace.probe_after));
        tcp.set_keepalive_interval(Some(pace.probe_timeout));
        tcp.set_keepalive_retries(Some(1));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(pace.probe_after + pace.probe_timeout));

        let resolver: Arc<dyn ResolveServerName + Send + Sync> = match &self.name {
            None => Arc::new(DefaultServerNameResolver::default()),
            Some(name) => Arc::new(FixedServerNameResolver::new(name.clone())),
        };
        let https = HttpsConnector::new(tcp, tls, false, resolver);
        HttpClient::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(UNREAD_MAX)
            .http2_initial_stream_window_size(UNREAD_OF_STREAM_MAX)
            .http2_initial_connection_window_size(UNREAD_OF_CONNECTION_MAX)
            .http2_keep_alive_interval(pace.probe_after)
            .http2_keep_alive_timeout(pace.probe_timeout)
            .build(bounded(https, SECURE_TIMEOUT))
    }
}

/// The addresses of a name. hyper's own way is on tokio's pool, which panics where there is no thread.
async fn look_up(name: Name) -> io::Result<vec::IntoIter<SocketAddr>> {
    blocking::run("resolve", move || (name.as_str(), 0).to_socket_addrs()).await?
}

/// Connects within this time or not at all.
pub(super) fn bounded<S>(connector: S, limit: Duration) -> Connector
where
    S: Service<Uri, Response = Stream, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let connect = ServiceBuilder::new().map_future(move |connecting| async move {
        match timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err("the server does not answer to TLS".into()),
        }
    });
    BoxCloneSyncService::new(connect.service(connector))
}

//! The way to an API server: what a `kubernetes` stanza says of it, whether that can work, and the client.
//!
//! `Connection` is the specification as written, comparable, so that stanzas with equal specifications share one client and its
//! connections. `Connection::check` reads the files it names and opens no socket; `Connection::client` builds the client. Neither looks at
//! the environment: the specification holds what it says. The client speaks
//! HTTP/2 where the server does, finds out at the given pace that a peer is gone, reads a token file anew for every request and the
//! authorities of the server's certificate for every handshake, and keeps to the stanza's limits. It knows nothing of watches.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::Uri;
use http::header::{HeaderValue, USER_AGENT};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::config::{
    AuthInfo, Cluster, Config, Context, KubeConfigOptions, Kubeconfig, KubeconfigError,
    NamedAuthInfo, NamedCluster, NamedContext,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use super::pace::Pace;

mod authorities;
#[cfg(test)]
mod tests;
mod throttle;
mod transport;

use authorities::Authorities;

pub use throttle::Limits;
pub use transport::{Request, RequestObserver};

/// A connection attempt that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Likewise with TLS: the kernel of a server that is stopped accepts connections which nobody speaks on.
const SECURE_TIMEOUT: Duration = Duration::from_secs(10);

/// What may have come of an answer over HTTP/1.1 and not been read. hyper takes a buffer of that size for each connection
/// and keeps it: its own limit, 400 KiB, is more than the objects of a small cluster take. A head must fit in.
const UNREAD_MAX: usize = 32 << 10;

/// Likewise of one answer over HTTP/2. So much comes in a round trip: 256 MB/s within a cluster, 5 MB/s over 50 ms.
const UNREAD_OF_STREAM_MAX: u32 = 256 << 10;

/// Likewise of all answers that share a connection: lists of all resources at once, with an audit beside.
const UNREAD_OF_CONNECTION_MAX: u32 = 1 << 20;

/// Where the kubelet mounts the credentials of a Pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The Pod's bearer token, there.
const TOKEN: &str = "token";
/// The authorities of the API server's certificate, there.
const AUTHORITIES: &str = "ca.crt";

/// A server and how hard it may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Which server.
    pub server: Server,
    /// `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`.
    pub limits: Limits,
}

/// Where the API server is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Server {
    /// The one of the cluster that we run in, with the Pod's service account.
    InCluster {
        /// `KUBERNETES_SERVICE_HOST`; empty outside of a cluster.
        host: Box<str>,
        /// `KUBERNETES_SERVICE_PORT`; likewise.
        port: Box<str>,
    },
    /// `endpoint URL`, with `tls CERT KEY CACERT` or without.
    Endpoint {
        /// As written; a missing scheme is `https` if there are files, else `http`.
        url: Box<str>,
        /// Certificates, if the stanza names them.
        tls: Option<TlsFiles>,
    },
    /// `kubeconfig FILE [CONTEXT]`.
    Kubeconfig {
        /// Path of the file.
        file: PathBuf,
        /// Name of the context; the file's current one if `None`.
        context: Option<Box<str>>,
    },
}

impl fmt::Display for Server {
    /// As an operator tells servers apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::InCluster { .. } => f.write_str("in-cluster"),
            Server::Endpoint { url, .. } => f.write_str(url),
            Server::Kubeconfig {
                file,
                context: None,
            } => write!(f, "{}", file.display()),
            Server::Kubeconfig {
                file,
                context: Some(context),
            } => write!(f, "{} {context}", file.display()),
        }
    }
}

/// `tls CERT KEY CACERT`; an empty path stands for none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// Client certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Certificates that the server's must lead to, PEM; read again when it changes.
    pub ca: PathBuf,
}

/// How a check reads the files of the Pod: a configuration may be checked where there is none.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// `Server::InCluster` outside of a cluster.
    #[error(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
    )]
    NotInCluster,
    /// `KUBERNETES_SERVICE_PORT` or `endpoint` do not make a URL.
    #[error("{text:?} is not the URL of an API server")]
    Url {
        /// The URL as written.
        text: String,
    },
    /// The credentials of the Pod cannot be read.
    #[error("open {}: {source}", path.display())]
    ServiceAccount {
        /// File that cannot be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the configuration cannot be read or says nothing usable.
    #[error(transparent)]
    Kubeconfig(#[from] Box<KubeconfigError>),
    /// Certificates or credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] Box<kube::Error>),
    /// An authority that the server's certificate is to lead to is none.
    #[error("the certificate authority of the API server cannot be used: {0}")]
    Authority(#[from] tokio_rustls::rustls::Error),
}

impl Connection {
    /// Whether a client can be built: reads files, those of the Pod with `read`; opens no socket, runs no credential
    /// plugin.
    ///
    /// # Errors
    /// What the stanza's author must mend.
    pub fn check(&self, read: ReadFile<'_>) -> Result<(), ConnectionError> {
        if let Server::InCluster { host, port } = &self.server {
            return check_in_cluster(host, port, read);
        }
        let config = self.server.config()?;
        if config.auth_info.exec.is_none() {
            self.tls(&config)?;
        }
        Ok(())
    }

    /// The URL of the server, as it is written where it is written.
    ///
    /// # Errors
    /// As [`Connection::check`].
    pub fn url(&self) -> Result<String, ConnectionError> {
        let url = self.server.config()?.cluster_url.to_string();
        Ok(url.trim_end_matches('/').to_owned())
    }

    /// Builds the client; connections are opened when they are needed, and are probed at this pace. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// As [`Connection::check`], and a credential plugin that fails.
    pub fn client(
        &self,
        observer: Arc<dyn RequestObserver>,
        pace: Pace,
    ) -> Result<kube::Client, ConnectionError> {
        let mut config = self.server.config()?;
        let agent = HeaderValue::from_static(concat!("cairn/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        // kube reads a token file once a minute; a token that the server refuses must be replaced by the next request.
        let token_file = config.auth_info.token_file.take().map(PathBuf::from);
        let transport = transport::Transport::new(
            https(&config, self.tls(&config)?, pace)?,
            self.limits,
            token_file,
            observer,
        );
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(Box::new)?)
            .layer(config.extra_headers_layer().map_err(Box::new)?)
            .service(transport);
        Ok(kube::Client::new(service, config.default_namespace))
    }

    fn tls(&self, config: &Config) -> Result<ClientConfig, ConnectionError> {
        let mut tls = config.rustls_client_config().map_err(Box::new)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A session that is resumed is not verified anew. There are few handshakes.
        tls.resumption = Resumption::disabled();
        if !config.accept_invalid_certs {
            let provider = tls.crypto_provider().clone();
            if let Some(authorities) = Authorities::new(&self.server, config, provider)? {
                tls.dangerous()
                    .set_certificate_verifier(Arc::new(authorities));
            }
        }
        Ok(tls)
    }
}

type Https = HttpClient<Connector, Body>;
type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

fn https(config: &Config, tls: ClientConfig, pace: Pace) -> Result<Https, ConnectionError> {
    let mut tcp = HttpConnector::new();
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

    let https = match &config.tls_server_name {
        None => HttpsConnector::new(
            tcp,
            tls,
            false,
            Arc::new(DefaultServerNameResolver::default()),
        ),
        Some(name) => {
            let name = name
                .clone()
                .try_into()
                .map_err(|_| ConnectionError::Url { text: name.clone() })?;
            HttpsConnector::new(
                tcp,
                tls,
                false,
                Arc::new(FixedServerNameResolver::new(name)),
            )
        }
    };
    let client = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(UNREAD_MAX)
        .http2_initial_stream_window_size(UNREAD_OF_STREAM_MAX)
        .http2_initial_connection_window_size(UNREAD_OF_CONNECTION_MAX)
        .http2_keep_alive_interval(pace.probe_after)
        .http2_keep_alive_timeout(pace.probe_timeout)
        .build(bounded(https, SECURE_TIMEOUT));
    Ok(client)
}

/// Connects within this time or not at all.
fn bounded(https: HttpsConnector<HttpConnector>, limit: Duration) -> Connector {
    let connect = ServiceBuilder::new().map_future(move |connecting| async move {
        match timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err("the server does not answer to TLS".into()),
        }
    });
    BoxCloneSyncService::new(connect.service(https))
}

impl Server {
    fn config(&self) -> Result<Config, ConnectionError> {
        match self {
            Server::InCluster { host, port } => in_cluster(host, port, Path::new(SERVICE_ACCOUNT)),
            Server::Endpoint { url, tls } => endpoint(url, tls.as_ref()),
            Server::Kubeconfig { file, context } => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(Box::new)?;
                resolve(kubeconfig, context.as_deref())
            }
        }
    }
}

fn in_cluster(host: &str, port: &str, account: &Path) -> Result<Config, ConnectionError> {
    let url = in_cluster_url(host, port)?;
    let token = account.join(TOKEN);
    let user = AuthInfo {
        token_file: Some(text(&token)),
        ..AuthInfo::default()
    };
    if let Err(source) = std::fs::read(&token) {
        return Err(ConnectionError::ServiceAccount {
            path: token,
            source,
        });
    }
    resolve(kubeconfig(url, &account.join(AUTHORITIES), user), None)
}

/// Whether [`in_cluster`] will find what it needs, as far as `read` sees the Pod.
fn check_in_cluster(host: &str, port: &str, read: ReadFile<'_>) -> Result<(), ConnectionError> {
    let url = in_cluster_url(host, port)?;
    for name in [TOKEN, AUTHORITIES] {
        let path = Path::new(SERVICE_ACCOUNT).join(name);
        if let Err(source) = read(&path) {
            return Err(ConnectionError::ServiceAccount { path, source });
        }
    }
    resolve(kubeconfig(url, Path::new(""), AuthInfo::default()), None).map(drop)
}

fn in_cluster_url(host: &str, port: &str) -> Result<String, ConnectionError> {
    if host.is_empty() || port.is_empty() {
        return Err(ConnectionError::NotInCluster);
    }
    Ok(match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("https://[{ip}]:{port}"),
        _ => format!("https://{host}:{port}"),
    })
}

fn endpoint(url: &str, tls: Option<&TlsFiles>) -> Result<Config, ConnectionError> {
    let url = match (url.contains("://"), tls) {
        (true, _) => url.to_owned(),
        (false, Some(_)) => format!("https://{url}"),
        (false, None) => format!("http://{url}"),
    };
    let file = |path: &Path| (!path.as_os_str().is_empty()).then(|| text(path));
    let user = AuthInfo {
        client_certificate: tls.and_then(|tls| file(&tls.cert)),
        client_key: tls.and_then(|tls| file(&tls.key)),
        ..AuthInfo::default()
    };
    let ca = tls.map_or(Path::new(""), |tls| &tls.ca);
    resolve(kubeconfig(url, ca, user), None)
}

/// The kubeconfig that a shorter way of writing stands for, so that one way leads to the client.
fn kubeconfig(url: String, ca: &Path, user: AuthInfo) -> Kubeconfig {
    let name = || "cairn".to_owned();
    let ca = (!ca.as_os_str().is_empty()).then(|| text(ca));
    let cluster = Cluster {
        server: Some(url),
        certificate_authority: ca,
        ..Cluster::default()
    };
    let context = Context {
        cluster: name(),
        user: Some(name()),
        ..Context::default()
    };
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: name(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: name(),
            context: Some(context),
            ..NamedContext::default()
        }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    }
}

fn resolve(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Config, ConnectionError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .now_or_never()
        .expect("a kubeconfig that is already read is resolved without waiting")
        .map_err(Box::new)?;
    // A URI without a host would be asked for nothing until the first request fails.
    if config.cluster_url.host().is_none_or(str::is_empty) || config.cluster_url.scheme().is_none()
    {
        return Err(ConnectionError::Url {
            text: config.cluster_url.to_string(),
        });
    }
    Ok(config)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

//! The way to an API server: what a `kubernetes` stanza says of it, whether that can work, and the client.
//!
//! `Connection` is the specification as written, comparable, so that stanzas with equal specifications share one client and its
//! connections. `Connection::check` reads the files it names and opens no socket; `Connection::client` builds the client. Neither looks at
//! the environment: the specification holds what it says. The client speaks
//! HTTP/2 where the server does, finds out at the given pace that a peer is gone, reads the files of a token or a client certificate
//! anew for every request and the authorities of the server's certificate for every handshake, and keeps to the stanza's limits. It
//! knows nothing of watches.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::header::{HeaderValue, USER_AGENT};
use kube::client::ConfigExt;
use kube::config::{Config, KubeconfigError};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tower::ServiceBuilder;

use super::pace::Pace;

mod authorities;
mod identity;
mod server;
#[cfg(test)]
mod tests;
mod throttle;
mod transport;
mod trouble;
mod wire;

use authorities::Authorities;
use identity::Identified;
use wire::Way;

pub use server::{Server, TlsFiles};
pub use throttle::Limits;
pub use transport::{Request, RequestObserver};

/// A server and how hard it may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Which server.
    pub server: Server,
    /// `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`.
    pub limits: Limits,
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
            return server::check_in_cluster(host, port, read);
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
        let way = Way::new(&config, pace)?;
        let transport = transport::Transport::new(
            Identified::new(&self.server, &config, self.tls(&config)?, way),
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

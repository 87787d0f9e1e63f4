//! What a stanza says of an API server, and the configuration of kube's that it comes to.
//!
//! Every way of writing it becomes a kubeconfig, and one way leads from there: the files that it names are read, and no socket
//! is opened.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use kube::config::{
    AuthInfo, Cluster, Config, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext,
};

use super::{ConnectionError, ReadFile};

/// Where the kubelet mounts the credentials of a Pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The Pod's bearer token, there.
const TOKEN: &str = "token";
/// The authorities of the API server's certificate, there.
const AUTHORITIES: &str = "ca.crt";

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
    /// Client certificate, PEM; read again with its key when one of them changes.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Certificates that the server's must lead to, PEM; read again when it changes.
    pub ca: PathBuf,
}

impl Server {
    pub(super) fn config(&self) -> Result<Config, ConnectionError> {
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

pub(super) fn in_cluster(
    host: &str,
    port: &str,
    account: &Path,
) -> Result<Config, ConnectionError> {
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
pub(super) fn check_in_cluster(
    host: &str,
    port: &str,
    read: ReadFile<'_>,
) -> Result<(), ConnectionError> {
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

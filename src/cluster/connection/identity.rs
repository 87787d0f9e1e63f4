//! Who we are to an API server, where a certificate and a key in files say so.
//!
//! Whoever renews them rewrites the files, and the server refuses requests with a certificate that has expired, also on a
//! connection that was made before. So the files are read for each request, as that of a token is; where they say something
//! else, connections are made anew, and what is under way ends on those of before. What cannot be read, or does not belong
//! together because one file has been written and the other has not, leaves everything as it was.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::{Error as ClientError, ResponseFuture};
use kube::Config;
use kube::client::Body;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tower::Service;

use super::Server;
use super::trouble::Trouble;
use super::wire::{Https, Way};

/// Sends requests over connections on which we are who the files say.
#[derive(Clone)]
pub(super) struct Identified(Arc<Shared>);

struct Shared {
    server: Server,
    way: Way,
    tls: ClientConfig,
    files: Option<Files>,
    last: Mutex<Last>,
}

/// What the files said when they could be followed.
struct Last {
    said: Option<Pair>,
    https: Https,
    /// Why they cannot be at the moment.
    trouble: Trouble,
}

/// Files, as PEM.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identified {
    /// Towards `server`, which is configured so now; `tls` was made of that.
    pub(super) fn new(server: &Server, config: &Config, tls: ClientConfig, way: Way) -> Identified {
        let last = Last {
            // They may have changed since `tls` was made: the first request looks.
            said: None,
            https: way.https(tls.clone()),
            trouble: Trouble::default(),
        };
        Identified(Arc::new(Shared {
            server: server.clone(),
            files: Files::of(config),
            tls,
            last: Mutex::new(last),
            way,
        }))
    }
}

impl Shared {
    /// The connections for the next request.
    fn current(&self) -> Https {
        let (read, server) = (self.files.as_ref().map(Files::read), &self.server);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = read else {
            return last.https.clone();
        };
        let followed = read.and_then(|pair| {
            if last.said.as_ref() != Some(&pair) {
                let mut tls = self.tls.clone();
                tls.client_auth_cert_resolver = pair.identity(tls.crypto_provider())?;
                last.https = self.way.https(tls);
                if last.said.replace(pair).is_some() {
                    tracing::info!(target: "plugin/kubernetes", %server, "The API server is shown another client certificate from now on");
                }
            }
            Ok(())
        });
        if let Some(fault) = last.trouble.news(followed) {
            tracing::warn!(target: "plugin/kubernetes", %server, "The API server is shown the client certificate of before: {fault}");
        }
        last.https.clone()
    }
}

impl Files {
    /// Those that are followed: as in client-go, where both are named and neither is written out. What a credential plugin
    /// says goes before them.
    fn of(config: &Config) -> Option<Files> {
        let user = &config.auth_info;
        let is_written_out =
            user.client_certificate_data.is_some() || user.client_key_data.is_some();
        if is_written_out || user.exec.is_some() {
            return None;
        }
        Some(Files {
            certificate: user.client_certificate.as_ref()?.into(),
            key: user.client_key.as_ref()?.into(),
        })
    }

    fn read(&self) -> Result<Pair, String> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|fault| format!("open {}: {fault}", path.display()))
        };
        Ok(Pair {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

impl Pair {
    fn identity(&self, provider: &CryptoProvider) -> Result<Arc<dyn ResolvesClientCert>, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|fault| format!("the certificate cannot be used: {fault}"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|fault| format!("the key cannot be used: {fault}"))?;
        let identity = CertifiedKey::from_der(chain, key, provider);
        let identity = identity.map_err(|fault| format!("the pair cannot be used: {fault}"))?;
        Ok(Arc::new(SingleCertAndKey::from(identity)))
    }
}

impl Service<http::Request<Body>> for Identified {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = ClientError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
        self.0.current().request(request)
    }
}

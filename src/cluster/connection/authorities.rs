//! The authorities that the certificate of an API server must lead to, as the files say that name them.
//!
//! A cluster that gives itself a new authority rewrites those files, and soon has no certificate of the old one. They are
//! read for each handshake, of which there are few, on the thread that makes it: small files of a Pod's volume. What cannot
//! be read, or is of another cluster by now, leaves the authorities as they were.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use kube::Config;

use super::Server;
use super::trouble::Trouble;

/// Verifies certificates by the authorities that a server's specification leads to.
#[derive(Debug)]
pub(super) struct Authorities {
    server: Server,
    /// Where the API server is, and what its certificate names: a file that leads elsewhere has nothing to say of it.
    of: (http::Uri, Option<String>),
    provider: Arc<CryptoProvider>,
    last: Mutex<Last>,
}

/// What the files said when they could be followed.
#[derive(Debug)]
struct Last {
    /// DER.
    certificates: Vec<Vec<u8>>,
    verifier: Arc<WebPkiServerVerifier>,
    /// Why they cannot be at the moment.
    trouble: Trouble,
}

impl Authorities {
    /// Those of `server`, which is configured so now; `None` if it names none.
    ///
    /// # Errors
    /// One that it names cannot be one.
    pub(super) fn new(
        server: &Server,
        config: &Config,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Authorities>, Error> {
        let Some(certificates) = config.root_cert.clone() else {
            return Ok(None);
        };
        let last = Last {
            verifier: verifier(&certificates, &provider)?,
            certificates,
            trouble: Trouble::default(),
        };
        Ok(Some(Authorities {
            server: server.clone(),
            of: place(config),
            provider,
            last: Mutex::new(last),
        }))
    }

    /// As the files say, or as they said last.
    fn current(&self) -> Arc<WebPkiServerVerifier> {
        let (read, server) = (self.read(), &self.server);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let followed = read.and_then(|read| {
            if read != last.certificates {
                let fault = |fault: Error| fault.to_string();
                last.verifier = verifier(&read, &self.provider).map_err(fault)?;
                last.certificates = read;
                tracing::info!(target: "plugin/kubernetes", %server, "The API server's certificate is verified by other authorities from now on");
            }
            Ok(())
        });
        if let Some(fault) = last.trouble.news(followed) {
            tracing::warn!(target: "plugin/kubernetes", %server, "The API server's certificate is verified by the authorities of before: {fault}");
        }
        last.verifier.clone()
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        let config = self.server.config().map_err(|fault| fault.to_string())?;
        if place(&config) != self.of {
            return Err("another server is named now, which takes a restart".to_owned());
        }
        config
            .root_cert
            .ok_or_else(|| "none is named any more".to_owned())
    }
}

fn verifier(
    certificates: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(CertificateDer::from(certificate.as_slice()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|fault| Error::General(fault.to_string()))
}

/// Where the API server is, and what its certificate names.
fn place(config: &Config) -> (http::Uri, Option<String>) {
    (config.cluster_url.clone(), config.tls_server_name.clone())
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.current()
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

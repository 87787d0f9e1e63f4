//! The authorities that the certificate of an API server must lead to, as the files say that name them.
//!
//! A cluster that gives itself a new authority rewrites those files, and soon has no certificate of the old one. They are
//! read for each handshake, of which there are few; what cannot be read leaves the authorities as they were.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Server;

/// Verifies certificates by the authorities that a server's specification leads to.
#[derive(Debug)]
pub(super) struct Authorities {
    server: Server,
    provider: Arc<CryptoProvider>,
    last: Mutex<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    /// DER.
    certificates: Vec<Vec<u8>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    /// Those of `server`, which are these certificates (DER) now; `None` if nothing can be verified by them.
    pub(super) fn new(
        server: &Server,
        certificates: Vec<Vec<u8>>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Authorities> {
        Some(Authorities {
            server: server.clone(),
            last: Mutex::new(Known::new(certificates, &provider)?),
            provider,
        })
    }

    /// As the files say, or as they said last.
    fn current(&self) -> Arc<WebPkiServerVerifier> {
        let certificates = self.server.config().ok().and_then(|read| read.root_cert);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = certificates.filter(|read| *read != last.certificates);
        if let Some(known) = known.and_then(|read| Known::new(read, &self.provider)) {
            let server = &self.server;
            tracing::info!(target: "plugin/kubernetes", %server, "The API server's certificate is verified by other authorities from now on");
            *last = known;
        }
        last.verifier.clone()
    }

    fn last(&self) -> Arc<WebPkiServerVerifier> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.verifier.clone()
    }
}

impl Known {
    fn new(certificates: Vec<Vec<u8>>, provider: &Arc<CryptoProvider>) -> Option<Known> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(CertificateDer::from(certificate.as_slice()))
                .ok()?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Some(Known {
            certificates,
            verifier: verifier.build().ok()?,
        })
    }
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
        self.last()
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.last()
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.last().supported_verify_schemes()
    }
}

//! Certificates of one server: a CA of its own, the server's certificate for 127.0.0.1, one for a client.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Https,
    /// HTTPS, and a client without the certificate of the kubeconfig is turned away.
    MutualTls,
}

/// What a kubeconfig must know of it, and the acceptor that proves it.
pub(super) struct Identity {
    pub(super) ca_pem: String,
    pub(super) client_pem: String,
    pub(super) client_key_pem: String,
    pub(super) acceptor: TlsAcceptor,
}

impl Identity {
    /// New keys for each server; None for plain HTTP.
    pub(super) fn new(transport: Transport) -> Option<Self> {
        if transport == Transport::Http {
            return None;
        }
        let ca = authority();
        let (server, server_key) = leaf(&ca, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = leaf(&ca, "lab", ExtendedKeyUsagePurpose::ClientAuth);
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3");
        let clients = if transport == Transport::MutualTls {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).expect("the CA was made above");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            versions.with_client_cert_verifier(verifier.expect("there is a root"))
        } else {
            versions.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from(server.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let mut config = clients
            .with_single_cert(chain, key)
            .expect("key and certificate were made together");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Some(Self {
            ca_pem: ca.pem(),
            client_pem: client.pem(),
            client_key_pem: client_key.serialize_pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params("lab CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    CertifiedIssuer::self_signed(params, key()).expect("the parameters are complete")
}

fn leaf(
    ca: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> (rcgen::Certificate, KeyPair) {
    let key = key();
    let mut params = params(name);
    params.extended_key_usages = vec![purpose];
    (
        params
            .signed_by(&key, ca)
            .expect("the parameters are complete"),
        key,
    )
}

fn params(name: &str) -> CertificateParams {
    let mut params =
        CertificateParams::new([name.replace(' ', "-")]).expect("an address or a host name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has entropy")
}

//! Whom upstreams within TLS are held against, and whom we are to them.
//!
//! The files are read and checked with the Corefile; what is made of them here is one configuration of TLS for each
//! protocol of a stanza, so that its upstreams share their sessions: the second connection to a server resumes the
//! first. All cryptography is *ring*'s.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, Error, InvalidMessage,
    PeerIncompatible, RootCertStore,
};

use crate::chain::Cause;

use super::endpoint::Secure;

/// What a stanza says about TLS. That configurations can be made of it was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may sign the certificates of upstreams; `None`: whoever the system trusts.
    authorities: Option<Arc<[CertificateDer<'static>]>>,
    /// Who we are, where upstreams ask.
    identity: Option<Arc<Identity>>,
}

/// A certificate with those that sign it, and its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What is wrong with a file of certificates or keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    /// It is no PEM.
    #[error("is not valid PEM: {0}")]
    Pem(#[source] pem::Error),
    /// It is PEM of something else.
    #[error("holds no certificate")]
    NoCertificate,
    /// Likewise.
    #[error("holds no private key")]
    NoKey,
    /// One of its certificates cannot be that of an authority.
    #[error("holds a certificate that cannot be used: {0}")]
    Authority(#[source] Error),
    /// The key is not that of the certificate.
    #[error("holds a key that does not match the certificate")]
    OtherKey,
    /// The key, or the certificate, is of a kind that is not known.
    #[error("holds a key that cannot be used: {0}")]
    Key(#[source] Error),
}

/// The configurations of TLS that the upstreams of a stanza share; each is made when the first upstream wants it.
#[derive(Debug, Default)]
pub(super) struct Clients {
    tls: Tls,
    made: [OnceLock<Arc<ClientConfig>>; 3],
}

impl Tls {
    /// Trusts these authorities and no others.
    pub(super) fn trust(&mut self, pem: &[u8]) -> Result<(), FileFault> {
        let authorities = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for authority in &authorities {
            store.add(authority.clone()).map_err(FileFault::Authority)?;
        }
        self.authorities = Some(authorities.into());
        Ok(())
    }

    /// Shows a certificate to upstreams that ask for one; `key` is its key.
    pub(super) fn identify(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: &[u8],
    ) -> Result<(), FileFault> {
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Ok(key) => key,
            Err(pem::Error::NoItemsFound) => return Err(FileFault::NoKey),
            Err(why) => return Err(FileFault::Pem(why)),
        };
        let identity = Identity { chain, key };
        let builder = builder().with_root_certificates(RootCertStore::empty());
        match identified(builder, Some(&identity)) {
            Ok(_) => {
                self.identity = Some(Arc::new(identity));
                Ok(())
            }
            Err(Error::InconsistentKeys(_)) => Err(FileFault::OtherKey),
            Err(why) => Err(FileFault::Key(why)),
        }
    }

    fn client(&self, secure: Secure) -> ClientConfig {
        let builder = builder().with_root_certificates(self.roots());
        let mut client = identified(builder, self.identity.as_deref())
            .expect("the key was found to match the certificate when it was read");
        client.alpn_protocols = secure.alpn().map(<[u8]>::to_vec).into_iter().collect();
        client
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(authorities) => {
                roots.add_parsable_certificates(authorities.iter().cloned());
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let faults: Vec<String> =
                        found.errors.iter().map(ToString::to_string).collect();
                    let reason = if faults.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", faults.join("; "))
                    };
                    tracing::error!(target: "plugin/forward", "this system trusts no certificate authority{reason}, so that no upstream over TLS can prove who it is: name one with 'tls CA'");
                }
            }
        }
        roots
    }
}

impl Clients {
    /// None made yet.
    pub(super) fn new(tls: Tls) -> Clients {
        Clients {
            tls,
            made: Default::default(),
        }
    }

    /// The configuration for a protocol.
    pub(super) fn client(&self, secure: Secure) -> Arc<ClientConfig> {
        let made = &self.made[secure as usize];
        made.get_or_init(|| Arc::new(self.tls.client(secure)))
            .clone()
    }
}

/// The certificates of a file; there is at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(FileFault::NoCertificate),
        Ok(certificates) => Ok(certificates),
        Err(why) => Err(FileFault::Pem(why)),
    }
}

fn builder() -> ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
}

fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Error> {
    match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key())
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Why TLS with an upstream failed, in words for an operator.
pub(super) fn cause(error: &Error) -> Cause {
    Cause::Tls(words(error).into())
}

fn words(error: &Error) -> String {
    use CertificateError::*;
    match error {
        Error::InvalidCertificate(NotValidForNameContext {
            expected,
            presented,
        }) => {
            let is_for = match presented.as_slice() {
                [] => "no name at all".to_owned(),
                names => names
                    .iter()
                    .map(|name| plain(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let expected = expected.to_str();
            format!("certificate is not valid for name {expected:?}; it is for {is_for}")
        }
        Error::InvalidCertificate(ExpiredContext { time, not_after }) => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("certificate expired {} ago", span(ago))
        }
        Error::InvalidCertificate(NotValidYetContext { time, not_before }) => {
            let left = not_before.as_secs().saturating_sub(time.as_secs());
            format!(
                "certificate becomes valid in {}: is the clock right?",
                span(left)
            )
        }
        Error::InvalidCertificate(UnknownIssuer) => UNKNOWN_ISSUER.to_owned(),
        Error::InvalidCertificate(BadSignature) => OTHER_ISSUER.to_owned(),
        // The verifier's own faults come with their names alone.
        Error::InvalidCertificate(Other(why)) => match why.to_string().as_str() {
            "UnsupportedCertVersion" => OLD_CERTIFICATE.to_owned(),
            why => format!("certificate cannot be used: {why}"),
        },
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => NO_TLS.to_owned(),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            OLD_TLS.to_owned()
        }
        other => other.to_string(),
    }
}

fn alert_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the upstream demands a client certificate: name one with 'tls CERT KEY'".to_owned()
        }
        AlertDescription::ProtocolVersion => OLD_TLS.to_owned(),
        alert => format!("the upstream refused: {alert:?}"),
    }
}

/// The upstream sent this alert over QUIC.
pub(super) fn refused(alert: u8) -> Cause {
    Cause::Tls(alert_words(alert.into()).into())
}

const UNKNOWN_ISSUER: &str = "certificate is signed by an unknown authority";
const OTHER_ISSUER: &str = "certificate is not signed by the authority that it names";

const OLD_CERTIFICATE: &str = "certificate is of an old version of X.509: version 3 is needed";
const NO_TLS: &str = "the upstream does not speak TLS on this port";
const OLD_TLS: &str = "the upstream speaks neither TLS 1.2 nor 1.3";

/// Why TLS failed, where a protocol above it has kept the words alone.
pub(super) fn cause_in_words(reason: &str) -> Cause {
    let reason = reason
        .strip_prefix("invalid peer certificate: ")
        .unwrap_or(reason);
    Cause::Tls(match reason {
        "UnknownIssuer" => UNKNOWN_ISSUER.into(),
        "BadSignature" => OTHER_ISSUER.into(),
        "received fatal alert: CertificateRequired" => {
            alert_words(AlertDescription::CertificateRequired).into()
        }
        "received fatal alert: ProtocolVersion" => OLD_TLS.into(),
        "received corrupt message of type InvalidContentType" => NO_TLS.into(),
        reason => reason.into(),
    })
}

/// `DnsName("a.test")` without what stands around the name.
fn plain(presented: &str) -> String {
    let name = presented.split_once('(').map_or(presented, |(_, name)| {
        name.strip_suffix(')').unwrap_or(name)
    });
    format!("\"{}\"", name.trim_matches('"'))
}

/// So many seconds, in the largest unit that fits.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

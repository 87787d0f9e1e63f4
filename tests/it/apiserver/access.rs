//! Tokens, certificates, HTTP/2, and the record of what was asked.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Version;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{client, client_of, code, get, names, service, watch};
use crate::support::apiserver::{ApiServer, Login, Transport, Verb};

const LIST: &str = "/api/v1/services";

/// What makes a kubeconfig that of a stranger.
type Change = fn(&mut Kubeconfig);

#[tokio::test]
async fn a_token_is_asked_for_and_rotates() {
    let server = ApiServer::start();
    let anonymous = client(&server).await;
    server.rotate_token("first");
    let first = client(&server).await;
    let by_file =
        client_of(Kubeconfig::read_from(server.kubeconfig_with(Login::TokenFile)).unwrap()).await;
    assert_eq!(code(&get(&anonymous, LIST).await), 401);
    assert_eq!(code(&get(&first, LIST).await), 0);
    assert_eq!(code(&get(&by_file, LIST).await), 0);
    server.rotate_token("second");
    assert_eq!(
        std::fs::read_to_string(server.token_file()).unwrap(),
        "second"
    );
    assert_eq!(code(&get(&first, LIST).await), 401);
    assert_eq!(code(&get(&client(&server).await, LIST).await), 0);
    server.require_token(None);
    assert_eq!(code(&get(&anonymous, LIST).await), 0);
}

#[tokio::test]
async fn https_is_trusted_by_the_ca_of_the_kubeconfig() {
    for transport in [Transport::Https, Transport::MutualTls] {
        let server = ApiServer::start_with(transport);
        server.apply(service("a", "one", json!({})));
        assert!(server.url().starts_with("https://"), "{transport:?}");
        let client = client(&server).await;
        assert_eq!(
            names(&get(&client, LIST).await.unwrap()),
            ["a/one"],
            "{transport:?}"
        );
        assert!(
            watch(&client, "/api/v1/services?watch=true").await.is_ok(),
            "{transport:?}"
        );
    }
}

#[tokio::test]
async fn a_stranger_is_turned_away() {
    let strangers: [(&str, Transport, Change); 3] = [
        (
            "a client that trusts another CA",
            Transport::Https,
            |kubeconfig| {
                let other = ApiServer::start_with(Transport::Https);
                let other = Kubeconfig::read_from(other.kubeconfig())
                    .unwrap()
                    .clusters
                    .remove(0);
                let authority = other.cluster.unwrap().certificate_authority_data;
                kubeconfig.clusters[0]
                    .cluster
                    .as_mut()
                    .unwrap()
                    .certificate_authority_data = authority;
            },
        ),
        (
            "a client without a certificate",
            Transport::MutualTls,
            |kubeconfig| {
                let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
                user.client_certificate_data = None;
                user.client_key_data = None;
            },
        ),
        (
            "a client that does not encrypt",
            Transport::Https,
            |kubeconfig| {
                let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
                cluster.server = cluster
                    .server
                    .as_ref()
                    .map(|url| url.replace("https", "http"));
            },
        ),
    ];
    for (name, transport, change) in strangers {
        let server = ApiServer::start_with(transport);
        let mut kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
        change(&mut kubeconfig);
        let outcome = get(&client_of(kubeconfig).await, LIST).await;
        assert!(
            outcome.is_err() && server.requests().is_empty(),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn http_2_is_spoken_over_tls_and_in_the_clear() {
    for transport in [Transport::Http, Transport::Https] {
        let server = ApiServer::start_with(transport);
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let status = match server.ca_pem() {
            None => ask_by_http_2(&server, stream).await,
            Some(ca) => ask_by_http_2(&server, encrypt(stream, &ca).await).await,
        };
        assert_eq!(status, 200, "{transport:?}");
        assert_eq!(
            server.requests()[0].version,
            Version::HTTP_2,
            "{transport:?}"
        );
    }
}

async fn encrypt(stream: TcpStream, ca: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

async fn ask_by_http_2<S>(server: &ApiServer, stream: S) -> u16
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("{}{LIST}", server.url());
    let request = hyper::Request::get(uri)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn the_record_tells_who_asked_what() {
    let server = ApiServer::start();
    server.require_token(Some("secret"));
    let client = client(&server).await;
    get(&client, "/api/v1/services?limit=500&labelSelector=app%3Dx")
        .await
        .unwrap();
    get(&client, LIST).await.unwrap();
    let _events = watch(&client, "/api/v1/services?watch=true").await.unwrap();
    get(&client, "/version").await.unwrap();
    let posted = hyper::Request::post(LIST).body(Vec::new()).unwrap();
    assert_eq!(
        code(&client.request::<serde_json::Value>(posted).await),
        405
    );

    let lists = server.requests_for("services", Verb::List);
    assert_eq!(lists.len(), 2);
    assert_eq!(
        (lists[0].path.as_str(), lists[0].method.as_str()),
        (LIST, "GET")
    );
    assert_eq!(lists[0].parameter("limit"), Some("500"));
    assert_eq!(lists[0].parameter("labelSelector"), Some("app=x"));
    assert_eq!(lists[0].authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(lists[0].user_agent, None);
    let counts = [Verb::List, Verb::Watch, Verb::Get, Verb::Other]
        .map(|verb| server.count("services", verb));
    assert_eq!(counts, [2, 1, 0, 1]);
    assert_eq!(server.requests().len(), 5);
    server.clear_requests();
    assert_eq!(
        (
            server.requests().len(),
            server.count("services", Verb::List)
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn connections_are_counted() {
    let server = ApiServer::start();
    let _open = [
        TcpStream::connect(server.address()).await,
        TcpStream::connect(server.address()).await,
    ];
    server
        .wait_until("two connections", |server| server.connections() == 2)
        .await;
    server.clear_requests();
    assert_eq!(server.connections(), 0);
}

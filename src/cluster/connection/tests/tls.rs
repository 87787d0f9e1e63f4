//! Who an API server is and who we are to it, over TLS.

use super::*;

/// Speaks TLS as `localhost`, with a certificate that `ca.crt` in the folder leads to.
pub(super) fn tls_acceptor(folder: &Path) -> tokio_rustls::TlsAcceptor {
    tls_acceptor_for(folder, WebPkiClientVerifier::no_client_auth())
}

/// Likewise, to these clients alone.
fn tls_acceptor_for(
    folder: &Path,
    clients: Arc<dyn ClientCertVerifier>,
) -> tokio_rustls::TlsAcceptor {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("ca.crt"), authority.cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(
        authority.signing_key.serialize_der(),
    ));
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// A server of this URL, with this authority.
pub(super) fn endpoint_of(url: String, ca: PathBuf) -> Connection {
    Connection {
        server: Server::Endpoint {
            url: url.into(),
            tls: Some(TlsFiles {
                cert: PathBuf::new(),
                key: PathBuf::new(),
                ca,
            }),
        },
        limits: Limits::default(),
    }
}

/// A TLS server on a free port that answers each request with its HTTP version and user agent, and with the certificate
/// that its connection was made with; dropped, it ends with its connections. Its certificate is in `folder`.
async fn tls_server(folder: &Path) -> (u16, JoinSet<()>) {
    serve_tls(tls_acceptor(folder), 0).await
}

/// Likewise, on this port.
async fn serve_tls(acceptor: tokio_rustls::TlsAcceptor, port: u16) -> (u16, JoinSet<()>) {
    use hyper_util::rt::TokioIo;
    use hyper_util::server::conn::auto;

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(tls) = acceptor.accept(socket).await else {
                continue;
            };
            let client = tls.get_ref().1.peer_certificates();
            let client = client.map_or_else(String::new, |chain| shown(&chain[0]));
            let answer =
                hyper::service::service_fn(move |request: HttpRequest<hyper::body::Incoming>| {
                    let agent = request.headers()[USER_AGENT].to_str().unwrap();
                    let body = format!("{:?} {agent}", request.version());
                    let body = http_body_util::Full::<bytes::Bytes>::from(body);
                    let answer = Response::builder().header(SHOWN, &client).body(body);
                    async { answer }
                });
            connections.spawn(async move {
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tls), answer)
                    .await
            });
        }
    });
    (port, accepting)
}

#[tokio::test]
async fn authorities_that_are_replaced_are_followed_from_the_next_handshake_on() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    let in_file = folder.path().join("by-file");
    let inline = folder.path().join("inline");
    let kubeconfigs = |port: u16| {
        let pem = fs::read(&ca).unwrap();
        let data = serde_json::to_value(k8s_openapi::ByteString(pem)).unwrap();
        for (path, name, authority) in [
            (&in_file, "certificate-authority", serde_json::json!(ca)),
            (&inline, "certificate-authority-data", data),
        ] {
            let server = format!("https://localhost:{port}");
            let kubeconfig = serde_json::json!({
                "clusters": [{"name": "c", "cluster": {"server": server, name: authority}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}], "current-context": "c",
            });
            fs::write(path, kubeconfig.to_string()).unwrap();
        }
    };
    let of_first = tls_acceptor(folder.path());
    let (port, mut first) = serve_tls(of_first.clone(), 0).await;
    kubeconfigs(port);
    let clients = [in_file.clone(), inline.clone()].map(|file| {
        let server = Server::Kubeconfig {
            file,
            context: None,
        };
        let limits = Limits::default();
        let connection = Connection { server, limits };
        connection.client(Arc::new(()), Pace::default()).unwrap()
    });
    let is_answered = async |client: &kube::Client| {
        let request = HttpRequest::get("/api").body(Body::empty()).unwrap();
        let answer = client.send(request).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    for client in &clients {
        assert!(is_answered(client).await, "the first authority");
    }
    first.shutdown().await;
    let old = fs::read(&ca).unwrap();
    let (_, mut first) = serve_tls(of_first, port).await;
    fs::write(&ca, "half a file").unwrap();
    let kubeconfig = fs::read_to_string(&inline).unwrap();
    fs::write(&inline, kubeconfig.replace("//localhost", "//elsewhere")).unwrap();
    for client in &clients {
        assert!(is_answered(client).await, "who was known is known on");
    }
    first.shutdown().await;
    let (_, second) = serve_tls(tls_acceptor(folder.path()), port).await;
    let new = fs::read(&ca).unwrap();
    fs::write(&ca, &old).unwrap();
    for client in &clients {
        assert!(!is_answered(client).await, "nobody has named the second");
    }
    fs::write(&ca, &new).unwrap();
    kubeconfigs(port);
    for client in &clients {
        assert!(is_answered(client).await, "the second authority");
    }
    drop(second);
}

/// The header that says which certificate a client has shown.
const SHOWN: &str = "shown";

/// What tells a certificate from others: the end of its signature.
fn shown(certificate: &[u8]) -> String {
    format!("{:02x?}", &certificate[certificate.len() - 8..])
}

#[tokio::test]
async fn a_client_certificate_that_is_renewed_is_shown_from_the_next_request_on() {
    let lines = Lines::new();
    // All tasks of this runtime run on this thread.
    let _guard = tracing::subscriber::set_default(lines.clone());
    let told = || {
        let told = lines.0.lock().unwrap();
        let ours = told
            .iter()
            .filter(|line| line.contains("client certificate"));
        ours.count()
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [one, two] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["us".into()]).unwrap());
    let mut known = RootCertStore::empty();
    known.add(one.cert.der().clone()).unwrap();
    known.add(two.cert.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(known)).build();
    let (port, _server) = serve_tls(tls_acceptor_for(folder.path(), clients.unwrap()), 0).await;
    let put = |cert: &str, key: &str| {
        fs::write(at("cert"), cert).unwrap();
        fs::write(at("key"), key).unwrap();
    };
    let [one_cert, two_cert] = [&one, &two].map(|one| one.cert.pem());
    let [one_key, two_key] = [&one, &two].map(|one| one.signing_key.serialize_pem());
    put(&one_cert, &one_key);
    let connection = Connection {
        server: Server::Endpoint {
            url: format!("https://localhost:{port}").into(),
            tls: Some(TlsFiles {
                cert: at("cert"),
                key: at("key"),
                ca: at("ca.crt"),
            }),
        },
        limits: Limits::default(),
    };
    let client = connection.client(Arc::new(()), Pace::default()).unwrap();
    for (fact, cert, key, expected, lines) in [
        ("the first", &*one_cert, &*one_key, &one, 0),
        (
            "a certificate that is half written",
            &two_cert[..99],
            &one_key,
            &one,
            1,
        ),
        (
            "one whose key is not written yet",
            &two_cert,
            &one_key,
            &one,
            1,
        ),
        ("still", &two_cert, &one_key, &one, 0),
        ("both", &two_cert, &two_key, &two, 1),
        ("an empty key", &two_cert, "", &two, 1),
        ("as before", &two_cert, &two_key, &two, 0),
    ] {
        put(cert, key);
        let before = told();
        let request = HttpRequest::get("/api").body(Body::empty()).unwrap();
        let answer = client.send(request).await.unwrap();
        let got = answer.headers()[SHOWN].to_str().unwrap();
        assert_eq!(got, shown(expected.cert.der()), "{fact}");
        assert_eq!(told() - before, lines, "{fact}");
    }
    fs::remove_file(at("cert")).unwrap();
    let request = HttpRequest::get("/api").body(Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.headers()[SHOWN], shown(two.cert.der()), "no file");
}

#[tokio::test]
async fn watches_share_http2_and_say_who_we_are() {
    let folder = tempfile::tempdir().unwrap();
    let (port, _server) = tls_server(folder.path()).await;
    let connection = |ca: PathBuf| endpoint_of(format!("https://localhost:{port}"), ca);
    let client = connection(folder.path().join("ca.crt"))
        .client(Arc::new(()), Pace::default())
        .unwrap();
    let answer = client
        .send(
            HttpRequest::get("/api/v1/pods")
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .unwrap();
    let body = answer.into_body().collect_bytes().await.unwrap();
    assert_eq!(
        body,
        format!("HTTP/2.0 cairn/{}", env!("CARGO_PKG_VERSION"))
    );

    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("other.crt"), stranger.cert.pem()).unwrap();
    let client = connection(folder.path().join("other.crt"))
        .client(Arc::new(()), Pace::default())
        .unwrap();
    let refused = client
        .send(
            HttpRequest::get("/api/v1/pods")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert!(
        refused.is_err(),
        "a certificate of somebody else's authority is accepted"
    );
}

#[test]
fn a_server_with_a_name_is_reached_while_there_is_no_thread_in_the_pool() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    let reached = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (port, _server) = tls_server(folder.path()).await;
        let url = format!("https://localhost:{port}");
        let connection = endpoint_of(url, folder.path().join("ca.crt"));
        let client = connection.client(Arc::new(()), Pace::default()).unwrap();
        let request = HttpRequest::get("/api").body(Body::empty()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), client.send(request)).await;
        answer.is_ok_and(|answer| answer.is_ok())
    });
    drop(release);
    assert!(reached);
}

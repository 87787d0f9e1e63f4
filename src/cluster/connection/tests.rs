use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request as HttpRequest, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::Body;
use tokio::task::JoinSet;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tower::{BoxError, Service, service_fn};

use super::server::in_cluster;
use super::wire::bounded;
use super::*;
use crate::testing::Lines;

mod unread;

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: here
clusters:
- name: one
  cluster: {server: 'http://127.0.0.1:1'}
- name: blank
  cluster: {}
contexts:
- name: here
  context: {cluster: one, user: me}
- name: dangling
  context: {cluster: two, user: me}
- name: nowhere
  context: {cluster: blank, user: me}
users:
- name: me
  user: {token: t}
";

fn check(server: Server) -> Result<(), String> {
    Connection {
        server,
        limits: Limits::default(),
    }
    .check(&|path| fs::read(path))
    .map_err(|error| error.to_string())
}

#[test]
fn check_finds_what_cannot_work() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good"), KUBECONFIG).unwrap();
    fs::write(at("bad"), "clusters: [").unwrap();
    fs::write(at("ca"), "no certificate").unwrap();
    let kubeconfig = |name: &str, context: Option<&str>| Server::Kubeconfig {
        file: at(name),
        context: context.map(Into::into),
    };
    let endpoint = |url: &str, tls: Option<[&str; 3]>| Server::Endpoint {
        url: url.into(),
        tls: tls.map(|[cert, key, ca]| {
            let path = |name: &str| {
                if name.is_empty() {
                    PathBuf::new()
                } else {
                    at(name)
                }
            };
            TlsFiles {
                cert: path(cert),
                key: path(key),
                ca: path(ca),
            }
        }),
    };
    let cases = [
        ("current context", kubeconfig("good", None), None),
        ("named context", kubeconfig("good", Some("here")), None),
        (
            "unknown context",
            kubeconfig("good", Some("there")),
            Some("there"),
        ),
        (
            "context without its cluster",
            kubeconfig("good", Some("dangling")),
            Some("two"),
        ),
        (
            "cluster without a server",
            kubeconfig("good", Some("nowhere")),
            Some("cluster url is missing"),
        ),
        (
            "missing file",
            kubeconfig("none", None),
            Some("No such file"),
        ),
        (
            "file that is not YAML",
            kubeconfig("bad", None),
            Some("kubeconfig YAML"),
        ),
        ("URL", endpoint("http://127.0.0.1:8080", None), None),
        ("host and port", endpoint("localhost:8080", None), None),
        ("no host", endpoint("http://", None), Some("cluster url")),
        (
            "not a URL",
            endpoint("http://a b", None),
            Some("cluster url"),
        ),
        (
            "missing authorities",
            endpoint("https://a", Some(["", "", "none"])),
            Some("No such file"),
        ),
        (
            "authorities without one",
            endpoint("https://a", Some(["", "", "ca"])),
            Some("certificate"),
        ),
        (
            "missing key",
            endpoint("https://a", Some(["none", "none", ""])),
            Some("No such file"),
        ),
    ];
    for (name, server, fault) in cases {
        match (check(server), fault) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => assert!(text.contains(part), "{name}: {text}"),
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
}

#[test]
fn outside_of_a_cluster_the_fault_is_worded_as_client_go_does() {
    let error = in_cluster("", "443", Path::new("/nonexistent")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
    );
    let error = in_cluster("10.0.0.1", "443", Path::new("/nonexistent")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "open /nonexistent/token: No such file or directory (os error 2)"
    );
}

#[test]
fn in_cluster_is_checked_with_the_files_that_the_configuration_sees() {
    let check = |host: &str, files: &[&str]| {
        let (host, port) = (host.into(), "443".into());
        let (server, limits) = (Server::InCluster { host, port }, Limits::default());
        let read = |path: &Path| match files.iter().any(|file| path.ends_with(file)) {
            true => Ok(Vec::new()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let checked = Connection { server, limits }.check(&read);
        checked.map_err(|error| error.to_string())
    };
    let both = ["serviceaccount/token", "serviceaccount/ca.crt"];
    for (name, host, files, fault) in [
        ("a Pod", "10.0.0.1", both.as_slice(), None),
        ("a Pod of IPv6", "fd00::1", &both, None),
        (
            "no token",
            "10.0.0.1",
            &both[1..],
            Some("serviceaccount/token: "),
        ),
        (
            "no authorities",
            "10.0.0.1",
            &both[..1],
            Some("serviceaccount/ca.crt: "),
        ),
        (
            "no cluster",
            "",
            &both,
            Some("unable to load in-cluster configuration"),
        ),
        ("no host", "a b", &both, Some("cluster url")),
    ] {
        match (check(host, files), fault) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => assert!(text.contains(part), "{name}: {text}"),
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
}

#[test]
fn in_cluster_uses_the_service_account() {
    let account = tempfile::tempdir().unwrap();
    let authority = rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).unwrap();
    fs::write(account.path().join("ca.crt"), authority.cert.pem()).unwrap();
    fs::write(account.path().join("token"), "t").unwrap();
    for (host, url) in [
        ("10.0.0.1", "https://10.0.0.1:6443/"),
        ("fd00::1", "https://[fd00::1]:6443/"),
    ] {
        let config = in_cluster(host, "6443", account.path()).unwrap();
        assert_eq!(config.cluster_url.to_string(), url, "{host}");
        assert_eq!(
            config.auth_info.token_file.map(PathBuf::from),
            Some(account.path().join("token"))
        );
        let authorities = [authority.cert.der().to_vec()];
        assert_eq!(config.root_cert.as_deref(), Some(&authorities[..]));
    }
}

#[test]
fn equal_specifications_are_one_connection() {
    let spec = |qps| Connection {
        server: Server::Endpoint {
            url: "http://a".into(),
            tls: None,
        },
        limits: Limits::new(qps, 1, 1),
    };
    let connections: std::collections::HashSet<_> = [spec(5.0), spec(5.0), spec(6.0)].into();
    assert_eq!(connections.len(), 2);
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A service that notes the token of each request.
fn server(
    seen: Seen,
) -> impl Service<HttpRequest<()>, Response = Response<()>, Error = BoxError, Future: Send> + Clone
{
    service_fn(move |request: HttpRequest<()>| {
        let token = request
            .headers()
            .get(AUTHORIZATION)
            .map_or("none", |value| value.to_str().unwrap());
        seen.lock().unwrap().push(token.to_owned());
        async { Ok(Response::new(())) }
    })
}

fn request() -> HttpRequest<()> {
    HttpRequest::get("http://server:1/api").body(()).unwrap()
}

#[tokio::test]
async fn a_rotated_token_is_in_the_next_request_and_the_last_one_outlives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let seen = Seen::default();
    let mut transport = transport::Transport::new(
        server(Arc::clone(&seen)),
        Limits::default(),
        Some(file.clone()),
        Arc::new(()),
    );
    let absent = transport.call(request()).await.unwrap_err();
    assert!(absent.to_string().contains("No such file"), "{absent}");
    fs::write(&file, "first\n").unwrap();
    transport.call(request()).await.unwrap();
    fs::write(&file, "second").unwrap();
    transport.call(request()).await.unwrap();
    fs::remove_file(&file).unwrap();
    transport.call(request()).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["Bearer first", "Bearer second", "Bearer second"]
    );
}

#[derive(Default)]
struct Notes(Mutex<Vec<(String, String, Option<u16>)>>);

impl RequestObserver for Notes {
    fn answered(&self, request: &Request<'_>) {
        let note = (
            request.method.to_string(),
            request.host.to_owned(),
            request.code,
        );
        self.0.lock().unwrap().push(note);
    }
}

#[tokio::test]
async fn every_request_is_observed_with_its_code_or_none() {
    let notes = Arc::new(Notes::default());
    let fails = service_fn(|request: HttpRequest<()>| async move {
        match request.uri().path() {
            "/api" => Ok(Response::builder().status(403).body(()).unwrap()),
            _ => Err(BoxError::from("cut")),
        }
    });
    let mut transport =
        transport::Transport::new(fails, Limits::default(), None, Arc::clone(&notes) as _);
    transport.call(request()).await.unwrap();
    let other = HttpRequest::get("http://server:1/other").body(()).unwrap();
    assert_eq!(transport.call(other).await.unwrap_err().to_string(), "cut");
    let note = |code| ("GET".to_owned(), "server:1".to_owned(), code);
    assert_eq!(*notes.0.lock().unwrap(), [note(Some(403)), note(None)]);
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_max_inflight() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let seen = Seen::default();
    let started = Arc::clone(&seen);
    let slow = service_fn(move |_: HttpRequest<()>| {
        started.lock().unwrap().push(String::new());
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            Ok::<_, std::convert::Infallible>(Response::new(()))
        }
    });
    let mut transport = transport::Transport::new(slow, Limits::new(0.0, 0, 2), None, Arc::new(()));
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(transport.call(request())))
        .collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    release.send(true).unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 5);
}

/// Speaks TLS as `localhost`, with a certificate that `ca.crt` in the folder leads to.
fn tls_acceptor(folder: &Path) -> tokio_rustls::TlsAcceptor {
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
fn endpoint_of(url: String, ca: PathBuf) -> Connection {
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

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    use hyper_rustls::{DefaultServerNameResolver, HttpsConnector};
    use tower::ServiceExt;

    // Never accepted by anybody but the kernel.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = Server::Endpoint {
        url: url.clone().into(),
        tls: None,
    };
    let tls = server.config().unwrap().rustls_client_config().unwrap();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let resolver = Arc::new(DefaultServerNameResolver::default());
    let https = HttpsConnector::new(tcp, tls, false, resolver);
    let connecting = bounded(https, Duration::from_millis(20)).oneshot(url.parse().unwrap());
    let refused = connecting.await.err().map(|error| error.to_string());
    assert_eq!(
        refused.as_deref(),
        Some("the server does not answer to TLS")
    );
}

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

mod tls;
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

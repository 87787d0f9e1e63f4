//! The operator's HTTP over real sockets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use cairn_dns::ops::{
    Endpoint, EndpointKind, Monitor, Ops, Readiness, ReadyWatches, parse_listen_address,
};
use cairn_dns::telemetry::lines::Lines;
use cairn_dns::telemetry::log::LogFormat;
use cairn_dns::telemetry::{BuildInfo, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For what must happen soon, on a machine however slow.
const SOON: Duration = Duration::from_secs(30);

struct Server {
    ops: Ops,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

fn server() -> Server {
    let (lines, guard) = Lines::start(LogFormat::Text, io::sink()).unwrap();
    drop(guard);
    let metrics = Arc::new(Metrics::new(
        BuildInfo::current(),
        SystemTime::now(),
        &[],
        lines,
    ));
    let readiness = Readiness::default();
    Server {
        ops: Ops::new(Arc::clone(&metrics), readiness.clone()),
        metrics,
        readiness,
    }
}

fn endpoint(kind: EndpointKind, address: &str) -> Endpoint {
    Endpoint {
        kind,
        address: parse_listen_address(address).unwrap(),
    }
}

impl Server {
    async fn apply(&mut self, wanted: &[(EndpointKind, &str)]) -> Vec<SocketAddr> {
        let wanted: Vec<Endpoint> = wanted
            .iter()
            .map(|(kind, address)| endpoint(*kind, address))
            .collect();
        let bound = self.ops.apply(&wanted).await.unwrap();
        bound.into_iter().map(|bound| bound.local).collect()
    }
}

const READY: EndpointKind = EndpointKind::Ready(Monitor::UntilReady);

/// Sends a request and reads until the server closes: status and body.
async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
    )
    .await
}

fn ok() -> (u16, String) {
    (200, "OK".to_owned())
}

#[tokio::test]
async fn one_address_serves_all_that_want_it() {
    let mut server = server();
    let address = "127.0.0.1:0";
    let kinds = [
        EndpointKind::Health,
        EndpointKind::Health,
        READY,
        EndpointKind::Metrics,
    ];
    let bound = server.apply(&kinds.map(|kind| (kind, address))).await;
    assert!(bound.iter().all(|local| *local == bound[0]), "{bound:?}");
    assert_eq!(get(bound[0], "/health").await, ok());
    assert_eq!(get(bound[0], "/ready").await, ok());
    let series: Vec<String> = (0..2000)
        .map(|number| format!("10.0.0.1:{number}"))
        .collect();
    let family = server
        .metrics
        .counters("cairn_test_total", "Many.", &["to"]);
    for to in &series {
        family.with(&[to]).increment();
    }
    let (status, body) = get(bound[0], "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("\ncoredns_build_info{"), "{body}");
    let shown = body
        .lines()
        .filter(|line| line.starts_with("cairn_test_total{"))
        .count();
    assert_eq!(shown, 1024, "as many as a family keeps");
    assert!(
        body.lines()
            .last()
            .unwrap()
            .starts_with("process_virtual_memory_bytes ")
    );
}

#[tokio::test]
async fn an_address_serves_only_what_wants_it() {
    let mut server = server();
    let bound = server
        .apply(&[
            (EndpointKind::Health, "127.0.0.1:0"),
            (READY, "[::ffff:127.0.0.1]:0"),
        ])
        .await;
    assert_eq!(get(bound[0], "/health").await, ok());
    assert_eq!(get(bound[0], "/ready").await.0, 404);
    assert_eq!(get(bound[1], "/ready").await, ok());
    assert_eq!(get(bound[1], "/metrics").await.0, 404);
}

#[tokio::test]
async fn no_host_is_all_addresses() {
    let mut server = server();
    let bound = server.apply(&[(EndpointKind::Health, ":0")]).await;
    assert!(bound[0].ip().is_unspecified());
    assert_eq!(
        get(
            SocketAddr::new([127, 0, 0, 1].into(), bound[0].port()),
            "/health"
        )
        .await,
        ok()
    );
}

#[tokio::test]
async fn ready_names_the_plugins_and_their_reasons() {
    let mut server = server();
    let synced = Arc::new(AtomicBool::new(false));
    let read = Arc::clone(&synced);
    let mut watches = ReadyWatches::default();
    watches.watch(
        "kubernetes",
        Arc::new(move || match read.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(vec![
                "services: 403 Forbidden".to_owned(),
                "endpointslices: not listed".to_owned(),
            ]),
        }),
    );
    watches.watch("external", Arc::new(|| Err(Vec::new())));
    server.readiness.replace(watches.clone());
    let bound = server
        .apply(&[
            (READY, "127.0.0.1:0"),
            (EndpointKind::Health, "127.0.0.1:0"),
        ])
        .await;
    let body = "kubernetes,external\nkubernetes: services: 403 Forbidden\nkubernetes: endpointslices: not listed";
    assert_eq!(get(bound[0], "/ready").await, (503, body.to_owned()));
    synced.store(true, Ordering::Relaxed);
    assert_eq!(get(bound[0], "/ready").await, (503, "external".to_owned()));
    server.readiness.replace(ReadyWatches::default());
    assert_eq!(get(bound[0], "/ready").await, ok());
    server.readiness.drain();
    assert_eq!(
        get(bound[0], "/ready").await,
        (503, "Shutting down".to_owned())
    );
    assert_eq!(
        get(bound[1], "/health").await,
        ok(),
        "alive while it drains"
    );
}

#[tokio::test]
async fn an_address_that_stays_keeps_its_socket_and_its_connections() {
    let mut server = server();
    let before = server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await;
    let mut stream = TcpStream::connect(before[0]).await.unwrap();
    let request = b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut reply = [0; 12];
    stream.write_all(request).await.unwrap();
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 404");
    let after = server
        .apply(&[
            (READY, "127.0.0.1:0"),
            (EndpointKind::Metrics, "127.0.0.1:0"),
        ])
        .await;
    assert_eq!(after[0], before[0]);
    stream.write_all(request).await.unwrap();
    let mut rest = Vec::new();
    while !String::from_utf8_lossy(&rest).contains("HTTP/1.1 200") {
        assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0, "closed");
    }
    assert_eq!(get(after[0], "/health").await.0, 404, "no longer wanted");
}

#[tokio::test]
async fn an_address_no_longer_wanted_is_closed() {
    let mut server = server();
    let old = server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await[0];
    let new = server.apply(&[(EndpointKind::Health, "127.0.0.2:0")]).await[0];
    assert_eq!(get(new, "/health").await, ok());
    let closed = async {
        while TcpStream::connect(old).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, closed)
        .await
        .expect("the old address refuses connections");
}

#[tokio::test]
async fn an_address_in_use_changes_nothing() {
    let mut server = server();
    let bound = server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await[0];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let wanted = [
        endpoint(READY, "127.0.0.2:0"),
        endpoint(EndpointKind::Metrics, &taken),
    ];
    let error = server.ops.apply(&wanted).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "plugin/prometheus: listen tcp {taken}: Address already in use"
        )),
        "{error}"
    );
    assert_eq!(get(bound, "/health").await, ok());
    assert_eq!(
        server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await[0],
        bound
    );
}

#[tokio::test]
async fn requests_that_no_page_is_for_are_refused() {
    let mut server = server();
    let bound = server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await[0];
    let rows = [
        (
            "another path",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "another method",
            "DELETE /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            405,
        ),
        (
            "a body",
            "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
            413,
        ),
        (
            "a body of any size",
            "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            413,
        ),
        (
            "HEAD",
            "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "a query string",
            "GET /health?full HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            200,
        ),
        ("HTTP/1.0", "GET /health HTTP/1.0\r\n\r\n", 200),
    ];
    for (name, request, status) in rows {
        assert_eq!(ask(bound, request).await.0, status, "{name}");
    }
    let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(bound).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    assert!(!reply.starts_with(b"HTTP/1.1 200"), "a header of 100 kB");
}

#[tokio::test]
async fn a_probe_gets_in_however_many_connections_are_held_open() {
    let mut server = server();
    let bound = server.apply(&[(EndpointKind::Health, "127.0.0.1:0")]).await[0];
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(bound).await.unwrap();
        let _ = stream.write_all(b"GET /health HTT").await;
        held.push(stream);
    }
    assert_eq!(get(bound, "/health").await, ok());
    let mut oldest = held.swap_remove(0);
    let ended = tokio::time::timeout(SOON, oldest.read(&mut [0; 1]))
        .await
        .expect("the oldest is closed");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_header_is_cut_off() {
    let mut server = server();
    let bound = server.apply(&[(READY, "127.0.0.1:0")]).await[0];
    let mut stream = TcpStream::connect(bound).await.unwrap();
    let started = tokio::time::Instant::now();
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    let waited = started.elapsed();
    assert!(!reply.starts_with(b"HTTP/1.1 200"));
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_secs(10),
        "{waited:?}"
    );
}

#[tokio::test]
async fn the_server_asks_for_its_own_health() {
    let mut server = server();
    server.apply(&[(EndpointKind::Health, ":0")]).await;
    let polled = poll_fn(|context| {
        let text = server.metrics.render();
        if text.contains("\ncoredns_health_request_duration_seconds_count 0\n") {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(text)
    });
    let text = tokio::time::timeout(SOON, polled).await.unwrap();
    assert!(
        text.contains("\ncoredns_health_request_failures_total 0\n"),
        "{text}"
    );
}

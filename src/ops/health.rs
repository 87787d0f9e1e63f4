//! `/health`: the process is alive, and how long it takes to say so.
//!
//! The page is `OK` as long as there is a process, also while it drains: a probe that fails kills the pod. Once a second
//! the server asks itself over the network, and the time that takes tells an operator how busy the process is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::page::Page;
use crate::telemetry::Metrics;

/// How often the server asks itself, as CoreDNS does.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long it waits for its own answer.
const POLL_TIME_MAX: Duration = Duration::from_secs(3);

/// A local answer that takes longer is worth a line in the log.
const POLL_TIME_WARNED: Duration = Duration::from_secs(1);

/// What is read of an answer: its status line is enough.
const STATUS_BYTES: usize = "HTTP/1.1 200".len();

pub(super) fn page() -> Page {
    Page::text(StatusCode::OK, "OK")
}

/// Asks `/health` at a listener's address, once a second, until the task is aborted.
pub(super) async fn poll(listener: SocketAddr, metrics: Arc<Metrics>) {
    let address = reachable(listener);
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let outcome = timeout(POLL_TIME_MAX, ask(address))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let elapsed = started.elapsed();
        metrics.health().polled(elapsed, outcome.is_ok());
        let url = format!("http://{address}/health");
        match outcome {
            Err(error) => {
                tracing::warn!(target: "plugin/health", "Local health request to {url:?} failed: {error}");
            }
            Ok(()) if elapsed > POLL_TIME_WARNED => {
                tracing::warn!(target: "plugin/health", "Local health request to {url:?} took more than 1s: {elapsed:?}");
            }
            Ok(()) => {}
        }
    }
}

/// One request over a connection of its own, so that accepting is measured too.
async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    if status.ends_with(b" 200") {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not 200 OK"))
    }
}

/// A listener on all addresses is asked at loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        // A socket on `[::]` takes IPv4 too, and a host may lack `::1`.
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port())
    } else {
        listener
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_healthy_if_its_status_is_200() {
        let rows = [
            ("ok", "HTTP/1.1 200 OK\r\n\r\n", true),
            ("not found", "HTTP/1.1 404 Not Found\r\n\r\n", false),
            ("closed at once", "", false),
            ("cut off", "HTTP/1.1 2", false),
        ];
        for (name, answer, healthy) in rows {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let answering = async {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (outcome, ()) = tokio::join!(ask(address), answering);
            assert_eq!(outcome.is_ok(), healthy, "{name}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_at_loopback() {
        for (listener, expected) in [
            ("[::]:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
            ("[fd00::1]:8080", "[fd00::1]:8080"),
        ] {
            assert_eq!(
                reachable(listener.parse().unwrap()),
                expected.parse().unwrap(),
                "{listener}"
            );
        }
    }
}

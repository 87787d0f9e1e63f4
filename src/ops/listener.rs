//! The connections of one address: accepted, bounded, served.
//!
//! Whoever reaches the pod reaches these ports, so a client costs at most a connection for a bounded time. When there
//! are too many, the oldest goes: a probe of the kubelet gets in however many connections somebody else holds open.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::page::{Site, respond};

/// Connections of one address at a time; probes and scrapers of a node are a handful. Each costs some 10 KB.
const CONNECTIONS_MAX: usize = 128;

/// From the start of waiting for a request to the end of its header: Go's bound in CoreDNS. A connection that is kept
/// for the next request is closed after the same time.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// Octets of a request's header that are buffered; hyper's least.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Age at which a connection takes no further request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// What a response that has begun may take until its connection is cut.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// Pause after a failed accept, which is for want of file descriptors: they come back as connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections are still accepted that were on their way when an address was given up.
const SETTLE: Duration = Duration::from_millis(50);

/// Serves `listener` until the sender of `stop` is gone; open requests are answered after that, and those of
/// connections that the kernel has completed.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, stop: watch::Receiver<()>) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut admit = |stream| {
        make_room(&mut connections);
        let connection = serve_connection(stream, Arc::clone(&site), stop.clone());
        connections.push_back(tokio::spawn(connection).abort_handle());
    };
    let mut stopped = stop.clone();
    let mut stopped = pin!(async move {
        let _ = stopped.changed().await;
        sleep(SETTLE).await;
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        match accepted {
            Ok((stream, _)) => admit(stream),
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "Accepting an operator's connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok((stream, _)) = listener.accept() {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| stream.try_into());
        if let Ok(stream) = stream {
            admit(stream);
        }
    }
}

fn make_room(connections: &mut VecDeque<AbortHandle>) {
    if connections.len() >= CONNECTIONS_MAX {
        connections.retain(|connection| !connection.is_finished());
    }
    if connections.len() >= CONNECTIONS_MAX
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
}

async fn serve_connection(stream: TcpStream, site: Arc<Site>, mut stop: watch::Receiver<()>) {
    let answer = service_fn(|request| {
        let site = &site;
        async move { Ok::<_, Infallible>(respond(site, &request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    // How a connection fails is its client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_TIME_MAX) => {}
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FINISH_TIME_MAX, connection).await;
}

/// Whether a failed accept tells of the connection alone: it was gone before we took it.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

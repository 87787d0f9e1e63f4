//! From the listening socket to the answer: accept, TLS, HTTP/1.1 or HTTP/2, then one request at a time through
//! record → authorize → fault → list, watch, get or discovery.

use std::{convert::Infallible, pin::pin, sync::Arc};

use bytes::Bytes;
use hyper::{Method, Response, StatusCode, header, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    discovery,
    faults::{Action, Cut},
    ledger::{Request, Verb},
    list,
    options::ListOptions,
    resource::Target,
    state::{Shared, State},
    status::Status,
    stream::{Body, Frames, GARBAGE, cut_after, one, spoil_after, streamed, trickle, whole},
    watch,
    wire::{Break, Line, Wire},
};

/// Serves until `stop` is told or dropped; then the port is closed and every connection with it.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A peer that is gone before it was accepted is the peer's business.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, Arc::clone(&shared), tls.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stop => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let line = Arc::<Line>::default();
    shared.change(|state| state.ledger.connections += 1);
    // Without it the second small frame of a burst waits for an acknowledgment.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, Arc::clone(&line), Arc::clone(&shared.valve));
    match tls {
        None => exchange(wire, line, shared).await,
        Some(tls) => {
            // Who does not trust the fixture hangs up here; the test sees that on the other side.
            let Ok(wire) = tls.accept(wire).await else {
                return;
            };
            exchange(wire, line, shared).await;
        }
    }
}

async fn exchange(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    line: Arc<Line>,
    shared: Arc<Shared>,
) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let answer = answer(
            Arc::clone(&shared),
            Arc::clone(&line),
            Request::read(&request),
        );
        async { Ok::<_, Infallible>(answer.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut conversation = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        // First what was handed over before the break is flushed.
        biased;
        // The reasons why a conversation ends badly are the ones that the test ordered.
        _ = conversation.as_mut() => {}
        () = line.broken() => {}
    }
}

async fn answer(shared: Arc<Shared>, line: Arc<Line>, request: Request) -> Response<Body> {
    let (authorized, fault, releases) = shared.change(|state| {
        state.ledger.record(request.clone());
        let authorized = is_authorized(state, &request);
        let fault = if authorized {
            state.faults.take(&request)
        } else {
            None
        };
        (authorized, fault, state.faults.releases)
    });
    if !authorized {
        return failure(&Status::of_code(401, request.target.as_ref()));
    }
    match fault {
        Some(Action::Answer { code, retry_after }) => {
            let mut status = Status::of_code(code, request.target.as_ref());
            status.retry_after = retry_after;
            return failure(&status);
        }
        Some(Action::Cut {
            cut: cut @ (Cut::Fin | Cut::Reset),
            after: 0,
        }) => {
            line.cut(if cut == Cut::Reset {
                Break::Reset
            } else {
                Break::Fin
            });
            return std::future::pending().await;
        }
        Some(Action::Garbage { .. }) if request.verb != Verb::Watch => {
            return success(streamed(one(Bytes::from_static(GARBAGE))));
        }
        Some(Action::Hold) => shared.until(|state| state.faults.releases > releases).await,
        _ => {}
    }
    let Some(frames) = frames(&shared, &line, &request) else {
        return not_found();
    };
    match frames {
        Err(status) => failure(&status),
        Ok(frames) => success(streamed(match fault {
            Some(Action::Cut { cut, after }) => cut_after(frames, line, cut, after),
            Some(Action::Garbage { after }) => spoil_after(frames, after),
            Some(Action::Trickle { bytes, every }) => trickle(frames, bytes, every),
            _ => frames,
        })),
    }
}

fn is_authorized(state: &State, request: &Request) -> bool {
    state
        .token
        .as_ref()
        .is_none_or(|token| request.authorization.as_deref() == Some(&format!("Bearer {token}")))
}

/// What the request asks for; None: the path leads nowhere.
fn frames(
    shared: &Arc<Shared>,
    line: &Arc<Line>,
    request: &Request,
) -> Option<Result<Frames, Status>> {
    let Some(target) = &request.target else {
        let found = shared.look(|state| discovery::at(state, &request.path))?;
        return Some(Ok(one(Bytes::from(found.to_string()))));
    };
    if !shared.look(|state| state.serves(target.resource)) {
        return None;
    }
    if request.method != Method::GET {
        return Some(Err(Status::new(
            405,
            "MethodNotAllowed",
            "the fixture is read-only over HTTP",
        )));
    }
    Some(resource_frames(shared, line, target, request))
}

fn resource_frames(
    shared: &Arc<Shared>,
    line: &Arc<Line>,
    target: &Target,
    request: &Request,
) -> Result<Frames, Status> {
    if let Some(name) = &target.name {
        return shared.look(|state| list::get(state, target, name)).map(one);
    }
    let options = ListOptions::parse(target.resource, &request.parameters)?;
    if request.verb == Verb::Watch {
        return watch::open(shared, line, target.clone(), options);
    }
    let wants_metadata = request.wants_metadata();
    shared
        .look(|state| {
            let metadata_only = wants_metadata && !state.switches.no_metadata_lists;
            list::list(state, target, &options, metadata_only)
        })
        .map(one)
}

fn success(body: Body) -> Response<Body> {
    respond(StatusCode::OK, "application/json", body)
}

/// A path that no handler claims is answered by the mux of a real server, in plain text.
fn not_found() -> Response<Body> {
    respond(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        whole("404 page not found\n"),
    )
}

fn failure(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).expect("faults are told with three digits");
    // The limiter of a real server stands before everything that could write a Status.
    let mut response = if status.code == 429 {
        respond(
            code,
            "text/plain; charset=utf-8",
            whole("Too many requests, please try again later.\n"),
        )
    } else {
        respond(code, "application/json", whole(status.json().to_string()))
    };
    if let Some(seconds) = status.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn respond(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}

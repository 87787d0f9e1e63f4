//! What an address answers: which paths it has, and one response to one request.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use super::ready::{self, Monitor, Readiness};
use super::{health, metrics};
use crate::telemetry::Metrics;

/// Scrapes rendered at a time in the whole process; others wait. A scrape of a large set takes milliseconds of a runtime
/// worker, which upstream queries need too.
const SCRAPES_MAX: usize = 1;

/// Which paths an address serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) health: bool,
    pub(super) ready: Option<Monitor>,
    pub(super) metrics: bool,
}

/// What pages are made of, the same for all addresses.
pub(super) struct Sources {
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    scrapes: Semaphore,
}

/// One address: its paths, which a reload may change under its socket.
pub(super) struct Site {
    pub(super) sources: Arc<Sources>,
    pub(super) paths: ArcSwap<Paths>,
}

/// A response before it is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    close: bool,
}

impl Sources {
    pub(super) fn new(metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self {
            metrics,
            readiness,
            scrapes: Semaphore::new(SCRAPES_MAX),
        }
    }
}

impl Page {
    pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            close: false,
        }
    }

    pub(super) fn of_type(self, content_type: &'static str) -> Self {
        Self {
            content_type,
            ..self
        }
    }

    fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.close {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Answers one request.
pub(super) async fn respond(site: &Site, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    page(site, request).await.into_response()
}

async fn page(site: &Site, request: &Request<Incoming>) -> Page {
    if !request.body().is_end_stream() {
        // No page reads a body; the connection is closed, so that we need not read it either.
        return Page::text(StatusCode::PAYLOAD_TOO_LARGE, "no body expected\n").closing();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    let (paths, sources) = (**site.paths.load(), &site.sources);
    match (request.uri().path(), paths) {
        ("/health", Paths { health: true, .. }) => health::page(),
        (
            "/ready",
            Paths {
                ready: Some(monitor),
                ..
            },
        ) => ready::page(&sources.readiness, monitor),
        ("/metrics", Paths { metrics: true, .. }) => {
            let _permit = sources.scrapes.acquire().await;
            metrics::page(&sources.metrics)
        }
        _ => Page::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

//! One request, answered: which path, and what its body says.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::words::Refusal;
use super::{Admin, cache, explain, top};
use crate::ops::listener::Respond;
use crate::ops::page::Page;

/// Octets of a request's body: a name has 1,016 at most when every octet is escaped.
const BODY_MAX: usize = 8 << 10;

/// How long an answer may take: that of two upstreams, one behind an alias of the other, which both take all the time
/// that there is.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a request is refused: the fault is the caller's.
pub(super) type Refused = String;

impl Respond for Admin {
    /// Of people and scripts on one machine.
    const CONNECTIONS_MAX: usize = 8;

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let page = match tokio::time::timeout(ANSWER_TIME_MAX, self.page(request)).await {
            Ok(Ok(page)) => page,
            Ok(Err(fault)) => refusal(StatusCode::BAD_REQUEST, fault),
            Err(_) => refusal(
                StatusCode::GATEWAY_TIMEOUT,
                format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()),
            ),
        };
        page.into_response()
    }
}

impl Admin {
    async fn page(&self, request: Request<Incoming>) -> Result<Page, Refused> {
        if request.method() != Method::POST {
            let fault = "only POST".to_owned();
            return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, fault));
        }
        let path = request.uri().path().to_owned();
        let body = Limited::new(request.into_body(), BODY_MAX);
        let body = body.collect().await;
        let body = body.map_err(|fault| format!("the request cannot be read: {fault}"))?;
        let body = body.to_bytes();
        match path.as_str() {
            "/explain" => json(&explain::explain(&self.served.load_full(), parsed(&body)?).await?),
            "/top" => json(&top::report(&self.top, &parsed(&body)?)),
            "/cache/show" => json(&cache::show(&self.served.load_full(), parsed(&body)?).await?),
            "/cache/flush" => json(&cache::flush(&self.served.load_full(), parsed(&body)?).await?),
            _ => Ok(refusal(StatusCode::NOT_FOUND, format!("no {path} here"))),
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|fault| format!("the request cannot be read: {fault}"))
}

fn json(told: &impl Serialize) -> Result<Page, Refused> {
    let body = serde_json::to_vec(told).map_err(|fault| fault.to_string())?;
    Ok(Page::text(StatusCode::OK, body).of_type("application/json"))
}

fn refusal(status: StatusCode, error: String) -> Page {
    // Two strings can always be written.
    let body = serde_json::to_vec(&Refusal { error }).unwrap_or_default();
    Page::text(status, body).of_type("application/json")
}

//! One request on its way: waits for its turn, carries the current token, is observed.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Response};
use tokio::sync::Semaphore;
use tower::{BoxError, Service, ServiceExt};

use super::throttle::{Limits, TokenBucket};

/// A request to an API server that has been answered or has failed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Host and port of the server.
    pub host: &'a str,
    /// HTTP status, or `None` if there was no answer.
    pub code: Option<u16>,
    /// From sending to the head of the answer.
    pub duration: Duration,
    /// Time spent before, waiting for `apiserver_qps` and `apiserver_max_inflight`.
    pub waited: Duration,
}

/// Who counts requests (`coredns_kubernetes_rest_client_*`). Called once a request, on the runtime's threads.
pub trait RequestObserver: Send + Sync {
    /// The head of the answer has come, or will not come.
    fn answered(&self, request: &Request<'_>);
}

/// For those who do not count.
impl RequestObserver for () {
    fn answered(&self, _: &Request<'_>) {}
}

/// The innermost service of the client.
#[derive(Clone)]
pub(super) struct Transport<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    bucket: Option<Mutex<TokenBucket>>,
    inflight: Option<Semaphore>,
    token: Option<TokenFile>,
    observer: Arc<dyn RequestObserver>,
}

/// A token that lies in a file and is replaced there.
struct TokenFile {
    path: PathBuf,
    /// Stays in use while the file cannot be read (kubernetes/kubernetes#68164).
    last: Mutex<Option<HeaderValue>>,
}

impl<S> Transport<S> {
    pub(super) fn new(
        inner: S,
        limits: Limits,
        token_file: Option<PathBuf>,
        observer: Arc<dyn RequestObserver>,
    ) -> Transport<S> {
        let shared = Shared {
            bucket: limits.bucket().map(Mutex::new),
            inflight: limits
                .inflight()
                .map(|max| Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            token: token_file.map(|path| TokenFile {
                path,
                last: Mutex::new(None),
            }),
            observer,
        };
        Transport {
            inner,
            shared: Arc::new(shared),
        }
    }
}

impl<S, B, Body> Service<http::Request<Body>> for Transport<S>
where
    S: Service<http::Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    Body: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let Transport { inner, shared } = self.clone();
        Box::pin(async move {
            let asked = Instant::now();
            // Held until the head of the answer: a watch would hold it for minutes.
            let _permit = match &shared.inflight {
                Some(inflight) => Some(inflight.acquire().await?),
                None => None,
            };
            shared.turn().await;
            if let Some(token) = &shared.token {
                request.headers_mut().insert(AUTHORIZATION, token.header()?);
            }
            let method = request.method().clone();
            let host = request
                .uri()
                .authority()
                .map(ToString::to_string)
                .unwrap_or_default();
            let sent = Instant::now();
            let answer = inner.oneshot(request).await;
            shared.observer.answered(&Request {
                method: &method,
                host: &host,
                code: answer
                    .as_ref()
                    .ok()
                    .map(|response| response.status().as_u16()),
                duration: sent.elapsed(),
                waited: sent.duration_since(asked),
            });
            answer.map_err(Into::into)
        })
    }
}

impl Shared {
    async fn turn(&self) {
        let wait = match &self.bucket {
            None => return,
            Some(bucket) => bucket
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .reserve(Instant::now()),
        };
        tokio::time::sleep(wait).await;
    }
}

impl TokenFile {
    /// The file is a few hundred bytes in memory (tmpfs) and there are a few requests a minute.
    fn header(&self) -> Result<HeaderValue, BoxError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (bearer(&self.path), last.clone()) {
            (Ok(header), _) => {
                *last = Some(header.clone());
                Ok(header)
            }
            (Err(_), Some(header)) => Ok(header),
            (Err(error), None) => Err(error),
        }
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, BoxError> {
    let token = std::fs::read_to_string(path)
        .map_err(|error| format!("open {}: {error}", path.display()))?;
    if token.trim().is_empty() {
        return Err(format!("{}: the token is empty", path.display()).into());
    }
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))?;
    header.set_sensitive(true);
    Ok(header)
}

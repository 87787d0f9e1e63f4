//! What was asked of the server, for the test to look at.

use std::collections::{BTreeMap, VecDeque};

use hyper::{HeaderMap, Method, Version, header};

use super::{
    options::{decode, is_true, parameter},
    resource::Target,
};

/// Requests kept in full; a soak asks for more, and only counts them.
const REQUESTS_KEPT_MAX: usize = 10_000;

/// What a request does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    List,
    Watch,
    Get,
    /// No resource of the table, or no GET.
    Other,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Decoded, in the order in which they were written.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) version: Version,
    pub(crate) user_agent: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) verb: Verb,
    /// What the path names; None for `/version`, discovery and unknown paths.
    pub(super) target: Option<Target>,
}

impl Request {
    pub(super) fn read<B>(request: &hyper::Request<B>) -> Self {
        let path = request.uri().path().to_owned();
        let parameters = decode(request.uri().query().unwrap_or_default());
        let target = Target::parse(&path);
        let verb = match &target {
            Some(_) if request.method() != Method::GET => Verb::Other,
            Some(target) if target.name.is_some() => Verb::Get,
            Some(_) if parameter(&parameters, "watch").is_some_and(is_true) => Verb::Watch,
            Some(_) => Verb::List,
            None => Verb::Other,
        };
        Self {
            method: request.method().clone(),
            path,
            parameters,
            version: request.version(),
            user_agent: header_text(request.headers(), header::USER_AGENT),
            authorization: header_text(request.headers(), header::AUTHORIZATION),
            accept: header_text(request.headers(), header::ACCEPT),
            verb,
            target,
        }
    }

    /// Plural name of the resource.
    pub(crate) fn resource(&self) -> Option<&'static str> {
        self.target.as_ref().map(|target| target.resource.plural)
    }

    /// Whether metadata alone is asked for (Kubernetes API concepts, "Fetching only metadata").
    pub(super) fn wants_metadata(&self) -> bool {
        let accept = self.accept.as_deref().unwrap_or_default();
        accept.starts_with("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.parameters, name)
    }
}

/// All requests since the start, or since the test cleared them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    requests: VecDeque<Request>,
    counts: BTreeMap<(&'static str, Verb), usize>,
    /// TCP connections accepted.
    pub(super) connections: usize,
}

impl Ledger {
    pub(super) fn record(&mut self, request: Request) {
        *self
            .counts
            .entry((request.resource().unwrap_or_default(), request.verb))
            .or_default() += 1;
        if self.requests.len() == REQUESTS_KEPT_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    pub(super) fn count(&self, plural: &'static str, verb: Verb) -> usize {
        self.counts
            .get(&(plural, verb))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

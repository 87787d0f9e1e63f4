//! LIST and GET: options + store → one page, read as of one resourceVersion.

use bytes::Bytes;
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    options::{ListOptions, Match, Version},
    resource::Target,
    state::{LimitAtZero, State},
    status::Status,
    store::Key,
};

/// What a continue token says: the snapshot, and the first object that was not sent yet.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    version: u64,
    start: Key,
}

/// The JSON of one page; `metadata_only`: of a `PartialObjectMetadataList`.
pub(super) fn list(
    state: &State,
    target: &Target,
    options: &ListOptions,
    metadata_only: bool,
) -> Result<Bytes, Status> {
    options.check_list()?;
    let from = start(state, options)?;
    let limit = match (options.version, state.switches.limit_at_zero) {
        (Version::Any, LimitAtZero::Ignored) => usize::MAX,
        _ => options.limit.unwrap_or(usize::MAX),
    };
    Ok(page(state, target, options, from, limit, metadata_only))
}

/// The JSON of one object, as of now.
pub(super) fn get(state: &State, target: &Target, name: &str) -> Result<Bytes, Status> {
    let key = (
        target.namespace.clone().unwrap_or_default(),
        name.to_owned(),
    );
    let found = state
        .store
        .object(target.resource, &key, state.store.version());
    let object = found.ok_or_else(|| Status::of_code(404, Some(target)))?;
    Ok(Bytes::from(object.whole(target.resource)))
}

/// Where the page begins: the version that the request asks for is chosen as
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions> says.
fn start(state: &State, options: &ListOptions) -> Result<Continue, Status> {
    if let Some(token) = &options.continue_token {
        return resume(state, token);
    }
    let cached = state.cached();
    let version = match (options.version, options.version_match) {
        (Version::Newest, _) if state.switches.stale_reads => cached,
        (Version::Newest, _) => state.store.version(),
        (Version::Any, _) => cached,
        (Version::At(version), Some(Match::Exact)) => version,
        (Version::At(version), None) if options.limit.is_some() => version,
        (Version::At(version), _) if version > cached => {
            return Err(Status::too_large(version, cached));
        }
        (Version::At(_), _) => cached,
    };
    if version > state.store.version() {
        return Err(Status::too_large(version, state.store.version()));
    }
    if !state.store.remembers(version) {
        return Err(Status::too_old(version, state.store.version()));
    }
    Ok(Continue {
        version,
        start: Key::default(),
    })
}

fn resume(state: &State, token: &str) -> Result<Continue, Status> {
    let unreadable = || Status::bad_request("continue key is not valid");
    let bytes: ByteString = serde_json::from_value(json!(token)).map_err(|_| unreadable())?;
    let from: Continue = serde_json::from_slice(&bytes.0).map_err(|_| unreadable())?;
    if state.store.remembers(from.version) {
        return Ok(from);
    }
    Err(Status::continue_expired(encode(&Continue {
        version: state.store.version(),
        ..from
    })))
}

fn page(
    state: &State,
    target: &Target,
    options: &ListOptions,
    from: Continue,
    limit: usize,
    metadata_only: bool,
) -> Bytes {
    let version = from.version;
    let selected = state
        .store
        .snapshot(target.resource, version, from.start)
        .filter(|object| {
            target
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == object.namespace)
                && options.selector.matches(&object.value)
        });
    let mut selected = selected.peekable();
    let items: Vec<String> = selected
        .by_ref()
        .take(limit)
        .map(|object| match metadata_only {
            true => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value["metadata"],
            })
            .to_string(),
            false => object.item(target.resource),
        })
        .collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if let Some(next) = selected.peek() {
        let start = (next.namespace.clone(), next.name.clone());
        metadata["continue"] = json!(encode(&Continue { version, start }));
        if options.selector.selects_all() {
            metadata["remainingItemCount"] = json!(selected.count());
        }
    }
    let resource = target.resource;
    let (kind, api_version) = match metadata_only {
        true => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
        false => (resource.kind, resource.api_version()),
    };
    Bytes::from(text(kind, &api_version, &metadata.to_string(), &items))
}

fn text(kind: &str, api_version: &str, metadata: &str, items: &[String]) -> String {
    let items = items.join(",");
    format!(
        r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":[{items}]}}"#
    )
}

fn encode(token: &Continue) -> String {
    let bytes = ByteString(serde_json::to_vec(token).expect("numbers and strings are JSON"));
    let text = serde_json::to_value(bytes).expect("base64 is a string");
    text.as_str().expect("base64 is a string").to_owned()
}

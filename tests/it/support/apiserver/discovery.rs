//! The answers that name no resource: version, health, and which groups and resources there are.

use serde_json::{Value, json};

use super::{resource::Resource, state::State};

/// The JSON at `path`; None: 404.
pub(super) fn at(state: &State, path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version"] => Some(version()),
        ["healthz" | "livez" | "readyz"] => Some(json!("ok")),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ["apis"] => Some(groups(state)),
        ["api", version] => resources(state, "", version),
        ["apis", group, version] => resources(state, group, version),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": "v1.34.0",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn groups(state: &State) -> Value {
    let named = Resource::all().filter(|row| !row.group.is_empty() && state.serves(row));
    let groups: Vec<Value> = named
        .map(|row| {
            let version = json!({ "groupVersion": row.api_version(), "version": row.version });
            json!({ "name": row.group, "versions": [version], "preferredVersion": version })
        })
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn resources(state: &State, group: &str, version: &str) -> Option<Value> {
    let served: Vec<&Resource> = Resource::all()
        .filter(|row| row.group == group && row.version == version && state.serves(row))
        .collect();
    let group_version = served.first()?.api_version();
    let rows: Vec<Value> = served
        .iter()
        .map(|row| {
            json!({
                "name": row.plural,
                "singularName": row.kind.to_lowercase(),
                "namespaced": row.namespaced,
                "kind": row.kind,
                "verbs": ["get", "list", "watch"],
            })
        })
        .collect();
    Some(json!({ "kind": "APIResourceList", "groupVersion": group_version, "resources": rows }))
}

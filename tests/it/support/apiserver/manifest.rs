//! Manifests as `kubectl get -o yaml` and `-o json` print them → single objects.

use serde::Deserialize;
use serde_json::Value;

/// The objects of `text`, in its order: YAML of one or several documents, or JSON; a `List` counts as its items.
/// Panics on text that is neither: it is the test's own.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = if text.trim_start().starts_with('{') {
        let parsed: Result<_, _> = serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect();
        parsed.unwrap_or_else(|fault| panic!("a manifest that is no JSON: {fault}"))
    } else {
        serde_saphyr::from_multiple(text)
            .unwrap_or_else(|fault| panic!("a manifest that is no YAML: {fault}"))
    };
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .flat_map(items)
        .collect()
}

fn items(document: Value) -> Vec<Value> {
    if document["kind"] == "List" {
        Vec::deserialize(document["items"].clone()).expect("the items of a List are a sequence")
    } else {
        vec![document]
    }
}

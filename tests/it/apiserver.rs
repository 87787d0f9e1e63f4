//! The fixture API server, asked by the client that Cairn uses.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, the functions between them too"
)]

mod access;
mod faults;
mod lists;
mod outages;
mod watches;

use futures_util::{Stream, TryStreamExt};
use http_body_util::BodyExt;
use kube::{
    Client, Config, Error,
    config::{KubeConfigOptions, Kubeconfig},
    core::WatchEvent,
};
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;

type Events = std::pin::Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Value>>> + Send>>;

/// A client as the kubeconfig of the server makes it.
async fn client(server: &ApiServer) -> Client {
    client_of(Kubeconfig::read_from(server.kubeconfig()).unwrap()).await
}

async fn client_of(kubeconfig: Kubeconfig) -> Client {
    let options = KubeConfigOptions {
        context: Some("lab".to_owned()),
        ..Default::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    // Each answer of the server is looked at, the refusals too.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn request(path: &str) -> hyper::Request<Vec<u8>> {
    hyper::Request::get(path).body(Vec::new()).unwrap()
}

async fn get(client: &Client, path: &str) -> kube::Result<Value> {
    client.request(request(path)).await
}

async fn watch(client: &Client, path: &str) -> kube::Result<Events> {
    Ok(Box::pin(client.request_events(request(path)).await?))
}

/// The body as it came, and whether it ended as HTTP says.
async fn body(client: &Client, path: &str) -> (String, bool) {
    let request = request(path).map(kube::client::Body::from);
    let mut body = client.send(request).await.unwrap().into_body();
    let mut text = Vec::new();
    let complete = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => text.extend(frame.into_data().unwrap_or_default()),
        }
    };
    (String::from_utf8(text).unwrap(), complete)
}

/// The next event, as `ADDED demo/web`, `BOOKMARK 7`, `BOOKMARK 7 end`, `ERROR 410`; `end` after the last.
async fn next(events: &mut Events) -> String {
    let name = |object: &Value| {
        let metadata = &object["metadata"];
        format!(
            "{}/{}",
            metadata["namespace"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        )
    };
    match events.try_next().await {
        Ok(Some(WatchEvent::Added(object))) => format!("ADDED {}", name(&object)),
        Ok(Some(WatchEvent::Modified(object))) => format!("MODIFIED {}", name(&object)),
        Ok(Some(WatchEvent::Deleted(object))) => format!("DELETED {}", name(&object)),
        Ok(Some(WatchEvent::Bookmark(bookmark))) => {
            let metadata = bookmark.metadata;
            let end = metadata
                .annotations
                .get("k8s.io/initial-events-end")
                .map_or("", |_| " end");
            format!("BOOKMARK {}{end}", metadata.resource_version)
        }
        Ok(Some(WatchEvent::Error(status))) => format!("ERROR {}", status.code),
        Ok(None) => "end".to_owned(),
        Err(fault) => format!("fault: {fault}"),
    }
}

async fn next_of(events: &mut Events, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(next(events).await);
    }
    seen
}

/// `NAMESPACE/NAME` of each item of a list, in its order.
fn names(list: &Value) -> Vec<String> {
    let part = |item: &Value, name: &str| {
        item["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| format!("{}/{}", part(item, "namespace"), part(item, "name")))
        .collect()
}

/// The HTTP code of a refusal; 0 for a success or a fault of the transport.
fn code<T>(outcome: &kube::Result<T>) -> u16 {
    match outcome {
        Err(Error::Api(status)) => status.code,
        _ => 0,
    }
}

fn service(namespace: &str, name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name, "labels": labels },
        "spec": { "clusterIP": "10.96.0.10", "type": "ClusterIP" },
    })
}

//! LIST, GET and discovery.

use serde_json::json;

use super::{client, code, get, names, service};
use crate::support::apiserver::{ApiServer, LimitAtZero};

const MANIFEST: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: demo, resourceVersion: '221'}
  status: {phase: Active}
- apiVersion: v1
  kind: Pod
  metadata: {name: web-0, namespace: demo, labels: {app: web}}
  status: {phase: Running, podIP: 10.244.0.5}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-abc, namespace: demo}
addressType: IPv4
endpoints: []
";

/// a/alpha, a/beta, b/delta, b/gamma.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    server.apply(service("b", "gamma", json!({ "app": "x" })));
    server.apply(service(
        "a",
        "alpha",
        json!({ "app": "x", "tier": "front" }),
    ));
    server.apply(service("a", "beta", json!({ "app": "y" })));
    server.apply(service("b", "delta", json!({})));
    server
}

#[tokio::test]
async fn a_list_holds_what_its_path_and_selectors_say() {
    let rows: [(&str, &str, &[&str]); 17] = [
        (
            "whole cluster, in order",
            "services",
            &["a/alpha", "a/beta", "b/delta", "b/gamma"],
        ),
        (
            "one namespace",
            "namespaces/a/services",
            &["a/alpha", "a/beta"],
        ),
        ("unknown namespace", "namespaces/c/services", &[]),
        (
            "label equals",
            "services?labelSelector=app%3Dx",
            &["a/alpha", "b/gamma"],
        ),
        (
            "label equals twice",
            "services?labelSelector=app==x,tier==front",
            &["a/alpha"],
        ),
        (
            "label differs or is absent",
            "services?labelSelector=app!=x",
            &["a/beta", "b/delta"],
        ),
        (
            "label in",
            "services?labelSelector=app+in+(x,z)",
            &["a/alpha", "b/gamma"],
        ),
        (
            "label notin",
            "services?labelSelector=app%20notin%20(x,%20z)",
            &["a/beta", "b/delta"],
        ),
        ("label exists", "services?labelSelector=tier", &["a/alpha"]),
        ("label absent", "services?labelSelector=!app", &["b/delta"]),
        (
            "set and term",
            "services?labelSelector=app+in+(x,y),!tier",
            &["a/beta", "b/gamma"],
        ),
        (
            "field equals",
            "services?fieldSelector=metadata.name%3Dbeta",
            &["a/beta"],
        ),
        (
            "field differs",
            "services?fieldSelector=metadata.namespace!=a",
            &["b/delta", "b/gamma"],
        ),
        (
            "field of the kind",
            "services?fieldSelector=spec.type=ExternalName",
            &[],
        ),
        (
            "both selectors",
            "services?labelSelector=app=x&fieldSelector=metadata.namespace=b",
            &["b/gamma"],
        ),
        (
            "any version",
            "services?resourceVersion=0",
            &["a/alpha", "a/beta", "b/delta", "b/gamma"],
        ),
        (
            "an exact old version",
            "services?resourceVersion=3&resourceVersionMatch=Exact",
            &["a/alpha", "b/gamma"],
        ),
    ];
    let server = cluster();
    let client = client(&server).await;
    for (name, path, expected) in rows {
        let list = get(&client, &format!("/api/v1/{path}")).await.unwrap();
        assert_eq!(names(&list), expected, "{name}");
        assert_eq!(list["kind"], "ServiceList", "{name}");
    }
}

#[tokio::test]
async fn options_that_contradict_themselves_are_refused() {
    let rows = [
        (
            "a match without a version",
            "?resourceVersionMatch=Exact",
            422,
        ),
        (
            "an unknown match",
            "?resourceVersion=1&resourceVersionMatch=Newest",
            422,
        ),
        (
            "exactly any version",
            "?resourceVersion=0&resourceVersionMatch=Exact",
            422,
        ),
        ("initial events of a list", "?sendInitialEvents=true", 422),
        ("a version that is no number", "?resourceVersion=new", 400),
        (
            "a version that is not there yet",
            "?resourceVersion=99&resourceVersionMatch=NotOlderThan",
            504,
        ),
        (
            "an exact version that is not there yet",
            "?resourceVersion=99&resourceVersionMatch=Exact",
            504,
        ),
        ("a token that is none", "?continue=abc", 400),
        (
            "a token and a match",
            "?continue=abc&resourceVersion=0&resourceVersionMatch=NotOlderThan",
            422,
        ),
        (
            "a token and a version",
            "?continue=abc&resourceVersion=1",
            400,
        ),
        (
            "a field that nobody selects by",
            "?fieldSelector=spec.selector=x",
            400,
        ),
        ("a set without an end", "?labelSelector=app+in+(x", 400),
        ("two words", "?labelSelector=app+x", 400),
        ("a name that is not there", "/nobody", 404),
    ];
    let server = cluster();
    let client = client(&server).await;
    for (name, query, expected) in rows {
        let path = format!("/api/v1/namespaces/a/services{query}");
        assert_eq!(code(&get(&client, &path).await), expected, "{name}");
    }
}

#[tokio::test]
async fn pages_show_one_snapshot() {
    let server = cluster();
    let client = client(&server).await;
    let first = get(&client, "/api/v1/services?limit=3").await.unwrap();
    assert_eq!(names(&first), ["a/alpha", "a/beta", "b/delta"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    server.delete("services", "b", "gamma");
    server.apply(service("c", "omega", json!({})));
    let token = first["metadata"]["continue"]
        .as_str()
        .unwrap()
        .replace('=', "%3D")
        .replace('+', "%2B");
    let second = get(
        &client,
        &format!("/api/v1/services?limit=3&continue={token}"),
    )
    .await
    .unwrap();
    assert_eq!(names(&second), ["b/gamma"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert!(second["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn compaction_expires_the_token_and_offers_another() {
    let server = cluster();
    let client = client(&server).await;
    let first = get(&client, "/api/v1/services?limit=3").await.unwrap();
    server.delete("services", "b", "gamma");
    server.compact();
    let token = first["metadata"]["continue"]
        .as_str()
        .unwrap()
        .replace('=', "%3D")
        .replace('+', "%2B");
    let refusal = get(
        &client,
        &format!("/api/v1/services?limit=3&continue={token}"),
    )
    .await
    .unwrap_err();
    let kube::Error::Api(status) = refusal else {
        panic!("not an answer: {refusal}")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    let offered = status
        .metadata
        .unwrap()
        .continue_
        .unwrap()
        .replace('=', "%3D")
        .replace('+', "%2B");
    let rest = get(&client, &format!("/api/v1/services?continue={offered}"))
        .await
        .unwrap();
    assert_eq!(names(&rest), Vec::<String>::new());
}

#[tokio::test]
async fn a_cache_that_cannot_page_ignores_the_limit_at_version_0() {
    let server = cluster();
    let client = client(&server).await;
    for (mode, query, expected) in [
        (LimitAtZero::Obeyed, "limit=1&resourceVersion=0", 1),
        (LimitAtZero::Ignored, "limit=1&resourceVersion=0", 4),
        (LimitAtZero::Ignored, "limit=1", 1),
    ] {
        server.limit_at_zero(mode);
        let list = get(&client, &format!("/api/v1/services?{query}"))
            .await
            .unwrap();
        assert_eq!(names(&list).len(), expected, "{mode:?} {query}");
    }
}

#[tokio::test]
async fn a_lagging_server_lists_the_past_and_refuses_the_future() {
    let server = cluster();
    let client = client(&server).await;
    let newest = server.version();
    server.time_travel(2);
    let old = get(&client, "/api/v1/services?resourceVersion=0")
        .await
        .unwrap();
    assert_eq!(
        (names(&old), &old["metadata"]["resourceVersion"]),
        (vec!["b/gamma".to_owned()], &json!("2"))
    );
    let fence =
        format!("/api/v1/services?resourceVersion={newest}&resourceVersionMatch=NotOlderThan");
    assert_eq!(code(&get(&client, &fence).await), 504);
    assert_eq!(
        names(&get(&client, "/api/v1/services").await.unwrap()).len(),
        4,
        "a consistent read"
    );
    server.catch_up();
    assert_eq!(names(&get(&client, &fence).await.unwrap()).len(), 4);
}

#[tokio::test]
async fn manifests_load_as_kubectl_prints_them() {
    let server = ApiServer::start();
    assert_eq!(server.load(MANIFEST), 3);
    assert_eq!(
        server.load(&service("demo", "web", json!({})).to_string()),
        1
    );
    let client = client(&server).await;
    let rows: [(&str, &[&str]); 6] = [
        ("/api/v1/namespaces", &["/demo"]),
        ("/api/v1/namespaces?fieldSelector=status.phase!=Active", &[]),
        (
            "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded,status.phase%21%3DFailed",
            &["demo/web-0"],
        ),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            &["demo/web-abc"],
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices",
            &["demo/web-abc"],
        ),
        ("/api/v1/services", &["demo/web"]),
    ];
    for (path, expected) in rows {
        assert_eq!(
            names(&get(&client, path).await.unwrap()),
            expected,
            "{path}"
        );
    }
    let list = get(&client, "/api/v1/services").await.unwrap();
    assert!(
        list["items"][0]["kind"].is_null(),
        "items of built-in lists have no kind"
    );
    let one = get(&client, "/api/v1/namespaces/demo/services/web")
        .await
        .unwrap();
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("Service"), &json!("v1"))
    );
    assert_eq!(
        get(&client, "/api/v1/namespaces/demo").await.unwrap()["kind"],
        "Namespace"
    );
}

#[tokio::test]
async fn a_replaced_object_keeps_its_uid_and_gets_a_new_version() {
    let server = ApiServer::start();
    let client = client(&server).await;
    let path = "/api/v1/namespaces/a/services/web";
    let created = server.apply(service("a", "web", json!({})));
    let before = get(&client, path).await.unwrap();
    let replaced = server.apply(service("a", "web", json!({ "app": "x" })));
    let after = get(&client, path).await.unwrap();
    assert_eq!(replaced, created + 1);
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(after["metadata"]["resourceVersion"], replaced.to_string());
}

#[tokio::test]
async fn a_custom_resource_is_found_once_it_is_installed() {
    let server = ApiServer::start();
    let client = client(&server).await;
    let path = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";
    server.apply(json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": { "namespace": "demo", "name": "remote" },
    }));
    assert_eq!(code(&get(&client, path).await), 404);
    assert_eq!(client.list_api_groups().await.unwrap().groups.len(), 1);
    server.install("serviceimports");
    let list = get(&client, path).await.unwrap();
    assert_eq!(list["items"][0]["kind"], "ServiceImport");
    assert_eq!(client.list_api_groups().await.unwrap().groups.len(), 2);
}

#[tokio::test]
async fn discovery_names_version_and_resources() {
    let server = ApiServer::start();
    let client = client(&server).await;
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    assert_eq!(
        client.list_core_api_versions().await.unwrap().versions,
        ["v1"]
    );
    let core = client.list_core_api_resources("v1").await.unwrap();
    let served: Vec<_> = core.resources.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(served, ["services", "pods", "namespaces"]);
    assert_eq!(get(&client, "/readyz").await.unwrap(), "ok");
    assert_eq!(code(&get(&client, "/api/v1/configmaps").await), 404);
}

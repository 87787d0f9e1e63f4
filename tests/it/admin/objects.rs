//! What `explain` says of the reply, and of the objects that it is made of.

use serde_json::json;

use super::{asked, cairn};
use crate::support::apiserver::ApiServer;
use crate::support::dns;
use crate::support::program::Cairn;

#[test]
fn explain_shows_the_extended_errors_that_a_client_gets_and_no_others() {
    for (errors, expected) in [("errors", 1), ("errors {\n no_extended_errors\n}", 0)] {
        let corefile = format!(
            ".:PORT {{\n bind 127.0.0.1\n {errors}\n kubernetes cluster.local {{\n manifests cluster.yaml\n}}\n}}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("cluster.yaml");
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        std::fs::write(&manifest, namespace.to_string()).unwrap();
        let corefile = corefile.replace("cluster.yaml", manifest.to_str().unwrap());
        let server = Cairn::serving(&corefile, &[]);
        const MISSING: &str = "missing.shop.svc.cluster.local.";
        server.wait_for(MISSING, "NXDOMAIN");
        let explanation = asked(&server, &format!("explain {MISSING}"));
        let told = explanation["reply"]["extended_errors"].as_array().unwrap();
        assert_eq!(told.len(), expected, "{errors}: {told:?}");
        let (_, _, got) = dns::ask_edns(server.address(), MISSING, "A").unwrap();
        assert_eq!(got.len(), expected, "{errors}");
    }
}

#[test]
fn explain_names_the_objects_in_the_versions_that_the_api_server_told_also_from_a_snapshot() {
    let api = ApiServer::start();
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let service = api.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "db"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    }));
    let slice = api.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "shop", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"},
        },
        "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}],
    }));
    let alias = api.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "alias"},
        "spec": {"type": "ExternalName", "externalName": "db.shop.svc.cluster.local"},
    }));
    let (kubeconfig, folder) = (api.kubeconfig(), tempfile::tempdir().unwrap());
    let snapshot = folder.path().join("snapshot");
    let stanza = format!(
        "kubeconfig {} lab\n snapshot {}",
        kubeconfig.display(),
        snapshot.display()
    );
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa {{\n {stanza}\n}}\n}}\n"
    );
    let serving = || {
        let server = Cairn::serving(&corefile, &[]);
        server.wait_until(|server| {
            server.ask("alias.shop.svc.cluster.local.").as_deref()
                == Some("NOERROR 10.0.0.1 db.shop.svc.cluster.local.")
        });
        server
    };
    let server = serving();
    let of = |resource: &str, name: &str, version: u64| format!("{resource} {name} {version}");
    let db = [
        of("services", "shop/db", service),
        of("endpointslices", "shop/db", slice),
    ];
    let with_alias = [vec![of("services", "shop/alias", alias)], db.to_vec()].concat();
    let questions = [
        ("db.shop.svc.cluster.local", db.to_vec()),
        ("alias.shop.svc.cluster.local", with_alias),
        ("1.0.0.10.in-addr.arpa PTR", db.to_vec()),
        ("nosuch.shop.svc.cluster.local", vec![]),
    ];
    let explains = |server: &Cairn| {
        for (question, expected) in &questions {
            let explanation = asked(server, &format!("explain {question}"));
            let objects = explanation["objects"].as_array().unwrap().iter();
            let objects = objects.map(|object| {
                let [resource, service] =
                    ["resource", "service"].map(|field| object[field].as_str());
                assert!(object["age"].as_u64().is_some_and(|age| age < 60));
                of(
                    resource.unwrap(),
                    service.unwrap(),
                    object["resource_version"].as_u64().unwrap(),
                )
            });
            assert_eq!(objects.collect::<Vec<_>>(), *expected, "{question}");
            let resources = explanation["resources"].as_array().unwrap();
            assert_eq!(resources.len(), 3, "{question}");
            for resource in resources {
                assert!(resource["heard"].as_u64().is_some_and(|heard| heard < 60));
                assert_ne!(resource["resource_version"], "");
            }
        }
    };
    explains(&server);
    let pid = server.id().to_string();
    let denied = ["explain", "nosuch.shop.svc.cluster.local", "--pid", &pid];
    let (_, text, _) = cairn(&denied, None);
    assert!(
        text.contains("WATCH  ") && !text.contains("OBJECT"),
        "{text}"
    );
    server.wait_until(|_| snapshot.exists());
    api.stop();
    drop(server);
    explains(&serving());
}

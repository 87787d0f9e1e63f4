//! A server that falls silent, dies, comes back, and goes for good.

use std::time::Duration;

use kube::config::Kubeconfig;
use serde_json::json;

use super::{client, client_of, get, names, next, service, watch};
use crate::support::apiserver::{ApiServer, Transport};

const LIST: &str = "/api/v1/services";
const WATCH: &str = "/api/v1/services?watch=true&resourceVersion=1";

#[tokio::test]
async fn a_paused_server_keeps_connections_and_is_silent() {
    let server = ApiServer::start();
    let client = client(&server).await;
    let mut events = watch(&client, WATCH).await.unwrap();
    server.pause();
    server.apply(service("a", "one", json!({})));
    let listing = tokio::spawn({
        let client = client.clone();
        async move { get(&client, LIST).await }
    });
    let silence = tokio::time::timeout(Duration::from_millis(20), next(&mut events)).await;
    assert!(silence.is_err() && !listing.is_finished(), "{silence:?}");
    server.resume();
    assert_eq!(next(&mut events).await, "ADDED a/one");
    assert_eq!(names(&listing.await.unwrap().unwrap()), ["a/one"]);
}

#[tokio::test]
async fn a_stopped_server_refuses_and_returns_on_its_port() {
    for transport in [Transport::Http, Transport::Https] {
        let server = ApiServer::start_with(transport);
        let address = server.address();
        let client = client(&server).await;
        let mut events = watch(&client, WATCH).await.unwrap();
        server.stop();
        assert_eq!(
            next(&mut events).await,
            "end",
            "kube takes a lost connection for the end"
        );
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(get(&client, LIST).await.is_err());
        assert_eq!(server.open_watches("services"), 0);
        server.apply(service("a", "one", json!({})));
        server.start_again();
        assert_eq!(server.address(), address);
        assert_eq!(names(&get(&client, LIST).await.unwrap()), ["a/one"]);
        let mut events = watch(&client, WATCH).await.unwrap();
        assert_eq!(next(&mut events).await, "ADDED a/one");
    }
}

#[tokio::test]
async fn the_server_ends_with_its_last_handle() {
    let server = ApiServer::start();
    let kubeconfig = server.kubeconfig();
    let client = client_of(Kubeconfig::read_from(&kubeconfig).unwrap()).await;
    let clone = server.clone();
    drop(server);
    assert!(get(&client, LIST).await.is_ok(), "a clone keeps it alive");
    let mut events = watch(&client, WATCH).await.unwrap();
    drop(clone);
    assert_eq!(next(&mut events).await, "end");
    assert!(!kubeconfig.exists());
}

#[test]
fn a_test_without_a_runtime_can_use_the_server() {
    let server = ApiServer::start();
    assert!(server.url().starts_with("http://127.0.0.1:"));
    std::net::TcpStream::connect(server.address()).unwrap();
    server.stop();
    std::net::TcpStream::connect(server.address()).unwrap_err();
}

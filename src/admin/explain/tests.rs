use std::sync::Arc;

use super::*;
use crate::chain::Chain;
use crate::config::listen::ListenAddress;
use crate::dns::Type;
use crate::server::router::Router;

fn served(listeners: &[(&str, u16, &[&str])]) -> Served {
    let listener = |(ip, port, zones): &(&str, u16, &[&str])| {
        let zones = zones
            .iter()
            .map(|zone| (zone.parse().unwrap(), Arc::new(Chain::new(vec![]))));
        Listener {
            address: ListenAddress {
                ip: ip.parse().ok(),
                port: *port,
            },
            bound: SocketAddr::from(([127, 0, 0, 1], *port)),
            router: Arc::new(Router::new(zones, false)),
        }
    };
    Served {
        listeners: listeners.iter().map(listener).collect(),
        caches: vec![],
    }
}

#[test]
fn the_listener_is_the_only_one_that_can_be_meant() {
    let two: &[(&str, u16, &[&str])] = &[("", 53, &["."]), ("", 1053, &["corp.example", "test"])];
    let at_addresses: &[(&str, u16, &[&str])] =
        &[("10.0.0.1", 53, &["."]), ("10.0.0.2", 53, &["."])];
    let ports: &[(&str, u16, &[&str])] = &[("", 53, &["example"]), ("", 54, &["test"])];
    let which =
        "several listeners may be asked: dns://:53, dns://:1053; say which with --port or --server";
    for (fact, listeners, name, server, port, expected) in [
        ("the only one", &two[..1], "a.test", None, None, Ok(53)),
        ("both have it", two, "a.test", None, None, Err(which)),
        ("one has it", two, "a.example", None, None, Ok(53)),
        ("one has it", ports, "a.test", None, None, Ok(54)),
        ("by port", two, "a.test", None, Some(1053), Ok(1053)),
        (
            "by no port",
            two,
            "a.test",
            None,
            Some(1),
            Err("no such listener; there are dns://:53, dns://:1053"),
        ),
        (
            "by address",
            at_addresses,
            "a.test",
            Some("10.0.0.2"),
            None,
            Ok(53),
        ),
        (
            "by an address of all",
            &two[..1],
            "a.test",
            Some("10.0.0.2"),
            None,
            Ok(53),
        ),
    ] {
        let asked = ExplainRequest {
            name: name.to_owned(),
            rtype: "A".to_owned(),
            from: "127.0.0.1".parse().unwrap(),
            server: server.map(|ip| ip.parse().unwrap()),
            port,
        };
        let served = served(listeners);
        let question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
        let found = listener(&served, &asked, &question);
        if let (Ok(listener), Some(ip)) = (&found, listener_ip(server)) {
            assert!(listener.address.ip.is_none_or(|own| own == ip), "{fact}");
        }
        let found = found.map(|listener| listener.address.port);
        assert_eq!(found, expected.map_err(str::to_owned), "{fact}");
    }
}

fn listener_ip(server: Option<&str>) -> Option<std::net::IpAddr> {
    server.map(|ip| ip.parse().unwrap())
}

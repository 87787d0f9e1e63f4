//! The server against upstreams that lie, fail, flap and drown: what a client gets is right or a failure in time,
//! never the lie; and what one upstream does is not felt by what the others answer.
//!
//! Each test runs the real server on sockets of loopback, in front of [`liar`]s, and is a client itself. Where a
//! test says how many queries an upstream may hear, it counts what the liar was asked.

mod available;
mod believed;
mod black_hole;
mod client;
mod failed;
mod figures;
mod hedged;
mod liar;
mod lie;
mod spoofed;
mod stale;
mod wire;

use cairn_dns::corefile::Memory;

use crate::support::server::Server;
use liar::Liar;

/// Over what a query goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// Both.
const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// A cluster of one service.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: Service
metadata: {namespace: demo, name: web}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  ports: [{name: http, port: 80, protocol: TCP}]
"#;

/// A server with these directives in its one block, for every zone.
fn server(directives: &str) -> Server {
    let corefile = format!(".:0 {{\n bind 127.0.0.1\n{directives}\n}}\n");
    Server::start(&Memory::new().file("Corefile", corefile))
}

/// A stanza of `forward` that asks these upstreams for a zone.
fn forward(zone: &str, liars: &[&Liar], properties: &str) -> String {
    let to: Vec<String> = liars
        .iter()
        .map(|liar| liar.address().to_string())
        .collect();
    format!(" forward {zone} {} {{\n{properties}\n}}\n", to.join(" "))
}

/// What a client gets where this upstream was believed.
fn right(liar: &Liar, name: &str) -> String {
    format!("NOERROR {}", liar.genuine(name))
}

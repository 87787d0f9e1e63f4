//! An upstream that leads back here.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::dns;
use crate::support::program::{Cairn, Launch, free_port};

/// Octets of a message over UDP.
const PACKET_MAX: usize = 4096;

const MANIFEST: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.14.20, clusterIPs: [10.96.14.20], ports: [{port: 80, protocol: TCP}]}
";

/// An upstream that asks the server at `back` whatever it is asked, or else knows that there is no such name.
struct Relay {
    address: SocketAddr,
    leads_back: Arc<AtomicBool>,
}

impl Relay {
    fn start(back: SocketAddr) -> Relay {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let address = socket.local_addr().unwrap();
        let leads_back = Arc::new(AtomicBool::new(true));
        let leads = leads_back.clone();
        std::thread::spawn(move || {
            let mut packet = [0; PACKET_MAX];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let (mut query, socket) = (packet[..length].to_vec(), socket.clone());
                if leads.load(Ordering::Relaxed) {
                    // Each waits for the next in the circle.
                    std::thread::spawn(move || {
                        if let Some(reply) = ask(back, &query) {
                            let _ = socket.send_to(&reply, client);
                        }
                    });
                } else {
                    query[2] |= 0x80;
                    query[3] = 0x83;
                    let _ = socket.send_to(&query, client);
                }
            }
        });
        Relay {
            address,
            leads_back,
        }
    }
}

fn ask(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    socket.connect(server).ok()?;
    socket.send(query).ok()?;
    let mut reply = [0; PACKET_MAX];
    let length = socket.recv(&mut reply).ok()?;
    Some(reply[..length].to_vec())
}

/// A server that forwards to itself until the relay is mended; `directive` is how it guards against that.
fn looping(directive: &str) -> (Cairn, Relay, SocketAddr) {
    let (dns, metrics) = (free_port(), free_port());
    let relay = Relay::start((Ipv4Addr::LOCALHOST, dns).into());
    let corefile = format!(
        ".:{dns} {{\n bind 127.0.0.1\n errors\n prometheus 127.0.0.1:{metrics}\n kubernetes cluster.local {{\n  manifests cluster.yaml\n }}\n {directive}\n forward . {} {{\n  except kept.test\n }}\n whoami\n}}\n",
        relay.address
    );
    let launch = Launch {
        files: &[("cluster.yaml", MANIFEST)],
        ..Launch::default()
    };
    let cairn = Cairn::starting(&corefile, dns, &launch);
    (cairn, relay, (Ipv4Addr::LOCALHOST, metrics).into())
}

#[test]
fn a_loop_takes_forwarded_names_alone_and_is_over_when_the_upstream_is_mended() {
    let (cairn, relay, metrics) = looping("loop");
    let web = || cairn.ask("web.shop.svc.cluster.local.");
    cairn.wait_until(|_| web().as_deref() == Some("NOERROR 10.96.14.20"));
    cairn.wait_until(|cairn| cairn.log().contains("detected for zone \".\""));
    let (code, _, errors) = dns::ask_edns(cairn.address(), "www.example.com.", "A").unwrap();
    assert_eq!((code.as_str(), errors), ("SERVFAIL", vec![22]));
    assert_eq!(web().as_deref(), Some("NOERROR 10.96.14.20"), "known here");
    assert_eq!(
        cairn.ask("kept.test.").as_deref(),
        Some("NOERROR"),
        "not forwarded"
    );
    let counts = |count: &str, is: &str| {
        let scraped = dns::http_body(metrics, "/metrics");
        let labels = format!("{{server=\"dns://127.0.0.1:{}\",zone=\".\"}}", cairn.port());
        let total = format!("\ncairn_loop_detected_total{labels} {count}\n");
        let now = format!("\ncairn_loop_detected{labels} {is}\n");
        assert!(
            scraped.contains(&total) && scraped.contains(&now),
            "{scraped}"
        );
    };
    counts("1", "1");

    relay.leads_back.store(false, Ordering::Relaxed);
    cairn.wait_until(|cairn| cairn.log().contains("No loop any more"));
    let forwarded = cairn.ask("other.example.com.");
    assert_eq!(forwarded.as_deref(), Some("NXDOMAIN"));
    counts("1", "0");
}

#[test]
fn a_fatal_loop_ends_the_process_with_the_words_of_coredns() {
    let (mut cairn, _relay, _) = looping("loop fatal");
    assert_eq!(cairn.ended().code(), Some(1));
    let log = cairn.log();
    assert!(
        log.contains("[FATAL] plugin/loop: Loop (127.0.0.1:"),
        "{log}"
    );
}

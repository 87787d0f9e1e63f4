//! The cache between real sockets: what clients have of it when an upstream dies.

use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;

use crate::support::dns;
use crate::support::server::Server;
use crate::support::upstream::Upstream;

/// What a busy machine may take for something that needs a second.
const PATIENCE: Duration = Duration::from_secs(20);

const ZONE: &str = "$ORIGIN example.com.
$TTL 1
@ IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 60
www IN A 192.0.2.53
";

const STALE_ANSWER: u16 = 3;
const CACHED_ERROR: u16 = 13;

fn start(upstream: &Upstream, cache: &str) -> Server {
    let corefile = format!(
        ".:0 {{\n bind 127.0.0.1\n cache {{\n{cache}\n}}\n forward . {}\n}}\n",
        upstream.address()
    );
    Server::start(&Memory::new().file("Corefile", corefile))
}

#[test]
fn a_name_is_answered_though_its_upstream_is_dead() {
    for (mode, stanza) in [
        (
            "immediate",
            "success 2000 1 0\n serve_stale 1h immediate 7s",
        ),
        ("verify", "success 2000 1 0\n serve_stale 1h verify 1s 7s"),
    ] {
        let upstream = Upstream::start(ZONE);
        let server = start(&upstream, stanza);
        let ask = || dns::ask_edns(server.address(), "www.example.com.", "A").expect("a reply");
        let found = "NOERROR 192.0.2.53".to_owned();
        assert_eq!(ask(), (found.clone(), Some(1), vec![]), "{mode}: before");
        drop(upstream);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (told, ttl, errors) = ask();
            assert_eq!(told, found, "{mode}: after");
            if errors == [STALE_ANSWER] {
                assert_eq!(ttl, Some(7), "{mode}: stale");
                break;
            }
            assert!(Instant::now() < deadline, "{mode}: it never gets stale");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn that_an_upstream_is_dead_is_not_found_out_by_each_query() {
    let upstream = Upstream::start(ZONE);
    let server = start(&upstream, "servfail 5s");
    drop(upstream);
    let ask = || dns::ask_edns(server.address(), "www.example.com.", "A").expect("a reply");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (told, _, errors) = ask();
        assert_eq!(told, "SERVFAIL");
        if errors == [CACHED_ERROR] {
            break;
        }
        assert!(Instant::now() < deadline, "it is found out each time");
    }
}

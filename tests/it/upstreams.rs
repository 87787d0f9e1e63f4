//! Upstreams that have names, as the whole server knows them.

use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;

use crate::support::{dns, server::Server, upstream::Upstream};

/// A zone with the name of its own server.
const ZONE: &str = "$ORIGIN net.test.\n\
    @ 60 IN SOA dns.net.test. admin.net.test. 1 7200 1800 86400 30\n\
    dns 60 IN A 127.0.0.1\n\
    www 60 IN A 192.0.2.80\n";

#[test]
fn a_name_among_the_upstreams_is_resolved_while_we_serve_and_known_after_a_reload() {
    let upstream = Upstream::start(ZONE);
    let (port, resolver) = (upstream.address().port(), upstream.address());
    let corefile = |more: &str| {
        let text = format!(
            ".:0 {{\n{more}\nforward . dns.net.test:{port} {{\nresolver {resolver}\n}}\n}}\n"
        );
        Memory::new().file("Corefile", text)
    };
    let mut server = Server::start(&corefile(""));
    let expected = Some("NOERROR 192.0.2.80".to_owned());
    // The time is only there to end a test that fails.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = dns::ask(server.address(), "www.net.test.", "A");
        if said == expected {
            break;
        }
        assert_eq!(said.as_deref(), Some("SERVFAIL"), "until it is resolved");
        assert!(Instant::now() < deadline, "it is never resolved");
    }
    server.reload(&corefile("errors"));
    let said = dns::ask(server.address(), "www.net.test.", "A");
    assert_eq!(said, expected, "at once");
}

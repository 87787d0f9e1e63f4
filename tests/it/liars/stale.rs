//! What is kept is what stands between a client and an upstream that fails.

use std::time::{Duration, Instant};

use super::client::{self, PATIENCE};
use super::lie::Lie;
use super::{Liar, Transport, forward, right, server};

const NAME: &str = "kept.test.";

/// Asks until the upstream has been asked so often; every answer must be its genuine one.
fn ask_until_asked(server: std::net::SocketAddr, liar: &Liar, count: usize, fact: &str) {
    let began = Instant::now();
    while liar.count() < count {
        let got = client::ask(server, NAME, Transport::Udp);
        assert_eq!(got, right(liar, NAME), "{fact}");
        assert!(began.elapsed() < PATIENCE, "{fact}: it is not asked again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let got = client::ask(server, NAME, Transport::Udp);
    assert_eq!(got, right(liar, NAME), "{fact}: and afterwards");
}

#[test]
fn what_has_expired_is_served_while_the_upstream_fails() {
    std::thread::scope(|scope| {
        for mode in ["immediate", "verify"] {
            for (fact, lie) in [
                ("silent", Lie::Silent),
                ("refusing", Lie::Refusing),
                ("SERVFAIL", Lie::Code(2)),
                ("REFUSED", Lie::Code(5)),
            ] {
                scope.spawn(move || {
                    let fact = format!("{fact}, {mode}");
                    let liar = Liar::start(1, Lie::Honest);
                    let cache =
                        format!(" cache {{\n success 100 1 0\n serve_stale 1h {mode}\n}}\n");
                    let properties = "read_timeout 200ms\nmax_connect_attempts 2";
                    let server = server(&(cache + &forward(".", &[&liar], properties)));
                    ask_until_asked(server.address(), &liar, 1, &fact);
                    liar.now(lie);
                    // It refuses so early that it does not hear: then its answers are lost to it for two seconds.
                    if lie == Lie::Refusing {
                        let until = Instant::now() + Duration::from_secs(2);
                        while Instant::now() < until {
                            let got = client::ask(server.address(), NAME, Transport::Udp);
                            assert_eq!(got, right(&liar, NAME), "{fact}");
                            std::thread::sleep(Duration::from_millis(50));
                        }
                    } else {
                        ask_until_asked(server.address(), &liar, 2, &fact);
                    }
                    liar.now(Lie::Honest);
                    let before = liar.count();
                    ask_until_asked(server.address(), &liar, before + 1, &fact);
                });
            }
        }
    });
}

#[test]
fn what_is_asked_often_is_fetched_before_it_expires() {
    let liar = Liar::start(1, Lie::Honest);
    let cache = " cache {\n success 100 6 0\n prefetch 1 1m 90%\n}\n";
    let server = server(&format!(
        "{cache}{}",
        forward(".", &[&liar], "read_timeout 200ms")
    ));
    ask_until_asked(server.address(), &liar, 1, "at first");
    // A prefetch that fails is not felt while the answer lives.
    liar.now(Lie::Silent);
    ask_until_asked(server.address(), &liar, 2, "fetched from nobody");
}

#[test]
fn what_is_stale_is_refreshed_though_tcp_is_filtered() {
    let liar = Liar::start(1, Lie::Datagrams);
    let cache = " cache {\n success 100 1 0\n serve_stale\n}\n";
    let server = server(&format!("{cache}{}", forward(".", &[&liar], "")));
    ask_until_asked(server.address(), &liar, 3, "twice behind the first");
    let over_tcp = liar.asked().into_iter();
    let over_tcp = over_tcp.filter(|asked| asked.transport == Transport::Tcp);
    assert_eq!(over_tcp.count(), 0);
}

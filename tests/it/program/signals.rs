//! What ends it, and what does not.

use std::fs;

use super::corefile;
use crate::support::program::{Cairn, free_port};

#[test]
fn a_signal_ends_it_as_coredns_ends() {
    for (signal, code) in [("TERM", 0), ("INT", 0), ("QUIT", 0)] {
        let mut cairn = Cairn::serving(&corefile("one"), &["-pidfile", "pid"]);
        let id = cairn.id().to_string();
        // It answers before it has written the file.
        cairn.wait_until(|cairn| {
            fs::read_to_string(cairn.path("pid")).is_ok_and(|pid| pid.trim() == id)
        });
        cairn.signal(signal);
        assert_eq!(
            cairn.ended().code(),
            Some(code),
            "{signal}: {}",
            cairn.log()
        );
        // Quitting is at once: nothing is put in order.
        assert_eq!(cairn.path("pid").exists(), signal == "QUIT", "{signal}");
    }
}

#[test]
fn signals_that_coredns_ignores_are_ignored() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    for signal in ["HUP", "USR2"] {
        cairn.signal(signal);
    }
    cairn.wait_until(|cairn| cairn.log().contains("SIGUSR2"));
    assert!(cairn.ask("example.org.").is_some());
}

#[test]
fn it_says_that_it_goes_and_goes_at_once_when_it_must() {
    let health = free_port();
    let lame = corefile("one").replacen(
        "    whoami",
        &format!("    health 127.0.0.1:{health} {{\n        lameduck 1m\n    }}\n    whoami"),
        1,
    );
    for (signal, code) in [("INT", 2), ("QUIT", 0)] {
        let mut cairn = Cairn::serving(&lame, &[]);
        cairn.signal("TERM");
        cairn.wait_until(|cairn| {
            cairn
                .log()
                .contains("SIGTERM: Shutting down servers then terminating")
        });
        assert!(
            cairn.ask("one.test.").unwrap().starts_with("NOERROR"),
            "it serves while it is lame"
        );
        cairn.signal(signal);
        assert_eq!(cairn.ended().code(), Some(code), "{signal}");
    }
}

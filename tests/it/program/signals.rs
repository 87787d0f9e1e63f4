//! What ends it, and what does not.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;

use super::corefile;
use crate::support::program::{Cairn, Launch, free_port};

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

#[test]
fn an_output_that_is_full_from_the_start_holds_up_nothing() {
    // Held open, so that what is written is neither taken nor refused.
    let (mut output, _nobody) = UnixStream::pair().unwrap();
    output.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(fault) = output.write(&[b'x'; 512]) {
            break fault;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    output.set_nonblocking(false).unwrap();
    let launch = Launch {
        output: Some(&output),
        ..Launch::default()
    };
    let mut cairn = Cairn::starting(&corefile("one"), free_port(), &launch);
    cairn.wait_until(|cairn| {
        cairn
            .ask("one.test.")
            .is_some_and(|reply| reply.starts_with("NOERROR"))
    });
    cairn.write_corefile(&corefile("two"));
    // What it has not yet asked to be told of would end it.
    cairn.wait_until(|cairn| {
        let status = fs::read_to_string(format!("/proc/{}/status", cairn.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"))
            .unwrap();
        u64::from_str_radix(caught, 16).unwrap() & 1 << 9 != 0
    });
    cairn.signal("USR1");
    cairn.wait_until(|cairn| {
        cairn
            .ask("two.test.")
            .is_some_and(|reply| reply.starts_with("NOERROR"))
    });
    cairn.signal("TERM");
    assert_eq!(cairn.ended().code(), Some(0));
}

#[test]
fn a_pidfile_that_cannot_be_written_is_named_as_one() {
    let mut cairn = Cairn::serving(&corefile("one"), &["-pidfile", "nosuch/pid"]);
    cairn.signal("TERM");
    assert_eq!(cairn.ended().code(), Some(0), "{}", cairn.log());
    for does in ["write", "remove"] {
        let told = format!("Could not {does} pidfile: nosuch/pid: No such file or directory");
        assert!(cairn.log().contains(&told), "{does}: {}", cairn.log());
    }
}

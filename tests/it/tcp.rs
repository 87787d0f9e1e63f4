//! Clients over TCP that take what there is, and what an operator sees of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cairn_dns::corefile::Memory;
use socket2::{Domain, Socket, Type};

use crate::support::program::{Cairn, Launch, free_port};
use crate::support::server::Server;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A query for the addresses of example.org., behind its length.
const QUERY: &[u8] = b"\0\x1d\0\x07\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

/// A connection from 127.0.0.`last`, if the server completes it.
fn connect_from(last: u8, server: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(socket.into())
}

/// Whether a query is answered.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut head = [0; 4];
    stream.write_all(QUERY).is_ok() && stream.read_exact(&mut head).is_ok() && head[2..] == [0, 7]
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_are_counted_with_the_reason_of_their_end() {
    let corefile = "example.org:0 {\n bind 127.0.0.1\n whoami\n}\n";
    let server = Server::start(&Memory::new().file("Corefile", corefile));
    let mut stream = connect_from(1, server.address()).unwrap();
    assert!(is_answered(&mut stream));
    let opened = "cairn_tcp_connections_opened_total{server=\"dns://127.0.0.1:0\"} 1\n";
    wait_for(opened, || server.metrics().contains(opened));
    drop(stream);
    let closed =
        "cairn_tcp_connections_closed_total{reason=\"client\",server=\"dns://127.0.0.1:0\"} 1\n";
    wait_for(closed, || server.metrics().contains(closed));
}

/// `cairn`, which may have so many descriptors, if a number is given.
fn limited(descriptors: Option<u64>) -> Cairn {
    let limit = descriptors.map_or_else(String::new, |most| format!("ulimit -n {most} && "));
    let run = format!("{limit}exec \"$0\"");
    let launch = Launch {
        behind: &["sh", "-c", &run],
        ..Launch::default()
    };
    let corefile = "example.org:PORT {\n bind 127.0.0.1\n whoami\n}\n";
    let cairn = Cairn::starting(corefile, free_port(), &launch);
    cairn.wait_for("example.org.", "NOERROR");
    cairn
}

#[test]
fn without_a_descriptor_left_it_says_so_once_and_still_answers_those_who_come() {
    /// Fewer than the half of all descriptors that connections may have, so that the system is the one to refuse.
    const LEFT: u64 = 6;
    let needed = limited(None).holds().descriptors;
    let server = limited(Some(needed + LEFT));
    let mut idle = Vec::new();
    for last in 1..=10 {
        idle.extend(connect_from(last, server.address()));
        idle.extend(connect_from(last, server.address()));
    }
    server.wait_until(|server| server.log().contains("cannot be accepted: "));
    let is_served = || {
        let stream = connect_from(11, server.address());
        stream.is_some_and(|mut stream| is_answered(&mut stream))
    };
    assert!(is_served() || is_served(), "over TCP: {}", server.log());
    assert_eq!(
        server.ask("example.org.").as_deref(),
        Some("NOERROR"),
        "over UDP"
    );
    assert_eq!(server.log().matches("cannot be accepted: ").count(), 1);
}

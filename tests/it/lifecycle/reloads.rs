//! Reloads under load: no port has a gap, whatever becomes of the configuration.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cairn_dns::corefile::Memory;

use crate::support::dns;
use crate::support::program::{Cairn, Launch, free_port};
use crate::support::server::Server;

/// Between two questions of one client: as many as may be had without running out of ports.
const PACE: Duration = Duration::from_millis(2);
/// A query for the addresses of example.org., behind its length.
const QUERY: &[u8] = b"\0\x1d\0\x07\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
/// Longer than anything on loopback takes.
const WAIT: Duration = Duration::from_secs(10);

struct Ports {
    dns: u16,
    health: u16,
    ready: u16,
    metrics: u16,
    taken: SocketAddr,
}

impl Ports {
    /// The configuration of a round. From one to the next, sockets of one address become those of all addresses and
    /// the other way round, and health and ready take each other's ports.
    fn corefile(&self, round: usize) -> String {
        let (bind, ip) = match round % 2 {
            0 => ("bind 127.0.0.1", "127.0.0.1"),
            _ => ("", ""),
        };
        let (health, ready) = match round / 2 % 2 {
            0 => (self.health, self.ready),
            _ => (self.ready, self.health),
        };
        format!(
            "example.org:{dns} {{\n{bind}\nwhoami\nhealth {ip}:{health}\nready {ip}:{ready}\nprometheus {ip}:{metrics}\n}}\nround{round}.test:{dns} {{\n{bind}\nwhoami\n}}\n",
            dns = self.dns,
            metrics = self.metrics,
        )
    }

    /// One that cannot be served: for its text, for a port that is taken for DNS, or for the operator.
    fn broken(&self, round: usize) -> String {
        let sound = self.corefile(round);
        let taken = self.taken;
        match round % 3 {
            0 => sound.replacen("whoami", "whomai", 1),
            1 => format!(
                "{sound}z.test:{} {{\nbind {}\nwhoami\n}}\n",
                taken.port(),
                taken.ip()
            ),
            _ => format!(
                "{sound}z.test:{} {{\nwhoami\nprometheus {taken}\n}}\n",
                self.dns + 1
            ),
        }
    }
}

/// Asks again and again until it is told to stop. Says what it was told that is no answer.
fn hammer(
    name: &'static str,
    stop: &Arc<AtomicBool>,
    asked: &Arc<AtomicUsize>,
    ask: impl Fn() -> Result<(), String> + Send + 'static,
) -> std::thread::JoinHandle<Vec<String>> {
    let (stop, asked) = (stop.clone(), asked.clone());
    std::thread::spawn(move || {
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) && failed.len() < 10 {
            failed.extend(ask().err().map(|fault| format!("{name}: {fault}")));
            asked.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PACE);
        }
        failed
    })
}

fn ask_udp(server: SocketAddr) -> Result<(), String> {
    match dns::ask(server, "example.org.", "A") {
        Some(reply) if reply.starts_with("NOERROR") => Ok(()),
        reply => Err(format!("{reply:?}")),
    }
}

fn ask_tcp(server: SocketAddr) -> Result<(), String> {
    let asked = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(QUERY)?;
        let mut head = [0; 6];
        stream.read_exact(&mut head)?;
        Ok(head[5] & 15)
    };
    match asked() {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("code {code}")),
        Err(fault) => Err(std::io::Error::to_string(&fault)),
    }
}

/// The page may be another one at the moment, or none; but somebody answers.
fn ask_http(server: SocketAddr) -> Result<(), String> {
    let asked = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status)
    };
    match asked() {
        Ok(status) if status.starts_with(b"HTTP/1.1 ") => Ok(()),
        Ok(status) => Err(String::from_utf8_lossy(&status).into_owned()),
        Err(fault) => Err(std::io::Error::to_string(&fault)),
    }
}

/// Reloads this often, and has each `broken_each`th fail. Says how often was asked meanwhile.
fn reload_under_load(rounds: usize, broken_each: usize) -> usize {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ports = Ports {
        dns: free_port(),
        health: free_port(),
        ready: free_port(),
        metrics: free_port(),
        taken: taken.local_addr().unwrap(),
    };
    let cairn = Cairn::starting(&ports.corefile(0), ports.dns, &Launch::default());
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    cairn.wait_until(|_| ask_udp(at(ports.dns)).is_ok());
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (dns, health, ready, metrics) = (
        at(ports.dns),
        at(ports.health),
        at(ports.ready),
        at(ports.metrics),
    );
    let clients = [
        hammer("DNS over UDP", &stop, &asked, move || ask_udp(dns)),
        hammer("DNS over TCP", &stop, &asked, move || ask_tcp(dns)),
        hammer("health", &stop, &asked, move || ask_http(health)),
        hammer("ready", &stop, &asked, move || ask_http(ready)),
        hammer("metrics", &stop, &asked, move || ask_http(metrics)),
    ];
    for round in 1..=rounds {
        let is_broken = round.is_multiple_of(broken_each);
        let (text, tells) = match is_broken {
            true => (
                ports.broken(round / broken_each),
                "Corefile changed but reload failed",
            ),
            false => (ports.corefile(round), "Reloading complete"),
        };
        let told = |cairn: &Cairn| cairn.log().matches(tells).count();
        let before = told(&cairn);
        cairn.write_corefile(&text);
        cairn.signal("USR1");
        cairn.wait_until(|cairn| told(cairn) > before);
        if !is_broken {
            let zone = format!("round{round}.test.");
            assert!(cairn.ask(&zone).unwrap().starts_with("NOERROR"), "{zone}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let failed = clients.map(|client| client.join().unwrap()).concat();
    let asked = asked.load(Ordering::Relaxed);
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    assert!(asked > rounds, "{asked}");
    let failing = dns::http_body(metrics, "/metrics").contains("\ncairn_reload_failing 1\n");
    assert_eq!(failing, rounds.is_multiple_of(broken_each));
    asked
}

#[test]
fn what_a_reload_has_opened_that_is_given_up_is_served() {
    let block =
        |ip: &str, more: &str| format!("example.org:0 {{\n bind {ip}\n whoami\n {more}\n}}\n");
    let one = block("127.0.0.1", "");
    let mut server = Server::start(&Memory::new().file("Corefile", one.clone()));
    // A host name is looked up, which is waited for.
    let two = block("127.0.0.2", "health localhost:0");
    server.begin_reload(&Memory::new().file("Corefile", one + &two));
    let opened = server.address_at(Ipv4Addr::new(127, 0, 0, 2));
    let opened = opened.expect("it has been opened and is not lost");
    ask_udp(opened).unwrap();
}

#[test]
fn no_port_has_a_gap_while_reloads_move_it_and_some_fail() {
    println!("asked {} times", reload_under_load(30, 3));
}

#[test]
#[ignore = "half a minute"]
fn no_port_has_a_gap_while_500_reloads_move_it_and_100_fail() {
    println!("asked {} times", reload_under_load(500, 5));
}

//! SIGTERM under load: what was sent to an open socket is answered.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::dns;
use crate::support::program::{Cairn, Launch, free_port};

/// What the Corefile says.
const LAMEDUCK: Duration = Duration::from_secs(1);
/// What an upstream takes, for a query that is forwarded.
const UPSTREAM_TAKES: Duration = Duration::from_millis(200);
/// Between two queries of one client.
const PACE: Duration = Duration::from_millis(2);
/// A query may be sent after the last look at a socket and before it is closed. These are microseconds, but on a busy
/// machine the client may lose the processor between noting the time and sending.
const MARGIN: Duration = Duration::from_millis(50);
/// An answer that has not come by then does not come.
const WAIT: Duration = Duration::from_secs(7);

/// An upstream that knows no name and needs its time to say so.
fn slow_upstream() -> SocketAddr {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let address = socket.local_addr().unwrap();
    let (queue, due) = mpsc::channel::<(Instant, Vec<u8>, SocketAddr)>();
    let replies = socket.clone();
    std::thread::spawn(move || {
        for (at, reply, client) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let _ = replies.send_to(&reply, client);
        }
    });
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let mut reply = packet[..length].to_vec();
            reply[2] |= 0x80;
            reply[3] = 0x83;
            let _ = queue.send((Instant::now() + UPSTREAM_TAKES, reply, client));
        }
    });
    address
}

/// A query with this number as its id, for a name that nobody has asked before.
fn query(number: u16, zone: &str) -> Vec<u8> {
    let mut query = number.to_be_bytes().to_vec();
    query.extend(b"\x01\0\0\x01\0\0\0\0\0\0");
    for label in format!("n{number}.{zone}").split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend(b"\0\0\x01\0\x01");
    query
}

/// What a client noted.
#[derive(Default)]
struct Noted {
    sent: HashMap<u16, Instant>,
    answered: HashMap<u16, u8>,
    /// When the client was first told that nobody is there any more.
    refused: Option<Instant>,
}

impl Noted {
    fn lost(&self) -> Vec<(u16, Instant)> {
        let sent = self.sent.iter().map(|(id, at)| (*id, *at));
        sent.filter(|(id, _)| !self.answered.contains_key(id))
            .collect()
    }

    fn with(&self, rcode: u8) -> usize {
        self.answered.values().filter(|got| **got == rcode).count()
    }
}

/// Sends queries for names in `zone` over UDP at a steady pace until the port is closed, and for answers to all.
fn steadily_over_udp(server: SocketAddr, zone: &'static str, over: &Arc<AtomicBool>) -> Noted {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let noted = Arc::new(Mutex::new(Noted::default()));
    let reader = {
        let (socket, noted, over) = (socket.clone(), noted.clone(), over.clone());
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            let mut quiet_since = None::<Instant>;
            loop {
                match socket.recv(&mut packet) {
                    Ok(_) => {
                        let id = u16::from_be_bytes([packet[0], packet[1]]);
                        noted.lock().unwrap().answered.insert(id, packet[3] & 15);
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        let mut noted = noted.lock().unwrap();
                        noted.refused = noted.refused.or(Some(Instant::now()));
                    }
                    Err(_) => {}
                }
                let is_done = noted.lock().unwrap().lost().is_empty();
                if over.load(Ordering::Relaxed) {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if is_done || since.elapsed() > Duration::from_millis(500) {
                        return;
                    }
                }
            }
        })
    };
    for number in 0..u16::MAX {
        if noted.lock().unwrap().refused.is_some() || over.load(Ordering::Relaxed) {
            break;
        }
        // Noted before, because the answer may be quicker; a send that fails has sent nothing.
        noted.lock().unwrap().sent.insert(number, Instant::now());
        if socket.send(&query(number, zone)).is_err() {
            let mut noted = noted.lock().unwrap();
            noted.sent.remove(&number);
            noted.refused = noted.refused.or(Some(Instant::now()));
        }
        std::thread::sleep(PACE);
    }
    reader.join().unwrap();
    Arc::into_inner(noted).unwrap().into_inner().unwrap()
}

/// Asks over TCP, with a connection for each query, until nobody lets it in.
fn steadily_over_tcp(server: SocketAddr, zone: &'static str, over: &Arc<AtomicBool>) -> Noted {
    let mut noted = Noted::default();
    for number in 0..u16::MAX {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut stream) = TcpStream::connect(server) else {
            noted.refused = Some(Instant::now());
            break;
        };
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let query = query(number, zone);
        let framed = [
            &u16::try_from(query.len()).unwrap().to_be_bytes(),
            &query[..],
        ]
        .concat();
        noted.sent.insert(number, Instant::now());
        let mut head = [0; 6];
        if stream.write_all(&framed).is_ok() && stream.read_exact(&mut head).is_ok() {
            noted.answered.insert(number, head[5] & 15);
        }
        std::thread::sleep(PACE);
    }
    noted
}

#[test]
fn every_query_before_the_end_of_the_process_is_answered() {
    let (dns, ready) = (free_port(), free_port());
    let corefile = format!(
        "known.test.:{dns} {{\n bind 127.0.0.1\n whoami\n health 127.0.0.1:0 {{\n  lameduck 1s\n }}\n ready 127.0.0.1:{ready}\n}}\nforwarded.test.:{dns} {{\n bind 127.0.0.1\n forward . {} {{\n  prefer_udp\n }}\n}}\n",
        slow_upstream()
    );
    let mut cairn = Cairn::starting(&corefile, dns, &Launch::default());
    cairn.wait_until(|cairn| cairn.ask("known.test.").is_some());
    let (server, over) = (cairn.address(), Arc::new(AtomicBool::new(false)));
    type Client = fn(SocketAddr, &'static str, &Arc<AtomicBool>) -> Noted;
    let clients = [
        ("known, UDP", steadily_over_udp as Client, "known.test"),
        ("forwarded, UDP", steadily_over_udp, "forwarded.test"),
        ("known, TCP", steadily_over_tcp, "known.test"),
        ("forwarded, TCP", steadily_over_tcp, "forwarded.test"),
    ];
    let asking = clients.map(|(name, client, zone)| {
        let over = over.clone();
        (
            name,
            std::thread::spawn(move || client(server, zone, &over)),
        )
    });
    std::thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    cairn.signal("TERM");
    let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, ready));
    cairn.wait_until(|_| dns::try_http_body(ready, "/ready").as_deref() == Some("Shutting down"));
    assert_eq!(cairn.ended().code(), Some(0));
    let ended = Instant::now();
    over.store(true, Ordering::Relaxed);
    assert!(ended - told >= LAMEDUCK, "lame for a second");
    for (name, client) in asking {
        let noted = client.join().unwrap();
        let end = noted.refused.unwrap_or(ended).min(ended);
        let sent = noted.sent.len();
        let after_signal = noted.sent.values().filter(|at| **at > told).count();
        println!(
            "{name}: {sent} sent, {after_signal} of them after the signal, {} SERVFAIL, {} lost",
            noted.with(2),
            noted.lost().len()
        );
        assert!(after_signal > 2, "{name}: it went on: {after_signal}");
        let lost = noted
            .lost()
            .into_iter()
            .map(|(_, at)| end.saturating_duration_since(at));
        let early: Vec<Duration> = lost.filter(|before| *before > MARGIN).collect();
        assert!(
            early.is_empty(),
            "{name}: lost this long before the end: {early:?}"
        );
        // And before the lameduck is over, nobody is told that it leaves.
        let refused = noted.answered.iter().filter(|(_, rcode)| **rcode == 2);
        let mut refused = refused.map(|(id, _)| noted.sent[id]);
        let serving = told + LAMEDUCK - MARGIN;
        assert!(refused.all(|at| at > serving), "{name}: SERVFAIL too early");
    }
}

#[test]
fn a_server_that_is_lame_follows_its_cluster_and_parts_from_clients_that_ask_nothing() {
    let (dns, metrics) = (free_port(), free_port());
    let corefile = format!(
        "cluster.local:{dns} {{\n bind 127.0.0.1\n health 127.0.0.1:0 {{\n  lameduck 1m\n }}\n prometheus 127.0.0.1:{metrics}\n kubernetes {{\n  manifests cluster.yaml\n }}\n}}\n"
    );
    let service = |address: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{clusterIP: {address}, clusterIPs: [{address}], ports: [{{port: 80, protocol: TCP}}]}}\n"
        )
    };
    let before = service("10.96.0.20");
    let launch = Launch {
        files: &[("cluster.yaml", &before)],
        ..Launch::default()
    };
    let mut cairn = Cairn::starting(&corefile, dns, &launch);
    let answers = |cairn: &Cairn, address: &str| {
        let reply = cairn.ask("web.shop.svc.cluster.local.");
        reply == Some(format!("NOERROR {address}"))
    };
    cairn.wait_until(|cairn| answers(cairn, "10.96.0.20"));
    let idle = TcpStream::connect(cairn.address()).unwrap();
    idle.set_read_timeout(Some(WAIT)).unwrap();
    cairn.signal("TERM");
    cairn.wait_until(|cairn| cairn.log().contains("Going into lameduck mode"));
    fs::write(cairn.path("cluster.yaml"), service("10.96.0.21")).unwrap();
    cairn.wait_until(|cairn| answers(cairn, "10.96.0.21"));
    assert_eq!(
        (&idle).read(&mut [0]).unwrap(),
        0,
        "an end, and in good order"
    );
    let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, metrics));
    let closed = format!(
        "cairn_tcp_connections_closed_total{{reason=\"shutdown\",server=\"dns://127.0.0.1:{dns}\"}} 1\n"
    );
    cairn.wait_until(|_| dns::http_body(metrics, "/metrics").contains(&closed));
    // Once more is not less patient; another signal is.
    cairn.signal("TERM");
    assert!(answers(&cairn, "10.96.0.21"));
    cairn.signal("INT");
    assert_eq!(cairn.ended().code(), Some(2));
}

//! Clients of the server under test: one that asks once, and one that asks steadily whatever becomes of it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;

use super::{Transport, wire};

/// The server tells of a failure within 4.5 s; the rest is for a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);

/// What became of a query.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// Code and addresses, see [`text`].
    pub(super) reply: String,
    pub(super) took: Duration,
}

/// The code and the addresses that the server answers, `no reply` if there is none.
pub(super) fn ask(server: SocketAddr, name: &str, transport: Transport) -> String {
    message(server, &wire::query(1, name), transport).map_or_else(no_reply, |reply| text(&reply))
}

/// The reply to a query.
pub(super) fn message(server: SocketAddr, query: &[u8], transport: Transport) -> Option<Message> {
    let octets = match transport {
        Transport::Udp => over_udp(server, query),
        Transport::Tcp => over_tcp(server, query),
    };
    let reply = Message::from_vec(&octets?).unwrap();
    assert_eq!(reply.metadata.id.to_be_bytes(), query[..2], "its id");
    let name = reply.queries[0].name().to_ascii();
    let asked = wire::Question::read(query).unwrap();
    assert_eq!(name, asked.name, "its question, in its case");
    Some(reply)
}

fn over_udp(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    forget_strays(&socket);
    socket.send(query).unwrap();
    let mut reply = vec![0; 65_535];
    let length = socket.recv(&mut reply).ok()?;
    reply.truncate(length);
    Some(reply)
}

/// Takes out what came before the socket was connected: other tests guess at ports, and this one may have been another's.
fn forget_strays(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 512]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let framed = [&(query.len() as u16).to_be_bytes()[..], query].concat();
    stream.write_all(&framed).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).ok()?;
    Some(reply)
}

/// `NOERROR 10.0.0.1 10.0.0.2`: the code, the addresses of the answers, sorted, and `cut` if the reply is.
pub(super) fn text(reply: &Message) -> String {
    let mut words: Vec<String> = reply
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0.to_string()),
            _ => None,
        })
        .collect();
    words.sort();
    let code = match reply.metadata.response_code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("{other:?}"),
    };
    words.insert(0, code);
    if reply.metadata.truncation {
        words.push("cut".to_owned());
    }
    words.join(" ")
}

fn no_reply() -> String {
    "no reply".to_owned()
}

/// Asks these names, so many each second, and waits for the last answer; the outcomes are in the order of the names.
pub(super) fn steadily(server: SocketAddr, names: &[String], rate: u32) -> Vec<Outcome> {
    assert!(names.len() <= 65_536, "an id each");
    if names.is_empty() {
        return Vec::new();
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let sent_all = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hearing = scope.spawn(|| hear(&socket, names.len(), &sent_all));
        let sent = send(&socket, names, rate);
        sent_all.store(true, Ordering::Relaxed);
        let mut heard = hearing.join().unwrap();
        let outcome = |(id, name): (usize, &String)| {
            let (at, reply) = heard
                .remove(&(id as u16))
                .unwrap_or_else(|| (Instant::now(), no_reply()));
            Outcome {
                name: name.clone(),
                reply,
                took: at.saturating_duration_since(sent[id]),
            }
        };
        names.iter().enumerate().map(outcome).collect()
    })
}

/// Sends what is due, and says when.
fn send(socket: &UdpSocket, names: &[String], rate: u32) -> Vec<Instant> {
    let began = Instant::now();
    let mut sent = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let due = began + Duration::from_secs(1) * at as u32 / rate;
        let early = due.saturating_duration_since(Instant::now());
        if early > Duration::from_millis(1) {
            std::thread::sleep(early);
        }
        sent.push(Instant::now());
        // What cannot be sent is not answered, and counts so.
        let _ = socket.send(&wire::query(at as u16, name));
    }
    sent
}

/// Hears replies until there is one for each query, or none is to be expected.
fn hear(
    socket: &UdpSocket,
    count: usize,
    sent_all: &AtomicBool,
) -> HashMap<u16, (Instant, String)> {
    let mut heard = HashMap::new();
    let mut last = Instant::now();
    let mut buffer = vec![0; 65_535];
    while heard.len() < count {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                last = Instant::now();
                let reply = Message::from_vec(&buffer[..length]).unwrap();
                let before = heard.insert(reply.metadata.id, (last, text(&reply)));
                assert!(before.is_none(), "two replies to one query: {reply:?}");
            }
            Err(_) if !sent_all.load(Ordering::Relaxed) => last = Instant::now(),
            Err(_) if last.elapsed() > PATIENCE / 2 => break,
            Err(_) => {}
        }
    }
    heard
}

/// The time within which so many per cent of the outcomes came.
pub(super) fn percentile(outcomes: &[Outcome], percent: usize) -> Duration {
    let mut took: Vec<Duration> = outcomes.iter().map(|outcome| outcome.took).collect();
    took.sort();
    took[(took.len() - 1) * percent / 100]
}

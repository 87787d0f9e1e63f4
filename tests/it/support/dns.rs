//! A client as small as a test needs, on a codec that is not the server's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};

/// Nothing on loopback is under way for longer; what has not come by then is lost.
const WAIT: Duration = Duration::from_secs(3);

/// Asks over UDP: the code and the answers as text, `None` if no reply comes.
pub(crate) fn ask(server: SocketAddr, name: &str, rtype: &str) -> Option<String> {
    exchange(server, query(name, rtype)).map(|reply| text(&reply))
}

/// Asks over UDP with EDNS: the code and the answers as text, their TTL, and the codes of extended errors.
pub(crate) fn ask_edns(
    server: SocketAddr,
    name: &str,
    rtype: &str,
) -> Option<(String, Option<u32>, Vec<u16>)> {
    let mut query = query(name, rtype);
    query.edns = Some(Edns::new());
    let reply = exchange(server, query)?;
    let ttl = reply.answers.first().map(|record| record.ttl);
    let edns = reply.edns.as_ref().expect("EDNS is answered with EDNS");
    let options = edns.options().as_ref().iter();
    let errors = options.filter_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    });
    Some((text(&reply), ttl, errors.collect()))
}

/// Asks over UDP with EDNS: the code and the answers as text, and the words of the extended error.
pub(crate) fn ask_why(server: SocketAddr, name: &str, rtype: &str) -> Option<(String, String)> {
    let mut query = query(name, rtype);
    query.edns = Some(Edns::new());
    let reply = exchange(server, query)?;
    let edns = reply.edns.as_ref().expect("EDNS is answered with EDNS");
    let options = edns.options().as_ref().iter();
    let words = options.filter_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => Some(String::from_utf8_lossy(&data[2..]).into_owned()),
        _ => None,
    });
    Some((text(&reply), words.collect()))
}

fn exchange(server: SocketAddr, mut query: Message) -> Option<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket.connect(server).unwrap();
    let id = socket.local_addr().unwrap().port();
    query.metadata.id = id;
    socket.send(&query.to_vec().unwrap()).ok()?;
    let mut octets = [0; 65_535];
    let len = socket.recv(&mut octets).ok()?;
    let reply = Message::from_vec(&octets[..len]).unwrap();
    assert_eq!(reply.metadata.id, id);
    Some(reply)
}

/// The octets of a query with this id.
pub(crate) fn packet(name: &str, rtype: &str, id: u16) -> Vec<u8> {
    let mut query = query(name, rtype);
    query.metadata.id = id;
    query.to_vec().expect("a query can be written")
}

fn query(name: &str, rtype: &str) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let rtype: RecordType = rtype.parse().unwrap();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

/// `NOERROR 10.96.0.1 10.96.0.2`: the code, then the data of the answers, sorted.
fn text(reply: &Message) -> String {
    let mut answers: Vec<String> = reply
        .answers
        .iter()
        .map(|record| format!(" {}", record.data))
        .collect();
    answers.sort();
    let code = match reply.metadata.response_code {
        hickory_proto::op::ResponseCode::NoError => "NOERROR".to_owned(),
        hickory_proto::op::ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        hickory_proto::op::ResponseCode::ServFail => "SERVFAIL".to_owned(),
        hickory_proto::op::ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("{other:?}"),
    };
    code + &answers.concat()
}

/// The body of a GET, whatever its status.
pub(crate) fn http_body(server: SocketAddr, path: &str) -> String {
    try_http_body(server, path).expect("an answer")
}

/// The body of a GET, whatever its status; `None` if nobody answers.
pub(crate) fn try_http_body(server: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    response
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
}

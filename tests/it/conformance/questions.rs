//! The recorded rows, and how one is asked: over a socket of its own, with a codec that is not Cairn's.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::Name,
};
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use super::compare::Answer;

/// A reply that takes longer does not come; loopback takes a thousandth of it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A question and what CoreDNS answered.
#[derive(Deserialize)]
pub(super) struct Row {
    #[serde(rename = "q")]
    pub(super) question: Question,
    #[serde(flatten)]
    pub(super) answer: Answer,
}

/// What is asked and how; in the rows a list in this order.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    pub(super) qname: String,
    pub(super) qtype: String,
    pub(super) qclass: String,
    transport: Transport,
    /// The size that OPT offers; None: there is no OPT.
    edns: Option<u16>,
    dnssec_ok: bool,
    /// The address to ask from, if not 127.0.0.1.
    pub(super) client: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The rows of a set.
pub(super) fn rows(lines: &str) -> Vec<Row> {
    let rows = lines.lines().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault} in the row {line}"))
    });
    rows.collect()
}

impl Question {
    /// As a list of differences names it: what is asked, and how if not as most are.
    pub(super) fn name(&self) -> String {
        let mut text = format!("{} {}", self.qname, self.qtype);
        if self.qclass != "IN" {
            text.push_str(&format!(" {}", self.qclass));
        }
        if self.transport == Transport::Tcp {
            text.push_str(" tcp");
        }
        match self.edns {
            Some(1232) => {}
            Some(size) => text.push_str(&format!(" edns {size}")),
            None => text.push_str(" no edns"),
        }
        if self.dnssec_ok {
            text.push_str(" do");
        }
        if let Some(client) = self.client {
            text.push_str(&format!(" from {client}"));
        }
        text
    }

    /// Asks the server once. None: it stays silent.
    ///
    /// # Panics
    /// What comes back is no reply to the question.
    pub(super) fn ask(&self, server: SocketAddr, id: u16) -> Option<Message> {
        let query = self.query(id);
        let packet = query.to_vec().unwrap();
        let client = self.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let received = match self.transport {
            Transport::Udp => over_udp(&packet, client, server),
            Transport::Tcp => over_tcp(&packet, client, server),
        };
        let received = match received {
            Ok(received) => received,
            Err(fault) if is_silence(&fault) => return None,
            Err(fault) => panic!("{}: {fault}", self.name()),
        };
        let reply = Message::from_vec(&received)
            .unwrap_or_else(|fault| panic!("{}: {fault} in {received:02x?}", self.name()));
        let head = &reply.metadata;
        assert_eq!(head.id, id, "{}: the id", self.name());
        assert_eq!(head.message_type, MessageType::Response, "{}", self.name());
        assert_eq!(
            reply.queries,
            query.queries,
            "{}: the question",
            self.name()
        );
        assert_eq!(
            reply.edns.is_some(),
            query.edns.is_some(),
            "{}: OPT comes if it was there",
            self.name()
        );
        Some(reply)
    }

    fn query(&self, id: u16) -> Message {
        let labels = self.qname.split('.').filter(|label| !label.is_empty());
        let mut name = Name::from_labels(labels.map(str::as_bytes)).unwrap();
        name.set_fqdn(true);
        let mut question = Query::query(name, self.qtype.parse().unwrap());
        question.set_query_class(self.qclass.parse().unwrap());
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.queries = vec![question];
        query.edns = self.edns.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns.set_dnssec_ok(self.dnssec_ok);
            edns
        });
        query
    }
}

/// Sends a datagram and waits for the one that comes back.
pub(super) fn over_udp(packet: &[u8], client: IpAddr, server: SocketAddr) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((client, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN))?;
    socket.send(packet)?;
    received(&socket)
}

pub(super) fn received(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut reply = vec![0; 65535];
    let length = socket.recv(&mut reply)?;
    reply.truncate(length);
    Ok(reply)
}

/// Sends a message over a connection of its own and waits for the one that comes back.
pub(super) fn over_tcp(packet: &[u8], client: IpAddr, server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = connected(client, server)?;
    stream.write_all(&framed(packet))?;
    read_framed(&mut stream)
}

pub(super) fn connected(client: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(client, 0).into())?;
    socket.connect(&server.into())?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN))?;
    Ok(socket.into())
}

/// A message with its length before it (RFC 1035 section 4.2.2).
pub(super) fn framed(packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap();
    [length.to_be_bytes().as_slice(), packet].concat()
}

pub(super) fn read_framed(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Nothing came in time, or the connection ended without a word.
fn is_silence(fault: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    [WouldBlock, TimedOut, UnexpectedEof, ConnectionReset].contains(&fault.kind())
}

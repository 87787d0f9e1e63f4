//! Odd packets: what comes back, looked at octet by octet, because no codec has to read them.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use serde::Deserialize;

use super::{
    Lab, Source,
    differences::Findings,
    questions::{self, Transport},
};

const ROWS: &str = include_str!("../../data/conformance/wire.jsonl");
const COREFILE: &str = include_str!("../../data/conformance/corefiles/default");

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HEADER_LENGTH: usize = 12;
const TYPE_OPT: u16 = 41;

/// A packet and what CoreDNS sent back.
#[derive(Deserialize)]
struct Row {
    name: String,
    transport: Transport,
    /// In hexadecimal.
    query: String,
    reply: Option<Reply>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Reply {
    /// Whether it is that of the query.
    id: bool,
    /// With the extended bits of OPT.
    rcode: u16,
    opcode: u16,
    flags: Vec<String>,
    qd: u16,
    /// Records, without OPT; -1 where TC is set.
    an: i32,
    ns: i32,
    ar: i32,
    /// Whether the question came back to the byte.
    question: bool,
    opt: Option<Opt>,
    fits: bool,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Opt {
    version: u8,
    size: u16,
    #[serde(rename = "do")]
    dnssec_ok: bool,
    /// Their codes.
    options: Vec<u16>,
}

#[test]
fn odd_packets_are_answered_as_coredns_does() {
    let lab = Lab::start(COREFILE, Source::Manifests);
    let rows = ROWS.lines().map(serde_json::from_str::<Row>);
    let rows: Vec<Row> = rows.map(Result::unwrap).collect();
    let mut findings = Findings::of("wire");
    for row in &rows {
        let packet = octets(&row.query);
        let received = exchange(row, &packet, lab.server.address());
        let reply = received.map(|reply| Reply::read(&reply, &packet));
        let row_name = format!("{} {:?}", row.name, row.transport).to_lowercase();
        let differences = match reply == row.reply {
            true => vec![],
            false => vec![format!("want {:?}\ngot  {reply:?}", row.reply)],
        };
        findings.add(row_name, &differences);
    }
    findings.judge(rows.len());
}

/// What comes back. Where silence is due, a plain query follows the packet: the server has kept silent when it
/// answers that one first, so that nobody has to wait for nothing.
fn exchange(row: &Row, packet: &[u8], server: SocketAddr) -> Option<Vec<u8>> {
    let silence_is_due = row.reply.is_none();
    match row.transport {
        Transport::Udp if silence_is_due => {
            let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            socket.connect(server).unwrap();
            socket.send(packet).unwrap();
            socket.send(&plain()).unwrap();
            let reply = questions::received(&socket).unwrap();
            (!answers_plain(&reply)).then_some(reply)
        }
        Transport::Tcp if silence_is_due => {
            let mut stream = questions::connected(LOOPBACK, server).unwrap();
            stream.write_all(&questions::framed(packet)).unwrap();
            // The server may have closed the connection by now, which is silence too.
            let _ = stream.write_all(&questions::framed(&plain()));
            let reply = questions::read_framed(&mut stream).ok();
            reply.filter(|reply| !answers_plain(reply))
        }
        Transport::Udp => questions::over_udp(packet, LOOPBACK, server).ok(),
        Transport::Tcp => questions::over_tcp(packet, LOOPBACK, server).ok(),
    }
}

/// A query for a name that the server answers without asking anybody.
fn plain() -> Vec<u8> {
    let head = [&PLAIN_ID, [1, 0, 0, 1, 0, 0, 0, 0, 0, 0].as_slice()].concat();
    [&head, b"\x07cluster\x05local\0\0\x06\0\x01".as_slice()].concat()
}

/// No row has it.
const PLAIN_ID: [u8; 2] = [0xbe, 0xef];

fn answers_plain(reply: &[u8]) -> bool {
    reply.starts_with(&PLAIN_ID)
}

fn octets(hex: &str) -> Vec<u8> {
    let octet = |pair| u8::from_str_radix(&hex[pair..pair + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(octet).collect()
}

impl Reply {
    fn read(reply: &[u8], query: &[u8]) -> Reply {
        let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
        let (flags, qd) = (word(2), word(4));
        let mut at = HEADER_LENGTH;
        for _ in 0..qd {
            at = after_name(reply, at) + 4;
        }
        let question = qd > 0 && query.get(HEADER_LENGTH..at) == Some(&reply[HEADER_LENGTH..at]);
        let counts = [word(6), word(8), word(10)];
        let opts = opts(
            reply,
            at,
            counts.iter().map(|count| usize::from(*count)).sum(),
        );
        let truncated = flags & 0x200 != 0;
        let [an, ns, ar] = counts.map(|count| if truncated { -1 } else { i32::from(count) });
        let extended = opts
            .last()
            .map_or(0, |(extended, _)| u16::from(*extended) << 4);
        Reply {
            id: query.len() >= 2 && reply[..2] == query[..2],
            rcode: flags & 15 | extended,
            opcode: flags >> 11 & 15,
            flags: flag_names(flags),
            qd,
            an,
            ns,
            ar: if truncated {
                ar
            } else {
                ar - i32::from(!opts.is_empty())
            },
            question,
            opt: opts.into_iter().next_back().map(|(_, opt)| opt),
            fits: reply.len() <= 65535,
        }
    }
}

/// The OPT records among `count` records from `at` on, each with the high bits of the rcode.
fn opts(reply: &[u8], mut at: usize, count: usize) -> Vec<(u8, Opt)> {
    let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let mut opts = Vec::new();
    for _ in 0..count {
        at = after_name(reply, at);
        let data = at + 10..at + 10 + usize::from(word(at + 8));
        if word(at) == TYPE_OPT {
            let opt = Opt {
                version: reply[at + 5],
                size: word(at + 2),
                dnssec_ok: reply[at + 6] & 0x80 != 0,
                options: option_codes(&reply[data.clone()]),
            };
            opts.push((reply[at + 4], opt));
        }
        at = data.end;
    }
    assert_eq!(at, reply.len(), "the counts cover the reply: {reply:02x?}");
    opts
}

fn option_codes(mut rdata: &[u8]) -> Vec<u16> {
    let mut codes = Vec::new();
    while let [c0, c1, l0, l1, rest @ ..] = rdata {
        codes.push(u16::from_be_bytes([*c0, *c1]));
        rdata = &rest[usize::from(u16::from_be_bytes([*l0, *l1]))..];
    }
    codes
}

fn after_name(packet: &[u8], mut at: usize) -> usize {
    loop {
        match packet[at] {
            0 => return at + 1,
            0xc0.. => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}

fn flag_names(flags: u16) -> Vec<String> {
    let names = [
        ("QR", 15),
        ("AA", 10),
        ("TC", 9),
        ("RD", 8),
        ("RA", 7),
        ("Z", 6),
        ("AD", 5),
        ("CD", 4),
    ];
    let set = names.iter().filter(|(_, bit)| flags >> bit & 1 == 1);
    set.map(|(name, _)| (*name).to_owned()).collect()
}
